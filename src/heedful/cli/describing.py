"""``heedful import --as``: files of items and of people, and the flags they need."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from heedful.store.importing import ImportReport
    from heedful.workspace import Workspace


class As(enum.StrEnum):
    """What the rows of a file describe."""

    UNITS = "units"
    SUBJECTS = "subjects"


Rows: TypeAlias = Annotated[
    As | None,
    typer.Option(
        "--as", help="The file describes items (units) or people (subjects); nobody chose anything."
    ),
]
Numbers: TypeAlias = Annotated[
    str | None, typer.Option(metavar="A,B", help="With --as: columns of numbers.")
]
Categories: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="With --as: columns of categories, as in Drama|Crime."),
]
Texts: TypeAlias = Annotated[
    str | None, typer.Option("--text", metavar="A,B", help="With --as: columns of words.")
]


def describe(
    opened: Workspace,
    file: Path,
    rows: As,
    *,
    subject: str | None,
    unit: str | None,
    facts: tuple[tuple[str, ...], ...],
    dry_run: bool,
    quarantine: Path | None,
    progress: Callable[[str, int, int], None],
) -> ImportReport:
    """Import a file of descriptions; the column of the id is named as in a file of ratings.

    ``facts`` are columns of numbers, of categories and of words.
    """
    from heedful.record import Described
    from heedful.store.importing import Features

    of = Described.UNIT if rows is As.UNITS else Described.SUBJECT
    name, flag = (unit, "--unit") if rows is As.UNITS else (subject, "--subject")
    if name is None and any(facts):
        raise typer.BadParameter(f"say with {flag} which column is the id")
    features = None
    if name is not None:
        features = Features(name=name, numbers=facts[0], categories=facts[1], texts=facts[2])
    return opened.describe_file(
        file, of, features, dry_run=dry_run, quarantine=quarantine, progress=progress
    )


def names_of(flag: str | None) -> list[str]:
    """Return the names of columns in a flag, which has commas between them."""
    return [name.strip() for name in (flag or "").split(",") if name.strip()]
