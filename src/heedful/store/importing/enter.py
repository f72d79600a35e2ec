"""From events to rows of the log: many at a time, by the same rules as one at a time.

A decision that the log does not have cannot clash with anything, so it and its feedback go in
without being looked at one by one. Rows about a decision that is there take the common door.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful.record import Feedback, Kind, content_id, pseudonym
from heedful.store.admission import INSERT_DECISION, INSERT_FEEDBACK, Admission
from heedful.store.codec import KIND_CODE
from heedful.store.importing.checks import NO_CLICK, Events
from heedful.store.importing.events import Positions
from heedful.store.importing.report import Findings, Problem

CHUNK = 32_768
MADE_ELSEWHERE = "import"
"""The policy and the vocabulary of history that somebody else made."""

SAID = (Kind.CLICK, Kind.RATING, Kind.COMMENT)
"""What a row of a file can say, in the order in which it enters the log."""

Codes = NDArray[np.int32]


class Entry:
    """Puts events into the log.

    Attributes:
        added: rows that added something.
        duplicates: rows that were there already.
    """

    def __init__(
        self, admission: Admission, events: Events, key: bytes, findings: Findings
    ) -> None:
        self.added = 0
        self.duplicates = 0
        self._admission = admission
        self._events = events
        self._findings = findings
        self._subjects = [pseudonym(user, key) for user in events.subjects]
        self._units = list(events.units)
        self._episode, self._episodes = _episodes(events, self._subjects)
        self._names = {
            "subjects": self._subjects,
            "people": self._subjects,
            "units": self._units,
            "episodes": self._episodes,
        }
        self._codes = {kind: np.full(len(of), -1, np.int32) for kind, of in self._names.items()}
        self._steps = self._next_steps()

    def enter(self, rows: Positions, progress: Callable[[int, int], None]) -> None:
        """Put the events at ``rows`` into the log, in that order."""
        for begin in range(0, len(rows), CHUNK):
            chunk = rows[begin : begin + CHUNK]
            ids = self._ids(chunk)
            known = self._known("decisions", ids)
            new = np.array([decision not in known for decision in ids], dtype=np.bool_)
            if new.any():
                self._enter_new(chunk[new], [i for i in ids if i not in known])
            if known:
                self._enter_again(chunk[~new].tolist(), [i for i in ids if i in known])
            progress(begin + len(chunk), len(rows))
        self._admission.join_all()

    def _ids(self, rows: Positions) -> list[str]:
        """Return ids that depend on what happened alone: person, session, unit and moment."""
        episodes, units = self._episodes, self._units
        columns = (self._episode[rows], self._column("unit")[rows], self._column("at")[rows])
        return [
            content_id(MADE_ELSEWHERE, episodes[episode], units[unit], at=at)
            for episode, unit, at in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _known(self, table: str, ids: list[str]) -> set[str]:
        query = f"SELECT id FROM {table} WHERE id IN (SELECT value FROM json_each(?))"
        return {id_ for (id_,) in self._admission.sql.all(query, json.dumps(ids))}

    # New decisions

    def _enter_new(self, rows: Positions, ids: list[str]) -> None:
        said = [(kind, self._said(kind)[rows]) for kind in SAID]
        spoke = {kind: _spoken(kind, values) for kind, values in said}
        width = 1 + np.sum(list(spoke.values()), axis=0)
        seqs = self._admission.seq + np.cumsum(width) - width
        self._insert_decisions(rows, ids, seqs)
        feedback: list[tuple[Any, ...]] = []
        place = seqs + 1
        for kind, values in said:
            at = np.flatnonzero(spoke[kind])
            feedback += self._feedback(kind, rows[at], values[at], place[at], seqs[at], ids, at)
            place[at] += 1
        feedback.sort()
        if feedback:
            self._insert_feedback(feedback)
        self._admission.seq += int(width.sum())
        self.added += len(rows)

    def _insert_decisions(self, rows: Positions, ids: list[str], seqs: Positions) -> None:
        episode = self._episode[rows]
        units = self._coded("units", self._column("unit")[rows]).astype("<i4").tobytes()
        columns = (
            seqs.tolist(),
            ids,
            self._coded("episodes", episode).tolist(),
            self._number_steps(episode).tolist(),
            self._coded("subjects", self._column("subject")[rows]).tolist(),
            self._column("at")[rows].tolist(),
            [units[i : i + 4] for i in range(0, len(units), 4)],
        )
        policy, vocabulary = self._made_elsewhere()
        self._admission.sql.run_many(
            INSERT_DECISION,
            [
                (seq, id_, episode, step, subject, 0, policy, vocabulary, at, unit, None, "")
                for seq, id_, episode, step, subject, at, unit in zip(*columns, strict=True)
            ],
        )

    def _feedback(
        self,
        kind: Kind,
        rows: Positions,
        values: NDArray[Any],
        seqs: Positions,
        decisions: Positions,
        ids: list[str],
        places: Positions,
    ) -> Iterator[tuple[Any, ...]]:
        """Yield rows of the table, with the giver's local number where the code will stand."""
        columns = (seqs, self._column("subject")[rows], decisions, self._column("at")[rows])
        lists = [column.tolist() for column in columns]
        code, is_text = KIND_CODE[kind], kind is Kind.COMMENT
        for place, value, seq, by, decision, at in zip(
            places.tolist(), values.tolist(), *lists, strict=True
        ):
            id_ = _feedback_id(ids[place], kind, value, at)
            number, text = (None, value) if is_text else (float(value), "")
            yield (
                *(seq, id_, by, decision, None, None, None),
                *(0, code, number, text, at, at, None),
            )

    def _insert_feedback(self, feedback: list[tuple[Any, ...]]) -> None:
        """Insert rows in the order of the log; givers get their codes in that order too."""
        givers = np.fromiter((row[2] for row in feedback), np.int64, len(feedback))
        codes = self._coded("people", givers).tolist()
        self._admission.sql.run_many(
            INSERT_FEEDBACK,
            [(*row[:2], code, *row[3:]) for row, code in zip(feedback, codes, strict=True)],
        )

    def _coded(self, kind: str, local: NDArray[Any]) -> Codes:
        """Return the log's codes; new names get theirs in the order of first appearance."""
        codes, names = self._codes[kind], self._names[kind]
        missing = local[codes[local] < 0]
        if len(missing):
            first = np.sort(np.unique(missing, return_index=True)[1])
            new = missing[first]
            wanted = [names[code] for code in new.tolist()]
            codes[new] = self._admission.names.intern_many(self._admission.sql, kind, wanted)
        return np.asarray(codes[local])

    def _made_elsewhere(self) -> tuple[int, int]:
        sql, names = self._admission.sql, self._admission.names
        policy = names.intern(sql, "policies", MADE_ELSEWHERE)
        return policy, names.intern(sql, "vocabularies", MADE_ELSEWHERE)

    def _number_steps(self, episode: NDArray[Any]) -> Positions:
        """Return each event's number within its episode, going on from what the log has."""
        by_episode = np.argsort(episode, kind="stable")
        grouped = episode[by_episode]
        begins = np.searchsorted(grouped, grouped, side="left")
        counted = np.empty(len(episode), dtype=np.int64)
        counted[by_episode] = np.arange(len(episode)) - begins
        steps = self._steps[episode] + counted
        self._steps += np.bincount(episode, minlength=len(self._steps))
        return np.asarray(steps)

    def _next_steps(self) -> Positions:
        """Return the next step of every episode of the file: ``int64 [episodes]``."""
        steps = np.zeros(len(self._episodes), dtype=np.int64)
        rows = self._admission.sql.all(
            "SELECT e.name, max(d.step) + 1 FROM decisions d JOIN episodes e ON e.code = d.episode "
            "WHERE d.subject IN (SELECT code FROM subjects WHERE name IN "
            "(SELECT value FROM json_each(?))) GROUP BY d.episode",
            json.dumps(self._subjects),
        )
        if rows:
            place = {name: code for code, name in enumerate(self._episodes)}
            for name, step in rows:
                if name in place:
                    steps[place[name]] = step
        return steps

    # Decisions that are there already

    def _enter_again(self, rows: list[int], ids: list[str]) -> None:
        """Admit what rows say about decisions that the log has, if they say anything new."""
        said = [list(self._feedback_of(row, id_)) for row, id_ in zip(rows, ids, strict=True)]
        known = self._known("feedback", [feedback.id for row in said for feedback in row])
        for row, feedbacks in zip(rows, said, strict=True):
            new = [feedback for feedback in feedbacks if feedback.id not in known]
            receipts = [self._admission.admit(feedback) for feedback in new]
            self.added += any(receipt.status == "added" for receipt in receipts)
            self.duplicates += all(receipt.status == "duplicate" for receipt in receipts)
            for receipt in receipts:
                if not receipt.kept:
                    line = int(self._events.line[row])
                    self._findings.add(Problem(line, "", "conflict", "", receipt.reason), "")

    def _feedback_of(self, row: int, decision: str) -> Iterator[Feedback]:
        at = float(self._column("at")[row])
        for kind in SAID:
            values = self._said(kind)[[row]]
            if not _spoken(kind, values)[0]:
                continue
            value = values.tolist()[0]
            yield Feedback(
                id=_feedback_id(decision, kind, value, at),
                by=self._subjects[self._events.subject[row]],
                about=decision,
                unit=0,
                kind=kind,
                value=bool(value) if kind is Kind.CLICK else value,
                given_at=at,
                received_at=at,
            )

    def _column(self, name: str) -> NDArray[Any]:
        return self._events.column(name)

    def _said(self, kind: Kind) -> NDArray[Any]:
        return self._comments if kind is Kind.COMMENT else self._column(kind.value)

    @cached_property
    def _comments(self) -> NDArray[np.object_]:
        n = len(self._events.line)
        return np.array(self._events.comment or [""] * n, dtype=object)


def _spoken(kind: Kind, values: NDArray[Any]) -> NDArray[np.bool_]:
    if kind is Kind.CLICK:
        return np.asarray(values != NO_CLICK)
    if kind is Kind.RATING:
        return np.asarray(~np.isnan(values))
    return np.asarray(values != "", dtype=np.bool_)


def _feedback_id(decision: str, kind: Kind, value: object, at: float) -> str:
    return content_id(decision, kind.value, value, at=at)


def _episodes(events: Events, subjects: list[str]) -> tuple[NDArray[Any], list[str]]:
    """Return each row's episode by number, and their names: one for each subject and session."""
    subject: NDArray[Any] = events.column("subject")
    session: NDArray[Any] = events.column("session")
    sessions = list(events.sessions)
    if sessions == [""]:
        return subject, subjects
    pairs, episode = np.unique(
        subject.astype(np.int64) * len(sessions) + session, return_inverse=True
    )
    names = []
    for pair in pairs.tolist():
        of, within = subjects[pair // len(sessions)], sessions[pair % len(sessions)]
        names.append(f"{of}:{within}" if within else of)
    return episode, names
