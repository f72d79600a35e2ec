"""The audit: who changed what, when and why. Entries are only ever added."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from sqlite3 import Connection
from typing import Literal

from heedful.store.registry.card import Json, canonical
from heedful.store.registry.errors import RegistryError
from heedful.store.registry.version import name_of

Action = Literal[
    "created",
    "adopted",
    "judged",
    "trial begun",
    "raised",
    "trial ended",
    "promoted",
    "refused",
    "rolled back",
    "stopped",
    "blocked",
    "unblocked",
    "approved",
    "rejected",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change of the registry.

    Attributes:
        id: its number, rising; the last one is the registry's generation.
        at: seconds since the epoch, UTC.
        who: who did it.
        action: what was done.
        version: the version it was done to (of a rollback: the one that is live again); ``None``
            where it was done to a unit.
        previous: the version that was live until then; ``None`` if none was, or it stayed live.
        unit: the unit that was blocked or unblocked.
        why: the reason given.
        evidence: the figures it rests on.
    """

    id: int
    at: float
    who: str
    action: Action
    version: str | None
    previous: str | None
    unit: str | None = None
    why: str
    evidence: Mapping[str, Json]

    def to_dict(self) -> dict[str, Json]:
        """Return plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Who does something, why, and on what evidence."""

    by: str
    why: str
    evidence: Mapping[str, Json]

    def __post_init__(self) -> None:
        """Check that the audit will have something to say.

        Raises:
            RegistryError: nobody, no reason, or evidence that JSON cannot say.
        """
        for name in ("by", "why"):
            if not getattr(self, name).strip():
                raise RegistryError(f"{name} is empty; the audit says who did what, and why")
        canonical("evidence", self.evidence)


def record(
    connection: Connection,
    action: Action,
    version: int | None,
    reason: Reason,
    previous: int | None = None,
    unit: str | None = None,
) -> None:
    """Write one entry, inside the transaction of the change itself."""
    evidence = canonical("evidence", reason.evidence)
    connection.execute(
        "INSERT INTO audit (at, who, action, version, previous, unit, why, evidence)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (time.time(), reason.by, action, version, previous, unit, reason.why, evidence),
    )


def entries(connection: Connection) -> list[AuditEntry]:
    """Return every entry, oldest first."""
    rows = connection.execute(
        "SELECT id, at, who, action, version, previous, unit, why, evidence FROM audit ORDER BY id"
    )
    return [
        AuditEntry(
            id=number,
            at=at,
            who=who,
            action=action,
            version=None if version is None else name_of(version),
            previous=None if previous is None else name_of(previous),
            unit=unit,
            why=why,
            evidence=json.loads(evidence),
        )
        for number, at, who, action, version, previous, unit, why, evidence in rows
    ]


def last(connection: Connection) -> int:
    """Return the id of the last entry, 0 if there is none."""
    number: int = connection.execute("SELECT ifnull(max(id), 0) FROM audit").fetchone()[0]
    return number
