"""What one cell of a file says: its text checked, and turned into what the log keeps."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from heedful.record import RecordError
from heedful.record.errors import check_text

MILLISECONDS_FROM = 1e11
"""A number of at least this many seconds would be the year 5138: it counts milliseconds."""

NO_CLICK = -1
CLICKS = {"1": 1, "true": 1, "yes": 1, "0": 0, "false": 0, "no": 0, "": NO_CLICK}

NO_POSITION = -1
MAX_POSITION = 65_535

# As numbers are printed. An id with leading zeros and a hash of digits and an e stay text.
NUMBER = re.compile(r"-?((0|[1-9]\d{0,14})(\.\d*)?|\.\d{1,15})([eE][+-]\d{1,2})?")
TRUTH = {"true": True, "false": False}


class BadCellError(ValueError):
    """What a cell breaks, and what to do."""

    def __init__(self, rule: str, hint: str) -> None:
        super().__init__(hint)
        self.rule = rule
        self.hint = hint


def named(text: str, limit: int) -> str:
    """Return a name that has to be there, of at most ``limit`` characters."""
    if not text:
        raise BadCellError("required", "is empty; every row needs it")
    return sound(text, limit)


def sound(text: str, limit: int) -> str:
    """Return ``text`` if the log can keep it."""
    try:
        return check_text("cell", text, limit=limit) if text else ""
    except RecordError as error:
        if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
            raise BadCellError("encoding", "is not UTF-8; save the file as UTF-8") from None
        raise BadCellError("text", f"{error.problem}; {error.hint}") from None


def click(text: str) -> int:
    """Return 1, 0 for an explicit no, or :data:`NO_CLICK` where nothing was said."""
    said = CLICKS.get(text.strip().lower())
    if said is None:
        raise BadCellError("number", "a click is 1 or 0, true or false, yes or no")
    return said


def number(text: str) -> float:
    """Return a finite number."""
    try:
        found = float(text) if "_" not in text else math.nan
    except ValueError:
        raise BadCellError("number", "is no number; write digits, as in 4 or 3.5") from None
    if not math.isfinite(found):
        raise BadCellError("number", "is not finite; leave the cell empty if nothing was said")
    return found


def rating(text: str, low: float | None, high: float | None) -> float:
    """Return a rating from ``low`` to ``high``, NaN where nothing was said."""
    if not text:
        return math.nan
    found = number(text)
    if (low is not None and found < low) or (high is not None and found > high):
        bounds = f"from {'any' if low is None else low} to {'any' if high is None else high}"
        raise BadCellError("bounds", f"ratings go {bounds}")
    return found


def propensity(text: str) -> float:
    """Return a probability above 0 and at most 1, NaN where nobody wrote it down."""
    if not text:
        return math.nan
    found = number(text)
    if not 0 < found <= 1:
        hint = "what was chosen had a probability above 0 and at most 1; leave it empty if unknown"
        raise BadCellError("bounds", hint)
    return found


def position(text: str) -> int:
    """Return a place counted from 0 or 1, :data:`NO_POSITION` where none is given."""
    if not text:
        return NO_POSITION
    found = number(text)
    if found != int(found):
        raise BadCellError("number", "a position is a whole number")
    if not 0 <= found <= MAX_POSITION:
        raise BadCellError("bounds", f"positions go from 0 to {MAX_POSITION}")
    return int(found)


def fact(text: str) -> object:
    """Return what a cell of the context says: a number, true or false, or text; None if nothing.

    >>> [fact(text) for text in ("3", "-0.5", " .5", "1e-05", "True", "007", "12e3", "")]
    [3, -0.5, 0.5, 1e-05, True, '007', '12e3', None]
    """
    if not text:
        return None
    bare = text.strip()
    if NUMBER.fullmatch(bare):
        return int(bare) if bare.lstrip("-").isdigit() else float(bare)
    return TRUTH.get(bare.lower(), sound(text, 65_536))


def order(text: str) -> float:
    """Return a place in the order of all rows."""
    if not text:
        raise BadCellError("required", "is empty; every row needs its place in the order")
    return number(text)


def time(text: str, latest: float) -> float:
    """Return seconds since the epoch.

    Args:
        text: seconds, milliseconds or ISO 8601.
        latest: the last moment that can be true; what happened is not in the future.

    >>> [time(text, 2e9) for text in ("1000000000", "1000000000000", "2001-09-09T01:46:40Z")]
    [1000000000.0, 1000000000.0, 1000000000.0]
    """
    if not text:
        raise BadCellError("required", "is empty; every row needs its time")
    try:
        seconds = float(text) if "_" not in text else math.nan
    except ValueError:
        seconds = _iso_8601(text)
    else:
        if abs(seconds) >= MILLISECONDS_FROM:
            seconds /= 1000
    if math.isnan(seconds):
        raise BadCellError("time", "is no time; give seconds or milliseconds since 1970")
    if seconds > latest:
        raise BadCellError("time", "is in the future; give seconds or milliseconds since 1970")
    if seconds < 0:
        hint = "is before 1970; a number that only sequences the rows is an order, not a time"
        raise BadCellError("time", hint)
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
