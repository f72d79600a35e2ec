"""Guardrails and declared constraints of a trial, from the log to what the gate says of each."""

from __future__ import annotations

import json

import numpy as np

from heedful.config import Constraints, Gate
from heedful.evaluate import Guarded, Levels, equal_service, kept_within, not_worse
from heedful.loop.cohort import Cohort
from heedful.record import Described
from heedful.reward import Earned, View, measured
from heedful.store.snapshot import Snapshot


def guarded(
    cohort: Cohort,
    earned: Earned,
    view: View,
    gate: Gate,
    constraints: Constraints,
    levels: Levels,
) -> tuple[Guarded, ...]:
    """Return what became of each guardrail and constraint, in the order of their declaration.

    Args:
        cohort: the subjects of the trial.
        earned: what their decisions earned.
        view: what measures may look at.
        gate: names the guardrails.
        constraints: what was declared for training and gate alike.
        levels: what evidence has to reach.

    Raises:
        RewardError: a measure is not known.
    """

    def means(measure: str) -> np.ndarray:
        return cohort.means(measured(cohort.snapshot, measure, earned, view))

    found = [
        not_worse(
            measure,
            margin,
            means(measure),
            cohort.arm,
            cohort.share,
            levels,
            more_is_worse=more_is_worse,
        )
        for margins, more_is_worse in ((gate.not_more, True), (gate.not_less, False))
        for measure, margin in margins.items()
    ]
    found += [
        kept_within(
            measure,
            limit,
            constraints.margin,
            means(measure)[cohort.arm],
            levels,
            at_most=at_most,
        )
        for limits, at_most in ((constraints.at_most, True), (constraints.at_least, False))
        for measure, limit in limits.items()
    ]
    if constraints.equal:
        rewards = cohort.means(earned.decisions)[cohort.arm]
        names = cohort.snapshot.names.subjects
        people = [names[int(code)] for code in cohort.subjects[cohort.arm]]
        for fact, limit in constraints.equal.items():
            groups = groups_of(cohort.snapshot, fact, people)
            found.append(equal_service(fact, limit, constraints.margin, rewards, groups, levels))
    return tuple(found)


def groups_of(snapshot: Snapshot, fact: str, subjects: list[str]) -> list[str | None]:
    """Return the value of ``fact`` of each subject as text, ``None`` where it has none."""
    known = snapshot.descriptions.latest(Described.SUBJECT)
    return [_text(known.get(subject, {}).get(fact)) for subject in subjects]


def _text(value: object) -> str | None:
    """Return a fact as the name of a group; of a list of texts, the texts."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(sorted(map(str, value)))
    return json.dumps(value)
