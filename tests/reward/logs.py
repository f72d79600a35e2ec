"""Small logs of people who rate and comment on what they were shown."""

from __future__ import annotations

from collections.abc import Sequence

from heedful.record import UNKNOWN, Decision, Feedback, Kind
from heedful.store import Record, Snapshot


def decision(number: int, subject: str, units: Sequence[str], *, ours: bool = True) -> Decision:
    """Return decision ``number``, made at that second."""
    return Decision(
        id=f"d{number}",
        episode=f"{subject}/0",
        step=number,
        subject=subject,
        units=tuple(units),
        logps=(-1.0,) * len(units) if ours else UNKNOWN,
        policy="p",
        made_at=float(number),
        context={},
        choices="all",
        vocabulary="v",
    )


def said(
    about: int,
    kind: Kind,
    value: bool | float | str | None,
    *,
    by: str,
    unit: int = 0,
    at: float = 0.0,
    retracts: str | None = None,
    n: int = 0,
) -> Feedback:
    """Return feedback to decision ``about``, ``at`` seconds after it."""
    name = f"{about}/{unit}/{kind}/{by}/{n}"
    return Feedback(
        id=f"not {name}" if retracts else name,
        by=by,
        about=f"d{about}",
        unit=unit,
        kind=kind,
        value=value,
        given_at=about + at,
        received_at=about + at,
        retracts=retracts,
    )


def snapshot(*records: Record) -> Snapshot:
    """Return a snapshot of just these records."""
    return Snapshot.of(records)
