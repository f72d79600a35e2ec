"""Columns that grow at their end, and of which views of the beginning may be given away.

What was given away never changes: rows are only ever written behind it, or into a larger buffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful.store.columns import Ints, Texts, frozen


class Growing:
    """One column, kept in a buffer that has room to spare.

    The first rows are taken as they are, without a copy, so that a column that never grows costs
    nothing.
    """

    def __init__(self, dtype: str) -> None:
        self._buffer: NDArray[Any] = np.empty(0, dtype=dtype)
        self._n = 0

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self._n

    @property
    def nbytes(self) -> int:
        """Return the size of the buffer in bytes."""
        return self._buffer.nbytes

    @property
    def rows(self) -> NDArray[Any]:
        """Return the rows so far: a read-only view ``[n]``, which does not grow."""
        return frozen(self._buffer[: self._n])

    def extend(self, rows: NDArray[Any]) -> None:
        """Add ``rows`` at the end."""
        end = self._n + len(rows)
        if not self._n:
            self._buffer = rows.astype(self._buffer.dtype, copy=False)
        elif len(rows):
            self._reserve(end)
            self._buffer[self._n : end] = rows
        self._n = end

    def _reserve(self, n: int) -> None:
        """Make room for ``n`` rows: half as much again, so that a row is moved a few times."""
        if n > len(self._buffer):
            larger = np.empty(n + n // 2, dtype=self._buffer.dtype)
            larger[: self._n] = self._buffer[: self._n]
            self._buffer = larger


class GrowingOffsets:
    """Where ragged rows begin, and at last where all end: ``int64 [R + 1]``."""

    def __init__(self) -> None:
        self._offsets = Growing("<i8")
        self._offsets.extend(np.zeros(1, dtype=np.int64))

    def __len__(self) -> int:
        """Return how many ragged rows there are."""
        return len(self._offsets) - 1

    @property
    def nbytes(self) -> int:
        """Return the size of the buffer in bytes."""
        return self._offsets.nbytes

    @property
    def rows(self) -> Ints:
        """Return the offsets so far."""
        return self._offsets.rows

    def extend(self, lengths: NDArray[Any]) -> None:
        """Add rows of these ``lengths`` at the end."""
        self._offsets.extend(self.rows[-1] + np.cumsum(lengths, dtype=np.int64))


class GrowingTexts:
    """A column of text."""

    def __init__(self) -> None:
        self._offsets = GrowingOffsets()
        self._data = Growing("|u1")

    def __len__(self) -> int:
        """Return how many texts there are."""
        return len(self._offsets)

    @property
    def nbytes(self) -> int:
        """Return the size of the buffers in bytes."""
        return self._offsets.nbytes + self._data.nbytes

    @property
    def rows(self) -> Texts:
        """Return the texts so far."""
        return Texts(self._offsets.rows, self._data.rows)

    def extend(self, lengths: NDArray[Any], data: NDArray[np.uint8]) -> None:
        """Add texts at the end: their lengths in bytes, and their UTF-8 one after another."""
        self._offsets.extend(lengths)
        self._data.extend(data)
