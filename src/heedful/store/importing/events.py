"""The rows of a file in the order of their events, without those that say the same twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful.store.importing.checks import Events
from heedful.store.importing.report import Findings, Problem

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """Which rows go in, and in what order.

    Attributes:
        rows: ``int64``, positions in :class:`Events`, by event time; ties as in the file.
        duplicates: how many rows repeat an earlier one.
    """

    rows: Positions
    duplicates: int


def in_order(events: Events, findings: Findings) -> Order:
    """Return the order of the events; rows that contradict an earlier one are problems.

    One person, one session, one unit and one moment make one event: a second row about it is a
    duplicate where it says the same, and a conflict where it says something else.
    """
    keys = [events.column(name) for name in ("at", "unit", "session", "subject")]
    sort = np.lexsort(keys)  # stable: among equal events the first in the file leads
    repeats = np.ones(len(sort), dtype=np.bool_)
    repeats[:1] = False
    for key in keys:
        repeats[1:] &= key[sort[1:]] == key[sort[:-1]]
    leaders = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(sort))))
    later, first = sort[repeats], sort[leaders[repeats]]
    conflicts = _differ(events, later, first)
    for row, other in zip(later[conflicts].tolist(), first[conflicts].tolist(), strict=True):
        findings.add(_conflict(events, row, other), "")
    kept = np.ones(len(sort), dtype=np.bool_)
    kept[later] = False
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(events.column("at")[rows], kind="stable")]
    return Order(rows, int(np.count_nonzero(~conflicts)))


def _differ(events: Events, one: Positions, other: Positions) -> NDArray[np.bool_]:
    rating: NDArray[Any] = events.column("rating")
    click = events.column("click")
    silent = np.isnan(rating[one]) & np.isnan(rating[other])
    differ = ((rating[one] != rating[other]) & ~silent) | (click[one] != click[other])
    if events.comment:
        pairs = zip(one.tolist(), other.tolist(), strict=True)
        differ |= np.array([events.comment[a] != events.comment[b] for a, b in pairs], dtype=bool)
    return np.asarray(differ, dtype=np.bool_)


def _conflict(events: Events, row: int, other: int) -> Problem:
    hint = (
        f"the same person, unit and time as line {events.line[other]}, and something else is said; "
        "keep one of the two"
    )
    return Problem(events.line[row], "", "conflict", "", hint)
