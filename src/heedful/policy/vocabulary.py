"""The units a policy knows, in the order of its logits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heedful.policy.features import FeatureEncoder

ENCODERS = ("of_units", "of_subjects")


class Vocabulary:
    """Unit ids <-> indexes 0..V-1, named by a digest that stands in every decision.

    Beside the units stands how descriptions are read, of units and of people, where there are any:
    it is fitted with the first version, and its descendants keep it.

    >>> vocabulary = Vocabulary(["b", "a"])
    >>> len(vocabulary), vocabulary["a"], vocabulary.units[0]
    (2, 1, 'b')
    """

    def __init__(
        self,
        units: Iterable[str],
        *,
        of_units: FeatureEncoder | None = None,
        of_subjects: FeatureEncoder | None = None,
    ) -> None:
        """Keep ``units`` in the order given, and how units and people are described.

        Raises:
            ValueError: a unit stands twice, or there is none.
        """
        self.units: tuple[str, ...] = tuple(units)
        self.of_units, self.of_subjects = of_units, of_subjects
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

    def described(
        self, *, of_units: FeatureEncoder | None, of_subjects: FeatureEncoder | None
    ) -> Vocabulary:
        """Return the same units, described in this way."""
        return Vocabulary(self.units, of_units=of_units, of_subjects=of_subjects)

    def grown(self, units: Iterable[str]) -> Vocabulary:
        """Return these units in their order, and behind them those of ``units`` that are new."""
        both = dict.fromkeys((*self.units, *units))
        return Vocabulary(both, of_units=self.of_units, of_subjects=self.of_subjects)

    def digest(self) -> str:
        """Return 32 hexadecimal digits that name these units in this order, and what they mean."""
        body = json.dumps(self._body(), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()[:32]

    def save(self, path: Path) -> None:
        """Write the units as a JSON list, inside of an object where there are descriptions."""
        path.write_text(json.dumps(self._body(), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what :meth:`save` wrote."""
        body = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(body, list):
            return cls(body)
        encoders = {
            name: FeatureEncoder.from_dict(body[name]) for name in ENCODERS if body.get(name)
        }
        return cls(body["units"], **encoders)

    def _body(self) -> object:
        encoders = {name: getattr(self, name) for name in ENCODERS}
        found = {name: one.to_dict() for name, one in encoders.items() if one is not None}
        return {"units": self.units, **found} if found else self.units
