"""What a version would show people now: the log is read, and nothing is written to it.

A list is built as a slate is, place by place, but with the likeliest unit in the place of a drawn
one. So it keeps all rules, and its probabilities are those the version draws with: of each unit,
given the ones above it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from heedful.contract import Domain, Rule, Rulebook, Session, Stream, as_rule, decide
from heedful.record import Decision, Description
from heedful.serve.history import records
from heedful.serve.policies import Served
from heedful.store import Log, Record

BATCH = 256
"""Subjects that are read and ranked together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a version would show somebody now.

    Attributes:
        subject: who asks, as they were named.
        policy: the version.
        units: the likeliest at each place, given those before it.
        probabilities: of each unit at its place, given those before it, exploration included.
        decisions: how many there are in the subject's history; with none this is the answer for
            somebody of whom nothing is known but, perhaps, a description.
        why: why there is nothing to show; empty where there is something.
        unknown: units that were asked about and that the version does not know.
    """

    subject: str
    policy: str
    units: tuple[str, ...]
    probabilities: tuple[float, ...]
    decisions: int
    why: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def cold(self) -> bool:
        """Whether the subject has no history."""
        return self.decisions == 0

    def to_dict(self) -> dict[str, Any]:
        """Return what ``heedful recommend --json`` prints of it."""
        ranked = zip(self.units, self.probabilities, strict=True)
        return {
            "policy": self.policy,
            "decisions": self.decisions,
            "cold": self.cold,
            "units": [
                {"rank": rank, "unit": unit, "probability": probability}
                for rank, (unit, probability) in enumerate(ranked, start=1)
            ],
            "why": self.why,
            "unknown": list(self.unknown),
        }


class Recommender:
    """Ranks units for people, many at once, as one version would."""

    def __init__(
        self,
        log: Log,
        domain: Domain,
        served: Served,
        *,
        window: int,
        blocked: Collection[str] = (),
    ) -> None:
        """Read histories from ``log``.

        Args:
            log: may be open to read only.
            domain: what a unit is.
            served: the version, as it would be served.
            window: events a stream is long; as in training.
            blocked: units that no decision may hold.
        """
        self._log, self._domain, self._served, self._window = log, domain, served, window
        self._rulebook = Rulebook(domain, log, lambda: blocked)

    def rank(
        self, people: Mapping[str, str], asked: Mapping[str, object], *, k: int, now: float
    ) -> Iterator[Answer]:
        """Yield an answer for each of ``people``, in their order.

        Args:
            people: what to call each of them in the answer, by pseudonym.
            asked: what is allowed, forbidden and required of every list, as in
                :class:`heedful.serve.DecisionRequest`.
            k: the longest list.
            now: the moment of asking, seconds since the epoch.

        Raises:
            ValueError: ``k`` is below 1, or a rule cannot be understood.
        """
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least 1 unit")
        choices = self._rulebook.choices({}, asked).within(k)
        rule = as_rule(choices, self._served.vocabulary)
        vocabulary, named = self._served.vocabulary, self._rulebook.named(asked, choices)
        unknown = tuple(unit for unit in named if unit not in vocabulary)
        subjects = list(people)
        for start in range(0, len(subjects), BATCH):
            batch = subjects[start : start + BATCH]
            answers = self._batch(batch, people, rule, k, now)
            yield from (replace(answers[subject], unknown=unknown) for subject in batch)

    def _batch(
        self, subjects: Sequence[str], names: Mapping[str, str], rule: Rule, k: int, now: float
    ) -> dict[str, Answer]:
        sessions, decisions = self._sessions(subjects)
        answers: dict[str, Answer] = {}
        groups: defaultdict[int, list[str]] = defaultdict(list)
        size = len(self._served.vocabulary)
        for subject in subjects:
            seen = sessions[subject].stream.seen
            length = k if rule.repeat else min(k, rule.n_possible(size, seen))
            why = "no unit is left to show" if not length else rule.refusal(size, seen)
            if why is None:
                groups[length].append(subject)
            else:
                answers[subject] = Answer(
                    subject=names[subject],
                    policy=self._served.version,
                    units=(),
                    probabilities=(),
                    decisions=decisions[subject],
                    why=why,
                )
        for length, group in groups.items():
            listed = self._lists([sessions[subject] for subject in group], rule, length, now)
            for subject, (units, probabilities) in zip(group, listed, strict=True):
                answers[subject] = Answer(
                    subject=names[subject],
                    policy=self._served.version,
                    units=units,
                    probabilities=probabilities,
                    decisions=decisions[subject],
                )
        return answers

    def _lists(
        self, sessions: Sequence[Session], rule: Rule, length: int, now: float
    ) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
        acts = decide(
            self._served.policy,
            sessions,
            [{}] * len(sessions),
            [rule] * len(sessions),
            None,
            length=length,
            window=self._window,
            now=now,
        ).acts
        names = self._served.vocabulary.units
        rows = zip(acts.units.tolist(), acts.logps.tolist(), acts.lengths.tolist(), strict=True)
        for units, logps, n in rows:
            yield tuple(names[unit] for unit in units[:n]), tuple(map(math.exp, logps[:n]))

    def _sessions(self, subjects: Sequence[str]) -> tuple[dict[str, Session], dict[str, int]]:
        """Read the histories of ``subjects``, and count the decisions in each."""
        vocabulary = self._served.vocabulary
        sessions = {name: Session(Stream(self._domain, vocabulary)) for name in subjects}
        decisions = dict.fromkeys(subjects, 0)
        rows: Iterator[tuple[str, Record | Description]] = records(self._log.history(subjects))
        for subject, record in rows:
            sessions[subject].stream.append(record)
            decisions[subject] += isinstance(record, Decision)
        return sessions, decisions
