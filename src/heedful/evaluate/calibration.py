"""Whether probabilities mean what they say, and whether they tell people apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.evaluate.checked import FloatArray, refuse, unit_interval, vector

FURTHEST = 1e-12  # probabilities are kept so far from 0 and 1, or one surprise costs infinity


@dataclass(frozen=True)
class Reliability:
    """What was said beside what came, in bins of rows to which much the same was said.

    Attributes:
        predicted: float64 [b], mean prediction in each bin that has a row.
        observed: float64 [b], mean outcome there.
        counts: int64 [b], rows.
    """

    predicted: FloatArray
    observed: FloatArray
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error, the mean distance of the two over the rows.

        ECE = sum_b n_b / N |observed_b - predicted_b| (Naeini et al., AAAI 2015).
        """
        gaps = np.abs(self.observed - self.predicted)
        return float(np.average(gaps, weights=self.counts))


def reliability(predicted: ArrayLike, outcomes: ArrayLike, bins: int = 10) -> Reliability:
    """Return a reliability table with ``bins`` bins of about equally many rows.

    Bins of equal width leave most of them empty where most click rates are small. Rows of one
    prediction are never parted, so there can be fewer bins.

    Args:
        predicted: [N], N >= 1, any numbers; probabilities or expected ratings.
        outcomes: [N], on the same scale.
        bins: at least 1.

    Raises:
        ValueError: NaN, no row, or arrays of different lengths.
    """
    said = _some("predicted", predicted)
    came = vector("outcomes", outcomes, length=len(said))
    if bins < 1:
        raise ValueError(f"bins: {bins}; expected at least 1")
    ordered = np.sort(said)
    edges = np.unique(ordered[np.arange(1, bins) * len(said) // bins])
    which = np.searchsorted(edges, said, side="right")
    counts = np.bincount(which, minlength=len(edges) + 1)
    filled = counts > 0
    sums = [np.bincount(which, weights=w, minlength=len(counts))[filled] for w in (said, came)]
    return Reliability(sums[0] / counts[filled], sums[1] / counts[filled], counts[filled])


def calibration_error(predicted: ArrayLike, outcomes: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error; see :attr:`Reliability.error`.

    >>> calibration_error([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0] + [1, 1, 0, 0])
    0.125
    """
    return reliability(predicted, outcomes, bins).error


def log_loss(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """Return the mean of -log p(outcome), in nats.

        - 1/N sum_i ( y_i log p_i + (1 - y_i) log(1 - p_i) )

    Raises:
        ValueError: a probability outside [0, 1], an outcome other than 0 and 1, or no row.
    """
    p, y = _binary(probabilities, outcomes)
    p = np.clip(p, FURTHEST, 1.0 - FURTHEST)
    return float(-np.mean(y * np.log(p) + (1.0 - y) * np.log1p(-p)))


def brier(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """Return the mean squared distance of probability and outcome (Brier 1950).

    >>> brier([0.5, 1.0], [0, 1])
    0.125
    """
    p, y = _binary(probabilities, outcomes)
    return float(np.mean((p - y) ** 2))


def auc(scores: ArrayLike, outcomes: ArrayLike) -> float:
    """Return the probability that a row with outcome 1 scores above one with outcome 0.

    Ties count half (Mann and Whitney 1947); NaN where one of the two outcomes never came.

    >>> auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    s = _some("scores", scores)
    y = _zero_or_one(outcomes, len(s))
    ones = int(y.sum())
    zeros = len(y) - ones
    if not ones or not zeros:
        return float("nan")
    _, place, counts = np.unique(s, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((rank[y == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _binary(probabilities: ArrayLike, outcomes: ArrayLike) -> tuple[FloatArray, FloatArray]:
    p = unit_interval("probabilities", _some("probabilities", probabilities))
    return p, _zero_or_one(outcomes, len(p))


def _zero_or_one(outcomes: ArrayLike, length: int) -> FloatArray:
    y = vector("outcomes", outcomes, length=length)
    refuse("outcomes", (y != 0) & (y != 1), "is neither 0 nor 1", y)
    return y


def _some(name: str, values: ArrayLike) -> FloatArray:
    array = vector(name, values)
    if not len(array):
        raise ValueError(f"{name}: no row to look at")
    return array
