"""What a decision had of something people care about beside the reward, between 0 and 1.

Guardrails of the gate and constraints of training are both said in these measures: the share of
decisions that were flagged, the share of a slate from the long tail. Like a reward, a measure is
read from the log alone; unlike one it is not made more of, only kept within bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from heedful.record import Kind
from heedful.reward.rewards import Earned, Floats, RewardError, said
from heedful.store.snapshot import Snapshot

HEAD = 0.2
"""The head of the catalogue: the fifth of its units that was chosen most. The rest is long tail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a measure may look at.

    Attributes:
        watermark: what it has to know of the past, such as which units are popular, it takes from
            rows up to this one: what comes later must not change how earlier decisions are judged.
        within: only feedback that came at most so many seconds after its decision counts; ``None``
            for all.
    """

    watermark: int
    within: float | None = None


Measure = Callable[[Snapshot, View], Floats]
"""Gives a number from 0 to 1 for each decision of a snapshot, [N]."""


def measured(snapshot: Snapshot, name: str, earned: Earned, view: View) -> Floats:
    """Return how much of ``name`` each decision had, [N], from 0 to 1; NaN while it waits.

    Args:
        snapshot: what happened.
        name: a key of :data:`MEASURES`.
        earned: says which decisions have matured.
        view: what may be looked at.

    Raises:
        RewardError: there is no such measure; says which there are.
    """
    if name not in MEASURES:
        raise RewardError(f"there is no measure {name!r}; known are {', '.join(sorted(MEASURES))}")
    found = MEASURES[name](snapshot, view)
    return np.where(earned.matured, found, np.nan)


def clicked(snapshot: Snapshot, view: View) -> Floats:
    """Share of a decision's units that were clicked."""
    clicks = said(snapshot, Kind.CLICK, within=view.within)
    return per_decision(snapshot, np.nan_to_num(clicks))


def long_tail(snapshot: Snapshot, view: View) -> Floats:
    """Share of a decision's units that are not in the head of the catalogue at the watermark.

    What nobody was shown or chose till then is long tail.
    """
    decisions = snapshot.decisions
    n = len(snapshot.names.units)
    before = decisions.units[decisions.seq[decisions.of_unit] <= view.watermark]
    counts = np.bincount(before, minlength=n)
    head = np.argsort(-counts, kind="stable")[: max(1, round(HEAD * n))]
    tail = np.ones(n, dtype=bool)
    tail[head[counts[head] > 0]] = False
    return per_decision(snapshot, tail[decisions.units].astype(np.float64))


def spoken(kind: Kind) -> Measure:
    """Return the measure that is 1 where somebody said ``kind`` of a decision, else 0."""
    number = list(Kind).index(kind)

    def found(snapshot: Snapshot, view: View) -> Floats:
        feedback, decisions = snapshot.feedback, snapshot.decisions
        chosen = (feedback.kind == number) & ~feedback.retracted
        chosen &= (feedback.retracts < 0) & (feedback.decision >= 0)
        if view.within is not None:
            late = feedback.received_at - decisions.made_at[np.maximum(feedback.decision, 0)]
            chosen &= late <= view.within
        marked = np.zeros(decisions.n)
        marked[feedback.decision[chosen]] = 1.0
        return marked

    return found


def per_decision(snapshot: Snapshot, values: Floats) -> Floats:
    """Return the mean of ``values`` [M] over the units of each decision, [N]."""
    decisions = snapshot.decisions
    totals = np.bincount(decisions.of_unit, weights=values, minlength=decisions.n)
    return np.asarray(totals / np.maximum(np.diff(decisions.offsets), 1))


MEASURES: Mapping[str, Measure] = {
    "clicked": clicked,
    "flagged": spoken(Kind.FLAG),
    "commented": spoken(Kind.COMMENT),
    "long_tail": long_tail,
}
