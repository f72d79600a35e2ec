"""From events to rows of the log: many at a time, by the same rules as one at a time.

A decision that the log does not have cannot clash with anything, so it and its feedback go in
without being looked at one by one. Rows about a decision that is there take the common door.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful.record import Feedback, Kind, content_id, pseudonym
from heedful.store.admission import INSERT_DECISION, INSERT_END, INSERT_FEEDBACK, Admission
from heedful.store.codec import KIND_CODE
from heedful.store.columns import Ints
from heedful.store.importing.cells import NO_CLICK
from heedful.store.importing.checks import Events
from heedful.store.importing.clashes import Body, find_clashes
from heedful.store.importing.events import Order
from heedful.store.importing.report import Findings, Problem

CHUNK = 32_768
MADE_ELSEWHERE = "import"
"""The vocabulary of history that somebody else made, and its policy where nobody names one."""

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
        self,
        admission: Admission,
        events: Events,
        key: bytes,
        findings: Findings,
        made_by: str = "",
    ) -> None:
        self.added = 0
        self.duplicates = 0
        self._admission = admission
        self._events = events
        self._findings = findings
        self._subjects = [pseudonym(user, key) for user in events.subjects]
        self._units = list(events.units)
        self._decisions, self._contexts = list(events.decisions), list(events.contexts)
        self._policies = [policy_name(name or made_by) for name in events.policies]
        self._episode, self._episodes = _episodes(events, self._subjects)
        self._names = {
            "subjects": self._subjects,
            "people": self._subjects,
            "units": self._units,
            "episodes": self._episodes,
            "policies": self._policies,
        }
        self._codes = {kind: np.full(len(of), -1, np.int32) for kind, of in self._names.items()}
        self._steps = self._next_steps()

    def enter(self, order: Order, progress: Callable[[int, int], None]) -> None:
        """Put the decisions of ``order`` into the log."""
        for begin in range(0, order.n, CHUNK):
            part = order.take(np.arange(begin, min(begin + CHUNK, order.n)))
            ids = self._ids(part.first)
            known = self._known("decisions", ids)
            new = np.array([decision not in known for decision in ids], dtype=np.bool_)
            if new.any():
                self._enter_new(part.take(np.flatnonzero(new)), [i for i in ids if i not in known])
            if known:
                again = part.take(np.flatnonzero(~new))
                self._enter_again(again, [i for i in ids if i in known])
            progress(int(order.offsets[begin + part.n]), len(order.rows))
        self._admission.join_all()

    def _ids(self, firsts: Ints) -> list[str]:
        """Return ids that depend on what happened alone, given each decision's first row.

        That is person, session, moment, and the name of the decision, or its one unit without a
        name. Probabilities are no part of it: two versions of one decision shall clash.
        """
        episodes, units, decisions = self._episodes, self._units, self._decisions
        names = ("unit", "decision", "at")
        columns = (self._episode[firsts], *(self._column(name)[firsts] for name in names))
        return [
            content_id(MADE_ELSEWHERE, episodes[episode], "decision", decisions[decision], at=at)
            if decision
            else content_id(MADE_ELSEWHERE, episodes[episode], units[unit], at=at)
            for episode, unit, decision, at in zip(*(c.tolist() for c in columns), strict=True)
        ]

    def _known(self, table: str, ids: list[str]) -> set[str]:
        query = f"SELECT id FROM {table} WHERE id IN (SELECT value FROM json_each(?))"
        return {id_ for (id_,) in self._admission.sql.all(query, json.dumps(ids))}

    # New decisions

    def _enter_new(self, part: Order, ids: list[str]) -> None:
        """Insert each decision, what was said of its units, and its end where nobody was named."""
        rows, decision = part.rows, part.decision
        said = [(kind, self._said(kind)[rows]) for kind in SAID]
        spoke = {kind: _spoken(kind, values) for kind, values in said}
        answers = np.sum(list(spoke.values()), axis=0)
        before = np.cumsum(answers) - answers  # in the whole part
        ends = int(self._events.anonymous)
        own = np.arange(part.n) * (1 + ends)
        seqs = self._admission.seq + own + np.append(before, answers.sum())[part.offsets[:-1]]
        self._insert_decisions(part, ids, seqs)
        feedback: list[tuple[Any, ...]] = []
        place = self._admission.seq + own[decision] + 1 + before
        for kind, values in said:
            at = np.flatnonzero(spoke[kind])
            feedback += self._feedback(kind, part, ids, at, values[at], place[at], seqs)
            place[at] += 1
        feedback.sort()
        if feedback:
            self._insert_feedback(feedback)
        width = part.n * (1 + ends) + int(answers.sum())
        if ends:
            after = np.append(seqs[1:], self._admission.seq + width) - 1
            self._insert_ends(part, ids, after)
        self._admission.seq += width
        self.added += len(rows)

    def _insert_decisions(self, part: Order, ids: list[str], seqs: Ints) -> None:
        first = part.first
        episode = self._episode[first]
        units = self._coded("units", self._column("unit")[part.rows]).astype("<i4")
        columns = (
            seqs.tolist(),
            ids,
            self._coded("episodes", episode).tolist(),
            self._number_steps(episode).tolist(),
            self._coded("subjects", self._column("subject")[first]).tolist(),
            self._coded("policies", self._column("policy")[first]).tolist(),
            self._column("at")[first].tolist(),
            _blobs(units, part.offsets),
            self._logps(part),
            self._column("context")[first].tolist(),
        )
        sql, contexts = self._admission.sql, self._contexts
        vocabulary = self._admission.names.intern(sql, "vocabularies", MADE_ELSEWHERE)
        rows = [
            (
                *(seq, id_, episode, step, subject, 0, policy, vocabulary, at),
                *(unit, logps, contexts[context]),
            )
            for seq, id_, episode, step, subject, policy, at, unit, logps, context in zip(
                *columns, strict=True
            )
        ]
        sql.run_many(INSERT_DECISION, rows)

    def _logps(self, part: Order) -> list[bytes | None]:
        """Return natural-log probabilities as the log keeps them; None where they are UNKNOWN."""
        logps = np.log(self._column("propensity")[part.rows]).astype("<f8")
        unknown = np.isnan(logps[part.offsets[:-1]]).tolist()
        if all(unknown):
            return [None] * part.n
        blobs = _blobs(logps, part.offsets)
        return [None if hidden else blob for hidden, blob in zip(unknown, blobs, strict=True)]

    def _feedback(
        self,
        kind: Kind,
        part: Order,
        ids: list[str],
        at: Ints,
        values: NDArray[Any],
        seqs: Ints,
        decisions: Ints,
    ) -> Iterator[tuple[Any, ...]]:
        """Yield rows of the table, with the giver's local number where the code will stand.

        Args:
            kind: what was said.
            part: about which decisions.
            ids: theirs.
            at: at which rows of ``part`` it was said.
            values: what, there.
            seqs: the sequence number of each.
            decisions: those of the decisions.
        """
        rows, decision = part.rows[at], part.decision[at]
        columns = (
            *(decision, part.place[at], values, seqs, self._column("subject")[rows]),
            *(decisions[decision], self._column("at")[rows]),
        )
        code, is_text = KIND_CODE[kind], kind is Kind.COMMENT
        for number, unit, value, seq, by, about, when in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            id_ = _feedback_id(ids[number], unit, kind, value, when)
            told, text = (None, value) if is_text else (float(value), "")
            yield (
                *(seq, id_, by, about, None, None, None),
                *(unit, code, told, text, when, when, None),
            )

    def _insert_feedback(self, feedback: list[tuple[Any, ...]]) -> None:
        """Insert rows in the order of the log; givers get their codes in that order too."""
        givers = np.fromiter((row[2] for row in feedback), np.int64, len(feedback))
        codes = self._coded("people", givers).tolist()
        self._admission.sql.run_many(
            INSERT_FEEDBACK,
            [(*row[:2], code, *row[3:]) for row, code in zip(feedback, codes, strict=True)],
        )

    def _insert_ends(self, part: Order, ids: list[str], seqs: Ints) -> None:
        """End the episodes of subjects whom nobody will meet again."""
        at = self._column("at")[part.first].tolist()
        episodes = self._coded("episodes", self._episode[part.first]).tolist()
        self._admission.sql.run_many(
            INSERT_END,
            [
                (seq, content_id(id_, "end", at=when), episode, 1, when, "")
                for seq, id_, episode, when in zip(seqs.tolist(), ids, episodes, at, strict=True)
            ],
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

    def _number_steps(self, episode: NDArray[Any]) -> Ints:
        """Return each event's number within its episode, going on from what the log has."""
        by_episode = np.argsort(episode, kind="stable")
        grouped = episode[by_episode]
        begins = np.searchsorted(grouped, grouped, side="left")
        counted = np.empty(len(episode), dtype=np.int64)
        counted[by_episode] = np.arange(len(episode)) - begins
        steps = self._steps[episode] + counted
        self._steps += np.bincount(episode, minlength=len(self._steps))
        return np.asarray(steps)

    def _next_steps(self) -> Ints:
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

    def _enter_again(self, part: Order, ids: list[str]) -> None:
        """Admit what rows say about decisions that the log has, if they say anything new."""
        clashes = find_clashes(self._admission.sql, ids, self._bodies(part))
        bounds = zip(ids, part.offsets[:-1].tolist(), part.offsets[1:].tolist(), strict=True)
        said = [
            (row, list(self._feedback_of(row, id_, unit)))
            for id_, begin, end in bounds
            if id_ not in clashes
            for unit, row in enumerate(part.rows[begin:end].tolist())
        ]
        known = self._known("feedback", [feedback.id for _, row in said for feedback in row])
        for row, feedbacks in said:
            new = [feedback for feedback in feedbacks if feedback.id not in known]
            receipts = [self._admission.admit(feedback) for feedback in new]
            self.added += any(receipt.status == "added" for receipt in receipts)
            self.duplicates += all(receipt.status == "duplicate" for receipt in receipts)
            for receipt in receipts:
                if not receipt.kept:
                    self._refuse(row, receipt.reason)
        for row, number in zip(part.rows.tolist(), part.decision.tolist(), strict=True):
            if ids[number] in clashes:
                self._refuse(row, clashes[ids[number]])

    def _refuse(self, row: int, reason: str) -> None:
        self._findings.add(Problem(self._events.line[row], "", "conflict", "", reason), "")

    def _bodies(self, part: Order) -> Iterator[Body]:
        """Yield what the file says of each decision, feedback apart."""
        first, rows = part.first, part.rows
        logps = np.log(self._column("propensity")[rows]).tolist()
        units = [self._units[code] for code in self._column("unit")[rows].tolist()]
        policies, contexts = (self._column(name)[first].tolist() for name in ("policy", "context"))
        for number, (begin, end) in enumerate(pairwise(part.offsets.tolist())):
            yield Body(
                units=tuple(units[begin:end]),
                logps=tuple(logps[begin:end]),
                policy=self._policies[policies[number]],
                context=self._contexts[contexts[number]],
            )

    def _feedback_of(self, row: int, decision: str, unit: int) -> Iterator[Feedback]:
        at = float(self._column("at")[row])
        for kind in SAID:
            values = self._said(kind)[[row]]
            if not _spoken(kind, values)[0]:
                continue
            value = values.tolist()[0]
            yield Feedback(
                id=_feedback_id(decision, unit, kind, value, at),
                by=self._subjects[self._events.subject[row]],
                about=decision,
                unit=unit,
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


def _feedback_id(decision: str, unit: int, kind: Kind, value: object, at: float) -> str:
    """Return an id from the content; of a first unit it is what it was before there were others."""
    about = (decision, unit) if unit else (decision,)
    return content_id(*about, kind.value, value, at=at)


def policy_name(name: str) -> str:
    """Return the name in the log of somebody else's policy: no version of ours can be called so.

    >>> policy_name("thompson"), policy_name("")
    ('import:thompson', 'import')
    """
    return f"{MADE_ELSEWHERE}:{name}" if name else MADE_ELSEWHERE


def _blobs(values: NDArray[Any], offsets: Ints) -> list[bytes]:
    """Return the bytes of each ragged row."""
    data, size = values.tobytes(), values.itemsize
    return [data[size * begin : size * end] for begin, end in pairwise(offsets.tolist())]


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
