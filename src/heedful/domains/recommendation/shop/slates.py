"""The space of slates: rows of different items."""

from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete
from numpy.typing import ArrayLike, NDArray

__all__ = ["Slates"]


class Slates(MultiDiscrete):
    """`MultiDiscrete` whose last axis holds different items: what it samples can be shown.

    Args:
        items: how many items there are; units are 0 .. items - 1.
        shape: `(K,)` for one slate, `(n, K)` for n of them.

    >>> space = Slates(items=5, shape=(2, 5))
    >>> np.sort(space.sample(), axis=1).tolist()
    [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    >>> np.array([[0, 1, 2, 3, 4], [0, 0, 1, 2, 3]]) in space
    False
    """

    def __init__(self, items: int, shape: tuple[int, ...]) -> None:
        self.items = items
        super().__init__(np.full(shape, items))

    def sample(self, mask: Any = None, probability: Any = None) -> NDArray[np.int64]:
        """Slates drawn uniformly without replacement.

        Raises:
            ValueError: a mask or probabilities are given, which this space does not know.
        """
        if mask is not None or probability is not None:
            raise ValueError("Slates.sample takes no mask and no probability: draw and select")
        keys = self.np_random.random((*self.shape[:-1], self.items))
        return np.argsort(keys, axis=-1)[..., : self.shape[-1]]

    def contains(self, x: Any) -> bool:
        """Whether x has the shape, the range and no item twice in a slate."""
        return super().contains(x) and not _repeats(np.asarray(x)).any()

    def checked(self, x: ArrayLike) -> NDArray[np.int64]:
        """The slates as an array, or an error that says what is wrong with the first bad one.

        Raises:
            ValueError: wrong shape, not integers, an unknown item, or an item shown twice.
        """
        slates = np.asarray(x)
        if slates.shape != self.shape:
            raise ValueError(f"slates have shape {slates.shape}: give {self.shape}")
        if not np.issubdtype(slates.dtype, np.integer):
            raise ValueError(f"slates are {slates.dtype}: give item numbers, integers")
        unknown = ((slates < 0) | (slates >= self.items)).any(axis=-1)
        bad = unknown | _repeats(slates)
        if bad.any():
            row = tuple(np.argwhere(bad)[0].tolist())
            raise ValueError(
                f"slate {list(row)} is {slates[row].tolist()}: "
                f"give different items within 0..{self.items - 1}"
            )
        return slates.astype(np.int64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slates) and super().__eq__(other)

    def __repr__(self) -> str:
        return f"Slates(items={self.items}, shape={self.shape})"


def _repeats(slates: NDArray[Any]) -> NDArray[np.bool_]:
    """Which slates hold an item twice: [...] for slates [..., K]."""
    ordered = np.sort(slates, axis=-1)
    twice: NDArray[np.bool_] = (ordered[..., 1:] == ordered[..., :-1]).any(axis=-1)
    return twice
