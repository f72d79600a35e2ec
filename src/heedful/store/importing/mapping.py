"""Which column means what, and how the known formats look."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from heedful.store.errors import StoreError

OPEN_BANDIT = {"timestamp", "item_id", "position", "click", "propensity_score", "user_feature_0"}
MOVIELENS = ("user_id", "item_id", "rating", "timestamp")
DESCRIBED = {
    "movies.dat": ("movie_id", "title", "genres"),
    "users.dat": ("user_id", "gender", "age", "occupation", "zip_code"),
}
"""What MovieLens knows of films and people, by the name of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """The columns of a file by name; an empty name means that there is no such column.

    A row becomes one decision of one unit, or one unit of a decision where ``decision`` says so.
    What its other columns say becomes feedback to that unit; an empty cell there means that
    nothing was said, which is not the same as a no.

    Attributes:
        subject: whom it was shown to or who chose it; kept as a pseudonym.
        unit: the item.
        rating: a number.
        click: 1, true or yes; 0, false or no. A no is an impression: it was shown, and passed by.
        comment: text.
        time: seconds or milliseconds since the epoch, or ISO 8601 (UTC where no zone is given).
        order: a number to sequence the rows by where there are no times. It stands for the
            seconds in ``made_at``. With neither time nor order the lines' order is taken.
        session: names the episode within the subject; without it a subject has one.
        decision: rows of one subject, session and time that are alike here were chosen together,
            as one slate; a row without one is a decision of its own.
        position: from 0 or 1; the place in the slate, by which its units are ordered. Of a
            decision of one unit it stands in the context, as ``position``.
        propensity: with what probability who acted chose the unit, above 0 and at most 1; in a
            slate given the units at the positions before it. Empty: nobody wrote it down.
        policy: who acted; see :func:`heedful.store.import_file` for what becomes of the name.
        context: what was known when it was chosen; numbers, true and false are kept as such.
        anonymous: nobody is named: each decision is a subject of its own, and its episode ends
            with it.
        rating_min: the lowest rating there is, else None.
        rating_max: the highest rating there is, else None.
    """

    subject: str = ""
    unit: str
    rating: str = ""
    click: str = ""
    comment: str = ""
    time: str = ""
    order: str = ""
    session: str = ""
    decision: str = ""
    position: str = ""
    propensity: str = ""
    policy: str = ""
    context: tuple[str, ...] = ()
    anonymous: bool = False
    rating_min: float | None = None
    rating_max: float | None = None

    def __post_init__(self) -> None:
        """Refuse a mapping that cannot work.

        Raises:
            StoreError: no unit, no subject or two answers to who it is, both a time and an order,
                or a context that names itself twice.
        """
        if not self.unit or (not self.subject and not self.anonymous):
            raise StoreError("a mapping needs the names of the columns for subject and unit")
        if self.subject and self.anonymous:
            raise StoreError("a mapping takes the column for subject or anonymous, not both")
        if self.time and self.order:
            raise StoreError("a mapping takes the column for time or the one for order, not both")
        if len({*self.context}) < len(self.context) or "" in self.context:
            raise StoreError("a mapping names each column of the context, and each once")
        if self.position and not self.decision and "position" in self.context:
            raise StoreError("a mapping takes position as position, not in the context as well")

    @property
    def sequenced(self) -> bool:
        """Whether a column says when, or in what order; else the lines do."""
        return bool(self.time or self.order)

    def columns(self) -> dict[str, str]:
        """Return the columns that are mapped: role to name; a fact's role is :func:`fact_role`."""
        columns = {role: getattr(self, role) for role in ROLES if getattr(self, role)}
        return columns | {fact_role(name): name for name in self.context}


ROLES = (
    *("subject", "unit", "rating", "click", "comment", "time", "order", "session"),
    *("decision", "position", "propensity", "policy"),
)


def fact_role(column: str) -> str:
    """Return the role of a column of the context."""
    return f"context {column}"


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a file are cut into fields.

    Attributes:
        form: ``csv`` (with quotes), ``plain`` (cut at every separator), ``json`` lines, or
            ``parquet``, which has none.
        separator: what stands between two fields.
        names: the columns of a file without a header line, else empty.
        typed: whether header names carry a type, as in ``user_id:token``.
    """

    form: Literal["csv", "plain", "json", "parquet"]
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

    Known are RecBole's ``.inter``, MovieLens' ``u.data``, ``ratings.dat``, ``ratings.csv``, and the
    logs of the Open Bandit Dataset.
    """
    if set(columns) >= OPEN_BANDIT:
        return _open_bandit(columns)
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


def _open_bandit(columns: Sequence[str]) -> Mapping:
    """Return what the columns of the Open Bandit Dataset mean (Saito et al. 2020).

    Its probabilities are those of an item at one position, whatever stands at the others: so each
    row is a decision of one unit, with its position in the context. Nobody is identified. The
    affinities of the user to each item are not kept: they are many, and 0 nearly everywhere.
    """
    return Mapping(
        anonymous=True,
        unit="item_id",
        click="click",
        time="timestamp",
        position="position",
        propensity="propensity_score",
        context=tuple(name for name in columns if name.startswith("user_feature_")),
    )
