"""Rows that were chosen together, as one decision with its units in their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heedful.store.columns import Ints
from heedful.store.importing.cells import NO_POSITION
from heedful.store.importing.checks import Events
from heedful.store.importing.report import Findings, Problem

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Grouped:
    """Decisions by event time, ties as in the file.

    Attributes:
        rows: ``int64 [M]``, positions in :class:`Events`, by decision and place in it.
        offsets: ``int64 [N + 1]``; decision ``d`` is ``rows[offsets[d]:offsets[d + 1]]``.
    """

    rows: Ints
    offsets: Ints


def grouped(events: Events, rows: Ints, findings: Findings) -> Grouped:
    """Return ``rows`` as decisions; a decision with a row at fault is a problem as a whole.

    The probability of a unit is conditional on those before it, so a slate of which a row is
    missing, or stands elsewhere, is another slate. It is left out, whole.

    Args:
        events: what the file says. Where lines stand for times, all rows of a decision get the
            time of its first.
        rows: ``int64``, ascending, without repetitions.
        findings: where problems go.
    """
    leader = _leaders(events, rows)
    at = events.column("at")
    if not events.sequenced:
        at[rows] = at[leader]
    sort = np.lexsort((rows, events.column("position")[rows], leader, at[rows]))
    rows, leader = rows[sort], leader[sort]
    begins = np.flatnonzero(np.diff(leader, prepend=-1))
    found = Grouped(rows, np.append(begins, len(rows)).astype(np.int64))
    faults = {**_spoiled(events, found), **_unsound(events, found, findings)}
    return _without(events, found, faults, findings) if faults else found


def _leaders(events: Events, rows: Ints) -> Ints:
    """Return the first row in the file of each row's decision."""
    alone = events.column("decision")[rows] == 0
    keys = (
        np.where(alone, events.column("unit")[rows], -1),
        events.moment[rows],
        *(events.column(name)[rows] for name in ("decision", "session", "subject")),
    )
    sort = np.lexsort(keys)  # stable: the first row of each group is the first in the file
    begins = np.ones(len(sort), dtype=np.bool_)
    begins[1:] = np.any([key[sort[1:]] != key[sort[:-1]] for key in keys], axis=0)
    first = np.maximum.accumulate(np.where(begins, np.arange(len(sort)), 0))
    leader = np.empty(len(rows), dtype=np.int64)
    leader[sort] = rows[sort[first]]
    return leader


def _spoiled(events: Events, found: Grouped) -> dict[int, int]:
    """Return the decisions that a bad row belongs to, and its line."""
    if not events.spoiled and not events.doubtful:
        return {}
    firsts = found.rows[found.offsets[:-1]].tolist()
    keys = ((number, events.key_of(row)) for number, row in enumerate(firsts))
    lines = ((n, events.spoiled.get(key) or events.doubtful.get(str(key[-1]))) for n, key in keys)
    return {number: line for number, line in lines if line}


def _unsound(events: Events, found: Grouped, findings: Findings) -> dict[int, int]:
    """Take down what does not fit within its decision; return the decisions, and a line each."""
    faults: dict[int, int] = {}
    for number, row, hint in _misfits(events, found):
        line = int(events.line[row])
        findings.add(Problem(line, "", "decision", "", hint), "")
        faults.setdefault(number, line)
    return faults


def _misfits(events: Events, found: Grouped) -> Iterator[tuple[int, int, str]]:
    """Yield decision, row and hint for rows that cannot stand where they do."""
    number = np.repeat(np.arange(len(found.offsets) - 1), np.diff(found.offsets))
    named = events.column("decision")[found.rows] > 0
    checks = [*_at_odds(events, found.rows, found.rows[found.offsets[number]])]
    if len(events.position):
        place = np.arange(len(found.rows)) - found.offsets[number]
        alone = np.diff(found.offsets)[number] == 1
        checks += _misplaced(events, found.rows, place, alone)
    for wrong, hint in checks:
        for at in np.flatnonzero(wrong & named).tolist():
            yield int(number[at]), int(found.rows[at]), hint


def _at_odds(events: Events, rows: Ints, first: Ints) -> Iterator[tuple[Flags, str]]:
    """Yield where rows differ from the first of their decision in what all of it has in common."""
    known = ~np.isnan(events.column("propensity"))
    hint = "one row of its decision has a probability, another has none"
    yield known[rows] != known[first], hint
    for name in ("policy", "context"):
        column = events.column(name)
        hint = f"its {name} differs from that of the decision's first row"
        yield column[rows] != column[first], hint


def _misplaced(
    events: Events, rows: Ints, place: Ints, alone: Flags
) -> Iterator[tuple[Flags, str]]:
    """Yield where positions are no order of the units.

    Args:
        events: what the file says.
        rows: by decision and position.
        place: of each row in its decision, from 0.
        alone: whether its decision has no other.
    """
    position = events.column("position")[rows]
    before = np.where(place == 0, NO_POSITION, np.append(NO_POSITION, position[:-1]))
    missing = (position == NO_POSITION) & ~alone
    yield missing, "has no position; the units of a decision are ordered by it"
    again = (place > 0) & (position == before) & ~missing
    yield again, "stands at the position of another unit of its decision"
    # Positions count from 0 or from 1, in all of a file alike.
    named = (events.column("decision")[rows] > 0) & ~missing
    lowest = min(1, int(position[named].min(initial=1)))
    begins = (place == 0) & (position == lowest)
    gap = (position > before + 1) & ~begins & ~np.isnan(events.column("propensity")[rows])
    yield (
        gap,
        "its probability is meant given the units before it, and one of them is missing; where "
        "probabilities are those of one position alone, name no column for the decision",
    )


def _without(events: Events, found: Grouped, faults: dict[int, int], findings: Findings) -> Grouped:
    """Return the decisions without those at fault, whose other rows are refused with them."""
    lengths = np.diff(found.offsets)
    kept = np.ones(len(lengths), dtype=np.bool_)
    kept[list(faults)] = False
    for number, line in sorted(faults.items()):
        for row in found.rows[found.offsets[number] : found.offsets[number + 1]].tolist():
            if not findings.refuses(events.line[row]):
                hint = f"line {line} of the same decision is at fault; mend that"
                findings.add(Problem(events.line[row], "", "decision", "", hint), "")
    rows = found.rows[np.repeat(kept, lengths)]
    return Grouped(rows, np.concatenate([[0], np.cumsum(lengths[kept])]).astype(np.int64))
