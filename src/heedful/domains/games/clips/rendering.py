"""Clips made visible again, from their seed and moves: frames, or text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from heedful.contract.clips import Scene, Step
from heedful.domains.games.clips.trajectories import Trajectory
from heedful.record import Span

Make = Callable[[str | None], gymnasium.Env[Any, Any]]
"""Makes the environment anew, with the render mode given: the same wrappers, the same options."""

FRAMES, TEXT = "rgb_array", "ansi"
SEED = "seed"
"""Where the context of an episode's first step has the seed of the environment."""


class NotTheSameError(ValueError):
    """Seed and moves did not give the episode again: the environment is another one."""


def mode_of(environment: gymnasium.Env[Any, Any], *, text: bool = False) -> str:
    """Return how to show it: as frames where it can, else as text.

    Args:
        environment: whose modes are asked for.
        text: text where it can, for terminals.

    Raises:
        ValueError: it can do neither.
    """
    known = environment.metadata.get("render_modes", [])
    for mode in (TEXT, FRAMES) if text else (FRAMES, TEXT):
        if mode in known:
            return mode
    raise ValueError(
        f"{type(environment.unwrapped).__name__} renders {', '.join(known) or 'nothing'}; clips "
        f"are shown as {FRAMES} or {TEXT}"
    )


def rendered(make: Make, mode: str, trajectory: Trajectory, span: Span) -> list[Scene]:
    """Return what a clip shows: the scene before each of its T moves, and after the last.

    Args:
        make: makes the environment in which it was played.
        mode: ``"rgb_array"`` or ``"ansi"``.
        trajectory: the episode.
        span: the clip.

    Returns:
        T + 1 frames, uint8 [height, width, 3], or texts.

    Raises:
        ValueError: the clip is not of this episode, or reaches beyond its end.
        NotTheSameError: the environment goes another way than it did.
    """
    if span.episode != trajectory.episode or span.stop > len(trajectory):
        raise ValueError(f"{span} is no clip of episode {trajectory.episode!r}")

    def check(step: int, observation: Any) -> None:
        if not np.array_equal(np.asarray(observation), trajectory.observations[step]):
            raise NotTheSameError(
                f"episode {trajectory.episode!r}: step {step} observes {observation!r}, and was "
                f"{trajectory.observations[step]!r}; make the environment as it was"
            )

    moves = list(trajectory.moves[: span.stop])
    return _played(make(mode), trajectory.seed, moves, span.start, check)


def replayed(
    make: Make,
    steps: Sequence[Step],
    start: int,
    move: Callable[[tuple[str, ...]], Any],
    *,
    text: bool,
    check: Callable[[int, Any], None] = lambda step, observation: None,
) -> list[Scene]:
    """Return what a clip of a logged episode shows, played again from what the log holds.

    For a domain that is :class:`~heedful.contract.clips.Showing`.

    Args:
        make: makes the environment in which it was played.
        steps: the episode from its beginning to the end of the clip; the context of the first one
            has the environment's seed under ``"seed"``.
        start: the step the clip begins with.
        move: what the environment takes for the units of a step.
        text: text where the environment has any.
        check: looks at what each step observes now, and raises where it is not what it was.

    Raises:
        ValueError: there is no seed, or the environment renders nothing.
    """
    seed = steps[0].context.get(SEED)
    if not isinstance(seed, int):
        raise ValueError(
            f"this episode cannot be played again: its first context has no {SEED!r}, a whole "
            "number with which the environment was reset"
        )
    plain = make(None)
    mode = mode_of(plain, text=text)
    plain.close()
    moves = [move(step.units) for step in steps]
    return _played(make(mode), seed, moves, start, check)


def _played(
    environment: gymnasium.Env[Any, Any],
    seed: int,
    moves: Sequence[Any],
    start: int,
    check: Callable[[int, Any], None],
) -> list[Scene]:
    """Return the scenes from before move ``start`` to after the last one."""
    try:
        observation, _ = environment.reset(seed=seed)
        scenes: list[Any] = []
        for step, move in enumerate(moves):
            check(step, observation)
            if step >= start:
                scenes.append(environment.render())
            observation = environment.step(move)[0]
        scenes.append(environment.render())
    finally:
        environment.close()
    return scenes
