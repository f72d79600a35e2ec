"""From the rows of a file to matches: what is out of order, who heard what, what ended how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from heedful.record import Kind, Value
from heedful.store.importing import Problem


@dataclass(slots=True)
class Move:
    """A row, and what is wrong with it; what is not known of a bad one has its default.

    ``ended`` says how the match ended with it, ``None`` where it did not; ``told``, whether the
    file speaks of ends at all.
    """

    line: int
    raw: str
    done: int
    total: int
    match: str = ""
    player: str = ""
    step: float = math.nan
    at: float = 0.0
    units: tuple[str, ...] = ()
    seen: dict[str, Any] = field(default_factory=dict)
    logp: float = math.nan
    policy: str = ""
    said: list[tuple[Kind, Value]] = field(default_factory=list)
    outcome: float | None = None
    ended: bool | None = None
    told: bool = False
    problem: Problem | None = None

    def says_the_same(self, other: Move) -> bool:
        """Whether two rows of one moment are one row that stands twice."""
        return replace(self, line=0, raw="", done=0) == replace(other, line=0, raw="", done=0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a move stands in its match.

    Attributes:
        number: how many moves this player made before it.
        heard: what others moved since the one before.
        last: whether it is the player's last.
        outcome: what the match came to for the player, where the file says so.
        rewarded: whether any row of the player's has a reward.
        ended: with this move, and terminated or cut off; ``None`` where it goes on.
    """

    number: int
    heard: tuple[str, ...]
    last: bool
    outcome: float | None
    rewarded: bool
    ended: bool | None


class Matches:
    """The rows of a file by match: what is wrong with a match, and where each row stands in it."""

    def __init__(self, rows: Sequence[Move], *, others: bool) -> None:
        self._others = others
        self._says_ends = any(row.told for row in rows)
        self._first: dict[int, Move] = {}  # of rows that stand twice, by line
        self._place: dict[int, Place] = {}
        matches: dict[str, list[Move]] = {}
        for row in rows:
            matches.setdefault(row.match, []).append(row)
        for name, found in matches.items():
            if name:
                self._check(found)

    def at(self, row: Move) -> tuple[Move, Place]:
        """Return where a row without a problem stands; of one that stands twice, the first one."""
        leader = self._first.get(row.line, row)
        return leader, self._place[leader.line]

    def _check(self, rows: list[Move]) -> None:
        """Find repetitions and what is out of order; one bad row makes all of the match bad."""
        known: dict[tuple[str, float], Move] = {}
        before: dict[str, Move] = {}
        kept = []
        for row in (row for row in rows if row.problem is None):
            key = (row.player, row.step)
            if key in known and not math.isnan(row.step):
                self._repeated(row, known[key])
                continue
            known[key] = row
            if row.player in before:
                _in_order(row, before[row.player])
                _goes_on(row, before[row.player])
            before[row.player] = row
            kept.append(row)
        bad = next((row for row in rows if row.problem is not None), None)
        if bad is None:
            self._lay_out(kept)
            return
        for row in rows:
            if row.problem is None:
                hint = f"match {row.match}: line {bad.line} of it is at fault; mend that"
                row.problem = Problem(row.line, "", "decision", "", hint)

    def _repeated(self, row: Move, first: Move) -> None:
        if row.says_the_same(first):
            self._first[row.line] = first
            return
        hint = (
            f"match {row.match}, step {row.step:g}: line {first.line} is the same player's same "
            "step, and something else is said; keep one of the two"
        )
        row.problem = Problem(row.line, "step", "conflict", f"{row.step:g}", hint)

    def _lay_out(self, rows: list[Move]) -> None:
        """Say where each of the rows of a sound match stands."""
        order = [row.step for row in rows]
        if any(math.isnan(step) for step in order):
            order = [float(number) for number in range(len(rows))]
        played = sorted(range(len(rows)), key=order.__getitem__)
        by_player: dict[str, list[int]] = {}
        for number in played:
            by_player.setdefault(rows[number].player, []).append(number)
        heard = _heard(rows, order, played) if self._others else {}
        for numbers in by_player.values():
            mine = [rows[number] for number in numbers]
            outcomes = [row.outcome for row in mine if row.outcome is not None]
            rewarded = any(kind is Kind.REWARD for row in mine for kind, _ in row.said)
            for place, number in enumerate(numbers):
                row, last = rows[number], place == len(numbers) - 1
                ended = row.ended if self._says_ends else (True if last else None)
                self._place[row.line] = Place(
                    place,
                    heard.get(number, ()),
                    last,
                    outcomes[-1] if outcomes else None,
                    rewarded,
                    ended,
                )


def _heard(
    rows: Sequence[Move], order: Sequence[float], played: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """Return what others moved before each row since the player's row before.

    Moves of one step are made at once: nobody knows the others' when making one.
    """
    found: dict[int, tuple[str, ...]] = {}
    since: dict[str, int] = {}
    now = 0  # how many of `played` were over when this step began
    for at, number in enumerate(played):
        row = rows[number]
        if order[number] > order[played[now]]:
            now = at
        between = (rows[other] for other in played[since.get(row.player, 0) : now])
        found[number] = tuple(
            unit for other in between if other.player != row.player for unit in other.units
        )
        since[row.player] = now
    return found


def _goes_on(row: Move, before: Move) -> None:
    """Take down that a row stands behind the end of its match."""
    if row.problem is None and before.ended is not None:
        hint = (
            f"match {row.match}: line {before.line} ended it for this player, so nothing can "
            "follow; give the match that follows a name of its own, or leave that end empty"
        )
        row.problem = Problem(row.line, "end", "order", "", hint)


def _in_order(row: Move, before: Move) -> None:
    """Take down that a row stands before what it follows."""
    where = f"match {row.match}"
    if row.step < before.step:
        hint = (
            f"{where}: step {row.step:g} stands after step {before.step:g} of line {before.line}; "
            "put the rows of a match in the order of play"
        )
        row.problem = Problem(row.line, "step", "order", f"{row.step:g}", hint)
    elif row.at < before.at:
        hint = (
            f"{where}: is earlier than line {before.line}, which stands before it; put the rows of "
            "a match in the order of play"
        )
        row.problem = Problem(row.line, "time", "order", f"{row.at:g}", hint)
    elif math.isnan(row.step) != math.isnan(before.step):
        hint = f"{where}: give a step in every row of a match, or in none"
        row.problem = Problem(row.line, "step", "required", "", hint)
