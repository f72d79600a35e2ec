"""Gymnasium's spaces as rows of numbers: what is observed, and what may be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Space = spaces.Space[Any]
Rows = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

PIXEL = 255.0
COLOURS = 4
BINS = 11


class SpaceError(TypeError):
    """A space that a policy over units cannot play in; the message says which, and what could."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One leaf of an observation space.

    Attributes:
        path: keys from the outermost space to this one.
        space: the leaf.
        low, high: the bounds of its numbers, [w].
        cases: how many cases each number tells apart, [w]; empty for quantities.
    """

    path: tuple[Any, ...]
    space: Space
    low: npt.NDArray[Any]
    high: npt.NDArray[Any]
    cases: tuple[int, ...] = ()


class Observations:
    """An observation space as numbers: W as they are logged, F as a policy reads them.

    Boxes are flattened; what is a number of a case (``Discrete``, ``MultiDiscrete``) is logged as
    that number, counted from 0, and read as one of as many indicators; bytes of an image are read
    divided by 255. Spaces within ``Dict`` and ``Tuple`` stand one after the other.

    Attributes:
        numbers: W.
        features: F.
        image: (channels, rows, columns) of the F numbers where the space is one image, else
            ``None``.
    """

    def __init__(self, space: Space, *, one_hot: bool = True) -> None:
        """Read ``space``.

        Args:
            space: of one environment.
            one_hot: read cases as indicators; else as their number, as a table of states does.

        Raises:
            SpaceError: there is something in it that has no fixed number of numbers.
        """
        self._parts = list(_parts(space, ()))
        self._one_hot = one_hot
        # Infinite bounds become the largest numbers: infinity itself is never within.
        self.low, self.high = (
            np.nan_to_num(np.concatenate(bounds).astype(np.float32))
            for bounds in zip(*((part.low, part.high) for part in self._parts), strict=True)
        )
        self.numbers = len(self.low)
        self.features = sum(self._width(part) for part in self._parts)
        self.whole = np.concatenate([np.full(len(p.low), _is_whole(p.space)) for p in self._parts])
        self.image, self._channels_first = _image_of(space)
        bytes_ = [np.full(len(part.low), _is_pixels(part.space)) for part in self._parts]
        self._scale = np.where(np.concatenate(bytes_), 1.0 / PIXEL, 1.0).astype(np.float32)
        self._plain = not (one_hot and any(part.cases for part in self._parts))
        self._unscaled = bool((self._scale == 1.0).all())

    def rows(self, observed: Any, n: int) -> Rows:
        """Return a vector environment's observation of ``n`` games as numbers, [n, W]."""
        found = [_column(part, observed, n) for part in self._parts]
        return np.concatenate(found, axis=1) if len(found) > 1 else found[0]

    def row(self, observed: Any) -> Rows:
        """Return one game's observation as numbers, [W]."""
        (row,) = self.rows(_nested(observed, self._parts), 1)
        return np.asarray(row)

    def outside(self, rows: Rows) -> Flags:
        """Return which rows hold a number outside of its bounds, NaN or infinite, bool [n]."""
        inside = (rows >= self.low) & (rows <= self.high)
        return np.asarray(~inside.all(axis=1))

    def read(self, rows: Rows) -> Rows:
        """Return what a policy reads, [n, F], of numbers [n, W]."""
        scaled = rows if self._unscaled else rows * self._scale
        if self._channels_first is not None:
            return scaled[:, self._channels_first]
        if self._plain:
            return scaled
        found: list[Rows] = []
        at = 0
        for part in self._parts:
            column = scaled[:, at : at + len(part.low)]
            at += len(part.low)
            found += _indicators(column, part.cases) if part.cases else [column]
        return np.concatenate(found, axis=1)

    def _width(self, part: _Part) -> int:
        return sum(part.cases) if part.cases and self._one_hot else len(part.low)


