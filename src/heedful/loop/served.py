"""What people's answers to served decisions were worth, version by version, over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heedful.loop.bench import Bench
from heedful.loop.plots import Line

BINS, PER_BIN = 20, 200
FEWEST = 30  # decisions of a version in a bin, below which no point is drawn
NORMAL = 1.96  # 95 % of a normal distribution lie within so many standard deviations

Floats = npt.NDArray[np.float64]


def reward_by_version(bench: Bench) -> list[Line]:
    """Return the mean reward of each version that served, with 95 % intervals.

    ``x`` counts decisions served by any version; matured decisions alone enter. Answers of one
    subject belong together, so intervals are those of a mean over clusters.
    """
    snapshot = bench.log.snapshot()
    decisions = snapshot.decisions
    rewards = bench.earned(snapshot).decisions
    known = ~np.isnan(decisions.logps[decisions.offsets[:-1]]) & ~np.isnan(rewards)
    rows = np.flatnonzero(known)
    if not len(rows):
        return []
    edges = np.linspace(0, len(rows), min(BINS, max(1, len(rows) // PER_BIN)) + 1).astype(int)
    bins = np.digitize(np.arange(len(rows)), edges[1:-1], right=False)
    middle = (edges[:-1] + edges[1:]) / 2
    lines = []
    for code in np.unique(decisions.policy[rows]):
        own = decisions.policy[rows] == code
        points = [
            mean_and_error(
                rewards[rows[own & (bins == b)]], decisions.subject[rows[own & (bins == b)]]
            )
            for b in range(len(middle))
        ]
        mean, error = np.array(points).T
        shown = np.flatnonzero(~np.isnan(mean))
        if len(shown):
            part = slice(int(shown[0]), int(shown[-1]) + 1)
            mean, wide = mean[part], NORMAL * error[part]
            name = str(snapshot.names.policies[int(code)])
            lines.append(Line(name, middle[part], mean, np.maximum(mean - wide, 0.0), mean + wide))
    return lines


def mean_and_error(rewards: Floats, subjects: npt.NDArray[np.integer]) -> tuple[float, float]:
    """Return the mean of ``rewards`` [N] and its standard error, clustered by subject.

    The variance of a mean over clusters is ``sum_s (sum_{i in s} (r_i - mean))^2 / N^2`` (Liang and
    Zeger 1986, for a mean). NaN for fewer than :data:`FEWEST` rows.

    >>> rewards, subjects = np.tile([0.0, 1.0], 32), np.arange(64)
    >>> mean_and_error(rewards, subjects)
    (0.5, 0.0625)
    >>> mean_and_error(rewards, subjects % 2)[1] > 0.3
    True
    """
    if len(rewards) < FEWEST:
        return float("nan"), float("nan")
    mean = float(rewards.mean())
    _, codes = np.unique(subjects, return_inverse=True)
    sums = np.bincount(codes, weights=rewards - mean)
    return mean, float(np.sqrt((sums**2).sum()) / len(rewards))
