"""Which column means what, and how the known formats look."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from heedful.store.errors import StoreError

MOVIELENS = ("user_id", "item_id", "rating", "timestamp")
DESCRIBED = {
    "movies.dat": ("movie_id", "title", "genres"),
    "users.dat": ("user_id", "gender", "age", "occupation", "zip_code"),
}
"""What MovieLens knows of films and people, by the name of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """The columns of a file by name; an empty name means that there is no such column.

    A row becomes one decision of one unit, and what its other columns say becomes feedback to it;
    an empty cell there means that nothing was said, which is not the same as a no.

    Attributes:
        subject: whom it was shown to or who chose it; kept as a pseudonym.
        unit: the item.
        rating: a number.
        click: 1, true or yes; 0, false or no.
        comment: text.
        time: seconds or milliseconds since the epoch, or ISO 8601 (UTC where no zone is given).
        order: a number to sequence the rows by where there are no times. It stands for the
            seconds in ``made_at``. With neither time nor order the lines' order is taken.
        session: names the episode within the subject; without it a subject has one.
        rating_min: the lowest rating there is, else None.
        rating_max: the highest rating there is, else None.
    """

    subject: str
    unit: str
    rating: str = ""
    click: str = ""
    comment: str = ""
    time: str = ""
    order: str = ""
    session: str = ""
    rating_min: float | None = None
    rating_max: float | None = None

    def __post_init__(self) -> None:
        """Refuse a mapping that cannot work.

        Raises:
            StoreError: no subject or unit, or both a time and an order.
        """
        if not self.subject or not self.unit:
            raise StoreError("a mapping needs the names of the columns for subject and unit")
        if self.time and self.order:
            raise StoreError("a mapping takes the column for time or the one for order, not both")

    def columns(self) -> dict[str, str]:
        """Return the columns that are mapped: role to name."""
        roles = [field.name for field in fields(self) if not field.name.startswith("rating_")]
        return {role: getattr(self, role) for role in roles if getattr(self, role)}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a file are cut into fields.

    Attributes:
        form: ``csv`` (with quotes), ``plain`` (cut at every separator) or ``json`` lines.
        separator: what stands between two fields.
        names: the columns of a file without a header line, else empty.
        typed: whether header names carry a type, as in ``user_id:token``.
    """

    form: Literal["csv", "plain", "json"]
    separator: str = ","
    names: tuple[str, ...] = ()
    typed: bool = False

    def header(self, line: str) -> list[str]:
        """Return the column names that a header line gives."""
        cells = next(csv.reader([line], delimiter=self.separator), [])
        names = [name.strip() for name in cells]
        return [name.split(":")[0] for name in names] if self.typed else names


def layout_of(name: str, first_line: str) -> Layout:
    """Return how a file looks, by its name (without ``.gz``) and its first line.

    >>> layout_of("ratings.dat", "1::1193::5::978300760").names
    ('user_id', 'item_id', 'rating', 'timestamp')
    >>> layout_of("events.csv", "who;what;when").separator
    ';'
    """
    if name.endswith((".jsonl", ".ndjson")) or first_line.lstrip().startswith("{"):
        return Layout("json")
    if name.endswith((".inter", ".item", ".user")):
        return Layout("plain", "\t", typed=True)
    if re.fullmatch(r"\d+::\d+::[\d.]+::\d+\s*", first_line):
        return Layout("plain", "::", MOVIELENS)
    if name in DESCRIBED and re.match(r"\d+::", first_line):
        return Layout("plain", "::", DESCRIBED[name])
    if re.fullmatch(r"\d+\t\d+\t[\d.]+\t\d+\s*", first_line):
        return Layout("plain", "\t", MOVIELENS)
    separator = next((s for s in ("\t", ",", ";") if s in first_line), ",")
    return Layout("csv", separator)


def recognise(layout: Layout, columns: Sequence[str]) -> Mapping | None:
    """Return the mapping of a format that is known, else None.

    Known are RecBole's ``.inter``, and MovieLens' ``u.data``, ``ratings.dat``, ``ratings.csv``.
    """
    if layout.typed and {"user_id", "item_id"} <= set(columns):
        rating = "rating" if "rating" in columns else ""
        time = "timestamp" if "timestamp" in columns else ""
        return Mapping(subject="user_id", unit="item_id", rating=rating, time=time)
    known = {
        MOVIELENS: 1.0,
        ("userId", "movieId", "rating", "timestamp"): 0.5,
    }
    names = tuple(columns)
    if names not in known or (names == MOVIELENS and not layout.names):
        return None
    subject, unit, rating, time = names
    return Mapping(
        subject=subject,
        unit=unit,
        rating=rating,
        time=time,
        rating_min=known[names],
        rating_max=5.0,
    )
