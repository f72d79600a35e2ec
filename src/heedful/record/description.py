"""What is known of an item or a person, apart from what they did."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from heedful.record.decision import encode_context
from heedful.record.errors import RecordError, check_id, check_number, check_text


class Described(enum.StrEnum):
    """Who or what a description is of."""

    UNIT = "unit"
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """All that is known of one unit or subject from now on; the latest one counts.

    It replaces the whole description before it. One without facts takes that back: from then on
    nothing is known. What an older version was trained on stays as it was.

    Attributes:
        of: a unit or a subject.
        name: the unit's id, or the subject's pseudonym (:func:`heedful.record.pseudonym`).
        facts: by name: a number (true and false are 1 and 0), a list of texts (categories), or a
            text (words). ``None`` says that it is not known, as leaving it out does.
        given_at: seconds since the epoch, UTC.
    """

    of: Described
    name: str
    facts: Mapping[str, object]
    given_at: float

    def __post_init__(self) -> None:
        """Refuse what cannot be read or kept.

        Raises:
            RecordError: names the field, the problem and the remedy.
        """
        if not isinstance(self.of, Described):
            raise RecordError("of", f"is {self.of!r}", "say Described.UNIT or Described.SUBJECT")
        check_id("name", self.name)
        check_number("given_at", self.given_at)
        encode_context(self.facts, field="facts")
        for name, value in self.facts.items():
            check_id("facts", name)
            _check_fact(f"facts.{name}", value)


def _check_fact(field: str, value: object) -> None:
    """Refuse a value that is no number, text or list of texts."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int | float):
        check_number(field, value)
    elif isinstance(value, str):
        check_text(field, value, empty=True)
    elif isinstance(value, list | tuple):
        for one in value:
            check_text(field, one)
    else:
        problem = f"is of type {type(value).__name__}"
        raise RecordError(field, problem, "give a number, a text, or a list of texts")
