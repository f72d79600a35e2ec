"""From the bytes of a body to requests, and from answers to JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, Never, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heedful.record import ALL_UNITS, Kind, Outcome, Preference, RecordError, Value
from heedful.serve.requests import (
    DecisionAnswer,
    DecisionRequest,
    EndRequest,
    FeedbackRequest,
    FetchRequest,
    HeldAnswer,
    Reason,
    ServiceError,
)
from heedful.store import Receipt

MAX_DEPTH = 32
MAX_MESSAGE = 500

STATUS: dict[Reason, int] = {
    "invalid": 422,
    "conflict": 409,
    "nothing_to_choose": 422,
    "too_many": 413,
    "busy": 429,
    "unavailable": 503,
    "failed": 500,
    "unknown": 404,
    "rejected": 410,
}
SHORT = ("thumb", "rating", "comment", "edit", "over", "chosen", "rejected")
"""What may be said in the place of a kind and a value."""

RECEIPT_STATUS = {"added": 200, "duplicate": 200, "parked": 202, "conflict": 409, "refused": 422}

Request = TypeVar("Request")


class Body(BaseModel):
    """An object in a body: exact types, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ChoicesBody(Body):
    """What the client allows; :mod:`heedful.contract.rules` reads the rules, the domain decides."""

    allowed: list[str] | None = None
    forbidden: list[str] = []
    require: list[dict[str, Any]] | dict[str, Any] = []
    cap: list[dict[str, Any]] | dict[str, Any] = []
    diversity: list[dict[str, Any]] | dict[str, Any] = []


class DecisionBody(Body):
    """A row of ``POST /v1/decisions``; see :class:`heedful.serve.DecisionRequest`."""

    user: str
    context: dict[str, Any] = {}
    choices: ChoicesBody = ChoicesBody()
    session: str | None = None
    length: int | None = None
    idempotency_key: str | None = None

    def request(self) -> DecisionRequest:
        """Return the request."""
        return DecisionRequest(
            user=self.user,
            context=self.context,
            choices=self.choices.model_dump(exclude_unset=True),
            session=self.session,
            length=self.length,
            idempotency_key=self.idempotency_key,
        )


class FeedbackBody(Body):
    """A row of ``POST /v1/feedback``; see :class:`heedful.serve.FeedbackRequest`.

    ``value`` is true or false for a click, a number for a rating or reward, text for a comment or
    flag, unit ids for a demonstration, ``{"outcome": "chosen", "over": DECISION}`` for a
    preference. In the place of ``kind`` and ``value`` may stand one of: ``thumb`` (``up`` or
    ``down``), ``rating``, ``comment``, ``edit`` (the reply as it should have been), ``over`` and
    ``outcome``; or, in the place of ``decision`` as well, ``chosen`` and ``rejected``.
    """

    decision: str | None = None
    kind: str | None = None
    value: Any = None
    thumb: Literal["up", "down"] | None = None
    rating: float | None = None
    comment: str | None = None
    edit: str | None = None
    over: str | None = None
    outcome: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    unit: int = ALL_UNITS
    id: str | None = None
    user: str | None = None
    given_at: float | None = None
    retracts: str | None = None

    def request(self) -> FeedbackRequest:
        """Return the request."""
        decision, kind, value = self._said()
        if decision is None:
            raise RecordError("decision", "is missing", "send the id of the decision that is meant")
        given = {"id": self.id} if self.id is not None else {}
        return FeedbackRequest(
            decision=decision,
            kind=kind,
            value=value,
            unit=self.unit,
            user=self.user,
            given_at=self.given_at,
            retracts=self.retracts,
            **given,
        )

    def _said(self) -> tuple[str | None, Kind, Value | None]:
        """Return what the row is about, of what kind, and what it says.

        Raises:
            RecordError: it says nothing, or several things at once.
        """
        given = [name for name in (*SHORT, "kind") if getattr(self, name) is not None]
        if "rejected" in given and self.chosen is not None:
            given.remove("rejected")
        if len(given) != 1:
            problem = f"stands beside {given[0]}" if given else "is missing"
            raise RecordError(given[1] if given else "kind", problem, "say one thing a row")
        [said] = given
        if said == "kind":
            kind = _kind(self.kind or "")
            return self.decision, kind, _value(kind, self.value)
        value = getattr(self, said)
        match said:
            case "thumb":
                return self.decision, Kind.CLICK, value == "up"
            case "rating" | "comment":
                return self.decision, Kind(said), value
            case "edit":
                return self.decision, Kind.DEMONSTRATION, value
            case "over":
                compared = {"outcome": self.outcome, "over": value}
                return self.decision, Kind.PREFERENCE, _value(Kind.PREFERENCE, compared)
        return self._pair()

    def _pair(self) -> tuple[str, Kind, Value]:
        if self.chosen is None or self.rejected is None or self.decision is not None:
            raise RecordError("chosen", "is half a pair", "send chosen and rejected, no decision")
        return self.chosen, Kind.PREFERENCE, Preference(Outcome.CHOSEN, self.rejected)


