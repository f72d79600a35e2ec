"""How often the candidate of a trial serves a subject better than the live version serves one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heedful.evaluate import Interval, length_controlled, win_rate
from heedful.loop.bench import Bench
from heedful.loop.cohort import Cohort
from heedful.loop.trial import as_begun, who_counts
from heedful.reward import Earned
from heedful.store.registry import Trial

FEWEST = 10
"""Subjects of an arm below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Wins:
    """Subjects of one arm against subjects of the other, each by its mean reward a decision.

    Attributes:
        rate: how often the candidate's subject was better served, a tie counting half.
        at_equal_length: the same, were their decisions equally long; ``None`` where all are.
        lengths: mean units a decision, the candidate's and the live version's.
    """

    rate: Interval
    at_equal_length: Interval | None
    lengths: tuple[float, float]

    def words(self) -> str:
        """Say it."""
        rate, equal = self.rate, self.at_equal_length
        told = (
            f"Win rate: the candidate serves somebody better in {rate.mean:.1%} of comparisons "
            f"(95 % interval {rate.low:.1%} to {rate.high:.1%})"
        )
        if equal is None:
            return told + "."
        own, live = self.lengths
        return (
            f"{told}; at equal length in {equal.mean:.1%} ({equal.low:.1%} to {equal.high:.1%}). "
            f"Its decisions are {own:.1f} units long, the live version's {live:.1f}."
        )

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON."""
        equal = self.at_equal_length
        found = {"win_rate": _plain(self.rate)}
        return found | {
            "at_equal_length": None if equal is None else _plain(equal),
            "lengths": list(self.lengths),
        }


def wins(bench: Bench, trial: Trial) -> Wins | None:
    """Return the win rates of ``trial`` as it stands, ``None`` while too few can be compared."""
    judged, bench = who_counts(bench, trial), as_begun(bench, trial)
    reward = bench.registry.card(trial.candidate).reward
    return compared(judged, bench.earned(judged.snapshot, reward))


def compared(judged: Cohort, earned: Earned) -> Wins | None:
    """Compare the arms of a cohort; see :func:`wins`."""
    if min(int(judged.arm.sum()), int((~judged.arm).sum())) < FEWEST:
        return None
    lengths = np.diff(judged.snapshot.decisions.offsets).astype(np.float64)
    longest = lengths.max()  # means are taken of numbers from 0 to 1
    rewards, means = judged.means(earned.decisions), longest * judged.means(lengths / longest)
    first, second = rewards[judged.arm], rewards[~judged.arm]
    own, live = means[judged.arm], means[~judged.arm]
    alike = np.ptp(lengths[judged.counted]) == 0
    return Wins(
        win_rate(first, second, seed=0),
        None if alike else length_controlled(first, second, (own, live), seed=0),
        (float(own.mean()), float(live.mean())),
    )


def _plain(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}