class Moves:
    """An action space as units: one per move, or one per value of each factor.

    ``Discrete`` moves are the units ``"0"`` to ``"n - 1"`` (from its ``start``). The values of a
    ``MultiDiscrete`` or ``MultiBinary`` move are ``"factor/value"``; such a decision has one unit
    of each factor. A bounded ``Box`` is cut into as many evenly spaced values in each dimension,
    both ends among them: its moves are drawn, logged and weighted like any others, and on policy
    that learns no worse than a Gaussian (Tang & Agrawal, arXiv 1901.10500).

    Attributes:
        units: all of them, factor by factor.
        factors: the units of each factor, as slices of ``units``.
    """

    def __init__(self, space: Space, *, bins: int = BINS) -> None:
        """Read ``space``.

        Args:
            space: of one environment.
            bins: values of each dimension of a ``Box``.

        Raises:
            SpaceError: its moves cannot be counted.
        """
        self._space = space
        self._grid = _grid(space, bins) if isinstance(space, spaces.Box) else None
        self._starts, sizes = _factors(space, bins)
        ends = np.cumsum(sizes)
        self.factors = [
            slice(int(end - size), int(end)) for end, size in zip(ends, sizes, strict=True)
        ]
        self._firsts = np.array([part.start for part in self.factors], np.int64)
        self.units = tuple(self._unit_ids(sizes))
        self._number = {unit: number for number, unit in enumerate(self.units)}

    @property
    def length(self) -> int:
        """Units of a decision."""
        return len(self.factors)

    def values(self, units: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the value of each factor, [length], whatever the order of ``units``.

        Of a dimension of a ``Box`` it is the number of the value.

        Raises:
            ValueError: they are no move: one is unknown, or a factor has not exactly one.
        """
        found = np.full(self.length, -1, np.int64)
        for unit in units:
            number = self._number.get(unit)
            if number is None:
                raise ValueError(f"{unit!r} is no move here; moves are {_some(self.units)}")
            factor = next(k for k, part in enumerate(self.factors) if number < part.stop)
            if found[factor] >= 0:
                raise ValueError(f"the move {list(units)} has two values for factor {factor}")
            found[factor] = number - self.factors[factor].start
        if (found < 0).any():
            missing = int(np.flatnonzero(found < 0)[0])
            raise ValueError(f"the move {list(units)} has no value for factor {missing}")
        return np.asarray(found + self._starts)

    def numbered(self, units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return values [n, length] of unit numbers that stand in the order of the factors."""
        return units - self._firsts + self._starts

    def native(self, values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return what the environment takes, of values [n, length]."""
        if isinstance(self._space, spaces.Discrete):
            return values[:, 0].astype(self._space.dtype)
        shape = self._space.shape
        assert shape is not None
        if self._grid is not None:
            found = np.take_along_axis(self._grid, values.T, axis=1).T
            return found.reshape(len(values), *shape).astype(self._space.dtype)
        return values.reshape(len(values), *shape).astype(self._space.dtype)

    def mask(self, given: Any, n: int) -> Flags:
        """Return which units are possible, bool [n, V], of masks as environments give them.

        Args:
            given: [n, V], or for several factors a tuple of [n, size of the factor].
            n: games.

        Raises:
            ValueError: it has another shape.
        """
        if isinstance(given, tuple):
            given = np.concatenate([np.asarray(part).reshape(n, -1) for part in given], axis=1)
        mask = np.asarray(given)
        if mask.dtype == object and len(mask):  # what a vector makes of tuples
            mask = np.stack([np.concatenate([np.ravel(p) for p in row]) for row in mask])
        if mask.shape != (n, len(self.units)):
            raise ValueError(
                f"the action mask has shape {mask.shape}: give ({n}, {len(self.units)}), a number "
                "for every move"
            )
        return mask.astype(np.bool_)

    def _unit_ids(self, sizes: npt.NDArray[np.int64]) -> Iterator[str]:
        several = not isinstance(self._space, spaces.Discrete)
        for factor, (size, start) in enumerate(zip(sizes, self._starts, strict=True)):
            for value in range(int(start), int(start + size)):
                said = value if self._grid is None else f"{self._grid[factor, value]:g}"
                yield f"{factor}/{said}" if several else str(said)


def _parts(space: Space, path: tuple[Any, ...]) -> Iterator[_Part]:
    match space:
        case spaces.Box():
            yield _Part(path, space, space.low.ravel(), space.high.ravel())
        case spaces.Discrete():
            yield _counted(path, space, [int(space.n)])
        case spaces.MultiDiscrete():
            yield _counted(path, space, space.nvec.ravel().tolist())
        case spaces.MultiBinary():
            size = int(np.prod(space.shape))
            yield _Part(path, space, np.zeros(size), np.ones(size))
        case spaces.Dict() | spaces.Tuple():
            inner = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space)
            for key, part in inner:
                yield from _parts(part, (*path, key))
        case _:
            raise SpaceError(
                f"observations in {space} have no fixed number of numbers: wrap the environment so "
                "that it observes a Box, Discrete, MultiDiscrete or MultiBinary space, or a Dict "
                "or Tuple of these"
            )


def _counted(path: tuple[Any, ...], space: Space, cases: Sequence[int]) -> _Part:
    return _Part(path, space, np.zeros(len(cases)), np.array(cases) - 1.0, tuple(cases))


def _factors(space: Space, bins: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first value of each factor, and how many values it has."""
    match space:
        case spaces.Discrete():
            return np.array([int(space.start)]), np.array([int(space.n)])
        case spaces.MultiDiscrete():
            return space.start.ravel().astype(np.int64), space.nvec.ravel().astype(np.int64)
        case spaces.MultiBinary():
            size = int(np.prod(space.shape))
            return np.zeros(size, np.int64), np.full(size, 2)
        case spaces.Box():
            size = int(np.prod(space.shape))
            return np.zeros(size, np.int64), np.full(size, bins)
    raise SpaceError(
        f"moves in {space} cannot be counted: units are Discrete, MultiDiscrete or MultiBinary "
        "moves, or those of a Box; wrap the environment so that it offers such moves"
    )


def _grid(space: spaces.Box, bins: int) -> npt.NDArray[np.float64]:
    """Return the values of each dimension, [d, bins]."""
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise SpaceError(
            f"moves in {space} have no bounds to stay within: rescale them to some with "
            "gymnasium.wrappers.RescaleAction"
        )
    return np.linspace(low, high, bins, axis=1)


def _column(part: _Part, observed: Any, n: int) -> Rows:
    for key in part.path:
        observed = observed[key]
    numbers = np.asarray(observed).reshape(n, -1)
    if part.cases:
        numbers = numbers - np.ravel(part.space.start)  # type: ignore[attr-defined]
    return numbers.astype(np.float32)


def _nested(observed: Any, parts: Sequence[_Part]) -> Any:
    """Return one game's observation as the observation of a vector of one."""
    if parts[0].path == ():
        return np.asarray(observed)[None]
    if isinstance(observed, Mapping):
        return {key: _one(value) for key, value in observed.items()}
    return tuple(_one(value) for value in observed)


def _one(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _one(inner) for key, inner in value.items()}
    return tuple(map(_one, value)) if isinstance(value, tuple) else np.asarray(value)[None]


def _indicators(numbers: Rows, cases: Sequence[int]) -> list[Rows]:
    return [
        (numbers[:, k : k + 1] == np.arange(count)).astype(np.float32)
        for k, count in enumerate(cases)
    ]


def _is_pixels(space: Space) -> bool:
    return isinstance(space, spaces.Box) and space.dtype == np.uint8


def _is_whole(space: Space) -> bool:
    return not (isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating))


def _image_of(space: Space) -> tuple[tuple[int, int, int] | None, npt.NDArray[np.int64] | None]:
    """Return (channels, rows, columns) of a box with three axes, and how to put channels first.

    Channels are the last axis where that is a grey value or colours (1 to 4 numbers) and the first
    is longer, as with rendered screens; else the first.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return None, None
    first, middle, last = (int(side) for side in space.shape)
    if not (last <= COLOURS < first):
        return (first, middle, last), None
    places = np.arange(first * middle * last).reshape(first, middle, last)
    return (last, first, middle), places.transpose(2, 0, 1).ravel()


def _some(units: Sequence[str]) -> str:
    return ", ".join(units[:5]) + (f", ... {units[-1]}" if len(units) > 5 else "")
