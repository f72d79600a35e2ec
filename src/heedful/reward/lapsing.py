"""How likely answers to "which of the two?" are, from people who sometimes slip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FARTHEST = 500.0  # leads beyond it are as certain, and their exponentials still are numbers


@dataclass(frozen=True, slots=True)
class Lapsing:
    """Bradley and Terry's model, for people who answer a share of the questions by a coin.

        p(left) = (1 - e) sigma(d) + e / 2,   d = sum_t r(left_t) - sum_t r(right_t)

    A share e of the answers is random, so e / 2 of them are the wrong way round however clear the
    case. A tie counts as half an answer either way. Christiano et al., Deep Reinforcement Learning
    from Human Preferences, arXiv 1706.03741, section 2.2.3, with e = 0.1.

    Attributes:
        share: e, in [0, 1).

    Raises:
        ValueError: the share is out of its range.
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a share of answers that leaves none."""
        if not 0.0 <= self.share < 1.0:
            raise ValueError(f"share is {self.share}: random answers are a share in [0, 1)")

    def chances(self, leads: Floats) -> Floats:
        """Return p(left) for leads d [n], [n].

        >>> Lapsing(0.2).chances(np.array([-900.0, 0.0, 900.0])).round(3).tolist()
        [0.1, 0.5, 0.9]
        """
        return self._both(leads)[0]

    def losses(self, leads: Floats, outcomes: Floats) -> Floats:
        """Return - log p(outcome), [n]; outcomes are 1 for left, 0 for right, 1/2 for a tie."""
        left, right = self._both(leads)
        lost: Floats = -(outcomes * np.log(left) + (1.0 - outcomes) * np.log(right))
        return lost

    def slopes(self, leads: Floats, outcomes: Floats) -> tuple[Floats, Floats]:
        """Return the losses' derivative in the leads and its expected curvature, [n] each.

        The curvature is Fisher's information: never negative, where the loss itself is not convex.
        """
        left, right = self._both(leads)
        d = np.clip(leads, -_FARTHEST, _FARTHEST)
        steep = (1.0 - self.share) * np.exp(-np.logaddexp(0.0, d) - np.logaddexp(0.0, -d))
        ratio = steep / (left * right)
        return ratio * (left - outcomes), ratio * steep

    def _both(self, leads: Floats) -> tuple[Floats, Floats]:
        """Return p(left) and p(right), neither rounded to 0."""
        d = np.clip(leads, -_FARTHEST, _FARTHEST)
        sure, coin = 1.0 - self.share, self.share / 2
        left: Floats = sure * np.exp(-np.logaddexp(0.0, -d)) + coin
        right: Floats = sure * np.exp(-np.logaddexp(0.0, d)) + coin
        return left, right
