"""How people answered: feedback to decisions, and the ends of episodes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from heedful.record.decision import Context, encode_context
from heedful.record.errors import RecordError, check_id, check_number, check_text

ALL_UNITS: Final = -1
"""Feedback that means the decision as a whole, not one of its units."""


class Kind(enum.StrEnum):
    """What people can say of a decision."""

    CLICK = "click"
    RATING = "rating"
    COMMENT = "comment"
    PREFERENCE = "preference"
    REWARD = "reward"
    DEMONSTRATION = "demonstration"
    FLAG = "flag"


class Outcome(enum.StrEnum):
    """How a decision or clip fared against another."""

    CHOSEN = "chosen"
    REJECTED = "rejected"
    TIE = "tie"


@dataclass(frozen=True, slots=True)
class Span:
    """A clip: steps ``start`` to ``stop`` (exclusive) of an episode."""

    episode: str
    start: int
    stop: int

    def __post_init__(self) -> None:
        """Refuse an empty or backward clip."""
        check_id("span", self.episode)
        if not 0 <= self.start < self.stop:
            raise RecordError(
                "span", f"runs from {self.start} to {self.stop}", "give 0 <= start < stop"
            )


@dataclass(frozen=True, slots=True)
class Preference:
    """The decision or clip that the feedback names was ``outcome`` when compared with ``over``."""

    outcome: Outcome
    over: str | Span

    def __post_init__(self) -> None:
        """Refuse an empty id."""
        if not isinstance(self.over, Span):
            check_id("value", self.over)


Value = bool | float | str | Preference | tuple[str, ...]
"""click: bool (False is an explicit no); rating, reward: float; comment, flag: text;
preference: :class:`Preference`; demonstration: the unit ids that should have been chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One thing one person said about one decision (or clip), never edited, at most retracted.

    Attributes:
        id: the giver's idempotency key. The same id twice counts once; the same id with another
            body is an error.
        by: who gave it, a pseudonym.
        about: the decision's id, or a :class:`Span` of an episode.
        unit: the position in the decision that is meant, from 0, or ``ALL_UNITS``.
        kind: what sort of thing was said.
        value: what was said; ``None`` only where ``retracts`` is given.
        given_at: when it was said, seconds since the epoch, UTC.
        received_at: when it arrived here, seconds since the epoch, UTC.
        retracts: the id of earlier feedback that this one takes back, else ``None``.
    """

    id: str
    by: str
    about: str | Span
    kind: Kind
    value: Value | None
    given_at: float
    received_at: float
    unit: int = ALL_UNITS
    retracts: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be true or cannot be kept.

        Raises:
            RecordError: names the field, the problem and the remedy.
        """
        check_id("id", self.id)
        check_id("by", self.by)
        if not isinstance(self.about, Span):
            check_id("decision", self.about)
        if isinstance(self.unit, bool) or not isinstance(self.unit, int) or self.unit < ALL_UNITS:
            raise RecordError(
                "unit", f"is {self.unit!r}", "give the position in the decision, counted from 0"
            )
        check_number("given_at", self.given_at)
        check_number("received_at", self.received_at)
        if self.retracts is None:
            check_value(self.kind, self.value)
        else:
            check_id("retracts", self.retracts)
            if self.value is not None:
                raise RecordError("value", "stands beside retracts", "a retraction has no value")


def check_value(kind: Kind, value: Value | None) -> None:
    """Refuse a value that its kind cannot have.

    >>> check_value(Kind.RATING, "five")
    Traceback (most recent call last):
        ...
    heedful.record.errors.RecordError: value: must be a number, not str (send a number)
    """
    match kind:
        case Kind.CLICK:
            if not isinstance(value, bool):
                raise RecordError("value", f"of a click is {value!r}", "send true or false")
        case Kind.RATING | Kind.REWARD:
            check_number("value", value)
        case Kind.COMMENT | Kind.FLAG:
            check_text("value", value)
        case Kind.PREFERENCE:
            if not isinstance(value, Preference):
                raise RecordError("value", "is no preference", "say the outcome and over what")
        case Kind.DEMONSTRATION:
            if not isinstance(value, tuple) or not value:
                raise RecordError("value", "is no demonstration", "list the unit ids")
            for unit in value:
                check_id("value", unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An episode is over.

    Attributes:
        id: idempotency key.
        episode: which one.
        terminated: True where it came to its own end and nothing follows; False where it was cut
            off, so that what would have followed still has a value.
        ended_at: seconds since the epoch, UTC.
        context: the final observation where there is one, else empty.
    """

    id: str
    episode: str
    terminated: bool
    ended_at: float
    context: Context

    def __post_init__(self) -> None:
        """Refuse what cannot be true or cannot be kept."""
        check_id("id", self.id)
        check_id("episode", self.episode)
        check_number("ended_at", self.ended_at)
        encode_context(self.context)
