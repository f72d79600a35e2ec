"""What people said of replies: which of two is better, and how good one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from heedful.reward.ngrams import Floats, Ints
from heedful.reward.rewards import RewardError

FIRST, SECOND, TIE = 1.0, 0.0, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """n pairs of replies to the same prompt, and which was found better.

    Attributes:
        prompts: n texts.
        first: n replies.
        second: n others.
        outcomes: float64 [n], 1 where the first is better, 0 where the second is, 1/2 for a tie.
        margins: float64 [n], by how much the better one should lead, not negative: the gap between
            their ratings, say. 0 where that is not known.
        weights: float64 [n], how much each counts.
        groups: n names; pairs of one group are never on both sides of a split. Its prompt, by
            default, since replies to one prompt tell of each other.
    """

    prompts: Sequence[str]
    first: Sequence[str]
    second: Sequence[str]
    outcomes: Floats
    margins: Floats
    weights: Floats
    groups: Sequence[str]

    def __len__(self) -> int:
        """Return n."""
        return len(self.prompts)

    @classmethod
    def of(
        cls,
        prompts: Sequence[str],
        first: Sequence[str],
        second: Sequence[str],
        outcomes: Sequence[float] | Floats | None = None,
        *,
        margins: Sequence[float] | Floats | None = None,
        weights: Sequence[float] | Floats | None = None,
        groups: Sequence[str] | None = None,
    ) -> Self:
        """Return checked comparisons; without ``outcomes`` the first reply was chosen each time.

        The columns ``prompt``, ``chosen``, ``rejected`` and ``margin`` of a table of preferences
        are the first three and ``margins``.

        Raises:
            RewardError: columns of different lengths, or a number that cannot be.
        """
        n = len(prompts)
        said = _column("outcomes", outcomes, n, FIRST, within=(SECOND, FIRST))
        if not np.isin(said, (FIRST, SECOND, TIE)).all():
            raise RewardError("outcomes: 1 is first, 0 is second and 0.5 is a tie, nothing else")
        _same_length(n, first=first, second=second, groups=groups)
        return cls(
            prompts,
            first,
            second,
            said,
            _column("margins", margins, n, 0.0, within=(0.0, np.inf)),
            _column("weights", weights, n, 1.0, within=(0.0, np.inf)),
            prompts if groups is None else groups,
        )

    def take(self, rows: Ints) -> Self:
        """Return the pairs numbered in ``rows``."""
        return type(self)(
            [self.prompts[i] for i in rows.tolist()],
            [self.first[i] for i in rows.tolist()],
            [self.second[i] for i in rows.tolist()],
            self.outcomes[rows],
            self.margins[rows],
            self.weights[rows],
            [self.groups[i] for i in rows.tolist()],
        )

    def signed_margins(self) -> Floats:
        """Return the lead the first one should have, [n]: negative where the second is better."""
        signed: Floats = self.margins * (2.0 * self.outcomes - 1.0)
        return signed


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """n replies with a number each: a thumb, a rating.

    Attributes:
        prompts: n texts.
        completions: n replies.
        numbers: float64 [n]; thumbs are 1 and 0.
        weights: float64 [n], how much each counts.
        groups: n names; replies of one group are never on both sides of a split.
    """

    prompts: Sequence[str]
    completions: Sequence[str]
    numbers: Floats
    weights: Floats
    groups: Sequence[str]

    def __len__(self) -> int:
        """Return n."""
        return len(self.prompts)

    @classmethod
    def of(
        cls,
        prompts: Sequence[str],
        completions: Sequence[str],
        numbers: Sequence[float] | Floats,
        *,
        weights: Sequence[float] | Floats | None = None,
        groups: Sequence[str] | None = None,
    ) -> Self:
        """Return checked replies with numbers.

        Raises:
            RewardError: columns of different lengths, or a number that cannot be.
        """
        n = len(prompts)
        _same_length(n, completions=completions, groups=groups)
        return cls(
            prompts,
            completions,
            _column("numbers", numbers, n, 0.0, within=(-np.inf, np.inf)),
            _column("weights", weights, n, 1.0, within=(0.0, np.inf)),
            prompts if groups is None else groups,
        )

    @property
    def thumbs(self) -> bool:
        """Whether every number is 0 or 1."""
        return bool(np.isin(self.numbers, (0.0, 1.0)).all())

    def take(self, rows: Ints) -> Self:
        """Return the replies numbered in ``rows``."""
        return type(self)(
            [self.prompts[i] for i in rows.tolist()],
            [self.completions[i] for i in rows.tolist()],
            self.numbers[rows],
            self.weights[rows],
            [self.groups[i] for i in rows.tolist()],
        )


def _column(
    name: str,
    values: Sequence[float] | Floats | None,
    n: int,
    default: float,
    *,
    within: tuple[float, float],
) -> Floats:
    """Return a column of n finite numbers within bounds."""
    found = np.full(n, default) if values is None else np.asarray(values, np.float64)
    _same_length(n, **{name: found})
    wrong = ~(np.isfinite(found) & (found >= within[0]) & (found <= within[1]))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise RewardError(
            f"{name}: row {row} is {found[row]}; give finite numbers from {within[0]:g} to "
            f"{within[1]:g}"
        )
    return found


def _same_length(n: int, **columns: Sequence[object] | Floats | None) -> None:
    for name, column in columns.items():
        if column is not None and len(column) != n:
            raise RewardError(f"{name}: {len(column)} rows for {n} prompts")
