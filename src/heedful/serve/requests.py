"""What people's clients ask for and what they are told: requests, answers, errors."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from heedful.contract import Message
from heedful.record import ALL_UNITS, Context, Kind, RecordError, Value, mint_id
from heedful.record.decision import encode_context
from heedful.record.errors import check_id, check_number, check_text
from heedful.record.feedback import check_value

Reason = Literal[
    "invalid",
    "conflict",
    "nothing_to_choose",
    "too_many",
    "busy",
    "unavailable",
    "failed",
    "unknown",
    "rejected",
]


class ServiceError(Exception):
    """A request that was not served; nothing of it is in the log.

    Attributes:
        reason: ``invalid``: it cannot be understood; ``conflict``: it contradicts an earlier one;
            ``nothing_to_choose``: everything is forbidden; ``too_many``: more rows than one request
            may have; ``busy``: the queue is full; ``unavailable``: no live policy, or the log
            cannot be written; ``failed``: a fault of the service; ``unknown``: no decision of this
            id was held; ``rejected``: it was, and is not to be shown.
        retry_after: seconds after which the same request may succeed, or ``None``.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRequest:
    """Ask for a decision. The user is enough: the service keeps the history.

    Attributes:
        user: the raw user id; only its pseudonym goes further than this.
        context: small features as they are now.
        messages: in the place of context and session, where decisions are replies: all that was
            said in the conversation so far. Which one goes on is found by what was said in it
            before; only what is new becomes the context. One that is not known, or that was
            changed, begins anew, and all of it is the context.
        choices: what the domain may need to know beside the context to say what is possible, as a
            rule ``allowed`` and ``forbidden``, lists of unit ids, and the rules ``require``,
            ``cap`` and ``diversity`` (:mod:`heedful.contract.rules`).
        session: a name for the session, conversation or match; by default the user's last one, or
            a new one after a silence.
        length: the longest decision that is wanted, in units; by default the workspace's.
        idempotency_key: the same key with the same request gets the same answer.
    """

    user: str
    context: Context = field(default_factory=dict)
    messages: Sequence[Message] | None = None
    choices: Mapping[str, object] = field(default_factory=dict)
    session: str | None = None
    length: int | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be served or kept.

        Raises:
            RecordError: names the field, the problem and the remedy.
        """
        check_id("user", self.user)
        encode_context(self.context)
        if self.messages is not None and (self.context or self.session is not None):
            problem = "stand beside a context or a session"
            raise RecordError("messages", problem, "the conversation is found by them alone")
        for name in ("session", "idempotency_key"):
            if getattr(self, name) is not None:
                check_id(name, getattr(self, name))
        if self.length is not None:
            whole = isinstance(self.length, int) and not isinstance(self.length, bool)
            if not whole or self.length < 1:
                raise RecordError("length", f"is {self.length!r}", "ask for at least 1 unit")

    def fingerprint(self) -> bytes:
        """Return a hash of all but the key: equal requests, equal fingerprints."""
        context = encode_context(self.context) if self.messages is None else list(self.messages)
        body = (context, dict(self.choices), self.session, self.length)
        text = json.dumps(body, sort_keys=True, default=repr)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionAnswer:
    """A decision that is in the log.

    Attributes:
        id: names it in feedback.
        units: what was chosen, in order.
        logps: natural log-probability of each unit given those before it; none where a person let
            the decision through, as nobody knows it then.
        policy: the version that chose, or ``held:VERSION`` with a person in between.
        session: what it was called in the request, or the id of the one that goes on or began.
        unknown: units named in the request's choices that the policy has never heard of.
        text: what the units say, where decisions are replies.
        ended: whether the last unit is the one that ends a decision; else it ran into its length.
        read: events that the policy had before it when it chose the first unit.
    """

    id: str
    units: tuple[str, ...]
    logps: tuple[float, ...]
    policy: str
    session: str
    unknown: tuple[str, ...] = ()
    text: str | None = None
    ended: bool = False
    read: int = 0

    @property
    def propensities(self) -> tuple[float, ...]:
        """Return the probabilities: ``exp(logps)``."""
        return tuple(math.exp(logp) for logp in self.logps)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAnswer:
    """A decision that was drawn and waits for a person; it is kept, and shown to nobody yet.

    Attributes:
        id: to ask for it later.
        session: as the client named it; ``None`` where it did not: the visit it would go on, or
            begin, is known once it is shown.
    """

    id: str
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """Ask for a decision that was held.

    Attributes:
        decision: its id.
    """

    decision: str

    def __post_init__(self) -> None:
        """Refuse what cannot be an id.

        Raises:
            RecordError: names the field, the problem and the remedy.
        """
        check_id("decision", self.decision)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRequest:
    """Tell what somebody said about a decision.

    Attributes:
        decision: its id.
        kind: what sort of thing was said.
        value: what was said; ``None`` only where ``retracts`` is given. A demonstration may be
            text where decisions are replies.
        unit: the position in the decision that is meant, from 0, or ``ALL_UNITS``.
        id: the client's idempotency key; without one a repetition cannot be recognised.
        user: who said it, a raw id; by default whom the decision was made for.
        given_at: when it was said, seconds since the epoch; by default when it arrives.
        retracts: the id of earlier feedback that is taken back.
    """

    decision: str
    kind: Kind
    value: Value | None = None
    unit: int = ALL_UNITS
    id: str = field(default_factory=mint_id)
    user: str | None = None
    given_at: float | None = None
    retracts: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be true or cannot be kept.

        Raises:
            RecordError: names the field, the problem and the remedy.
        """
        check_id("decision", self.decision)
        check_id("id", self.id)
        if self.user is not None:
            check_id("user", self.user)
        if self.given_at is not None:
            check_number("given_at", self.given_at)
        if self.retracts is not None:
            check_id("retracts", self.retracts)
        elif self.kind is Kind.DEMONSTRATION and isinstance(self.value, str):
            check_text("value", self.value)
        else:
            check_value(self.kind, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRequest:
    """Tell that a session is over; telling it twice is harmless.

    Attributes:
        user: whose session, a raw id.
        session: its name; by default the user's last one.
        terminated: whether it came to its own end, or was cut off.
        context: the final observation where there is one.
    """

    user: str
    session: str | None = None
    terminated: bool = True
    context: Context = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be kept.

        Raises:
            RecordError: names the field, the problem and the remedy.
        """
        check_id("user", self.user)
        if self.session is not None:
            check_id("session", self.session)
        encode_context(self.context)