class EndBody(Body):
    """A row of ``POST /v1/ends``; see :class:`heedful.serve.EndRequest`."""

    user: str
    session: str | None = None
    terminated: bool = True
    context: dict[str, Any] = Field(default_factory=dict)

    def request(self) -> EndRequest:
        """Return the request."""
        return EndRequest(**dict(self))


class ReviewBody(Body):
    """The body of ``POST /v1/held/DECISION``."""

    approve: bool
    why: str

    def request(self) -> ReviewBody:
        """Return itself."""
        return self


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise RecordError(
            "kind", "is none that is known", f"choose one of {', '.join(Kind)}"
        ) from None


def _value(kind: Kind, value: Any) -> Value | None:
    """Return a JSON value as a record has it; what does not fit is refused there."""
    if kind is Kind.DEMONSTRATION and isinstance(value, list):
        return tuple(value)
    if kind is Kind.PREFERENCE and isinstance(value, dict):
        if set(value) != {"outcome", "over"} or value["outcome"] not in list(Outcome):
            raise RecordError(
                "value", "is no preference", f"say outcome ({', '.join(Outcome)}) and over"
            )
        return Preference(Outcome(value["outcome"]), value["over"])
    return value  # type: ignore[no-any-return]


def parse(body: bytes) -> object:
    """Return the JSON in a body. Of equal keys in one object the last one counts.

    Raises:
        ServiceError: no JSON in UTF-8, NaN or infinity in it, or nested too deeply.
    """
    try:
        parsed: object = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise ServiceError("invalid", "body: is not JSON in UTF-8 with finite numbers") from None
    _check_depth(parsed)
    return parsed


def _no_constant(name: str) -> Never:
    raise ValueError(name)


def _check_depth(parsed: object) -> None:
    """Refuse deep nesting here: what is stored has to be read again by deeper stacks than this."""
    level = [parsed]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, list | dict)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ServiceError:
    return ServiceError("invalid", f"body: is nested deeper than {MAX_DEPTH} levels")


def read(row: object, model: type[Any]) -> Any:
    """Return the request in one row, or the error, which does not repeat what was sent.

    Args:
        row: parsed JSON.
        model: the kind of row, a :class:`Body` with ``request()``.
    """
    try:
        return model.model_validate(row).request()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        return ServiceError("invalid", f"{place}: {first['msg']}")
    except RecordError as error:
        return ServiceError("invalid", str(error))


def decision_json(
    request: DecisionRequest | FetchRequest | ServiceError,
    result: DecisionAnswer | HeldAnswer | ServiceError,
) -> tuple[int, dict[str, object]]:
    """Return the status and the body of one decision."""
    if isinstance(result, ServiceError):
        return error_json(result)
    if isinstance(result, HeldAnswer):
        return 202, {"id": result.id, "status": "held", "session": result.session}
    said = {} if result.text is None else {"text": result.text}
    return 200, {
        "id": result.id,
        "units": result.units,
        "logps": result.logps,
        "propensities": result.propensities,
        "policy": result.policy,
        "session": result.session,
        "unknown": result.unknown,
        **said,
    }


def receipt_json(
    request: FeedbackRequest | EndRequest | ServiceError, result: Receipt | ServiceError
) -> tuple[int, dict[str, object]]:
    """Return the status and the body of one row of feedback, or of one end of a session."""
    receipt = result
    if isinstance(receipt, ServiceError):
        receipt = Receipt("refused", reason=str(receipt))
    body: dict[str, object] = {"status": receipt.status, "reason": shortened(receipt.reason)}
    if isinstance(request, FeedbackRequest):
        body["id"] = request.id
    return RECEIPT_STATUS[receipt.status], body


def error_json(error: ServiceError) -> tuple[int, dict[str, object]]:
    """Return the status and the body of an error."""
    said = {"reason": error.reason, "message": shortened(str(error))}
    return STATUS[error.reason], {"error": said}


def many(
    rows: list[tuple[int, dict[str, object]]],
) -> tuple[int, list[dict[str, object]]]:
    """Return one status for all rows (207 where they differ from 200) and the rows with theirs."""
    status = 200 if all(code == 200 for code, _ in rows) else 207
    return status, [{**body, "code": code} for code, body in rows]


def shortened(message: str) -> str:
    """Return the beginning of a message."""
    return message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "..."


Reply = Callable[[Any, Any], tuple[int, dict[str, object]]]
