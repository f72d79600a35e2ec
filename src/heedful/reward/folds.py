"""Who is left out together: what one owner said is never on both sides."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from heedful.reward.ngrams import Ints

FOLDS = 5


def fold_of(owners: Iterable[str]) -> Ints:
    """Return the fold of each owner, 0 to :data:`FOLDS` - 1: the same everywhere and for ever."""
    return np.array([zlib.crc32(owner.encode()) % FOLDS for owner in owners], np.int64)


def even_folds(owners: Sequence[str], n: int) -> Ints:
    """Return ``n`` folds that are about equally large; by row where there are too few owners.

    >>> even_folds(["a", "a", "b", "c", "d", "d"], 3).tolist()
    [0, 0, 2, 2, 1, 1]
    """
    codes, who, counts = np.unique(owners, return_inverse=True, return_counts=True)
    if len(codes) < n:
        return np.arange(len(owners)) % n
    # The one with most rows first, each into the fold that has fewest so far.
    filled, fold = np.zeros(n), np.zeros(len(codes), np.int64)
    for code in np.argsort(-counts, kind="stable").tolist():
        fold[code] = int(filled.argmin())
        filled[fold[code]] += counts[code]
    found: Ints = fold[who]
    return found
