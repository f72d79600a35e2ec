"""A decision: the units a policy chose for a subject, and how likely it was to choose them."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from heedful.record.errors import RecordError, check_id, check_number

MAX_CONTEXT = 65_536
MAX_UNITS = 65_536

Context = Mapping[str, object]
"""Small features as they were at decision time: what JSON can say, under string keys."""


TOGETHER = "match"
"""The key of a context that names what several episodes are the sides of.

Two players of a match have a stream each and an episode each; whoever holds out whole episodes
holds out both.
"""


class Unknown(enum.Enum):
    """The probabilities of history that somebody else made and nobody wrote down."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        """Return the name users import."""
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN


REVIEWED = "held:"


def reviewed_name(version: str) -> str:
    """Return who made a decision that was held and that a person let through, as the log says it.

    The version would have shown it with the probability of its draw. With a person in between
    nobody knows how likely it was to be shown, so it is nobody's evidence and must not be taken for
    the version's own.

    >>> reviewed_name("0007")
    'held:0007'
    """
    return f"{REVIEWED}{version}"


def is_reviewed(policy: str) -> bool:
    """Return whether decisions under this name were let through by a person."""
    return policy.startswith(REVIEWED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was chosen for one subject at one moment.

    ``logps`` has no default: whoever acts knows with what probability, and computes it in the same
    call. Only history that was made elsewhere without probabilities carries ``UNKNOWN``; it serves
    pre-training and reward models, and every off-policy estimate refuses it.

    Attributes:
        id: UUIDv7 where the server mints it, derived from the content where it is imported.
        episode: the session, conversation or match this decision belongs to.
        step: its number within the episode, from 0.
        subject: a pseudonym (:func:`heedful.record.pseudonym`), never the raw user id.
        context: small features as they were at decision time, JSON values under string keys. The
            history is not copied here: it is derived from the log up to this decision.
        choices: the digest of the :class:`~heedful.record.ChoiceSet` it was chosen from.
        units: the chosen units' stable ids, in the order they were chosen.
        vocabulary: the digest of the vocabulary the policy knew.
        logps: natural log-probability of each unit given those before it in the decision.
        policy: the version that acted.
        made_at: seconds since the epoch, UTC.
    """

    id: str
    episode: str
    step: int
    subject: str
    units: tuple[str, ...]
    logps: tuple[float, ...] | Unknown
    policy: str
    made_at: float
    context: Context
    choices: str
    vocabulary: str

    def __post_init__(self) -> None:
        """Refuse what cannot be true or cannot be kept.

        Raises:
            RecordError: names the field, the problem and the remedy.
        """
        for field in ("id", "episode", "subject", "policy", "choices", "vocabulary"):
            check_id(field, getattr(self, field))
        if isinstance(self.step, bool) or not isinstance(self.step, int) or self.step < 0:
            raise RecordError("step", f"is {self.step!r}", "count from 0")
        check_number("made_at", self.made_at)
        _check_units(self.units)
        if self.logps is not UNKNOWN:
            _check_logps(self.logps, len(self.units))
        encode_context(self.context)


def encode_context(context: Context, *, field: str = "context") -> str:
    """Return ``context`` as canonical JSON.

    Raises:
        RecordError: not a mapping with string keys, NaN or infinity in it, unstorable text in it,
            or over 64 KiB.
    """
    if not isinstance(context, Mapping):
        raise RecordError(field, f"must be an object, not {type(context).__name__}", "send {}")
    if not context:
        return "{}"
    if not all(isinstance(key, str) for key in context):
        raise RecordError(field, "has a key that is not text", "use string keys")
    try:
        text = json.dumps(
            dict(context),
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
            ensure_ascii=False,
        )
        size = len(text.encode("utf-8"))
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(field, f"is not JSON: {error}", "send finite JSON values") from None
    if "\\u0000" in text:
        raise RecordError(field, "holds a NUL character", "remove it")
    if size > MAX_CONTEXT:
        raise RecordError(field, f"has {size} bytes", f"send at most {MAX_CONTEXT}")
    return text


def _check_units(units: tuple[str, ...]) -> None:
    if not isinstance(units, tuple) or not units:
        raise RecordError("units", "is empty", "a decision chooses at least one unit")
    if len(units) > MAX_UNITS:
        raise RecordError("units", f"has {len(units)} units", f"at most {MAX_UNITS}")
    for unit in units:
        check_id("units", unit)


def _check_logps(logps: tuple[float, ...], n_units: int) -> None:
    if not isinstance(logps, tuple) or len(logps) != n_units:
        raise RecordError(
            "logps",
            f"must be one number for each of the {n_units} units",
            "give the log-probability of each unit given those before it, or UNKNOWN",
        )
    for logp in logps:
        number = check_number("logps", logp)
        if number > 1e-9 or math.isnan(number):
            raise RecordError(
                "logps", f"holds {number}, a probability above 1", "send natural logarithms, <= 0"
            )
