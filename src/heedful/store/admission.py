"""The rules by which a record enters the log, one record at a time within one transaction."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row

from heedful.record import ALL, UNKNOWN, ChoiceSet, Decision, End, Feedback
from heedful.store.codec import (
    KIND_CODE,
    context_text,
    decode_feedback,
    encode_feedback,
    number_of,
    text_of,
)
from heedful.store.memory import Record
from heedful.store.names import Interner
from heedful.store.receipts import Receipt
from heedful.store.rules import Rules

MAX_STEP = 2**31 - 1

INSERT_DECISION = "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_FEEDBACK = "INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_END = "INSERT INTO ends VALUES (?, ?, ?, ?, ?, ?)"

Code = Callable[[Connection, str, str], int]


class Admission:
    """Appends records within a transaction that the caller began and will commit.

    Every check of a record comes before its first write, so that a record that is not taken leaves
    no trace and its neighbours do not notice.
    """

    def __init__(self, connection: Connection, names: Interner) -> None:
        self.connection = connection
        self.names = names
        self._rules = Rules(connection, names)
        self.seq: int = self._one("SELECT next_seq FROM state")[0]
        self._any_parked: bool = self._one("SELECT EXISTS (SELECT 1 FROM parked)")[0]

    def close(self) -> None:
        """Write down the next sequence number; the caller commits."""
        self.connection.exec_driver_sql("UPDATE state SET next_seq = ?", (self.seq,))

    def choice_set(self, choices: ChoiceSet) -> None:
        """Store ``choices`` under its digest, once."""
        digest = choices.digest()
        if self.names.find(self.connection, "choice_sets", digest) < 0:
            code = self.names.next_code(self.connection, "choice_sets")
            row = (code, digest, choices.body())
            self.connection.exec_driver_sql("INSERT INTO choice_sets VALUES (?, ?, ?)", row)

    def admit(self, record: Record) -> Receipt:
        """Append one record, or say why not.

        Raises:
            TypeError: it is no record.
        """
        if isinstance(record, Decision):
            return self._decision(record)
        if isinstance(record, Feedback):
            return self._feedback(record)
        if isinstance(record, End):
            return self._end(record)
        raise TypeError(f"a log keeps Decision, Feedback and End, not {type(record).__name__}")

    def join_all(self) -> None:
        """Admit every parked row whose decision, episode or feedback is here by now."""
        for kind, table, name in (
            ("decision", "decisions", "id"),
            ("episode", "episodes", "name"),
            ("feedback", "feedback", "id"),
        ):
            arrived = self.connection.exec_driver_sql(
                f"SELECT DISTINCT waits_for FROM parked JOIN {table} t ON t.{name} = waits_for "
                "WHERE waits_on = ? AND refused IS NULL",
                (kind,),
            ).fetchall()
            for (waits_for,) in arrived:
                self._join(kind, waits_for)

    # Decisions and ends

    def _decision(self, record: Decision) -> Receipt:
        stored = self._find("SELECT * FROM decisions WHERE id = ?", record.id)
        if stored is not None:
            return self._again(stored, self._decision_row(record, self.names.find))
        if self.names.find(self.connection, "choice_sets", record.choices) < 0:
            return Receipt(
                "refused",
                reason=f"choices: no set {record.choices} is stored; append it in choice_sets, "
                f"or say {ALL!r}",
            )
        if record.step > MAX_STEP:
            return Receipt("refused", reason=f"step: is {record.step}; count from 0 per episode")
        begins = self.names.find(self.connection, "episodes", record.episode) < 0
        seq = self._insert(INSERT_DECISION, self._decision_row(record, self.names.intern))
        self._join("decision", record.id)
        if begins:
            self._join("episode", record.episode)
        return Receipt("added", seq)

    def _decision_row(self, record: Decision, code: Code) -> tuple[object, ...]:
        db = self.connection
        return (
            record.id,
            code(db, "episodes", record.episode),
            record.step,
            code(db, "subjects", record.subject),
            self.names.find(db, "choice_sets", record.choices),
            code(db, "policies", record.policy),
            code(db, "vocabularies", record.vocabulary),
            float(record.made_at),
            pack("i", [code(db, "units", unit) for unit in record.units]),
            None if record.logps is UNKNOWN else pack("d", record.logps),
            context_text(record.context),
        )

    def _end(self, record: End) -> Receipt:
        stored = self._find("SELECT * FROM ends WHERE id = ?", record.id)
        if stored is not None:
            return self._again(stored, self._end_row(record, self.names.find))
        episode = self.names.find(self.connection, "episodes", record.episode)
        if self._find("SELECT seq FROM ends WHERE episode = ?", episode) is not None:
            return Receipt("conflict", reason=f"episode {record.episode} has ended already")
        seq = self._insert(INSERT_END, self._end_row(record, self.names.intern))
        if episode < 0:
            self._join("episode", record.episode)
        return Receipt("added", seq)

    def _end_row(self, record: End, code: Code) -> tuple[object, ...]:
        episode = code(self.connection, "episodes", record.episode)
        context = context_text(record.context)
        return (record.id, episode, int(record.terminated), float(record.ended_at), context)

    # Feedback

    def _feedback(self, record: Feedback) -> Receipt:
        stored = self._find("SELECT * FROM feedback WHERE id = ?", record.id)
        missing = self._rules.missing(record)
        if stored is not None:
            if missing is not None:
                return _another(stored[0])
            return self._again(stored, self._feedback_row(record, self.names.find))
        if self._any_parked and (parked := self._parked(record)) is not None:
            return parked
        if missing is not None:
            return self._park(record, *missing)
        objection = self._rules.objection(record, self._rules.place(record))
        if objection is not None:
            return objection
        seq = self._insert(INSERT_FEEDBACK, self._feedback_row(record, self.names.intern))
        self._join("feedback", record.id)
        return Receipt("added", seq)

    def _feedback_row(self, record: Feedback, code: Code) -> tuple[object, ...]:
        place = self._rules.place(record)
        number = number_of(record)
        retracts = None
        if record.retracts is not None:
            retracts = self._one("SELECT seq FROM feedback WHERE id = ?", record.retracts)[0]
        return (
            record.id,
            code(self.connection, "people", record.by),
            place.decision,
            *(place.span or (None, None, None)),
            record.unit,
            KIND_CODE[record.kind],
            None if number != number else number,
            text_of(record, self._rules.seq_of),
            float(record.given_at),
            float(record.received_at),
            retracts,
        )

    # Feedback that came too early

    def _parked(self, record: Feedback) -> Receipt | None:
        row = self._find("SELECT body, refused FROM parked WHERE id = ?", record.id)
        if row is None:
            return None
        if row.body != encode_feedback(record):
            return Receipt("conflict", reason="id: other feedback is waiting under it")
        if row.refused is not None:
            return Receipt("refused", reason=row.refused)
        return Receipt("duplicate", reason="it is waiting for what it is about")

    def _park(self, record: Feedback, waits_on: str, waits_for: str) -> Receipt:
        row = (record.id, waits_on, waits_for, encode_feedback(record), float(record.received_at))
        self.connection.exec_driver_sql(
            "INSERT INTO parked (id, waits_on, waits_for, body, received_at) "
            "VALUES (?, ?, ?, ?, ?)",
            row,
        )
        self._any_parked = True
        return Receipt("parked", reason=f"no {waits_on} {waits_for} yet; joined when it comes")

    def _join(self, waits_on: str, waits_for: str) -> None:
        """Admit what waited; what does not fit stays parked, with the reason, and is counted."""
        if not self._any_parked:
            return
        rows = self.connection.exec_driver_sql(
            "SELECT number, body, received_at FROM parked "
            "WHERE waits_for = ? AND waits_on = ? AND refused IS NULL ORDER BY number",
            (waits_for, waits_on),
        ).fetchall()
        for number, body, received_at in rows:
            self.connection.exec_driver_sql("DELETE FROM parked WHERE number = ?", (number,))
            record = decode_feedback(body, received_at)
            receipt = self._feedback(record)
            if not receipt.kept:
                self.connection.exec_driver_sql(
                    "INSERT INTO parked VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (number, record.id, waits_on, waits_for, body, received_at, receipt.reason),
                )

    # SQL

    def _again(self, stored: Row[Any], row: tuple[object, ...]) -> Receipt:
        """Compare a record with the one its id stands for; the time of arrival does not count."""
        now = dict(zip(stored._fields[1:], row, strict=True))
        if any(stored._mapping[name] != now[name] for name in now if name != "received_at"):
            return _another(stored[0])
        return Receipt("duplicate", stored[0], "the same was here already")

    def _insert(self, statement: str, row: tuple[object, ...]) -> int:
        seq = self.seq
        self.connection.exec_driver_sql(statement, (seq, *row))
        self.seq += 1
        return seq

    def _find(self, query: str, *values: object) -> Row[Any] | None:
        return self.connection.exec_driver_sql(query, values).one_or_none()

    def _one(self, query: str, *values: object) -> Row[Any]:
        return self.connection.exec_driver_sql(query, values).one()


def pack(typecode: str, values: list[int] | tuple[float, ...]) -> bytes:
    """Return a little-endian vector; ``i`` for int32, ``d`` for float64."""
    packed = array(typecode, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _another(seq: int) -> Receipt:
    return Receipt("conflict", seq, "id: the log holds another record under it; mint a new id")
