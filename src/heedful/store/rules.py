"""What feedback has to fit: the decision or span it is about, and what was said before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from heedful.record import Feedback, Kind, Preference, Span
from heedful.store.codec import KIND_CODE
from heedful.store.names import Interner
from heedful.store.receipts import Receipt


@dataclass(frozen=True, slots=True)
class Place:
    """What a feedback is about, as the log knows it.

    Attributes:
        decision: its sequence number; None for a span.
        span: episode code, start and stop.
        length: units of the decision.
    """

    decision: int | None
    span: tuple[int, int, int] | None
    length: int


class Rules:
    """Questions about feedback, answered from the log as it stands; nothing is written."""

    def __init__(self, connection: Connection, names: Interner) -> None:
        self._connection = connection
        self._names = names

    def missing(self, record: Feedback) -> tuple[str, str] | None:
        """Return what the feedback refers to and the log does not have yet: sort and name."""
        about = [record.about]
        if isinstance(record.value, Preference):
            about.append(record.value.over)
        for named in about:
            if isinstance(named, Span):
                if self._names.find(self._connection, "episodes", named.episode) < 0:
                    return "episode", named.episode
            elif self.seq_of(named) is None:
                return "decision", named
        if record.retracts is not None:
            target = self._find("SELECT seq FROM feedback WHERE id = ?", record.retracts)
            if target is None:
                return "feedback", record.retracts
        return None

    def place(self, record: Feedback) -> Place:
        """Return what the feedback is about; nothing of it may be missing."""
        if isinstance(record.about, Span):
            episode = self._names.find(self._connection, "episodes", record.about.episode)
            return Place(None, (episode, record.about.start, record.about.stop), 0)
        query = "SELECT seq, length(units) / 4 AS n_units FROM decisions WHERE id = ?"
        decision = self._one(query, record.about)
        return Place(decision.seq, None, decision.n_units)

    def objection(self, record: Feedback, place: Place) -> Receipt | None:
        """Return why the feedback cannot stand beside what is in the log, or None."""
        if place.decision is not None and record.unit >= place.length:
            return Receipt(
                "refused",
                reason=f"unit: is {record.unit}, and the decision has {place.length}, "
                "counted from 0",
            )
        if record.retracts is not None:
            return self._retraction_objection(record, place)
        if record.kind is Kind.COMMENT:
            return None
        standing = self._standing(record, place)
        if standing is None:
            return None
        return Receipt(
            "conflict",
            standing,
            f"{record.kind}: this person's earlier one stands; retract first, then give another",
        )

    def _standing(self, record: Feedback, place: Place) -> int | None:
        """Return the unretracted value of the same giver for the same thing."""
        by = self._names.find(self._connection, "people", record.by)
        same = 'unit = ? AND kind = ? AND "by" = ? AND retracts IS NULL'
        values: tuple[object, ...] = (record.unit, KIND_CODE[record.kind], by)
        if place.span is None:
            of, values = "decision = ?", (place.decision, *values)
        else:
            of, values = "episode = ? AND start = ? AND stop = ?", (*place.span, *values)
        rows = self._connection.exec_driver_sql(
            f"SELECT seq, decision, episode FROM feedback WHERE {of} AND {same}", values
        ).fetchall()
        return next((row.seq for row in rows if not self._taken_back(*row)), None)

    def _retraction_objection(self, record: Feedback, place: Place) -> Receipt | None:
        target = self._one("SELECT * FROM feedback WHERE id = ?", record.retracts)
        span = (target.episode, target.start, target.stop)
        reason = ""
        if target.by != self._names.find(self._connection, "people", record.by):
            reason = "only who gave feedback can take it back"
        elif (target.decision, span) != (place.decision, place.span or (None, None, None)):
            reason = "it names another decision or span than what it takes back"
        elif target.kind != KIND_CODE[record.kind]:
            reason = "it is of another kind than what it takes back"
        elif target.retracts is not None:
            reason = "a retraction cannot be taken back; give the feedback again"
        elif self._taken_back(target.seq, target.decision, target.episode):
            reason = "it has been taken back already"
        return Receipt("refused", reason=f"retracts: {reason}") if reason else None

    def _taken_back(self, seq: int, decision: int | None, episode: int | None) -> bool:
        column = "episode" if decision is None else "decision"
        query = f"SELECT 1 FROM feedback WHERE {column} = ? AND retracts = ?"
        return self._find(query, episode if decision is None else decision, seq) is not None

    def seq_of(self, decision: str) -> int | None:
        """Return the sequence number of a decision, or None where its id is not known."""
        row = self._find("SELECT seq FROM decisions WHERE id = ?", decision)
        return None if row is None else row[0]

    def _find(self, query: str, *values: object) -> Row[Any] | None:
        return self._connection.exec_driver_sql(query, values).one_or_none()

    def _one(self, query: str, *values: object) -> Row[Any]:
        return self._connection.exec_driver_sql(query, values).one()
