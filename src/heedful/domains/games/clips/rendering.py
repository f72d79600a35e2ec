"""Clips made visible again, from their seed and moves: frames, or text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from heedful.domains.games.clips.trajectories import Trajectory
from heedful.record import Span

Make = Callable[[str], gymnasium.Env[Any, Any]]
"""Makes the environment anew, with the render mode given: the same wrappers, the same options."""

FRAMES, TEXT = "rgb_array", "ansi"


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


def rendered(make: Make, mode: str, trajectory: Trajectory, span: Span) -> list[Any]:
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
    environment = make(mode)
    try:
        observation, _ = environment.reset(seed=trajectory.seed)
        scenes = []
        for step in range(span.stop):
            if not np.array_equal(np.asarray(observation), trajectory.observations[step]):
                raise NotTheSameError(
                    f"episode {trajectory.episode!r}: step {step} observes {observation!r}, and "
                    f"was {trajectory.observations[step]!r}; make the environment as it was"
                )
            if step >= span.start:
                scenes.append(environment.render())
            observation = environment.step(trajectory.moves[step])[0]
        scenes.append(environment.render())
    finally:
        environment.close()
    return scenes
