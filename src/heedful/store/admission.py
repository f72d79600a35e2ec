"""The rules by which a record enters the log, one record at a time within one transaction."""

from __future__ import annotations

import sqlite3
import sys
from array import array
from collections.abc import Callable

from sqlalchemy import Connection

from heedful.record import ALL, UNKNOWN, ChoiceSet, Decision, Description, End, Feedback
from heedful.record.decision import encode_context
from heedful.store.codec import (
    KIND_CODE,
    context_text,
    decode_feedback,
    encode_feedback,
    number_of,
    text_of,
)
from heedful.store.descriptions import KINDS
from heedful.store.memory import Record
from heedful.store.names import Interner
from heedful.store.receipts import Receipt
from heedful.store.rules import Missing, Place, Rules
from heedful.store.statements import Statements

MAX_STEP = 2**31 - 1

INSERT_DECISION = "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_FEEDBACK = "INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_END = "INSERT INTO ends VALUES (?, ?, ?, ?, ?, ?)"
INSERT_DESCRIPTION = "INSERT INTO descriptions VALUES (?, ?, ?, ?, ?)"

Code = Callable[[Statements, str, str], int]


class Admission:
    """Appends records within a transaction that the caller began and will commit.

    Every check of a record comes before its first write, so that a record that is not taken leaves
    no trace and its neighbours do not notice.
    """

    def __init__(self, connection: Connection, names: Interner) -> None:
        self.sql = Statements(connection)
        self.names = names
        self._rules = Rules(self.sql, names)
        self.seq: int = self.sql.value("SELECT next_seq FROM state")
        self._any_parked: bool = self.sql.value("SELECT EXISTS (SELECT 1 FROM parked)")

    def close(self) -> None:
        """Write down the next sequence number; the caller commits."""
        self.sql.run("UPDATE state SET next_seq = ?", self.seq)

    def choice_set(self, choices: ChoiceSet) -> None:
        """Store ``choices`` under its digest, once."""
        digest = choices.digest()
        if self.names.find(self.sql, "choice_sets", digest) < 0:
            code = self.names.allot(self.sql, "choice_sets")
            self.sql.run("INSERT INTO choice_sets VALUES (?, ?, ?)", code, digest, choices.body())

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

    def describe(self, record: Description) -> Receipt:
        """Append a description, unless it says what is known already."""
        kind, facts = KINDS.index(record.of), encode_context(record.facts, field="facts")
        stored = self.sql.find(
            "SELECT seq, facts FROM descriptions WHERE kind = ? AND name = ? "
            "ORDER BY seq DESC LIMIT 1",
            *(kind, record.name),
        )
        if stored is not None and stored["facts"] == facts:
            return Receipt("duplicate", stored["seq"], "the same was known already")
        if stored is None and facts == "{}":
            return Receipt("duplicate", reason="nothing was known already")
        row = (kind, record.name, facts, float(record.given_at))
        return Receipt("added", self._insert(INSERT_DESCRIPTION, row))

    def join_all(self) -> None:
        """Admit every parked row whose decision, episode or feedback is here by now."""
        for kind, table, name in (
            ("decision", "decisions", "id"),
            ("episode", "episodes", "name"),
            ("feedback", "feedback", "id"),
        ):
            arrived = self.sql.all(
                f"SELECT DISTINCT waits_for FROM parked JOIN {table} t ON t.{name} = waits_for "
                "WHERE waits_on = ? AND refused IS NULL",
                kind,
            )
            for (waits_for,) in arrived:
                self._join(kind, waits_for)

    # Decisions and ends

    def _decision(self, record: Decision) -> Receipt:
        stored = self.sql.find("SELECT * FROM decisions WHERE id = ?", record.id)
        if stored is not None:
            return self._again(stored, self._decision_row(record, self.names.find))
        if self.names.find(self.sql, "choice_sets", record.choices) < 0:
            return Receipt(
                "refused",
                reason=f"choices: no set {record.choices} is stored; append it in choice_sets, "
                f"or say {ALL!r}",
            )
        if record.step > MAX_STEP:
            return Receipt("refused", reason=f"step: is {record.step}; count from 0 per episode")
        begins = self.names.find(self.sql, "episodes", record.episode) < 0
        seq = self._insert(INSERT_DECISION, self._decision_row(record, self.names.intern))
        self._join("decision", record.id)
        if begins:
            self._join("episode", record.episode)
        return Receipt("added", seq)

    def _decision_row(self, record: Decision, code: Code) -> tuple[object, ...]:
        sql = self.sql
        return (
            record.id,
            code(sql, "episodes", record.episode),
            record.step,
            code(sql, "subjects", record.subject),
            self.names.find(sql, "choice_sets", record.choices),
            code(sql, "policies", record.policy),
            code(sql, "vocabularies", record.vocabulary),
            float(record.made_at),
            pack("i", [code(sql, "units", unit) for unit in record.units]),
            None if record.logps is UNKNOWN else pack("d", record.logps),
            context_text(record.context),
        )

    def _end(self, record: End) -> Receipt:
        stored = self.sql.find("SELECT * FROM ends WHERE id = ?", record.id)
        if stored is not None:
            return self._again(stored, self._end_row(record, self.names.find))
        episode = self.names.find(self.sql, "episodes", record.episode)
        if self.sql.value("SELECT seq FROM ends WHERE episode = ?", episode) is not None:
            return Receipt("conflict", reason=f"episode {record.episode} has ended already")
        seq = self._insert(INSERT_END, self._end_row(record, self.names.intern))
        if episode < 0:
            self._join("episode", record.episode)
        return Receipt("added", seq)

    def _end_row(self, record: End, code: Code) -> tuple[object, ...]:
        episode = code(self.sql, "episodes", record.episode)
        context = context_text(record.context)
        return (record.id, episode, int(record.terminated), float(record.ended_at), context)

    # Feedback

    def _feedback(self, record: Feedback) -> Receipt:
        stored = self.sql.find("SELECT * FROM feedback WHERE id = ?", record.id)
        place = self._rules.place(record)
        if stored is not None:
            if isinstance(place, Missing):
                return _another(stored["seq"])
            return self._again(stored, self._feedback_row(record, place, self.names.find))
        if self._any_parked and (parked := self._parked(record)) is not None:
            return parked
        if isinstance(place, Missing):
            return self._park(record, place)
        objection = self._rules.objection(record, place)
        if objection is not None:
            return objection
        seq = self._insert(INSERT_FEEDBACK, self._feedback_row(record, place, self.names.intern))
        self._join("feedback", record.id)
        return Receipt("added", seq)

    def _feedback_row(self, record: Feedback, place: Place, code: Code) -> tuple[object, ...]:
        number = number_of(record)
        return (
            record.id,
            code(self.sql, "people", record.by),
            place.decision,
            *(place.span or (None, None, None)),
            record.unit,
            KIND_CODE[record.kind],
            None if number != number else number,
            text_of(record, self._rules.seq_of),
            float(record.given_at),
            float(record.received_at),
            None if place.target is None else place.target["seq"],
        )

    # Feedback that came too early

    def _parked(self, record: Feedback) -> Receipt | None:
        row = self.sql.find("SELECT body, refused FROM parked WHERE id = ?", record.id)
        if row is None:
            return None
        if row["body"] != encode_feedback(record):
            return Receipt("conflict", reason="id: other feedback is waiting under it")
        if row["refused"] is not None:
            return Receipt("refused", reason=row["refused"])
        return Receipt("duplicate", reason="it is waiting for what it is about")

    def _park(self, record: Feedback, missing: Missing) -> Receipt:
        self.sql.run(
            "INSERT INTO parked (id, waits_on, waits_for, body, received_at) "
            "VALUES (?, ?, ?, ?, ?)",
            *(record.id, *missing, encode_feedback(record), float(record.received_at)),
        )
        self._any_parked = True
        reason = f"no {missing.sort} {missing.name} yet; joined when it comes"
        return Receipt("parked", reason=reason)

    def _join(self, waits_on: str, waits_for: str) -> None:
        """Admit what waited; what does not fit stays parked, with the reason, and is counted."""
        if not self._any_parked:
            return
        rows = self.sql.all(
            "SELECT number, body, received_at FROM parked "
            "WHERE waits_for = ? AND waits_on = ? AND refused IS NULL ORDER BY number",
            *(waits_for, waits_on),
        )
        for number, body, received_at in rows:
            self.sql.run("DELETE FROM parked WHERE number = ?", number)
            record = decode_feedback(body, received_at)
            receipt = self._feedback(record)
            if not receipt.kept:
                self.sql.run(
                    "INSERT INTO parked VALUES (?, ?, ?, ?, ?, ?, ?)",
                    *(number, record.id, waits_on, waits_for, body, received_at, receipt.reason),
                )

    # Both

    def _again(self, stored: sqlite3.Row, row: tuple[object, ...]) -> Receipt:
        """Compare a record with the one its id stands for; the time of arrival does not count."""
        now = dict(zip(stored.keys()[1:], row, strict=True))
        if any(stored[name] != now[name] for name in now if name != "received_at"):
            return _another(stored["seq"])
        return Receipt("duplicate", stored["seq"], "the same was here already")

    def _insert(self, statement: str, row: tuple[object, ...]) -> int:
        seq = self.seq
        self.sql.run(statement, seq, *row)
        self.seq += 1
        return seq


def pack(typecode: str, values: list[int] | tuple[float, ...]) -> bytes:
    """Return a little-endian vector; ``i`` for int32, ``d`` for float64."""
    packed = array(typecode, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _another(seq: int) -> Receipt:
    return Receipt("conflict", seq, "id: the log holds another record under it; mint a new id")
