"""Feedback -> a number for every unit that was chosen.

A reward is any function of a snapshot that gives each of its M units a number, and NaN where
nothing was said. :func:`earn` then decides what silence means.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.config import Reward as RewardSection
from heedful.record import ALL_UNITS, Kind
from heedful.store.snapshot import Snapshot

Floats = npt.NDArray[np.float64]
Reward = Callable[[Snapshot], Floats]

_KINDS = list(Kind)


class RewardError(ValueError):
    """A reward that cannot be computed from what the log holds."""


def said(snapshot: Snapshot, kind: Kind, *, within: float | None = None) -> Floats:
    """Return the value of the last feedback of ``kind`` to each unit, [M]; NaN where none.

    Feedback to a decision as a whole lands on its last unit. What was retracted is not there.

    Args:
        snapshot: what happened.
        kind: click, rating or reward: a kind with numbers.
        within: only feedback that arrived at most this many seconds after its decision.
    """
    decisions, feedback = snapshot.decisions, snapshot.feedback
    chosen = (feedback.kind == _KINDS.index(kind)) & ~feedback.retracted
    chosen &= (feedback.retracts < 0) & (feedback.decision >= 0)
    if within is not None:
        late = feedback.received_at - decisions.made_at[np.maximum(feedback.decision, 0)]
        chosen &= late <= within
    decision, position = feedback.decision[chosen], feedback.unit[chosen]
    last = decisions.offsets[decision + 1] - 1
    flat = np.where(position == ALL_UNITS, last, decisions.offsets[decision] + position)
    values = np.full(len(decisions.units), np.nan)
    values[flat] = feedback.value[chosen]
    return values


@dataclass(frozen=True, slots=True)
class Clicks:
    """1 for a click, 0 for an explicit no: its mean over units is the click rate."""

    within: float | None = None

    def __call__(self, snapshot: Snapshot) -> Floats:
        """Return [M]."""
        return said(snapshot, Kind.CLICK, within=self.within)


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings scaled from ``low``..``high`` to 0..1."""

    low: float = 1.0
    high: float = 5.0
    within: float | None = None

    def __call__(self, snapshot: Snapshot) -> Floats:
        """Return [M]."""
        rating = said(snapshot, Kind.RATING, within=self.within)
        return np.clip((rating - self.low) / (self.high - self.low), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Given:
    """The reward an environment or an application gives as a number, as it is."""

    within: float | None = None

    def __call__(self, snapshot: Snapshot) -> Floats:
        """Return [M]."""
        return said(snapshot, Kind.REWARD, within=self.within)


@dataclass(frozen=True, slots=True)
class Mixture:
    """A weighted mean of rewards: sum_k w_k r_k / sum_k |w_k| over the kinds that were said.

    A kind that was not said counts as 0 where another one was; where none was, nothing was said.
    """

    parts: tuple[tuple[Reward, float], ...]

    def __call__(self, snapshot: Snapshot) -> Floats:
        """Return [M]."""
        numbers = np.stack([reward(snapshot) for reward, _ in self.parts])
        weights = np.array([weight for _, weight in self.parts])
        total = (np.nan_to_num(numbers) * weights[:, None]).sum(0) / np.abs(weights).sum()
        return np.where(np.isnan(numbers).all(0), np.nan, total)


@dataclass(frozen=True, slots=True)
class Earned:
    """What every unit earned.

    Attributes:
        units: float64 [M], NaN while a decision waits.
        decisions: float64 [N], the mean over the decision's units; NaN while it waits. Of a
            decision that closes itself with an end unit, a reply, it is the sum: what people say
            of it they say of the whole, and being short is no merit.
        matured: bool [N], silence about the decision now counts as an answer.
    """

    units: Floats
    decisions: Floats
    matured: npt.NDArray[np.bool_]


def earn(
    snapshot: Snapshot,
    reward: Reward,
    *,
    maturity: float,
    now: float,
    expected: Floats | None = None,
    silence: float | None = 0.0,
) -> Earned:
    """Read ``snapshot`` with ``reward`` and decide what silence means.

    After ``maturity`` seconds a unit nobody spoke of has earned 0; before that its decision waits,
    and is neither learned from nor judged (gate, failure mode F7). With a maturity of 0 nothing
    waits.

    Args:
        snapshot: what happened.
        reward: gives a number for each unit somebody spoke of.
        maturity: seconds.
        now: seconds since the epoch.
        expected: float64 [M], what a model expects of each unit, NaN where it has no opinion. A
            unit nobody spoke of has earned that while its decision would wait. Of a decision that
            closes itself the last unit's counts alone: people speak of the whole.
        silence: what silence about a matured decision says; ``None`` where it says nothing, so
            that what is expected stays.

    Raises:
        RewardError: the reward gave something else than a number for each unit.
    """
    numbers = np.asarray(reward(snapshot), dtype=np.float64)
    decisions = snapshot.decisions
    if numbers.shape != decisions.units.shape or np.isinf(numbers).any():
        raise RewardError(
            f"the reward gave {numbers.shape} numbers (or an infinite one) for "
            f"{decisions.units.shape} units: return one finite number, or NaN, for each unit"
        )
    n = len(decisions.offsets) - 1
    matured = np.ones(n, bool) if maturity == 0 else now - decisions.made_at >= maturity
    silent, waits = np.isnan(numbers), ~matured[decisions.of_unit]
    numbers = np.where(silent, 0.0, numbers)
    if expected is None:
        numbers[waits] = np.nan
    else:
        expected = np.where(_inside_of_wholes(snapshot), 0.0, expected)
        guessed = silent & (waits if silence is not None else ~np.isnan(expected) | waits)
        numbers = np.where(guessed, expected, numbers)
    totals = np.bincount(decisions.of_unit, weights=numbers, minlength=n)
    return Earned(numbers, totals / parts_of(snapshot), matured)


def parts_of(snapshot: Snapshot) -> npt.NDArray[np.int64]:
    """Return of how many parts each decision consists: its units, or one that closes itself."""
    decisions = snapshot.decisions
    lengths = np.maximum(np.diff(decisions.offsets), 1).astype(np.int64)
    return np.where(_closes(snapshot), 1, lengths)


def _closes(snapshot: Snapshot) -> npt.NDArray[np.bool_]:
    """Return which decisions close themselves with an end unit, bool [N]."""
    closes = np.array([choices.end is not None for choices in snapshot.names.choice_sets], bool)
    found: npt.NDArray[np.bool_] = closes[snapshot.decisions.choices]
    return found


def _inside_of_wholes(snapshot: Snapshot) -> npt.NDArray[np.bool_]:
    """Return which units stand before the last one of a decision that closes itself, bool [M]."""
    decisions = snapshot.decisions
    inside = _closes(snapshot)[decisions.of_unit]
    inside[decisions.offsets[1:] - 1] = False
    return inside


def from_config(section: RewardSection, ratings: Reward | None = None) -> Reward:
    """Return the reward that ``[reward]`` in heedful.toml asks for.

    Args:
        section: what was asked for.
        ratings: stands in for the ratings people gave, where those are read or normalised.

    Raises:
        RewardError: a kind has no number, or the Python function cannot be found.
    """
    within = section.maturity or None
    numbers: Mapping[str, Reward] = {
        "click": Clicks(within),
        "rating": ratings or Ratings(section.rating_min, section.rating_max, within),
        "reward": Given(within),
    }
    match section.kind:
        case "clicks":
            return numbers["click"]
        case "ratings":
            return numbers["rating"]
        case "mixture":
            unknown = sorted(set(section.weights) - set(numbers))
            if unknown:
                raise RewardError(
                    f"reward.weights: {unknown[0]!r} has no number; mix of {', '.join(numbers)}"
                )
            return Mixture(tuple((numbers[kind], w) for kind, w in section.weights.items()))
        case "function":
            found: Reward = imported(section.function, f"reward.function = {section.function!r}")
            return found


def imported(path: str, said_as: str) -> Any:
    """Return the function ``module:name``.

    Args:
        path: ``module:name``.
        said_as: what asked for it, for messages.

    Raises:
        RewardError: there is no such module or function.
    """
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RewardError(
            f"{said_as}: {error}. Name an importable function as module:name"
        ) from None
    if not callable(function):
        raise RewardError(f"{said_as} is no function")
    return function
