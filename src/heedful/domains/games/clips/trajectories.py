"""Episodes of play, and clips of them: with seeds and moves, so that they can be played again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from heedful.domains.games.clips.horizon import HELD
from heedful.record import Span

Floats = npt.NDArray[np.float64]
Move = Callable[[Any], Any]
"""Chooses a move where something is observed."""

TRUE = "true_reward"
"""Where ``info`` has the environment's own reward when a learned one is given in its place."""


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """An episode of T steps.

    Attributes:
        episode: its name.
        seed: the environment was reset with it; seed and moves give the same episode again.
        observations: [T, ...], what was observed before each step.
        moves: [T, ...].
        rewards: float64 [T], the environment's own: for teachers and for judges, never for a reward
            model.
        over: the step after which the game stood still; T where it never did.
    """

    episode: str
    seed: int
    observations: npt.NDArray[Any]
    moves: npt.NDArray[Any]
    rewards: Floats
    over: int

    def __len__(self) -> int:
        """Return T."""
        return len(self.moves)


def play(
    environment: gymnasium.Env[Any, Any], choose: Move, *, episode: str, seed: int
) -> Trajectory:
    """Play one episode.

    Args:
        environment: any; where it ends by itself the episode is as long as that took.
        choose: gives the move.
        episode: its name.
        seed: of the environment.
    """
    observation, _ = environment.reset(seed=seed)
    observations, moves, rewards = [], [], []
    over, done = None, False
    while not done:
        move = choose(observation)
        observations.append(observation)
        moves.append(move)
        observation, reward, terminated, truncated, info = environment.step(move)
        rewards.append(float(info.get(TRUE, reward)))
        if over is None and info.get(HELD):
            over = len(moves)
        done = terminated or truncated
    return Trajectory(
        episode,
        seed,
        np.array(observations),
        np.array(moves),
        np.array(rewards),
        len(moves) if over is None else over,
    )


@dataclass(slots=True, eq=False)
class Plays:
    """Trajectories by name, the buffer that clips are cut from.

    Attributes:
        trajectories: in the order in which they were played.
    """

    trajectories: dict[str, Trajectory] = field(default_factory=dict)

    def add(self, trajectories: Iterable[Trajectory]) -> None:
        """Keep more.

        Raises:
            ValueError: one of that name is here already.
        """
        for one in trajectories:
            if one.episode in self.trajectories:
                raise ValueError(f"episode {one.episode!r} was played before: name it otherwise")
            self.trajectories[one.episode] = one

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.trajectories)

    def clip(self, span: Span) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the observations and the moves of a clip, [T, ...] each: all that may be judged.

        Raises:
            KeyError: no such episode was played.
            ValueError: it has not so many steps.
        """
        one, steps = self._found(span)
        return one.observations[steps], one.moves[steps]

    def score(self, span: Span) -> Floats:
        """Return the environment's rewards in a clip, [T], which only teachers may see."""
        one, steps = self._found(span)
        return one.rewards[steps]

    def _found(self, span: Span) -> tuple[Trajectory, slice]:
        if span.episode not in self.trajectories:
            raise KeyError(f"no episode {span.episode!r} was played here")
        one = self.trajectories[span.episode]
        if span.stop > len(one):
            raise ValueError(f"episode {span.episode!r} has {len(one)} steps, no {span.stop}")
        return one, slice(span.start, span.stop)
