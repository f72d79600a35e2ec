"""The rows of a file as decisions in the order of their events, what is said twice counted once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heedful.store.columns import Ints, gather
from heedful.store.importing.checks import Events
from heedful.store.importing.report import Findings, Problem
from heedful.store.importing.slates import grouped

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Order:
    """Which rows go in, as which decisions, and in what order.

    Attributes:
        rows: ``int64 [M]``, positions in :class:`Events`: the units of the first decision in their
            order, then those of the second. Decisions stand by event time; ties as in the file.
        offsets: ``int64 [N + 1]``; decision ``d`` is ``rows[offsets[d]:offsets[d + 1]]``.
        duplicates: how many rows repeat an earlier one.
    """

    rows: Ints
    offsets: Ints
    duplicates: int = 0

    @property
    def n(self) -> int:
        """N."""
        return len(self.offsets) - 1

    @property
    def first(self) -> Ints:
        """The row of each decision's first unit: ``int64 [N]``."""
        return self.rows[self.offsets[:-1]]

    @property
    def decision(self) -> Ints:
        """The decision of each row: ``int64 [M]``."""
        return np.repeat(np.arange(self.n), np.diff(self.offsets))

    @property
    def place(self) -> Ints:
        """The place of each row in its decision, from 0: ``int64 [M]``."""
        return np.arange(len(self.rows)) - self.offsets[self.decision]

    def take(self, decisions: Ints) -> Order:
        """Return some of the decisions, in that order."""
        positions, offsets = gather(self.offsets, decisions)
        return Order(self.rows[positions], offsets, self.duplicates)


def in_order(events: Events, findings: Findings) -> Order:
    """Return the order of the events; rows that contradict an earlier one are problems.

    One person, one session, one unit and one moment, of one decision where rows say which, make
    one event: a second row about it is a duplicate where it says the same, and a conflict where it
    says something else.
    """
    rows, duplicates = _distinct(events, findings)
    at = events.column("at")
    if events.has_slates:
        found = grouped(events, rows, findings)
        return Order(found.rows, found.offsets, duplicates)
    rows = rows[np.argsort(at[rows], kind="stable")]
    return Order(rows, np.arange(len(rows) + 1), duplicates)


def _distinct(events: Events, findings: Findings) -> tuple[Ints, int]:
    """Return the rows that are no repetition, in the order of the file, and how many are."""
    keys = [events.moment, *(events.column(name) for name in ("unit", "session", "subject"))]
    if events.has_slates:
        keys.append(events.column("decision"))
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
        events.spoil(row)
    kept = np.ones(len(sort), dtype=np.bool_)
    kept[later] = False
    return np.flatnonzero(kept), int(np.count_nonzero(~conflicts))


def _differ(events: Events, one: Ints, other: Ints) -> Flags:
    differ = np.zeros(len(one), dtype=np.bool_)
    for name in ("rating", "propensity"):
        said = events.column(name)
        silent = np.isnan(said[one]) & np.isnan(said[other])
        differ |= (said[one] != said[other]) & ~silent
    for name in ("click", "position", "policy", "context"):
        said = events.column(name)
        differ |= said[one] != said[other]
    if events.comment:
        pairs = zip(one.tolist(), other.tolist(), strict=True)
        differ |= np.array([events.comment[a] != events.comment[b] for a, b in pairs], dtype=bool)
    return differ


def _conflict(events: Events, row: int, other: int) -> Problem:
    hint = (
        f"the same person, unit and time as line {events.line[other]}, and something else is said; "
        "keep one of the two"
    )
    return Problem(events.line[row], "", "conflict", "", hint)
