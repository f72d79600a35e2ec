"""What feedback has to fit: the decision or span it is about, and what was said before."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import NamedTuple

from heedful.record import Feedback, Kind, Preference, Span
from heedful.store.codec import KIND_CODE
from heedful.store.names import Interner
from heedful.store.receipts import Receipt
from heedful.store.statements import Statements


class Missing(NamedTuple):
    """What feedback refers to and the log does not have yet.

    Attributes:
        sort: ``decision``, ``episode`` or ``feedback``.
        name: its id or name.
    """

    sort: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """What a feedback is about, as the log knows it.

    Attributes:
        decision: its sequence number; None for a span.
        span: episode code, start and stop.
        length: units of the decision.
        target: the row of the feedback that it takes back, where it takes back any.
    """

    decision: int | None
    span: tuple[int, int, int] | None
    length: int
    target: sqlite3.Row | None = None


class Rules:
    """Questions about feedback, answered from the log as it stands; nothing is written."""

    def __init__(self, sql: Statements, names: Interner) -> None:
        self._sql = sql
        self._names = names

    def place(self, record: Feedback) -> Place | Missing:
        """Return what the feedback is about, or the first thing it refers to that is not here."""
        place = self._about(record.about)
        if isinstance(place, Missing):
            return place
        if isinstance(record.value, Preference):
            over = self._about(record.value.over)
            if isinstance(over, Missing):
                return over
        if record.retracts is None:
            return place
        target = self._sql.find("SELECT * FROM feedback WHERE id = ?", record.retracts)
        if target is None:
            return Missing("feedback", record.retracts)
        return replace(place, target=target)

    def _about(self, about: str | Span) -> Place | Missing:
        if isinstance(about, Span):
            episode = self._names.find(self._sql, "episodes", about.episode)
            if episode < 0:
                return Missing("episode", about.episode)
            return Place(None, (episode, about.start, about.stop), 0)
        query = "SELECT seq, length(units) / 4 FROM decisions WHERE id = ?"
        found = self._sql.find(query, about)
        return Missing("decision", about) if found is None else Place(found[0], None, found[1])

    def objection(self, record: Feedback, place: Place) -> Receipt | None:
        """Return why the feedback cannot stand beside what is in the log, or None."""
        if place.decision is not None and record.unit >= place.length:
            return Receipt(
                "refused",
                reason=f"unit: is {record.unit}, and the decision has {place.length}, "
                "counted from 0",
            )
        if place.target is not None:
            return self._retraction_objection(record, place, place.target)
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
        by = self._names.find(self._sql, "people", record.by)
        same = 'unit = ? AND kind = ? AND "by" = ? AND retracts IS NULL'
        values: tuple[object, ...] = (record.unit, KIND_CODE[record.kind], by)
        if place.span is None:
            of, values = "decision = ?", (place.decision, *values)
        else:
            of, values = "episode = ? AND start = ? AND stop = ?", (*place.span, *values)
        query = f"SELECT seq, decision, episode FROM feedback WHERE {of} AND {same}"
        rows = self._sql.all(query, *values)
        return next((row[0] for row in rows if not self._taken_back(*row)), None)

    def _retraction_objection(
        self, record: Feedback, place: Place, target: sqlite3.Row
    ) -> Receipt | None:
        span = (target["episode"], target["start"], target["stop"])
        reason = ""
        if target["by"] != self._names.find(self._sql, "people", record.by):
            reason = "only who gave feedback can take it back"
        elif (target["decision"], span) != (place.decision, place.span or (None, None, None)):
            reason = "it names another decision or span than what it takes back"
        elif target["kind"] != KIND_CODE[record.kind]:
            reason = "it is of another kind than what it takes back"
        elif target["retracts"] is not None:
            reason = "a retraction cannot be taken back; give the feedback again"
        elif self._taken_back(target["seq"], target["decision"], target["episode"]):
            reason = "it has been taken back already"
        return Receipt("refused", reason=f"retracts: {reason}") if reason else None

    def _taken_back(self, seq: int, decision: int | None, episode: int | None) -> bool:
        column = "episode" if decision is None else "decision"
        query = f"SELECT 1 FROM feedback WHERE {column} = ? AND retracts = ?"
        return self._sql.value(query, episode if decision is None else decision, seq) is not None

    def seq_of(self, decision: str) -> int | None:
        """Return the sequence number of a decision, or None where its id is not known."""
        seq: int | None = self._sql.value("SELECT seq FROM decisions WHERE id = ?", decision)
        return seq
