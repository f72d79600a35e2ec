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
        return cls.gathered([_row(text) for text in texts])

    @classmethod
    def gathered(cls, parts: Sequence[tuple[Ints, Floats]]) -> Rows:
        """Return rows from the places and values of each, which end with the constant's."""
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

    def minus(self, other: Rows) -> Rows:
        """Return these rows less ``other``'s, row by row; the constants stay as entries of 0.

        What stands in both with one value is gone, so two like texts make a short row.
        """
        row_of = [np.repeat(np.arange(len(self)), np.diff(one.offsets)) for one in (self, other)]
        keys = np.concatenate([row_of[0], row_of[1]]) * self.width
        keys += np.concatenate([self.places, other.places])
        distinct, which = np.unique(keys, return_inverse=True)
        values = np.bincount(which, weights=np.concatenate([self.values, -other.values]))
        row, place = np.divmod(distinct, self.width)
        kept = (values != 0) | (place == self.width - 1)
        offsets = np.searchsorted(row[kept], np.arange(len(self) + 1))
        return Rows(self.width, offsets, place[kept], values[kept])

    def scaled(self, columns: Floats) -> Rows:
        """Return these rows with each column times its number in ``columns`` [D]."""
        return Rows(self.width, self.offsets, self.places, self.values * columns[self.places])

    def rarity(self, power: float, kept: Ints) -> Floats:
        """Return how much each column should weigh for being rare, [D].

            log( (1 + n) / (1 + n_j) )^power,     n_j rows of n having column j,

        times the number that leaves the mean square of the values what it is. What is common tells
        little, and a penalty that is alike for all columns shrinks less what weighs more (Sparck
        Jones, A Statistical Interpretation of Term Specificity, 1972).

        Args:
            power: 0 for none.
            kept: columns that weigh 1: numbers that are no n-grams.
        """
        found = np.bincount(self.places[self.values != 0], minlength=self.width)
        weight: Floats = np.log((1.0 + len(self)) / (1.0 + found)) ** power
        square = np.where(np.isin(self.places, kept), 0.0, self.values**2)
        mean = float(square.sum() / max((square * weight[self.places] ** 2).sum(), 1e-12))
        weight *= np.sqrt(mean)
        weight[kept] = 1.0
        return weight

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
    places, values = entries([whole_words(found), pieces_of(found)])
    return np.append(places, WIDTH - 1), np.append(values, 1.0)


def entries(blocks: Iterable[Iterable[int]]) -> tuple[Ints, Floats]:
    """Return the places and values of blocks of n-grams, each block of length 1 if not empty."""
    found = [np.unique(np.fromiter(places, np.int64)) for places in blocks]
    values = [np.full(len(places), 1.0 / max(1.0, len(places)) ** 0.5) for places in found]
    return np.concatenate(found), np.concatenate(values)


def whole_words(found: Sequence[str], tag: str = "w") -> list[int]:
    """Return the places of words and of pairs of neighbours; another ``tag``, other places."""
    return [hashed(f"{tag} {word}") for word in found] + [
        hashed(f"{tag} {one} {two}") for one, two in pairwise(found)
    ]


def pieces_of(found: Sequence[str]) -> list[int]:
    """Return the places of the pieces of words."""
    return [place for word in found for place in _pieces(word)]


@lru_cache(maxsize=65_536)
def _pieces(word: str) -> tuple[int, ...]:
    """Return the places of the runs of 3 to 5 characters of a word and its edges.

    Of scripts that write no spaces, in which a "word" is a clause, of 1 to 3.
    """
    sizes = PIECES_OF_IDEOGRAPHS if ord(max(word)) >= _IDEOGRAPHS else PIECES
    return tuple(hashed(f"c {piece}") for piece in _runs(f"<{word}>", sizes))


def _runs(word: str, sizes: Iterable[int]) -> Iterator[str]:
    for size in sizes:
        for begin in range(len(word) - size + 1):
            yield word[begin : begin + size]


def hashed(token: str) -> int:
    """Return a place that is the same on every machine; the constant's is never given away."""
    return zlib.crc32(token.encode()) % (WIDTH - 1)
