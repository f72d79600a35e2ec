"""What a decision had of something people care about beside the reward, between 0 and 1.

Guardrails of the gate and constraints of training are both said in these measures: the share of
decisions that were flagged, the share of a slate from the long tail. Like a reward, a measure is
read from the log alone; unlike one it is not made more of, only kept within bounds.

Three sorts of names are understood: a key of :data:`MEASURES`; ``unit.category=news``, the share
of units whose description says so (``unit.explicit``, without a value, is the mean of a fact that
is a number from 0 to 1, or true and false); and ``module:name``, a Python function of the
application's own, a :data:`Measure`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from heedful.record import Described, Kind
from heedful.reward.rewards import Earned, Floats, RewardError, imported, parts_of, said
from heedful.store.snapshot import Snapshot

HEAD = 0.2
"""The head of the catalogue: the fifth of its units that was chosen most. The rest is long tail."""

UNIT = "unit."
VALUES_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a measure may look at.

    Attributes:
        watermark: what it has to know of the past, such as which units are popular and what is
            known of them, it takes from rows up to this one: what comes later must not change how
            earlier decisions are judged.
        within: only feedback that came at most so many seconds after its decision counts; ``None``
            for all.
    """

    watermark: int
    within: float | None = None


Measure = Callable[[Snapshot, View], Floats]
"""Gives a number from 0 to 1 for each unit of a snapshot, [M], or for each decision, [N].

A number for each unit is the better answer where there is one: a decision's is their mean, and in
training each unit answers for its own.
"""


def measured(snapshot: Snapshot, name: str, earned: Earned, view: View) -> Floats:
    """Return how much of ``name`` each decision had, [N], from 0 to 1; NaN while it waits.

    Args:
        snapshot: what happened.
        name: a key of :data:`MEASURES`, ``unit.FACT=VALUE``, ``unit.FACT``, or ``module:name``.
        earned: says which decisions have matured.
        view: what may be looked at.

    Raises:
        RewardError: there is no such measure, or what it gives is none; says which there are.
    """
    found = _found(snapshot, name, view)
    if len(found) != snapshot.decisions.n:
        found = per_decision(snapshot, found)
    return np.where(earned.matured, found, np.nan)


def measured_units(
    snapshot: Snapshot, name: str, earned: Earned, view: View
) -> tuple[Floats, bool]:
    """Return what each unit adds to what :func:`measured` says of its decision, [M].

    The mean over a decision's units is what the decision had. A measure that knows a number for
    each unit gives that; what is known of the decision as a whole, n units long, stands n-fold at
    its last unit: all of its units led there.

    Returns:
        The numbers, NaN while a decision waits, and whether they are of decisions as a whole.

    Raises:
        RewardError: as :func:`measured`.
    """
    decisions = snapshot.decisions
    found = _found(snapshot, name, view)
    whole = len(found) != len(decisions.units)
    if whole:
        totals = found * np.diff(decisions.offsets)
        found = np.zeros(len(decisions.units))
        found[decisions.offsets[1:] - 1] = totals
    return np.where(earned.matured[decisions.of_unit], found, np.nan), whole


def clicked(snapshot: Snapshot, view: View) -> Floats:
    """1 for each unit that was clicked, else 0, [M]."""
    return np.clip(np.nan_to_num(said(snapshot, Kind.CLICK, within=view.within)), 0.0, 1.0)


def long_tail(snapshot: Snapshot, view: View) -> Floats:
    """1 for each unit that is not in the head of the catalogue at the watermark, else 0, [M].

    What nobody was shown or chose till then is long tail, and no part of the catalogue if nothing
    was told of it either.
    """
    decisions = snapshot.decisions
    n = len(snapshot.names.units)
    before = decisions.units[decisions.seq[decisions.of_unit] <= view.watermark]
    counts = np.bincount(before, minlength=n)
    told = {
        name for seq, name, _ in snapshot.descriptions.rows(Described.UNIT) if seq <= view.watermark
    }
    told.update(snapshot.names.units[int(code)] for code in np.flatnonzero(counts))
    head = np.argsort(-counts, kind="stable")[: max(1, round(HEAD * len(told)))]
    tail = np.ones(n, dtype=bool)
    tail[head[counts[head] > 0]] = False
    return tail[decisions.units].astype(np.float64)


def spoken(kind: Kind) -> Measure:
    """Return the measure that is 1 where somebody said ``kind`` of a decision, else 0, [N]."""
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


