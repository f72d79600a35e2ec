"""Rewards of text: a number for each completion of a prompt, or none.

``f(prompts, completions, **columns) -> list[float | None]`` is the form that libraries for
reinforcement learning on text share, so a function written for one of them works here, and every
reward model of this package is such a function. ``None`` means that the function has nothing to say
of a row: it is not scored, which is not 0. NaN is an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from heedful.reward.rewards import RewardError, imported

Floats = npt.NDArray[np.float64]


@runtime_checkable
class TextReward(Protocol):
    """How good completions of prompts are."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], **columns: Sequence[Any]
    ) -> Sequence[float | None]:
        """Return n finite numbers, ``None`` for a row that is not scored.

        Args:
            prompts: n texts.
            completions: n texts, one for each prompt.
            columns: whatever else is known of the n rows, by name.
        """
        ...


def scored(
    reward: TextReward,
    prompts: Sequence[str],
    completions: Sequence[str],
    **columns: Sequence[Any],
) -> Floats:
    """Return what ``reward`` says, checked, [n]; NaN where a row is not scored.

    Raises:
        RewardError: names the function, the row and what it gave: something else than n numbers, or
            a number that is not finite.
    """
    name, n = named_of(reward), len(prompts)
    for column, values in {"completions": completions, **columns}.items():
        if len(values) != n:
            raise RewardError(f"{column}: {len(values)} rows for {n} prompts")
    said = reward(prompts, completions, **columns)
    try:
        numbers = list(said)
    except TypeError:
        raise RewardError(
            f"reward function {name} returned {type(said).__name__}; return a list with a number "
            "or None for each completion"
        ) from None
    if len(numbers) != n:
        raise RewardError(
            f"reward function {name} returned {len(numbers)} numbers for {n} completions; return "
            "one for each, None where it has nothing to say"
        )
    return np.array([_number(one, row, name) for row, one in enumerate(numbers)], np.float64)


def listed(numbers: Floats) -> list[float | None]:
    """Return numbers [n] in the form of a text reward: ``None`` for NaN.

    >>> listed(np.array([0.5, np.nan]))
    [0.5, None]
    """
    return [None if math.isnan(one) else one for one in numbers.tolist()]


def text_reward(path: str) -> TextReward:
    """Return the reward function ``module:name``.

    Raises:
        RewardError: there is no such function.
    """
    found: TextReward = imported(path, f"reward function {path!r}")
    return found


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and standard deviation of what a reward says of reference samples.

    Raises:
        RewardError: the deviation is not above 0.
    """

    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be divided by."""
        if not (math.isfinite(self.mean) and 0.0 < self.deviation < math.inf):
            raise RewardError(
                f"a reward cannot be normalised by a mean of {self.mean} and a standard deviation "
                f"of {self.deviation}"
            )

    @classmethod
    def of(cls, numbers: Floats) -> Self:
        """Return the moments of the rows that are scored, of numbers [n].

        Raises:
            RewardError: fewer than two are, or all alike: there is no scale to take from them.
        """
        told = numbers[~np.isnan(numbers)]
        deviation = float(told.std()) if len(told) else 0.0
        if deviation <= 1e-12 * max(1.0, float(np.abs(told).max(initial=0.0))):
            raise RewardError(
                f"{len(told)} of {len(numbers)} reference samples are scored, all alike: a reward "
                "is normalised on samples that it tells apart. Give more, or do not normalise"
            )
        return cls(float(told.mean()), deviation)

    def __call__(self, numbers: Floats) -> Floats:
        """Return numbers [n] on the scale on which the samples have mean 0 and variance 1."""
        made: Floats = (numbers - self.mean) / self.deviation
        return made


@dataclass(frozen=True, slots=True)
class Normalised:
    """A reward on the scale on which reference samples have mean 0 and variance 1.

    Samples of the policy that training starts from, as in Stiennon et al., Learning to Summarize
    from Human Feedback, arXiv 2009.01325: rates and weights of divergence then mean the same for
    every reward.
    """

    reward: TextReward
    moments: Moments

    @classmethod
    def on(
        cls,
        reward: TextReward,
        prompts: Sequence[str],
        completions: Sequence[str],
        **columns: Sequence[Any],
    ) -> Self:
        """Return ``reward``, normalised on these reference samples.

        Raises:
            RewardError: it fails on them, or does not tell them apart.
        """
        return cls(reward, Moments.of(scored(reward, prompts, completions, **columns)))

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return n numbers."""
        return listed(self.moments(scored(self.reward, prompts, completions, **columns)))

    @property
    def __name__(self) -> str:
        """The name of the reward inside, for messages."""
        return named_of(self.reward)


@dataclass(frozen=True, slots=True)
class Total:
    """The weighted sum of several rewards, each of which should be normalised by itself before.

    A row is scored by those that have something to say of it; a row of which none has is not
    scored. Normalising the sum in place of its parts would let the one with the widest scale
    decide.
    """

    parts: tuple[tuple[TextReward, float], ...]

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return n numbers."""
        said = np.array([scored(part, prompts, completions, **columns) for part, _ in self.parts])
        weights = np.array([weight for _, weight in self.parts])
        told = ~np.isnan(said)
        total = (np.where(told, said, 0.0) * weights[:, None]).sum(0)
        return listed(np.where(told.any(0), total, np.nan))


def named_of(reward: object) -> str:
    """Return the name of a reward for messages: its own, with its module, or that of its type."""
    name = getattr(reward, "__name__", None) or type(reward).__name__
    module = getattr(reward, "__module__", None)
    return f"{module}:{name}" if module else str(name)


def _number(one: object, row: int, name: str) -> float:
    if one is None:
        return math.nan
    try:
        number = float(one)  # type: ignore[arg-type]  # what it is not is said below
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RewardError(
            f"reward function {name} gave {one!r} for row {row}; give a finite number, or None "
            "where it has nothing to say"
        )
    return number
