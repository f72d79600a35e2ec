"""Can two samples be told apart? A permutation test, and a discriminator's AUC.

Of play, say: one sample is what people did, the other what a policy did, and a row describes a
whole match (:func:`heedful.evaluate.likeness.behaviour`). The test says whether they differ at all;
the discriminator how well somebody tells them apart who has seen many of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.evaluate.calibration import log_loss
from heedful.evaluate.checked import FloatArray, refuse, vector
from heedful.evaluate.intervals import Interval
from heedful.evaluate.quantiles import t_quantile

Ints = NDArray[np.int64]

PENALTIES = (0.1, 1.0, 10.0, 100.0)
"""Of which the discriminator chooses, on what it learns from alone."""

_NEWTON_STEPS, _ENOUGH = 25, 1e-8
_INNER_FOLDS = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """What a permutation test of two samples says.

    Attributes:
        distance: the energy distance, 0 where the samples are one distribution's, in units of the
            scaled rows.
        p: probability of a distance as large if they were.
        n: rows of the first sample, and of the second.
    """

    distance: float
    p: float
    n: tuple[int, int]


def energy_test(
    first: ArrayLike, second: ArrayLike, *, permutations: int = 999, seed: int
) -> Difference:
    """Test whether two samples come from one distribution, by energy distance.

        E = 2 mean|x - y| - mean|x - x'| - mean|y - y'|,   p = (1 + #{E_perm >= E}) / (1 + B)

    Székely & Rizzo, "Energy statistics", J. Stat. Plan. Inference 143 (2013), equation 5.1; with
    -|x - y| for a kernel it is the maximum mean discrepancy of Gretton et al., JMLR 13 (2012). The
    p-value is exact for rows that can change places: one row for each match, of players who are not
    the same in both samples more often than chance has it. Columns are brought to variance 1 over
    both samples together, which no permutation changes.

    Args:
        first: [n, D], n >= 2.
        second: [m, D], m >= 2.
        permutations: B.
        seed: of them.

    Raises:
        ValueError: shapes that do not fit, too few rows, or a number that is none.

    >>> same = np.arange(40.0).reshape(-1, 2)
    >>> energy_test(same, same, seed=0).p > 0.9
    True
    """
    x, y = _table("first", first), _table("second", second)
    if len(x) < 2 or len(y) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"samples of shape {x.shape} and {y.shape}: give [n, D] and [m, D]")
    rows = _scaled(np.concatenate([x, y]))
    n, m = len(x), len(y)
    size = (rows * rows).sum(1)
    away = np.sqrt(np.maximum(size[:, None] + size - 2.0 * rows @ rows.T, 0.0))
    np.fill_diagonal(away, 0.0)
    rng = np.random.default_rng(seed)
    belongs = np.zeros((n + m, permutations + 1))
    belongs[:n, 0] = 1.0
    for column in range(1, permutations + 1):
        belongs[rng.permutation(n + m)[:n], column] = 1.0
    near = away @ belongs  # [n + m, B + 1]: distances to the first sample
    within = (belongs * near).sum(0)
    between = near.sum(0) - within
    rest = away.sum() - within - 2.0 * between
    found = 2.0 * between / (n * m) - within / n**2 - rest / m**2
    reached = int((found[1:] >= found[0] * (1.0 - 1e-12)).sum())  # the same sums, in another order
    return Difference(float(max(found[0], 0.0)), (1 + reached) / (1 + permutations), (n, m))


@dataclass(frozen=True, slots=True)
class Discriminator:
    """How well two samples are told apart by somebody who has seen others of both.

    Attributes:
        auc: probability that a row of the second sample looks more like the second than a row of
            the first does; 1/2: they cannot be told apart. NaN bounds where there is one group.
        n: rows of the first sample, and of the second.
        groups: of rows that are never learned from and judged at once.
    """

    auc: Interval
    n: tuple[int, int]
    groups: int


def discriminate(
    features: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    *,
    folds: int = 5,
    penalties: Sequence[float] = PENALTIES,
    level: float = 0.95,
    seed: int,
) -> Discriminator:
    """Cross-validate a logistic regression that tells two samples apart.

    Whole groups are held out, the rows of one match say, or of one player. Only rows that one model
    judged are compared, as two models' scores are on two scales (pooled, they lean below 1/2). The
    interval is that of the influence curve (LeDell, Petersen & van der Laan, "Computationally
    efficient confidence intervals for cross-validated area under the ROC curve estimates",
    Electron. J. Statist. 9 (2015), theorem 4.1), summed within groups. Where nothing differs that
    is too narrow, as what one part is judged by was learned from the others, so its variance counts
    1 + K / (K - 1) times for K parts (Nadeau & Bengio, "Inference for the Generalization Error",
    Machine Learning 52 (2003), section 3):

        AUC = sum over parts of concordant pairs / pairs,  ties count half

    Where every pair is concordant (or none) nothing varies, and that says little of few rows: m
    pairs of rows that share no group are all concordant with probability AUC^m at most, which
    leaves an AUC down to (1 - level)^(1 / m), one side of it being known.

    Args:
        features: [n, D]; columns are brought to variance 1.
        second: [n], 1 for rows of the second sample, 0 for those of the first.
        groups: [n] codes.
        folds: parts; as many at most as there are groups.
        penalties: on the squared coefficients, of which each model chooses by an inner
            cross-validation.
        level: of the interval.
        seed: which group is in which part.

    Raises:
        ValueError: shapes that do not fit, or too few groups to have both samples in every part.
    """
    rows = _scaled(_table("features", features))
    y = vector("second", second, length=len(rows))
    refuse("second", (y != 0) & (y != 1), "is neither 0 nor 1", y)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    if len(group) != len(rows):
        raise ValueError(f"groups: {len(group)} rows, but the other arguments have {len(rows)}")
    scores = np.zeros(len(rows))
    parts = list(_parts(group, y, folds, np.random.default_rng(seed)))
    if len(parts) < 2:
        raise ValueError(
            f"{int(group.max()) + 1 if len(group) else 0} groups of rows: a discriminator takes at "
            "least two parts with both samples in each"
        )
    for part in parts:
        learned = np.ones(len(rows), np.bool_)
        learned[part] = False
        scores[part] = _fitted(rows[learned], y[learned], group[learned], penalties, seed)(
            rows[part]
        )
    auc, influence = _influence(scores, y, parts)
    interval = _interval(auc, influence, group, len(parts), level)
    if auc in (0.0, 1.0):
        interval = _extreme(interval, _apart(group, y, parts))
    return Discriminator(
        interval,
        (int((1 - y).sum()), int(y.sum())),
        int(group.max()) + 1,
    )


def _influence(scores: FloatArray, y: FloatArray, parts: list[Ints]) -> tuple[float, FloatArray]:
    """Return the AUC within parts, and by how much each row moves it, [n], mean 0."""
    total, pairs = 0.0, 0
    placed = np.zeros(len(y))  # the share of the other sample, in its part, that it stands beyond
    weight = np.zeros(len(y))
    for part in parts:
        ones, zeros = part[y[part] == 1], part[y[part] == 0]
        beats = (scores[ones][:, None] > scores[zeros]) + 0.5 * (
            scores[ones][:, None] == scores[zeros]
        )
        total, pairs = total + beats.sum(), pairs + beats.size
        placed[ones], placed[zeros] = beats.sum(1), beats.sum(0)
        weight[ones], weight[zeros] = len(zeros), len(ones)
    auc = total / pairs
    return float(auc), (placed - auc * weight) / pairs


def _interval(auc: float, influence: FloatArray, group: Ints, parts: int, level: float) -> Interval:
    moved = np.bincount(group, weights=influence)
    n = len(moved)
    variance = (1.0 + parts / (parts - 1)) * n / (n - 1) * float((moved**2).sum())
    wide = t_quantile((1.0 + level) / 2.0, n - 1) * float(np.sqrt(variance))
    return Interval(auc, max(0.0, auc - wide), min(1.0, auc + wide), level, n)


def _apart(group: Ints, y: FloatArray, parts: list[Ints]) -> int:
    """Return how many pairs there are within parts, one row of each sample, that share no group."""
    found = 0
    for part in parts:
        ones, zeros = (np.unique(group[part[y[part] == side]]) for side in (1, 0))
        found += min(len(ones), len(zeros), len(np.union1d(ones, zeros)) // 2)
    return found


def _extreme(interval: Interval, pairs: int) -> Interval:
    """Return the interval of an AUC that is 0 or 1, of so many pairs."""
    near = (1.0 - interval.level) ** (1.0 / max(1, pairs))
    if interval.mean == 1.0:
        return replace(interval, low=near)
    return replace(interval, high=1.0 - near)


def _parts(group: Ints, y: FloatArray, folds: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Yield the rows of each part: whole groups, dealt so that both samples are spread evenly."""
    n = int(group.max()) + 1 if len(group) else 0
    ones = np.bincount(group, weights=y, minlength=n)
    share = ones / np.maximum(np.bincount(group, minlength=n), 1)
    order = np.lexsort((rng.random(n), share))  # groups of one sample, mixed ones, the other's
    place = np.empty(n, np.int64)
    place[order] = np.arange(n) % max(1, min(folds, n))
    for part in range(int(place.max(initial=-1)) + 1):
        rows = np.flatnonzero(place[group] == part)
        if 0 < y[rows].sum() < len(rows):
            yield rows


class _Linear:
    """A score for each row: b x + a."""

    def __init__(self, coefficients: FloatArray, constant: float) -> None:
        self._coefficients, self._constant = coefficients, constant

    def __call__(self, rows: FloatArray) -> FloatArray:
        found: FloatArray = rows @ self._coefficients + self._constant
        return found


def _fitted(
    rows: FloatArray, y: FloatArray, group: Ints, penalties: Sequence[float], seed: int
) -> _Linear:
    """Return a logistic regression with the penalty that did best on parts of these rows."""
    best = penalties[0]
    if len(penalties) > 1:
        parts = list(_parts(_numbered(group), y, _INNER_FOLDS, np.random.default_rng(seed)))
        lost = np.zeros(len(penalties))
        for part in parts if len(parts) > 1 else ():
            learned = np.ones(len(rows), np.bool_)
            learned[part] = False
            for number, penalty in enumerate(penalties):
                model = _logistic(rows[learned], y[learned], penalty)
                chance = 1.0 / (1.0 + np.exp(-np.clip(model(rows[part]), -500.0, 500.0)))
                lost[number] += len(part) * log_loss(chance, y[part])
        best = penalties[int(lost.argmin())]
    return _logistic(rows, y, best)


def _numbered(group: Ints) -> Ints:
    found: Ints = np.unique(group, return_inverse=True)[1]
    return found


def _logistic(rows: FloatArray, y: FloatArray, penalty: float) -> _Linear:
    """Return the most likely logistic regression under penalty / 2 |b|^2; Newton's steps.

    Where there are more columns than rows it is solved in as many numbers as there are rows: the
    best b is a sum of rows.
    """
    kernel = len(rows) < rows.shape[1]
    x = np.linalg.cholesky(_lifted(rows @ rows.T)) if kernel else rows  # the same inner products
    n, width = x.shape
    design = np.concatenate([x, np.ones((n, 1))], axis=1)
    shrink = np.append(np.full(width, penalty), 1e-6)  # the constant hardly
    b = np.zeros(width + 1)
    for _ in range(_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ b, -500.0, 500.0)))
        slope = design.T @ (p - y) + shrink * b
        bend = (design.T * (p * (1.0 - p))) @ design + np.diag(shrink)
        step = np.linalg.solve(bend, slope)
        b -= step
        if float(step @ slope) < _ENOUGH * n:
            break
    coefficients = rows.T @ np.linalg.solve(x.T, b[:-1]) if kernel else b[:-1]
    return _Linear(coefficients, float(b[-1]))


def _lifted(gram: FloatArray) -> FloatArray:
    """Return a Gram matrix that has a Cholesky factor, rows that stand twice included."""
    lifted: FloatArray = gram + 1e-6 * max(1.0, float(np.trace(gram)) / len(gram)) * np.eye(
        len(gram)
    )
    return lifted


def _scaled(rows: FloatArray) -> FloatArray:
    """Return columns of mean 0 and variance 1; those that never change are left out."""
    spread = rows.std(0)
    moves = spread > 1e-12
    if not moves.any():
        return np.zeros((len(rows), 1))
    found: FloatArray = (rows[:, moves] - rows[:, moves].mean(0)) / spread[moves]
    return found


def _table(name: str, values: ArrayLike) -> FloatArray:
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise ValueError(f"{name}: expected [rows, columns], got shape {table.shape}")
    whole: NDArray[np.bool_] = np.asarray(np.isfinite(table).all(axis=1))
    refuse(name, ~whole, "holds a number that is none")
    return table
