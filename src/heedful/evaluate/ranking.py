"""Ranking metrics under full ranking, one number per row so that intervals can be drawn over rows.

A metric is never computed on sampled negatives here: sampled metrics order policies differently
from the full ranking (Krichene and Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020).

Ties. The rank of a target that shares its score with t other items is 1 + (strictly better) + t/2,
the mean of its ranks over all orders of the tied items, so a tie never favours the target. The
metrics below are evaluated *at that mean rank*. They are not the mean of the metric over tie
orders, which the rank alone does not determine: ``mrr`` is at most that mean (1/x is convex), and a
policy that scores every item the same gets the middle rank, hence no hit at any k below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.evaluate.checked import FloatArray, refuse


def ranks(
    scores: ArrayLike, targets: ArrayLike, forbidden: NDArray[np.bool_] | None = None
) -> FloatArray:
    """Rank each row's target among all items that are not forbidden; 1 is best.

    Args:
        scores: [N, V], higher is better; infinities compare as usual.
        targets: [N], the item that was really chosen, in 0..V-1.
        forbidden: [N, V], True for items left out of the ranking (seen before, ruled out).

    Returns:
        float64 [N]; halves arise from ties.

    Raises:
        ValueError: if shapes disagree, a score is NaN, or a target is no item or is forbidden.

    >>> ranks([[0.1, 0.9, 0.5], [0.3, 0.3, 0.3]], [2, 0])
    array([2., 2.])
    """
    table = np.asarray(scores)
    chosen = np.asarray(targets)
    _check_table(table, chosen)
    refuse("scores", np.isnan(table).any(axis=1), "holds NaN; a policy must score every item")
    own = np.take_along_axis(table, chosen[:, None], axis=1)  # [N, 1]
    better, equal = table > own, table == own
    if forbidden is not None:
        if forbidden.shape != table.shape or forbidden.dtype != np.bool_:
            raise ValueError(f"forbidden: expected bool {table.shape}, got {forbidden.shape}")
        refuse(
            "targets",
            np.take_along_axis(forbidden, chosen[:, None], axis=1)[:, 0],
            "names a forbidden item; take the row out, or lift the rule for its target",
        )
        better &= ~forbidden
        equal &= ~forbidden
    rank: FloatArray = 1.0 + better.sum(axis=1) + 0.5 * (equal.sum(axis=1) - 1)
    return rank


def _check_table(scores: NDArray[Any], targets: NDArray[Any]) -> None:
    if scores.ndim != 2:
        raise ValueError(f"scores: expected [rows, items], got an array of shape {scores.shape}")
    if targets.shape != scores.shape[:1]:
        raise ValueError(f"targets: shape {targets.shape}, but scores have {len(scores)} rows")
    if targets.size and not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"targets: expected item numbers (integers), got {targets.dtype}")
    items = scores.shape[1]
    refuse("targets", (targets < 0) | (targets >= items), f"is no item of 0..{items - 1}")


def hit_rate(ranks: FloatArray, k: int) -> FloatArray:
    """HR@k per row: 1 where rank <= k, else 0.

    With one target per row this is also recall@k. Tied ranks: see the module's docstring.

    Args:
        ranks: [N], from `ranks`.
        k: length of the list, at least 1.

    >>> hit_rate(np.array([1.0, 2.5, 11.0]), k=2)
    array([1., 0., 0.])
    """
    _check_ranks(ranks, k)
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: FloatArray, k: int) -> FloatArray:
    """NDCG@k per row: 1 / log2(1 + rank) where rank <= k, else 0.

    With one relevant item the ideal gain is 1 (Järvelin and Kekäläinen 2002, with the usual
    log2(1 + rank) discount). Tied ranks: see the module's docstring.

    Args:
        ranks: [N], from `ranks`.
        k: length of the list, at least 1.

    >>> ndcg(np.array([1.0, 3.0, 11.0]), k=10)
    array([1. , 0.5, 0. ])
    """
    _check_ranks(ranks, k)
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)


def mrr(ranks: FloatArray) -> FloatArray:
    """Reciprocal rank per row, 1 / rank; its mean is the MRR. Not cut at any k.

    >>> mrr(np.array([1.0, 4.0]))
    array([1.  , 0.25])
    """
    _check_ranks(ranks, 1)
    return 1.0 / ranks


def coverage(recommended: ArrayLike, n_items: int) -> float:
    """Share of the catalogue that appears in at least one list.

    Args:
        recommended: [N, k] item numbers in 0..n_items-1.
        n_items: size of the catalogue.

    Raises:
        ValueError: if the catalogue is empty or an item is not in it.

    >>> coverage([[0, 1], [1, 2]], n_items=4)
    0.75
    """
    items: NDArray[np.int64] = np.asarray(recommended)
    if n_items < 1:
        raise ValueError(f"n_items: expected at least 1, got {n_items}")
    if items.size == 0:
        return 0.0
    if items.ndim != 2:
        raise ValueError(f"recommended: expected [rows, k] items, got shape {items.shape}")
    outside = (items < 0) | (items >= n_items)
    refuse("recommended", np.any(outside, axis=1), f"holds an item outside 0..{n_items - 1}")
    return len(np.unique(items)) / n_items


def _check_ranks(ranks: FloatArray, k: int) -> None:
    if k < 1:
        raise ValueError(f"k: expected a list of at least 1 item, got {k}")
    refuse("ranks", ~(np.asarray(ranks) >= 1), "is no rank (at least 1); take them from ranks()")
