"""Guardrails and declared constraints of a trial, from the log to what the gate says of each."""

from __future__ import annotations

import numpy as np

from heedful.config import Constraints, Gate
from heedful.evaluate import Guarded, Levels, equal_service, kept_within, not_worse
from heedful.loop.cohort import Cohort
from heedful.reward import Earned, RewardError, View, measured
from heedful.reward.groups import of_subjects
from heedful.reward.measures import named


def check_declared(gate: Gate, constraints: Constraints) -> None:
    """Refuse measures that nobody knows, before anything is judged by them.

    Raises:
        RewardError: names the key; says which measures there are.
    """
    declared = {
        "gate.not_more": gate.not_more,
        "gate.not_less": gate.not_less,
        "constraints.at_most": constraints.at_most,
        "constraints.at_least": constraints.at_least,
    }
    for key, names in declared.items():
        for name in names:
            try:
                named(name)
            except RewardError as error:
                raise RewardError(f"{key}: {error}") from None


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
        # By what was known when somebody came: what is told later may follow from the answers.
        came = cohort.snapshot.decisions.seq[cohort.opening[cohort.arm]].tolist()
        for fact, limit in constraints.equal.items():
            known = of_subjects(cohort.snapshot, fact, dict(zip(people, came, strict=True)))
            groups = [known.get(name) for name in people]
            found.append(equal_service(fact, limit, constraints.margin, rewards, groups, levels))
    return tuple(found)
