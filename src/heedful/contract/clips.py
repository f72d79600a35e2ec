"""What a domain offers beside :class:`~heedful.contract.Domain` where its play can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from heedful.record import Context

Scene = str | npt.NDArray[np.uint8]
"""A text, or a picture: uint8 [height, width, 3]."""


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of an episode, as far as it can be shown.

    Attributes:
        context: as it was.
        units: what was chosen.
    """

    context: Context
    units: tuple[str, ...]


@runtime_checkable
class Showing(Protocol):
    """A domain that shows clips of its episodes to people who compare them."""

    def show(self, steps: Sequence[Step], start: int, *, text: bool) -> Sequence[Scene]:
        """Return what is seen in a clip, in the order of time.

        Args:
            steps: the episode from its beginning to the end of the clip, so that it can be played
                again.
            start: the step the clip begins with.
            text: show texts alone, for a terminal.

        Raises:
            ValueError: this episode cannot be shown.
        """
        ...


def scenes(domain: Any, steps: Sequence[Step], start: int, *, text: bool) -> list[Scene]:
    """Return what ``domain`` shows of a clip; where it shows nothing, each step in words.

    >>> scenes(None, [Step({}, ("up",)), Step({"place": 3}, ("left", "up"))], 1, text=True)
    ['place 3: left up']
    """
    if isinstance(domain, Showing):
        return list(domain.show(steps, start, text=text))
    return [words(step) for step in steps[start:]]


def words(step: Step) -> str:
    """Return a step in words: what was known, and what was chosen; numbers with three digits.

    >>> words(Step({"place": [0.25, -1.33333]}, ("left",)))
    'place 0.25 -1.33: left'
    """
    known = ", ".join(f"{name} {_said(value)}" for name, value in step.context.items())
    return f"{known}: {' '.join(step.units)}" if known else " ".join(step.units)


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_said, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
