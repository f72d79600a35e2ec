"""The gate: a bet against "the candidate is not better", whose winnings are the evidence.

Null hypothesis, per step: E[D_t | past] <= 0, where D_t is a difference between candidate and live
policy whose lowest possible value -b_t was declared before it was seen. With 0 <= lambda_t < 1/b_t
chosen from the past alone,

    E_t(lambda) = prod_{i <= t} (1 + lambda_i D_i)

is a non-negative supermartingale that starts at 1, so it ever reaches 1/alpha with probability at
most alpha (Ville 1939; Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables
by betting", section 4). One may look after every row and stop at any time. Not knowing the best
stake, bet with twelve at once: the mean of such processes is one again. The other rule, which moves
one stake with what it has seen, is in `heedful.evaluate.adaptive`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.evaluate.checked import FloatArray, refuse, vector

OFF_POLICY_FRACTIONS: tuple[float, ...] = tuple(np.geomspace(0.001, 0.5, 12).tolist())
"""Stakes for logged probabilities, as shares of the largest allowed, 1/b_t. Half of the largest is
the top: beyond it one bad row costs most of the wealth."""

ASSIGNMENT_FRACTIONS: tuple[float, ...] = tuple(np.geomspace(0.002, 0.5, 12).tolist())
"""Stakes for random assignment, whose D is less skewed: there the smallest stakes win nothing."""

_BLOCK = 1 << 14  # rows whose wealth is held at a time: 12 x 16,384 numbers


def alpha_of(k: int, alpha: float) -> float:
    """Error rate of the k-th candidate, 6 alpha / (pi k)^2; over all k they sum to ``alpha``.

    Raises:
        ValueError: if k < 1 or alpha is outside (0, 1).

    >>> round(alpha_of(1, 0.05), 4), round(alpha_of(2, 0.05), 4)
    (0.0304, 0.0076)
    """
    if k < 1:
        raise ValueError(f"k: candidates are counted from 1, got {k}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: expected a probability between 0 and 1, got {alpha}")
    return 6 * alpha / (math.pi * k) ** 2


def wealth(log_evidence: float) -> str:
    """Return evidence as people read it.

    >>> wealth(3.5), wealth(40.0)
    ('33.1', '2.4e+17')
    """
    evidence = math.exp(min(log_evidence, 700.0))
    return f"{evidence:,.1f}" if evidence < 1e6 else f"{evidence:.2g}"


def log_evidence(
    differences: FloatArray, lowest: FloatArray | float, fractions: Sequence[float]
) -> FloatArray:
    """Log of the evidence after every row, for one sequence or for many side by side.

    Args:
        differences: D, [..., N], in order along the last axis.
        lowest: lowest possible D, negative; broadcasts against ``differences``.
        fractions: the stakes [K], as shares of 1/|lowest|, each within (0, 1).

    Returns:
        float64 [..., N]: log mean_k prod_{i<=t} (1 + f_k D_i / |lowest_i|).
    """
    stakes = np.asarray(fractions)
    scaled = differences / np.abs(lowest)
    return _log_mean_exp(_log_wealth(scaled, np.zeros(len(stakes)), stakes))


def _log_wealth(scaled: FloatArray, start: FloatArray, stakes: FloatArray) -> FloatArray:
    """Log wealth of each stake after each row, [K, ..., N], from ``start`` [K] before the first.

    The start enters the running sum first, so that rows added one by one and all at once give the
    same bits.
    """
    over_rows = (-1,) + (1,) * scaled.ndim
    gains = np.log1p(stakes.reshape(over_rows) * scaled)
    gains[..., :1] += start.reshape(over_rows)
    wealth: FloatArray = np.cumsum(gains, axis=-1)
    return wealth


def _log_mean_exp(log_wealth: FloatArray) -> FloatArray:
    """Log of the mean over the first axis, without leaving the range of float64.

    Summed stake by stake, because NumPy's own sums take an order that depends on the shape.
    """
    top = log_wealth.max(axis=0)
    total = np.zeros_like(top)
    for wealth in np.exp(log_wealth - top):
        total = total + wealth
    evidence: FloatArray = top + np.log(total / len(log_wealth))
    return evidence


class EProcess:
    """Evidence that the candidate is better, updated by O(12) operations per row.

    The decision goes by the *maximum* so far: Ville's inequality bounds the whole path, so a
    candidate whose evidence once reached 1/alpha has passed, wherever it stands now. Rows must come
    in order and once each: a row given twice is a bet placed after its outcome was known.

    Attributes:
        fractions: the stakes, as shares of the largest allowed.
        rows: rows seen.
        log_wealth: float64 [K], log of each stake's wealth.
        log_maximum: log of the largest evidence so far; 0 before the first row.
        maximum_at: the row (from 1) where that was; 0 before the first.
        history: (row, log evidence) at evenly spaced rows, for plots; never more than ``points``.
    """

    def __init__(
        self, fractions: Sequence[float] = OFF_POLICY_FRACTIONS, *, points: int = 512
    ) -> None:
        """Start with evidence 1.

        Raises:
            ValueError: if a fraction is outside (0, 1), there is none, or ``points`` < 1.
        """
        if not fractions or not all(0 < f < 1 for f in fractions):
            raise ValueError(f"fractions: expected shares between 0 and 1, got {list(fractions)}")
        if points < 1:
            raise ValueError(f"points: expected at least 1, got {points}")
        self.fractions = tuple(float(f) for f in fractions)
        self.rows = 0
        self.log_wealth: FloatArray = np.zeros(len(self.fractions))
        self.log_maximum = 0.0
        self.maximum_at = 0
        self.history: list[tuple[int, float]] = []
        self._points = points
        self._stride = 1

    @property
    def log_evidence(self) -> float:
        """Log of the evidence now."""
        return float(_log_mean_exp(self.log_wealth))

    @property
    def evidence(self) -> float:
        """Evidence now (at most e^700, where float64 ends)."""
        return math.exp(min(self.log_evidence, 700.0))

    @property
    def maximum(self) -> float:
        """Largest evidence so far (at most e^700)."""
        return math.exp(min(self.log_maximum, 700.0))

    def update(self, differences: ArrayLike, lowest: ArrayLike) -> FloatArray:
        """Add one row or many, in order.

        Args:
            differences: D, a number or [N].
            lowest: the lowest value each D could have taken, known before D was: a number or [N].

        Returns:
            float64 [N]: log evidence after each row.

        Raises:
            ValueError: if a value is NaN, a lowest value is not negative and finite, or a D lies
                below its lowest value. Nothing is added then.
        """
        d = vector("differences", np.atleast_1d(np.asarray(differences, dtype=np.float64)))
        low = np.broadcast_to(vector("lowest", np.atleast_1d(np.asarray(lowest))), d.shape)
        _check_bound(d, low)
        path = np.empty(len(d))
        for start in range(0, len(d), _BLOCK):
            part = slice(start, start + _BLOCK)
            path[part] = self._add(d[part], low[part])
        return path

    def _wealth_after(self, differences: FloatArray, lowest: FloatArray) -> FloatArray:
        """Log wealth of each stake after each of these rows, [K, N]."""
        scaled = np.maximum(differences / -lowest, -1.0)
        return _log_wealth(scaled, self.log_wealth, np.asarray(self.fractions))

    def _add(self, differences: FloatArray, lowest: FloatArray) -> FloatArray:
        wealth = self._wealth_after(differences, lowest)
        path = _log_mean_exp(wealth)
        best = int(path.argmax())
        if path[best] > self.log_maximum:
            self.log_maximum, self.maximum_at = float(path[best]), self.rows + best + 1
        self._remember(path)
        self.log_wealth = wealth[:, -1].copy()
        self.rows += len(differences)
        return path

    def _remember(self, path: FloatArray) -> None:
        """Keep every stride-th row; double the stride whenever there are too many points."""
        numbers = self.rows + 1 + np.arange(len(path))
        kept = numbers % self._stride == 0
        self.history += zip(numbers[kept].tolist(), path[kept].tolist(), strict=True)
        while len(self.history) > self._points:
            self._stride *= 2
            self.history = [point for point in self.history if point[0] % self._stride == 0]

    def merge(self, later: EProcess) -> EProcess:
        """Join two halves of one sequence, by adding the log wealth of each stake.

        Only for differences without a predictable baseline: with one, the second half's D depend on
        the first half's rewards, so the second half cannot be computed apart. The merged maximum
        is the largest evidence among the times that are known: every row of the first half, and
        the end. Hence it is at most the maximum of the undivided sequence, and as valid.

        Args:
            later: a process with the same fractions, fed with the rows that follow.

        Raises:
            ValueError: if the fractions differ.
        """
        if later.fractions != self.fractions:
            raise ValueError("later: has other fractions, so wealth cannot be added")
        merged = EProcess.from_dict(self.to_dict())
        merged.rows += later.rows
        merged.log_wealth = self.log_wealth + later.log_wealth
        if merged.log_evidence > merged.log_maximum:
            merged.log_maximum, merged.maximum_at = merged.log_evidence, merged.rows
        return merged

    def to_dict(self) -> dict[str, Any]:
        """State as plain numbers and lists; JSON keeps every bit of it."""
        return {
            "fractions": list(self.fractions),
            "rows": self.rows,
            "log_wealth": self.log_wealth.tolist(),
            "log_maximum": self.log_maximum,
            "maximum_at": self.maximum_at,
            "history": [list(point) for point in self.history],
            "points": self._points,
            "stride": self._stride,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> EProcess:
        """Restore what `to_dict` gave.

        Raises:
            KeyError: if a part of the state is missing.
            ValueError: if there is not one finite log wealth per fraction.
        """
        process = cls(state["fractions"], points=state["points"])
        wealth = vector("log_wealth", state["log_wealth"], length=len(process.fractions))
        refuse("log_wealth", ~np.isfinite(wealth), "is not finite: the state is damaged")
        process.rows, process.log_wealth = int(state["rows"]), wealth
        process.log_maximum = float(state["log_maximum"])
        process.maximum_at = int(state["maximum_at"])
        process.history = [(int(row), float(value)) for row, value in state["history"]]
        process._stride = int(state["stride"])
        return process


def _check_bound(differences: FloatArray, lowest: NDArray[np.float64]) -> None:
    unusable = ~(np.isfinite(lowest) & (lowest < 0))
    refuse("lowest", unusable, "is not a finite number below 0", lowest)
    refuse(
        "differences",
        differences < lowest * (1 + 1e-9),
        "lies below its declared lowest value, so the bound is wrong and the evidence would be "
        "worthless: a reward outside [0, 1], a wrong share, or a w_max smaller than the weights "
        "that the log's exploration floor allows. Correct the declaration and judge anew",
        differences,
    )
    refuse("differences", np.isinf(differences), "is infinite", differences)
