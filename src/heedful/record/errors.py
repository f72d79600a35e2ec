"""The error of an unsound record, and the checks every record shares."""

from __future__ import annotations

import math

MAX_TEXT = 65_536
MAX_ID = 200


class RecordError(ValueError):
    """A record that cannot be true or cannot be kept.

    Attributes:
        field: the field at fault, so that an importer or a server can name the column.
        hint: what to do about it.
    """

    def __init__(self, field: str, problem: str, hint: str) -> None:
        super().__init__(f"{field}: {problem} ({hint})")
        self.field = field
        self.problem = problem
        self.hint = hint


def check_text(field: str, value: object, *, empty: bool = False, limit: int = MAX_TEXT) -> str:
    """Return ``value`` if it is text that every store can keep.

    Lone surrogates break SQLite's UTF-8 and NUL is refused by PostgreSQL: both stop at this door.

    Raises:
        RecordError: not a string, empty, too long, or with characters that cannot be stored.
    """
    if not isinstance(value, str):
        raise RecordError(field, f"must be text, not {type(value).__name__}", "send a string")
    if not value and not empty:
        raise RecordError(field, "is empty", "give a value")
    if len(value) > limit:
        raise RecordError(field, f"has {len(value)} characters", f"send at most {limit}")
    if "\x00" in value:
        raise RecordError(field, "holds a NUL character", "remove it")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RecordError(
                field, f"holds a lone surrogate at character {error.start}", "send valid Unicode"
            ) from None
    return value


def check_id(field: str, value: object) -> str:
    """Return ``value`` if it is a usable identifier of at most 200 characters."""
    return check_text(field, value, limit=MAX_ID)


def check_number(field: str, value: object) -> float:
    """Return ``value`` as a finite float.

    Raises:
        RecordError: a bool, not a number, NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecordError(field, f"must be a number, not {type(value).__name__}", "send a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RecordError(field, f"is {number}", "send a finite number")
    return number
