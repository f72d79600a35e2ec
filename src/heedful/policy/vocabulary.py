"""The units a policy knows, in the order of its logits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt


class Vocabulary:
    """Unit ids <-> indexes 0..V-1, named by a digest that stands in every decision.

    >>> vocabulary = Vocabulary(["b", "a"])
    >>> len(vocabulary), vocabulary["a"], vocabulary.units[0]
    (2, 1, 'b')
    """

    def __init__(self, units: Iterable[str]) -> None:
        """Keep ``units`` in the order given.

        Raises:
            ValueError: a unit stands twice, or there is none.
        """
        self.units: tuple[str, ...] = tuple(units)
        self._index = {unit: index for index, unit in enumerate(self.units)}
        if not self.units:
            raise ValueError("a vocabulary needs at least one unit")
        if len(self._index) != len(self.units):
            twice = next(u for i, u in enumerate(self.units) if self._index[u] != i)
            raise ValueError(f"unit {twice!r} stands twice in the vocabulary")

    def __len__(self) -> int:
        """Return V."""
        return len(self.units)

    def __getitem__(self, unit: str) -> int:
        """Return the index of ``unit``; KeyError where it is not known."""
        return self._index[unit]

    def __contains__(self, unit: object) -> bool:
        """Say whether ``unit`` is known."""
        return unit in self._index

    def indexes(self, units: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the index of each unit, -1 where it is not known, int32 [len(units)]."""
        return np.fromiter(
            (self._index.get(unit, -1) for unit in units), dtype=np.int32, count=len(units)
        )

    def digest(self) -> str:
        """Return 32 hexadecimal digits that name these units in this order."""
        body = json.dumps(self.units, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(body.encode()).hexdigest()[:32]

    def save(self, path: Path) -> None:
        """Write the units as a JSON list."""
        path.write_text(json.dumps(self.units, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what :meth:`save` wrote."""
        return cls(json.loads(path.read_text(encoding="utf-8")))
