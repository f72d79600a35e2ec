"""How a record's values are written down: numbers for columns, texts for the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from heedful.record import Context, Feedback, Kind, Outcome, Preference, Span, Value
from heedful.record.decision import encode_context

KIND_CODE = {kind: code for code, kind in enumerate(Kind)}
"""The position of each kind in ``list(Kind)``, as the log's table ``kinds`` has it."""

SeqOf = Callable[[str], int | None]
"""Gives the sequence number of a decision id, or None where it is not known."""


def context_text(context: Context) -> str:
    """Return canonical JSON, ``""`` for an empty context."""
    return encode_context(context) if context else ""


def number_of(record: Feedback) -> float:
    """Return what a click, rating or reward says as a number, NaN for every other feedback."""
    value = record.value
    return float(value) if isinstance(value, bool | int | float) else math.nan


def text_of(record: Feedback, seq_of: SeqOf) -> str:
    """Return the text of a feedback row (:class:`heedful.store.Feedbacks` says in what form)."""
    value = record.value
    if isinstance(record.about, Span):
        said: dict[str, Any] = {"span": _span(record.about)}
        if value is not None and not isinstance(value, bool | int | float):
            said["value"] = _plain(value, seq_of)
        return to_json(said)
    if value is None or isinstance(value, bool | int | float):
        return ""
    return value if isinstance(value, str) else to_json(_plain(value, seq_of))


def to_json(value: object) -> str:
    """Return canonical JSON.

    >>> to_json({"b": 1, "a": "ä"})
    '{"a":"ä","b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def encode_feedback(record: Feedback) -> str:
    """Return all of a feedback but its time of arrival as JSON, for a row that has to wait."""
    return to_json(
        {
            "id": record.id,
            "by": record.by,
            "about": _reference(record.about),
            "unit": record.unit,
            "kind": record.kind.value,
            "value": None if record.value is None else _plain(record.value, lambda _: None),
            "given_at": float(record.given_at),
            "retracts": record.retracts,
        }
    )


def decode_feedback(body: str, received_at: float) -> Feedback:
    """Return the feedback that :func:`encode_feedback` wrote."""
    fields = json.loads(body)
    kind = Kind(fields["kind"])
    about, value = fields["about"], fields["value"]
    return Feedback(
        id=fields["id"],
        by=fields["by"],
        about=about if isinstance(about, str) else Span(*about),
        unit=fields["unit"],
        kind=kind,
        value=_value(kind, value),
        given_at=fields["given_at"],
        received_at=received_at,
        retracts=fields["retracts"],
    )


def _value(kind: Kind, value: Any) -> Value | None:
    if value is None:
        return None
    if kind is Kind.PREFERENCE:
        over = value["over"]
        return Preference(Outcome(value["outcome"]), over if isinstance(over, str) else Span(*over))
    if kind is Kind.DEMONSTRATION:
        return tuple(value)
    return value  # type: ignore[no-any-return]


def _plain(value: Value, seq_of: SeqOf) -> object:
    """Return what JSON can say of a value; a known decision is named by its sequence number."""
    if isinstance(value, Preference):
        over = _reference(value.over)
        known = seq_of(over) if isinstance(over, str) else None
        return {"outcome": value.outcome.value, "over": over if known is None else known}
    return list(value) if isinstance(value, tuple) else value


def _span(span: Span) -> list[str | int]:
    return [span.episode, span.start, span.stop]


def _reference(about: str | Span) -> str | list[str | int]:
    return about if isinstance(about, str) else _span(about)
