"""Two versions of one decision: what a file says of decisions that the log has already."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from heedful.store.statements import Statements

SAME = 1e-12  # one ulp of a logarithm may differ between machines


@dataclass(frozen=True, slots=True)
class Body:
    """A decision without its id, its subject and its time, which the id is made from.

    Attributes:
        units: in their order.
        logps: natural-log probabilities; NaN where they are UNKNOWN.
        policy: who acted.
        context: canonical JSON, ``""`` for none.
    """

    units: tuple[str, ...]
    logps: tuple[float, ...]
    policy: str
    context: str


def find_clashes(sql: Statements, ids: list[str], bodies: Iterable[Body]) -> dict[str, str]:
    """Return why decisions of the log are not those of a file, by id; none where they are.

    Args:
        sql: of the log.
        ids: of decisions that it has.
        bodies: what the file says of them.
    """
    stored = dict(_stored(sql, ids))
    reasons = ((id_, _difference(stored[id_], body)) for id_, body in zip(ids, bodies, strict=True))
    return {
        id_: f"the log has this decision {reason}; a decision is never edited: keep one of the two"
        for id_, reason in reasons
        if reason
    }


def _stored(sql: Statements, ids: list[str]) -> Iterator[tuple[str, Body]]:
    wanted = "WHERE d.id IN (SELECT value FROM json_each(?))"
    rows = sql.all(
        "SELECT d.id, d.units, d.logps, p.name, d.context FROM decisions d "
        f"JOIN policies p ON p.code = d.policy {wanted}",
        json.dumps(ids),
    )
    chosen = [np.frombuffer(row[1], dtype="<i4").tolist() for row in rows]
    codes = sorted({code for units in chosen for code in units})
    query = "SELECT code, name FROM units WHERE code IN (SELECT value FROM json_each(?))"
    names: dict[int, str] = dict(sql.all(query, json.dumps(codes)))
    for (id_, _, logps, policy, context), units in zip(rows, chosen, strict=True):
        known = (math.nan,) * len(units) if logps is None else np.frombuffer(logps, "<f8").tolist()
        yield id_, Body(tuple(names[code] for code in units), tuple(known), policy, context)


def _difference(stored: Body, told: Body) -> str:
    """Return in what the log's version is another one, or ``""``."""
    if stored.units != told.units:
        return f"with the units {_shown(stored.units)}, the file with {_shown(told.units)}"
    for ours, theirs in zip(stored.logps, told.logps, strict=True):
        if not (abs(ours - theirs) <= SAME or (math.isnan(ours) and math.isnan(theirs))):
            return f"with {_probability(ours)}, the file with {_probability(theirs)}"
    if stored.policy != told.policy:
        return f"by the policy {stored.policy}, the file by {told.policy}"
    if stored.context != told.context:
        return f"with the context {stored.context or '{}'}, the file with {told.context or '{}'}"
    return ""


def _shown(units: tuple[str, ...]) -> str:
    more = ", ..." if len(units) > 5 else ""
    return ", ".join(units[:5]) + more


def _probability(logp: float) -> str:
    return "no probability" if math.isnan(logp) else f"a probability of {math.exp(logp):.9g}"
