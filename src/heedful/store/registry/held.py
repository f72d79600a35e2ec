"""Decisions that wait for a person before they are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from sqlite3 import Connection, IntegrityError
from typing import Any, Literal, cast

from heedful.record import UNKNOWN, ChoiceSet, Decision
from heedful.store.registry import blocks, ledger
from heedful.store.registry.audit import Reason, record
from heedful.store.registry.card import Json
from heedful.store.registry.errors import RegistryError
from heedful.store.registry.version import number_of

Said = Literal["approved", "rejected"]

COLUMNS = "SELECT body, answer, answered_at FROM held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A decision that was drawn and not shown.

    Attributes:
        decision: as it was drawn; ``made_at`` says when.
        choices: what it was drawn from.
        answer: what a person said; ``None`` while it waits.
        answered_at: when that was, seconds since the epoch.
    """

    decision: Decision
    choices: ChoiceSet
    answer: Said | None = None
    answered_at: float | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return what a reviewer sees of it."""
        drawn = self.decision
        return {
            "decision": drawn.id,
            "drawn_at": drawn.made_at,
            "policy": drawn.policy,
            "subject": drawn.subject,
            "context": cast(Json, drawn.context),
            "units": list(drawn.units),
        }

    def body(self) -> str:
        """Return the decision and its choices as JSON."""
        drawn = asdict(self.decision)
        drawn["logps"] = None if self.decision.logps is UNKNOWN else list(self.decision.logps)
        return json.dumps({"decision": drawn, "choices": self.choices.body()})


def add(connection: Connection, held: Sequence[Held]) -> None:
    """Keep decisions that wait.

    Raises:
        RegistryError: one of them is kept already, or its version is not registered.
    """
    rows = [
        (h.decision.id, number_of(h.decision.policy), h.decision.subject, h.decision.made_at)
        for h in held
    ]
    query = "INSERT INTO held (id, version, subject, drawn_at, body) VALUES (?, ?, ?, ?, ?)"
    try:
        connection.executemany(
            query, [(*row, one.body()) for row, one in zip(rows, held, strict=True)]
        )
    except IntegrityError as error:
        raise RegistryError(f"a decision cannot be held: {error}; draw it anew") from error


def find(connection: Connection, name: str) -> Held | None:
    """Return a decision by its id, ``None`` where it was never held."""
    row = connection.execute(f"{COLUMNS} WHERE id = ?", (name,)).fetchone()
    return _held(row) if row else None


def waiting(connection: Connection) -> list[Held]:
    """Return the decisions nobody has answered, oldest first."""
    query = f"{COLUMNS} WHERE answer IS NULL ORDER BY drawn_at, id"
    return [_held(row) for row in connection.execute(query)]


def count(connection: Connection) -> int:
    """Return how many decisions were ever held."""
    number: int = connection.execute("SELECT count(*) FROM held").fetchone()[0]
    return number


def first_held(connection: Connection, since: float) -> dict[str, float]:
    """Return when the first decision of each subject was held from ``since`` on, whatever came."""
    query = "SELECT subject, min(drawn_at) FROM held WHERE drawn_at >= ? GROUP BY subject"
    return dict(connection.execute(query, (since,)).fetchall())


def answer(connection: Connection, name: str, said: Said, at: float, reason: Reason) -> Held:
    """Write down what a person said of a decision, once.

    Raises:
        RegistryError: there is none of this id, it was answered before, or a yes would show what
            was stopped or blocked.
    """
    held = find(connection, name)
    if held is None:
        raise RegistryError(f"no decision {name} is held; see which are with heedful review")
    if held.answer is not None:
        raise RegistryError(f"decision {name} was {held.answer} before, and an answer stands")
    if said == "approved":
        _require_showable(connection, held.decision)
    query = "UPDATE held SET answer = ?, answered_at = ? WHERE id = ?"
    connection.execute(query, (said, at, name))
    decision = held.decision
    about: dict[str, Json] = {
        "decision": name,
        "units": list(decision.units),
        "drawn_at": decision.made_at,
    }
    reason = Reason(by=reason.by, why=reason.why, evidence={**reason.evidence, **about})
    record(connection, said, number_of(decision.policy), reason)
    return Held(decision=decision, choices=held.choices, answer=said, answered_at=at)


def _require_showable(connection: Connection, drawn: Decision) -> None:
    version = ledger.find(connection, number_of(drawn.policy))
    out = sorted(blocks.units(connection) & set(drawn.units))
    if version.state == "refused" or out:
        why = f"unit {out[0]} is blocked" if out else f"version {version.name} was stopped"
        raise RegistryError(f"{why}, so a yes would show nothing; answer no")


def _held(row: Any) -> Held:
    body, said, at = row
    kept = json.loads(body)
    drawn = kept["decision"]
    drawn["units"] = tuple(drawn["units"])
    drawn["logps"] = UNKNOWN if drawn["logps"] is None else tuple(drawn["logps"])
    choices = ChoiceSet.from_body(kept["choices"])
    return Held(decision=Decision(**drawn), choices=choices, answer=said, answered_at=at)
