"""What a domain offers beside :class:`~heedful.contract.Domain` where people play against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from heedful.record import Context


class Match(Protocol):
    """A game of two in turn, of whom one is a person and one a policy. Seat 0 begins."""

    @property
    def turn(self) -> int:
        """Whose move it is: a seat."""
        ...

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        ...

    def legal(self) -> Mapping[str, str]:
        """Return the units that can be played now, by the key a person presses for each."""
        ...

    def play(self, unit: str) -> None:
        """Make a move for whoever's turn it is.

        Raises:
            ValueError: it is illegal, or the game is over; nothing has moved then.
        """
        ...

    def context(self, seat: int) -> Context:
        """Return what a policy that sits there observes now: what it is asked with."""
        ...

    def reward(self, seat: int) -> float:
        """Return what the last move, and the answer to it, earned who sits there."""
        ...

    def sign(self, seat: int) -> str:
        """Return what stands for who sits there in what is shown."""
        ...

    def show(self) -> str:
        """Return how it stands, for people."""
        ...


@runtime_checkable
class Playing(Protocol):
    """A domain whose episodes are matches that a person can play in a terminal."""

    def match(self) -> Match:
        """Return a new match.

        Raises:
            ValueError: what this workspace plays is no game of two in turn.
        """
        ...
