"""From fields to numbers and codes: every cell is checked, each distinct one once."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from heedful.record import RecordError
from heedful.record.errors import MAX_ID, check_text
from heedful.store.importing.mapping import Mapping
from heedful.store.importing.report import Findings, Problem
from heedful.store.importing.source import Block

MILLISECONDS_FROM = 1e11
"""A number of at least this many seconds would be the year 5138: it counts milliseconds."""

LONGEST_SESSION = MAX_ID - 33  # an episode is named by a pseudonym of 32 digits, ':' and session

NO_CLICK = -1
CLICKS = {"1": 1, "true": 1, "yes": 1, "0": 0, "false": 0, "no": 0, "": NO_CLICK}


class BadCellError(ValueError):
    """What a cell breaks, and what to do."""

    def __init__(self, rule: str, hint: str) -> None:
        super().__init__(hint)
        self.rule = rule
        self.hint = hint


@dataclass
class Events:
    """The good rows of a file as columns, ``R`` rows in the order of the file.

    Attributes:
        subjects: raw user ids by code.
        units: unit ids by code.
        sessions: session names by code.
        subject: ``int32 [R]``.
        unit: ``int32 [R]``.
        session: ``int32 [R]``.
        at: ``float64 [R]``, seconds.
        rating: ``float64 [R]``, NaN where nothing was said.
        click: ``int8 [R]``, -1 where nothing was said.
        comment: ``R`` texts, ``""`` where nothing was said; empty where there is no such column.
        line: ``int64 [R]``, where the row begins in the file.
    """

    subjects: dict[str, int] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    subject: array[int] = field(default_factory=lambda: array("i"))
    unit: array[int] = field(default_factory=lambda: array("i"))
    session: array[int] = field(default_factory=lambda: array("i"))
    at: array[float] = field(default_factory=lambda: array("d"))
    rating: array[float] = field(default_factory=lambda: array("d"))
    click: array[int] = field(default_factory=lambda: array("b"))
    comment: list[str] = field(default_factory=list)
    line: array[int] = field(default_factory=lambda: array("q"))

    def column(self, name: str) -> NDArray[np.generic]:
        """Return a column as an array that shares its memory."""
        values: array[float] = getattr(self, name)
        return np.frombuffer(values, dtype=np.dtype(values.typecode))


class Checker:
    """Checks blocks of rows and collects the good ones as columns."""

    def __init__(self, mapping: Mapping, findings: Findings) -> None:
        self.events = Events()
        self._mapping = mapping
        self._columns = mapping.columns()
        self._findings = findings
        self._checks: dict[str, Callable[[str], object]] = {
            "subject": lambda text: _named(text, 65_536),
            "unit": lambda text: _named(text, MAX_ID),
            "session": lambda text: _named(text, LONGEST_SESSION) if text else "",
            "rating": self._rating,
            "click": _click,
            "comment": _comment,
            "time": _time,
            "order": _order,
        }

    @property
    def wanted(self) -> list[str]:
        """Return the names of the columns that :meth:`take` expects, in order."""
        return list(self._columns.values())

    def take(self, block: Block) -> None:
        """Check a block, and keep its good rows."""
        self._findings.read += len(block.rows)
        cells = dict(zip(self._columns, zip(*block.rows, strict=True), strict=True))
        good = bytearray(b"\x01") * len(block.rows)
        values = {role: self._column(role, cells[role], block, good) for role in self._columns}
        if not all(good):
            values = {role: list(compress(column, good)) for role, column in values.items()}
        self._keep(values, list(compress(block.lines, good)))

    def _column(
        self, role: str, cells: tuple[str, ...], block: Block, good: bytearray
    ) -> list[object]:
        """Check the distinct cells of one column; take down the rows with a bad one."""
        check = self._checks[role]
        checked: dict[str, object] = {}
        for cell in set(cells):
            try:
                checked[cell] = check(cell)
            except BadCellError as error:
                checked[cell] = error
        values = [checked[cell] for cell in cells]
        if any(isinstance(value, BadCellError) for value in checked.values()):
            for row, value in enumerate(values):
                if isinstance(value, BadCellError):
                    good[row] = 0
                    line, raw, name = block.lines[row], block.raws[row], self._columns[role]
                    problem = Problem(line, name, value.rule, cells[row][:80], value.hint)
                    self._findings.add(problem, raw)
        return values

    def _keep(self, values: dict[str, list[object]], lines: list[int]) -> None:
        events, n = self.events, len(lines)
        for role, table in (
            ("subject", events.subjects),
            ("unit", events.units),
            ("session", events.sessions),
        ):
            names = values.get(role, [""] * n)
            getattr(events, role).extend([table.setdefault(name, len(table)) for name in names])  # type: ignore[arg-type]
        at = values.get("time", values.get("order", lines))
        events.at.extend(at)  # type: ignore[arg-type]
        events.rating.extend(values.get("rating", [math.nan] * n))  # type: ignore[arg-type]
        events.click.extend(values.get("click", [NO_CLICK] * n))  # type: ignore[arg-type]
        events.comment.extend(values.get("comment", []))  # type: ignore[arg-type]
        events.line.extend(lines)

    def _rating(self, text: str) -> float:
        if not text:
            return math.nan
        rating = _number(text)
        low, high = self._mapping.rating_min, self._mapping.rating_max
        if (low is not None and rating < low) or (high is not None and rating > high):
            bounds = f"from {'any' if low is None else low} to {'any' if high is None else high}"
            raise BadCellError("bounds", f"ratings go {bounds}")
        return rating


def _named(text: str, limit: int) -> str:
    if not text:
        raise BadCellError("required", "is empty; every row needs it")
    return _sound(text, limit)


def _sound(text: str, limit: int) -> str:
    try:
        return check_text("cell", text, limit=limit)
    except RecordError as error:
        if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
            raise BadCellError("encoding", "is not UTF-8; save the file as UTF-8") from None
        raise BadCellError("text", f"{error.problem}; {error.hint}") from None


def _comment(text: str) -> str:
    return _sound(text, 65_536) if text else ""


def _click(text: str) -> int:
    click = CLICKS.get(text.strip().lower())
    if click is None:
        raise BadCellError("number", "a click is 1 or 0, true or false, yes or no")
    return click


def _number(text: str) -> float:
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        raise BadCellError("number", "is no number; write digits, as in 4 or 3.5") from None
    if not math.isfinite(number):
        raise BadCellError("number", "is not finite; leave the cell empty if nothing was said")
    return number


def _order(text: str) -> float:
    if not text:
        raise BadCellError("required", "is empty; every row needs its place in the order")
    return _number(text)


def _time(text: str) -> float:
    """Return seconds since the epoch.

    >>> _time("1000000000"), _time("1000000000000"), _time("2001-09-09T01:46:40Z")
    (1000000000.0, 1000000000.0, 1000000000.0)
    """
    if not text:
        raise BadCellError("required", "is empty; every row needs its time")
    try:
        seconds = float(text) if "_" not in text else math.nan
    except ValueError:
        return _iso_8601(text)
    if abs(seconds) >= MILLISECONDS_FROM:
        seconds /= 1000
    if not abs(seconds) < MILLISECONDS_FROM:
        raise BadCellError("time", "is too far away; give seconds or milliseconds since 1970")
    return seconds


def _iso_8601(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "give seconds or milliseconds since 1970, or ISO 8601 as in 2026-11-22T10:04:00Z"
        raise BadCellError("time", hint) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
