"""What is known of an item or a person, as a vector of fixed width: fitted once, then kept.

A fact's type is its JSON type: a number, a list of categories, or text. A dialect of three words
needs no schema, and what is imported says which is which.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Facts = Mapping[str, object]
"""Facts by name: a number; a list of texts (categories); a text. ``None`` counts as missing."""

Sort = Literal["number", "categories", "text"]
Row = npt.NDArray[np.float32]

TEXT_WIDTH = 128
CATEGORIES_WIDTH = 64
KNOWN_TOKENS = 50_000
FURTHEST = 5.0
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


@dataclass(slots=True)
class Gaps:
    """What was not there when facts were encoded; none of it is an error.

    Attributes:
        absent: rows without any fact.
        missing: values missing in the other rows.
        unknown: categories that were not there when the encoder was fitted.
    """

    absent: int = 0
    missing: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """How one fact becomes numbers; its last number says that the fact is missing.

    Attributes:
        name: the fact's.
        sort: what it is.
        mean, scale: of a number, over the rows the encoder was fitted on.
        known: categories with a place of their own, in order; empty where they are hashed.
        idf: weight of each frequent word or pair of words.
        rare: weight of every other one.
    """

    name: str
    sort: Sort
    mean: float = 0.0
    scale: float = 1.0
    known: tuple[str, ...] = ()
    idf: Mapping[str, float] = field(default_factory=dict)
    rare: float = 1.0

    @property
    def width(self) -> int:
        """How many numbers, the sign of a missing fact included."""
        if self.sort == "number":
            return 2
        if self.sort == "text":
            return TEXT_WIDTH + 1
        return (len(self.known) + 1 if self.known else CATEGORIES_WIDTH) + 1

    def write(self, value: object, out: Row, gaps: Gaps) -> None:
        """Write ``value`` into ``out`` [width], which is zero; one of another sort is missing."""
        if sort_of(value) != self.sort:
            gaps.missing += 1
            out[-1] = 1.0
        elif self.sort == "number":
            number = (float(value) - self.mean) / self.scale  # type: ignore[arg-type]
            out[0] = min(FURTHEST, max(-FURTHEST, number))
        elif self.sort == "text":
            self._write_text(str(value), out)
        else:
            self._write_categories([str(one) for one in value], out, gaps)  # type: ignore[attr-defined]

    def _write_categories(self, values: Sequence[str], out: Row, gaps: Gaps) -> None:
        """One place a category; one more for all unknown ones, or hashed where there are many."""
        for value in values:
            if not self.known:
                out[_hash(self.name, value) % CATEGORIES_WIDTH] += 1.0
            elif value in self.known:
                out[self.known.index(value)] += 1.0
            else:
                gaps.unknown += 1
                out[len(self.known)] += 1.0
        _to_unit_length(out)

    def _write_text(self, text: str, out: Row) -> None:
        """Signed hashing of words and pairs of words, each weighted by its rarity."""
        for token, count in Counter(tokens(text)).items():
            number = _hash(self.name, token)
            weight = count * self.idf.get(token, self.rare)
            out[number % TEXT_WIDTH] += weight if number >> 63 else -weight
        _to_unit_length(out)


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """Facts as ``width`` numbers: the same facts give the same numbers on every machine.

    Numbers are standardised (and cut off at five deviations). Categories have a place each where
    there are at most 64, with one more for those that come later; where there are more they are
    hashed into 64. Text is a bag of its words and pairs of neighbouring words, hashed with signs
    into 128 numbers (Weinberger et al., Feature Hashing, arXiv 0902.2206, equation 2) and weighted
    by inverse document frequency. A list or a text has length 1 whatever its number of parts.

    A fact that is missing is zeros and a one in a place of its own, in that field alone; a row
    without any fact is missing everywhere. Names that were not there when the encoder was fitted
    are not read.
    """

    fields: tuple[Field, ...]

    @property
    def width(self) -> int:
        """F, numbers a row."""
        return sum(one.width for one in self.fields)

    @classmethod
    def fit(cls, rows: Iterable[Facts]) -> Self | None:
        """Learn names, sorts, means, categories and words from ``rows``; ``None`` without a fact.

        A name stands for the sort most of its values have; the others count as missing.
        """
        values: dict[str, dict[Sort, list[Any]]] = {}
        for row in rows:
            for name, value in row.items():
                sort = sort_of(value)
                if sort is not None:
                    values.setdefault(name, {}).setdefault(sort, []).append(value)
        fitted = [_fitted(name, values[name]) for name in sorted(values)]
        return cls(tuple(fitted)) if fitted else None

    def encode(self, rows: Sequence[Facts]) -> tuple[Row, Gaps]:
        """Return float32 [len(rows), F], and what was missing or unknown in them."""
        out, gaps = np.zeros((len(rows), self.width), np.float32), Gaps()
        for number, facts in enumerate(rows):
            inside = Gaps()
            low = 0
            for one in self.fields:
                one.write(facts.get(one.name), out[number, low : low + one.width], inside)
                low += one.width
            if inside.missing == len(self.fields):
                gaps.absent += 1
            else:
                gaps.missing += inside.missing
                gaps.unknown += inside.unknown
        return out, gaps

    def to_dict(self) -> dict[str, object]:
        """Return JSON that :meth:`from_dict` reads."""
        names = Field.__slots__
        return {"fields": [{name: getattr(one, name) for name in names} for one in self.fields]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        fields = [{**one, "known": tuple(one["known"])} for one in data["fields"]]
        return cls(tuple(Field(**one) for one in fields))


def sort_of(value: object) -> Sort | None:
    """Return what a fact's value is, ``None`` for what says nothing.

    >>> sort_of(1995), sort_of(["Drama", "Crime"]), sort_of("Toy Story"), sort_of(None), sort_of([])
    ('number', 'categories', 'text', None, None)
    """
    if isinstance(value, int | float):  # true and false are 1 and 0
        return "number" if math.isfinite(value) else None
    if isinstance(value, str):
        return "text" if value.strip() else None
    if isinstance(value, list | tuple) and value:
        return "categories" if all(isinstance(one, str) for one in value) else None
    return None


def tokens(text: str) -> list[str]:
    """Return the words of ``text`` in lower case, and its pairs of neighbouring words.

    >>> tokens("The Silence, of")
    ['the', 'silence', 'of', 'the silence', 'silence of']
    """
    words = WORD.findall(text.lower())
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def _fitted(name: str, values: Mapping[Sort, Sequence[Any]]) -> Field:
    sort = max(sorted(values), key=lambda one: len(values[one]))
    found = values[sort]
    if sort == "number":
        numbers = np.array(found, dtype=np.float64)
        scale = float(numbers.std())
        return Field(name, sort, mean=float(numbers.mean()), scale=scale if scale > 1e-9 else 1.0)
    if sort == "categories":
        known = sorted({one for value in found for one in value})
        return Field(name, sort, known=tuple(known) if len(known) <= CATEGORIES_WIDTH else ())
    often = Counter(token for text in found for token in set(tokens(text)))
    n = len(found)
    kept = sorted((token for token, df in often.items() if df > 1), key=lambda t: (-often[t], t))
    idf = {token: _idf(n, often[token]) for token in kept[:KNOWN_TOKENS]}
    return Field(name, sort, idf=idf, rare=_idf(n, 1))


def _idf(n: int, df: int) -> float:
    """Inverse document frequency, smoothed: one more text that holds every word."""
    return math.log((1 + n) / (1 + df)) + 1.0


def _hash(name: str, token: str) -> int:
    """Return 64 bits that the same name and token get everywhere; Python's own hash is salted."""
    digest = hashlib.blake2b(f"{name}\x1f{token}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _to_unit_length(out: Row) -> None:
    length = float(np.linalg.norm(out))
    if length:
        out /= length
