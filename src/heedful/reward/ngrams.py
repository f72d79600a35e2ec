"""Texts as sparse rows: words, pairs of words and pieces of words, hashed.

Nothing is fitted and no vocabulary is kept, so a word that is new today has a place as well.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BITS = 18
WIDTH = 1 << BITS
"""Places that n-grams are hashed to; the last one is the constant's."""

TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")
PIECES = (3, 4, 5)
PIECES_OF_IDEOGRAPHS = (1, 2, 3)
_IDEOGRAPHS = 0x2E80  # scripts that write no spaces between words begin about here


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A sparse matrix [n, D] by rows; its last column is the constant, so no row is empty.

    Attributes:
        width: D.
        offsets: int64 [n + 1]; row ``i`` has the entries ``offsets[i]`` to ``offsets[i + 1]``.
        places: int64 [E], columns.
        values: float64 [E].
    """

    width: int
    offsets: Ints
    places: Ints
    values: Floats

    def __len__(self) -> int:
        """Return n."""
        return len(self.offsets) - 1

    @classmethod
    def of(cls, texts: Sequence[str]) -> Rows:
        """Return the rows of ``texts``.

        An n-gram counts once, however often it stands there. Words with their pairs, and pieces of
        words, have length 1 each, so a long text weighs as much as a short one; a text without any
        of them, an empty one, is its constant alone.
        """
        parts = [_row(text) for text in texts]
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(places) for places, _ in parts], out=offsets[1:])
        nothing = np.empty(0)
        return cls(
            WIDTH,
            offsets,
            np.concatenate([nothing.astype(np.int64), *(places for places, _ in parts)]),
            np.concatenate([nothing, *(values for _, values in parts)]),
        )

    def take(self, rows: Ints) -> Rows:
        """Return the rows numbered in ``rows``."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        at = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Rows(self.width, offsets, self.places[at], self.values[at])

    def compact(self) -> tuple[Rows, Ints]:
        """Return these rows without the columns that are nowhere used, and the columns kept."""
        columns, places = np.unique(self.places, return_inverse=True)
        return Rows(len(columns), self.offsets, places, self.values), columns

    def times(self, weights: Floats) -> Floats:
        """Return the product with ``weights`` [D], [n]."""
        product = self.values * weights[self.places]
        # No row is empty, so reduceat sums what belongs together.
        found: Floats = np.add.reduceat(product, self.offsets[:-1]) if len(self) else np.empty(0)
        return found

    def transposed_times(self, numbers: Floats) -> Floats:
        """Return the product of the transpose with ``numbers`` [n], [D]."""
        spread = self.values * np.repeat(numbers, np.diff(self.offsets))
        found = np.bincount(self.places, weights=spread, minlength=self.width)
        return found.astype(np.float64, copy=False)


def words(text: str) -> list[str]:
    """Return words and signs in the order of ``text``, without regard to case.

    A word is a run of letters and digits of any script; punctuation and emoji stand alone.

    >>> words("C'est SUPER, naïve Größe! 👍")
    ["c'est", 'super', ',', 'naïve', 'grösse', '!', '👍']
    """
    return TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def _row(text: str) -> tuple[Ints, Floats]:
    """Return the places and values of one text, its constant last."""
    found = words(text)
    whole = [_hashed(f"w {word}") for word in found]
    whole += [_hashed(f"w {one} {two}") for one, two in pairwise(found)]
    pieces = [place for word in found for place in _pieces(word)]
    blocks = [np.unique(np.array(places, np.int64)) for places in (whole, pieces)]
    values = [np.full(len(places), 1.0 / max(1.0, len(places)) ** 0.5) for places in blocks]
    return (
        np.concatenate([*blocks, np.array([WIDTH - 1])]),
        np.concatenate([*values, np.array([1.0])]),
    )


@lru_cache(maxsize=65_536)
def _pieces(word: str) -> tuple[int, ...]:
    """Return the places of the runs of 3 to 5 characters of a word and its edges.

    Of scripts that write no spaces, in which a "word" is a clause, of 1 to 3.
    """
    sizes = PIECES_OF_IDEOGRAPHS if ord(max(word)) >= _IDEOGRAPHS else PIECES
    return tuple(_hashed(f"c {piece}") for piece in _runs(f"<{word}>", sizes))


def _runs(word: str, sizes: Iterable[int]) -> Iterator[str]:
    for size in sizes:
        for begin in range(len(word) - size + 1):
            yield word[begin : begin + size]


def _hashed(token: str) -> int:
    """Return a place that is the same on every machine; the constant's is never given away."""
    return zlib.crc32(token.encode()) % (WIDTH - 1)
