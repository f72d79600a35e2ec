"""Random logs of a toy domain, with everything that can stand in one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from heedful.record import (
    ALL_UNITS,
    UNKNOWN,
    ChoiceSet,
    Context,
    Decision,
    End,
    Feedback,
    Group,
    Kind,
    Span,
)
from heedful.store import Record, Snapshot
from tests.contract.toys import Toy

STRANGER = "not in the vocabulary"


@dataclass
class RandomLog:
    """Decisions, feedback (fused, late, of all units, of unknown kinds), retractions and ends.

    ``owners`` says whose stream each record belongs to; ``sets`` the choice sets that were used.
    """

    toy: Toy
    rng: np.random.Generator
    subjects: int = 3
    records: list[Record] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    sets: list[ChoiceSet] = field(default_factory=list)
    shown: dict[str, set[str]] = field(default_factory=dict)
    episodes: dict[str, int] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    made: dict[str, list[Decision]] = field(default_factory=dict)
    told: dict[str, list[Feedback]] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        return Snapshot.of(self.records, choice_sets=self.sets)

    def grow(self, n: int) -> RandomLog:
        """Append ``n`` records."""
        for _ in range(n):
            subject = f"person-{self.rng.integers(self.subjects)}"
            open_episode = self.begun.get(subject, 0) > 0
            kind = self.rng.choice(["decide"] * 4 + ["answer"] * 4 + ["retract", "end"])
            if kind == "answer" and self.made.get(subject):
                self._keep(subject, self._answer(subject))
            elif kind == "retract" and self.told.get(subject):
                self._keep(subject, self._retraction(subject))
            elif kind == "end" and open_episode:
                self._keep(subject, self._end(subject))
            else:
                self._keep(subject, self._decision(subject))
        return self

    def _keep(self, subject: str, record: Record) -> None:
        self.records.append(record)
        self.owners.append(subject)

    def _decision(self, subject: str) -> Decision:
        context = self.toy.example(self.rng)
        choices, units = self._draw(subject, context)
        self.sets.append(choices)
        episode = self.episodes.setdefault(subject, 0)
        step = self.begun.get(subject, 0)
        known = self.rng.random() < 0.8
        decision = Decision(
            id=f"d{len(self.records)}",
            episode=f"{subject}/{episode}",
            step=step,
            subject=subject,
            units=units,
            logps=tuple(-3.0 * self.rng.random(len(units))) if known else UNKNOWN,
            policy="p",
            made_at=float(len(self.records)),
            context=context,
            choices=choices.digest(),
            vocabulary="v",
        )
        self.begun[subject] = step + 1
        self.made.setdefault(subject, []).append(decision)
        self.shown.setdefault(subject, set()).update(units)
        return decision

    def _draw(self, subject: str, context: Context) -> tuple[ChoiceSet, tuple[str, ...]]:
        """Return a choice set and units that it allows; one may be unknown to the vocabulary."""
        choices = self.toy.choices(context)
        if self.rng.random() < 0.3:
            choices = replace(choices, seen=False)
        if self.rng.random() < 0.3:
            choices = replace(choices, forbidden=(self.toy.units[1],))
        if self.rng.random() < 0.3:
            choices = replace(choices, groups=self._groups()).within(self.toy.length)
        possible = [
            unit
            for unit in choices.allowed or (*self.toy.units, STRANGER)
            if unit not in choices.forbidden
            and (choices.seen or unit not in self.shown.get(subject, ()))
            and unit != choices.end
        ]
        if (len(possible) < self.toy.length and not choices.repeat) or not possible:
            choices = self.toy.choices(context)
            possible = [u for u in choices.allowed or self.toy.units if u != choices.end]
        n_units = int(self.rng.integers(1, self.toy.length + 1))
        units = self.rng.choice(possible, n_units, replace=choices.repeat).tolist()
        units = units if choices.end is None else [*units[:-1], choices.end]
        held = [sum(unit in group.units for unit in units) for group in choices.groups]
        broken = any(
            g.most is not None and n > g.most for g, n in zip(choices.groups, held, strict=True)
        )
        return replace(choices, groups=()) if broken else choices, tuple(units)

    def _groups(self) -> tuple[Group, ...]:
        """Return limits and penalties; what is required is :mod:`tests.policy.test_quotas`'s."""
        units = [unit for unit in self.toy.units if unit != "<end>"]
        return tuple(
            Group(
                units=tuple(
                    self.rng.permutation(units)[: self.rng.integers(1, len(units) + 1)].tolist()
                ),
                most=int(self.rng.integers(1, 4)) if self.rng.random() < 0.7 else None,
                penalty=float(self.rng.integers(0, 3)),
            )
            for _ in range(int(self.rng.integers(1, 3)))
        )

    def _answer(self, subject: str) -> Feedback:
        """Half of all feedback is about the newest decision, the rest comes late."""
        made = self.made[subject]
        decision = made[-1] if self.rng.random() < 0.5 else made[self.rng.integers(len(made))]
        kind = Kind(self.rng.choice([c.kind for c in self.toy.channels] + ["click", "comment"]))
        unit = int(self.rng.integers(ALL_UNITS, len(decision.units)))
        values = {Kind.CLICK: bool(self.rng.random() < 0.5), Kind.COMMENT: "well"}
        about = Span(decision.episode, 0, 1) if self.rng.random() < 0.1 else decision.id
        feedback = Feedback(
            id=f"f{len(self.records)}",
            by=subject,
            about=about,
            unit=unit if about == decision.id else ALL_UNITS,
            kind=kind,
            value=values.get(kind, float(self.rng.normal())),
            given_at=float(len(self.records)),
            received_at=float(len(self.records)),
        )
        if about == decision.id:
            self.told.setdefault(subject, []).append(feedback)
        return feedback

    def _retraction(self, subject: str) -> Feedback:
        told = self.told[subject]
        earlier = told.pop(int(self.rng.integers(len(told))))
        return replace(earlier, id=f"f{len(self.records)}", value=None, retracts=earlier.id)

    def _end(self, subject: str) -> End:
        episode = self.episodes[subject]
        self.episodes[subject], self.begun[subject] = episode + 1, 0
        return End(
            id=f"e{len(self.records)}",
            episode=f"{subject}/{episode}",
            terminated=bool(self.rng.random() < 0.5),
            ended_at=float(len(self.records)),
            context=self.toy.example(self.rng) if self.rng.random() < 0.5 else {},
        )


def random_log(toy: Toy, seed: int, n: int, subjects: int = 3) -> RandomLog:
    """Return a log of ``n`` records."""
    return RandomLog(toy, np.random.default_rng(seed), subjects).grow(n)
