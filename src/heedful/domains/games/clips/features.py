"""What a reward model sees of a step: the observation and the move, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import Space, spaces

Floats = npt.NDArray[np.float64]


class StepFeatures(Protocol):
    """Turns steps into rows of F numbers."""

    @property
    def width(self) -> int:
        """F."""
        ...

    def __call__(self, observations: npt.NDArray[Any], moves: npt.NDArray[Any]) -> Floats:
        """Return float64 [n, F] of n observations and the n moves made there."""
        ...


@dataclass(frozen=True, slots=True)
class Cases:
    """An indicator for every pair of a numbered state and a numbered move.

    Attributes:
        states: S.
        moves: A.
        first_state: the number of the first state.
        first_move: the number of the first move.
    """

    states: int
    moves: int
    first_state: int = 0
    first_move: int = 0

    @property
    def width(self) -> int:
        """S A; the case of state s and move a is number s A + a."""
        return self.states * self.moves

    def __call__(self, observations: npt.NDArray[Any], moves: npt.NDArray[Any]) -> Floats:
        """Return float64 [n, S A]."""
        cases = (observations - self.first_state) * self.moves + moves - self.first_move
        made = np.zeros((len(cases), self.width))
        made[np.arange(len(cases)), cases] = 1.0
        return made


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of an observation, and those of a move or an indicator of it.

    Attributes:
        observation: the space observed.
        move: the space of moves.
    """

    observation: Space[Any]
    move: Space[Any]

    @property
    def width(self) -> int:
        """F."""
        return _width(self.observation) + _width(self.move)

    def __call__(self, observations: npt.NDArray[Any], moves: npt.NDArray[Any]) -> Floats:
        """Return float64 [n, F]."""
        seen = _numbers(self.observation, observations)
        return np.concatenate([seen, _numbers(self.move, moves)], axis=1)


def features_of(observation: Space[Any], move: Space[Any]) -> StepFeatures:
    """Return how steps in these spaces are seen: as cases where both are numbered, else as numbers.

    >>> features_of(spaces.Discrete(48), spaces.Discrete(4)).width
    192

    Raises:
        TypeError: a space has no fixed number of numbers.
    """
    if isinstance(observation, spaces.Discrete) and isinstance(move, spaces.Discrete):
        return Cases(int(observation.n), int(move.n), int(observation.start), int(move.start))
    made = Numbers(observation, move)
    if not made.width:
        raise ValueError(f"there is nothing to see in {observation} and {move}")
    return made


def _width(space: Space[Any]) -> int:
    match space:
        case spaces.Discrete():
            return int(space.n)
        case spaces.Box() | spaces.MultiBinary() | spaces.MultiDiscrete():
            return int(np.prod(space.shape))
    raise TypeError(
        f"{space} has no fixed number of numbers: wrap the environment so that it has Discrete, "
        "Box, MultiBinary or MultiDiscrete spaces"
    )


def _numbers(space: Space[Any], given: npt.NDArray[Any]) -> Floats:
    if isinstance(space, spaces.Discrete):
        made: Floats = (given[:, None] == np.arange(space.n) + space.start).astype(np.float64)
        return made
    return np.asarray(given, np.float64).reshape(len(given), -1)
