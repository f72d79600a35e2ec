"""Clips of logged episodes as people see them: played again, drawn, or in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.contract.clips import Scene, Step, words
from heedful.domains.games.clips.rendering import (
    FRAMES,
    SEED,
    TEXT,
    Make,
    NotTheSameError,
    replayed,
)

Floats = npt.NDArray[np.float32]
Drawing = Callable[[Floats], str]
"""What ``environment.unwrapped.drawn`` is: the text of what somebody observes, as numbers [W]."""


def shown(
    make: Make,
    steps: Sequence[Step],
    start: int,
    *,
    move: Callable[[tuple[str, ...]], Any],
    numbers: Callable[[Step], Floats],
    row: Callable[[Any], Floats],
    text: bool,
) -> list[Scene]:
    """Return what a clip of a logged episode shows, as well as the log and the game allow.

    - Where the first context has the seed and the game renders what is asked for, the episode is
      played again: the scene before each move, and after the last. If that goes another way than it
      did, it is not shown so.
    - Where the environment has a method ``drawn`` from an observation to text, as boards have, the
      positions are drawn from what was observed, each with the move that was made there.
    - Else each step is put into words.

    Args:
        make: makes the environment in which it was played.
        steps: the episode from its beginning to the end of the clip.
        start: the step the clip begins with.
        move: what the environment takes for the units of a step.
        numbers: what a step's context says was observed, [W].
        row: an observation of the environment as such numbers.
        text: texts alone; else frames where there are any.
    """
    plain = make(None)
    try:
        known = plain.metadata.get("render_modes") or ()
        drawn: Drawing | None = getattr(plain.unwrapped, "drawn", None)
    finally:
        plain.close()
    seeded = isinstance(steps[0].context.get(SEED), int)
    if seeded and any(mode in known for mode in ((TEXT,) if text else (FRAMES, TEXT))):

        def check(step: int, observation: Any) -> None:
            if not np.array_equal(row(observation), numbers(steps[step])):
                raise NotTheSameError(f"step {step} observes {observation!r}, and did not then")

        try:
            return replayed(make, steps, start, move, text=text, check=check)
        except NotTheSameError:  # other options than then, or steps after the end
            pass
    if drawn is not None:
        return [f"{drawn(numbers(step))}\nmove {' '.join(step.units)}" for step in steps[start:]]
    return [words(step) for step in steps[start:]]
