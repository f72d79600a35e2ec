"""Synthetic teachers: who answers which of two clips is better, and how such people err.

Lee et al., B-Pref: Benchmarking Preference-Based Reinforcement Learning, arXiv 2111.03026, section
3, whose six teachers these are. A teacher sees scores, which no reward model does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heedful.reward.questions import Answer

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """Answers by the sums of two clips' scores; equal sums are equal.

    Attributes:
        mistakes: the share of answers that come out the wrong way round; of a tie, as a coin falls.
        rationality: beta of Boltzmann's choice, p(left) = sigma(beta (left - right)), per unit of
            score; infinite for who never slips. A tie is then a coin as well.
        equal_below: sums that differ by no more are equal.
        skip_below: where neither clip's sum reaches it, nobody can tell.
        memory: in (0, 1], the weight of a step against the one after it: below 1 the end of a clip
            counts for more.
    """

    mistakes: float = 0.0
    rationality: float = float("inf")
    equal_below: float = 0.0
    skip_below: float = float("-inf")
    memory: float = 1.0

    def __call__(self, left: Floats, right: Floats, rng: np.random.Generator) -> Answer:
        """Return the answer to the scores of two clips, [T] each."""
        if max(left.sum(), right.sum()) < self.skip_below:
            return Answer.UNSURE
        weights = self.memory ** np.arange(len(left) - 1, -1, -1)
        lead = float(weights @ (left - right))
        if np.isfinite(self.rationality):
            sure = 1.0 / (1.0 + np.exp(-np.clip(self.rationality * lead, -500.0, 500.0)))
            return Answer.LEFT if rng.random() < sure else Answer.RIGHT
        tie = abs(lead) <= self.equal_below
        if rng.random() < self.mistakes:
            wrong = rng.random() < 0.5 if tie else lead < 0
            return Answer.LEFT if wrong else Answer.RIGHT
        if tie:
            return Answer.EQUAL
        return Answer.LEFT if lead > 0 else Answer.RIGHT


def six_teachers(*, unit: float, equal: float, skip: float) -> dict[str, Teacher]:
    """Return B-Pref's six teachers by name, on the scale of one game.

    Args:
        unit: a difference between sums that a noisy teacher sees in 9 of 10 cases.
        equal: the largest difference that the one who calls much equal does not see.
        skip: the sum below which the one who skips has nothing to say.
    """
    return {
        "oracle": Teacher(),
        "mistake": Teacher(mistakes=0.1),
        "noisy": Teacher(rationality=float(np.log(9.0)) / unit),
        "equal": Teacher(equal_below=equal),
        "skip": Teacher(skip_below=skip),
        "myopic": Teacher(memory=0.9),
    }
