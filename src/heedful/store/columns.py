"""Columns of text and of names: what a snapshot is made of besides plain arrays.

Shapes: ``R`` rows, ``C`` bytes, ``M`` elements of all rows together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from heedful.record import ChoiceSet

Scalar = TypeVar("Scalar", bound=np.generic)
Ints = NDArray[np.int64]


def frozen(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Return ``array`` as a view that refuses to be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def offsets_of(lengths: NDArray[np.integer]) -> Ints:
    """Return where each ragged row begins, and at last where all end: ``[R] -> [R + 1]``.

    >>> offsets_of(np.array([2, 0, 3])).tolist()
    [0, 2, 2, 5]
    """
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def gather(offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return the positions of all elements of the given ragged rows, and their new offsets.

    >>> positions, offsets = gather(np.array([0, 2, 2, 5]), np.array([2, 0]))
    >>> positions.tolist(), offsets.tolist()
    ([2, 3, 4, 0, 1], [0, 3, 5])
    """
    lengths = offsets[rows + 1] - offsets[rows]
    new = offsets_of(lengths)
    positions = np.arange(new[-1]) + np.repeat(offsets[rows] - new[:-1], lengths)
    return positions, new


@dataclass(frozen=True, eq=False, repr=False)
class Texts(Sequence[str]):
    """Many strings in two arrays.

    Attributes:
        offsets: ``int64 [R + 1]``; row ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
        data: ``uint8 [C]``, UTF-8.
    """

    offsets: Ints
    data: NDArray[np.uint8]

    @classmethod
    def of(cls, strings: Iterable[str]) -> Texts:
        """Pack ``strings``.

        >>> list(Texts.of(["ä", "", "b"]))
        ['ä', '', 'b']
        """
        encoded = [string.encode() for string in strings]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        return cls(frozen(offsets_of(lengths)), frozen(data))

    def __len__(self) -> int:
        """Return how many strings there are."""
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one string, or a list of several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes().decode()

    def take(self, rows: Ints) -> Texts:
        """Return the strings of ``rows``, in that order."""
        positions, offsets = gather(self.offsets, rows)
        return Texts(frozen(offsets), frozen(self.data[positions]))

    def head(self, n: int) -> Texts:
        """Return the first ``n`` strings, which share their memory with these."""
        return Texts(self.offsets[: n + 1], self.data[: self.offsets[n]])

    def __repr__(self) -> str:
        """Return how much there is, not all of it."""
        return f"<{len(self)} texts, {len(self.data)} bytes>"


class NameTable(Sequence[str]):
    """Names in the order of their codes: ``table[code] -> name``, ``table.code(name) -> code``."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts

    @classmethod
    def of(cls, names: Iterable[str]) -> NameTable:
        """Number ``names`` from 0.

        >>> NameTable.of(["tea", "milk"]).code("milk")
        1
        """
        return cls(Texts.of(names))

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.texts)}

    def code(self, name: str) -> int:
        """Return the code of ``name``, or -1 without one; the first call builds an index."""
        return self._codes.get(name, -1)

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self.texts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return the name of a code."""
        return self.texts[index]

    def head(self, n: int) -> NameTable:
        """Return the table of the first ``n`` codes."""
        return self if n >= len(self) else type(self)(self.texts.head(n))

    def __repr__(self) -> str:
        """Return how much there is, not all of it."""
        return f"<{len(self)} names>"


class ChoiceTable(Sequence[ChoiceSet]):
    """Choice sets in the order of their codes; code 0 forbids nothing. Each is parsed when used."""

    def __init__(self, bodies: NameTable) -> None:
        self.bodies = bodies
        self._parsed: dict[int, ChoiceSet] = {}

    @classmethod
    def of(cls, sets: Iterable[ChoiceSet]) -> ChoiceTable:
        """Number ``sets`` from 0."""
        return cls(NameTable.of(choices.body() for choices in sets))

    def code(self, choices: ChoiceSet) -> int:
        """Return the code of an equal set, or -1 where there is none."""
        return self.bodies.code(choices.body())

    def __len__(self) -> int:
        """Return how many sets there are."""
        return len(self.bodies)

    @overload
    def __getitem__(self, index: int) -> ChoiceSet: ...
    @overload
    def __getitem__(self, index: slice) -> list[ChoiceSet]: ...
    def __getitem__(self, index: int | slice) -> ChoiceSet | list[ChoiceSet]:
        """Return the set of a code."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        code = range(len(self))[index]
        if code not in self._parsed:
            self._parsed[code] = ChoiceSet.from_body(self.bodies[code])
        return self._parsed[code]

    def head(self, n: int) -> ChoiceTable:
        """Return the table of the first ``n`` codes."""
        return ChoiceTable(self.bodies.head(n))

    def __repr__(self) -> str:
        """Return how much there is, not all of it."""
        return f"<{len(self)} choice sets>"
