"""Does a reward of clips still foretell what people say? If not, play has found where it is wrong.

A policy that learns from a learned reward goes to where that is too high (Gao et al., Scaling Laws
for Reward Model Overoptimization, arXiv 2210.10760), and what people say of clips from there is
what the model did not foresee.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heedful.reward.clips import agreed

Floats = npt.NDArray[np.float64]

FEWEST = 10
"""Answers that are no ties, before anything is said of them."""

ERRORS = 2.0
"""Standard errors beyond which a surplus of surprises is none by chance."""


@dataclass(frozen=True, slots=True)
class Foretelling:
    """How answers that a model had not learned from agreed with it; ties are no answers.

    Attributes:
        n: answers.
        share: of them, those it foretold.
        expected: share that it would have foretold if its probabilities were right, which is less
            of answers about clips that are hard to tell apart. So it does not matter by what the
            questions were chosen.
        error: standard error of ``share``, by those probabilities.
    """

    n: int
    share: float
    expected: float
    error: float

    @classmethod
    def of(cls, chances: Floats, outcomes: Floats) -> Foretelling:
        """Look at answers.

        Args:
            chances: p(left is better) by each member, [K, n].
            outcomes: [n], 1 left, 0 right, 1/2 a tie.

        >>> one = Foretelling.of(np.array([[0.9, 0.6, 0.2, 0.5]]), np.array([1.0, 0.0, 0.0, 0.5]))
        >>> one.n, round(one.share, 2), round(one.expected, 2)
        (3, 0.67, 0.77)
        """
        told = outcomes != 0.5
        n = int(told.sum())
        if not n:
            return cls(0, float("nan"), float("nan"), float("inf"))
        p = chances[:, told].mean(0)
        error = float(np.sqrt((p * (1.0 - p)).sum())) / n
        share = float(agreed(chances[:, told], outcomes[told]).mean())
        return cls(n, share, float(np.maximum(p, 1.0 - p).mean()), error)

    def worse_than(self, before: Foretelling) -> bool:
        """Say whether these answers surprise more than those before did, by more than chance.

        A surprise is what was expected over what was foretold. Some there always is: a model is a
        little too sure of itself, and that is not held against it.
        """
        if min(self.n, before.n) < FEWEST:
            return False
        more = (self.expected - self.share) - (before.expected - before.share)
        return more > ERRORS * float(np.hypot(self.error, before.error))