def of_units(name: str) -> Measure:
    """Return the measure by a fact of units, [M], of which nothing counts that is not known.

    A fact that is a list of texts has each of them. Units that were not described at the watermark
    count as 0, as those do that are described otherwise.

    Args:
        name: ``unit.FACT=VALUE`` or ``unit.FACT``.
    """
    fact, equals, value = name.removeprefix(UNIT).partition("=")

    def found(snapshot: Snapshot, view: View) -> Floats:
        rows = snapshot.descriptions
        known = rows.take(np.flatnonzero(rows.seq <= view.watermark)).latest(Described.UNIT)
        facts = {unit: one[fact] for unit, one in known.items() if one.get(fact) is not None}
        if not facts:
            others = sorted({other for one in known.values() for other in one})
            raise RewardError(
                f"measure {name!r}: no unit is described by {fact!r}; "
                + (f"known facts are {', '.join(others)}" if others else "no unit is described")
            )
        table = _so(name, facts, value) if equals else _numbers(name, facts)
        each = [table.get(unit, 0.0) for unit in snapshot.names.units]
        return np.array(each, np.float64)[snapshot.decisions.units]

    return found


def per_decision(snapshot: Snapshot, values: Floats) -> Floats:
    """Return the mean of ``values`` [M] over the parts of each decision, [N]."""
    decisions = snapshot.decisions
    totals = np.bincount(decisions.of_unit, weights=values, minlength=decisions.n)
    return np.asarray(totals / parts_of(snapshot))


MEASURES: Mapping[str, Measure] = {
    "clicked": clicked,
    "flagged": spoken(Kind.FLAG),
    "commented": spoken(Kind.COMMENT),
    "long_tail": long_tail,
}


def _found(snapshot: Snapshot, name: str, view: View) -> Floats:
    """Return what the measure ``name`` gives, [M] or [N], checked."""
    found = np.asarray(named(name)(snapshot, view), dtype=np.float64)
    n, m = snapshot.decisions.n, len(snapshot.decisions.units)
    if found.shape not in ((n,), (m,)):
        raise RewardError(
            f"measure {name!r} gave numbers of shape {found.shape}: return one for each of the {m} "
            f"units, or for each of the {n} decisions"
        )
    if not ((found >= 0) & (found <= 1)).all():  # NaN is neither
        wrong = found[~((found >= 0) & (found <= 1))][0]
        raise RewardError(f"measure {name!r} gave {wrong}: return numbers from 0 to 1")
    return found


def named(name: str) -> Measure:
    """Return the measure of this name; see :func:`measured`.

    Raises:
        RewardError: there is none; says which there are.
    """
    if name in MEASURES:
        return MEASURES[name]
    if ":" in name and "=" not in name:
        function: Measure = imported(name, f"measure {name!r}")
        return function
    if name.startswith(UNIT) and name.removeprefix(UNIT).partition("=")[0]:
        return of_units(name)
    raise RewardError(
        f"there is no measure {name!r}; known are {', '.join(sorted(MEASURES))}, "
        '"unit.FACT=VALUE" by what is known of units, and a Python function "module:name"'
    )


def _so(name: str, facts: Mapping[str, object], value: str) -> dict[str, float]:
    """Return 1 for each unit whose fact is ``value`` or holds it."""
    texts = {unit: _texts(fact) for unit, fact in facts.items()}
    known = sorted({text for some in texts.values() for text in some})
    if value not in known:
        shown = ", ".join(known[:VALUES_NAMED]) + (", ..." if len(known) > VALUES_NAMED else "")
        raise RewardError(f"measure {name!r}: no unit is described so; values are {shown}")
    return {unit: float(value in some) for unit, some in texts.items()}


def _texts(fact: object) -> list[str]:
    """Return what a fact says as it is written in a name; true and false are 1 and 0."""
    if isinstance(fact, list):
        return [str(one) for one in fact]
    return [f"{float(fact):g}" if isinstance(fact, int | float) else str(fact)]


def _numbers(name: str, facts: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers that ``facts`` are."""
    found = {}
    for unit, fact in facts.items():
        if not isinstance(fact, int | float) or not 0 <= fact <= 1:
            raise RewardError(
                f"measure {name!r}: unit {unit!r} has {fact!r}, and a mean takes numbers from 0 to "
                f'1; name a value, as in "{name}={next(iter(_texts(fact)), "...")}"'
            )
        found[unit] = float(fact)
    return found
