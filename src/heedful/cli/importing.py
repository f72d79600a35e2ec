"""``heedful import`` and ``export``: what happened elsewhere, and what is known of whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypedDict

import typer

from heedful.cli.describing import Categories, Numbers, Rows, Texts, describe, names_of
from heedful.cli.options import Folder, Json, Settings, overrides
from heedful.cli.outcome import BAD_DATA, outcome, say
from heedful.cli.output import print_json, print_problems, print_words

if TYPE_CHECKING:
    from heedful.loop.progress import Reporter
    from heedful.store.importing import ImportReport


class _How(TypedDict):
    """What both kinds of import are told."""

    dry_run: bool
    quarantine: Path | None
    progress: Callable[[str, int, int], None]


def _column(meaning: str) -> Any:
    """Return an option that names a column of the file."""
    return typer.Option(metavar="COLUMN", help=f"Column of {meaning}.")


def import_file(
    workspace: Folder,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Plain or gzipped: .inter, .dat, .csv, .jsonl; .parquet, .txt."
        ),
    ],
    subject: Annotated[str | None, _column("the person")] = None,
    unit: Annotated[str | None, _column("the item chosen")] = None,
    rating: Annotated[str | None, _column("the rating")] = None,
    click: Annotated[str | None, _column("the click")] = None,
    comment: Annotated[str | None, _column("the comment")] = None,
    time: Annotated[str | None, _column("the event time")] = None,
    order: Annotated[str | None, _column("a running number")] = None,
    session: Annotated[str | None, _column("the session")] = None,
    decision: Annotated[str | None, _column("what is alike in the rows of a slate")] = None,
    position: Annotated[str | None, _column("the place in the slate")] = None,
    propensity: Annotated[str | None, _column("the probability of the choice")] = None,
    policy: Annotated[str | None, _column("who acted")] = None,
    context: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns of what was known.")
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Each decision is a subject of its own.")
    ] = False,
    made_by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who acted, where no column says so.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="A .txt file is one document, not one a paragraph.")
    ] = False,
    rows: Rows = None,
    numbers: Numbers = None,
    categories: Categories = None,
    text: Texts = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Add nothing; list every problem.")
    ] = False,
    quarantine: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Put bad rows there, and import the good ones."),
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Add a file of choices and answers to the log; with --as, of items or people.

    The formats of MovieLens and Open Bandit are recognised; for other files name the columns, here
    or under [import] in heedful.toml. Conversations come in TRL's columns, OpenAI's lines of chats
    or plain text, matches as a row a move. A file is imported whole or not at all, and a second
    time adds nothing.
    """
    if rows is None and (numbers or categories or text):
        raise typer.BadParameter("--numbers, --categories and --text belong to --as")
    columns: dict[str, object] = {
        "subject": subject,
        "unit": unit,
        "rating": rating,
        "click": click,
        "comment": comment,
        "time": time,
        "order": order,
        "session": session,
        "decision": decision,
        "position": position,
        "propensity": propensity,
        "policy": policy,
        "context": names_of(context) or None,
        "anonymous": anonymous or None,
        "made_by": made_by,
    }
    flags = {} if rows else {f"import__{name}": value for name, value in columns.items()}
    named = [name for name, value in columns.items() if value is not None and name != "made_by"]
    with outcome(interrupted="stopped; nothing was added"):
        from heedful.contract import Files
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings, **flags)) as opened, _Stages() as stages:
            how: _How = {"dry_run": dry_run, "quarantine": quarantine, "progress": stages}
            if rows is None:
                if named and isinstance(opened.domain, Files):
                    raise ValueError(
                        f"--{named[0].replace('_', '-')}: columns have names of their own in the "
                        f"domain {opened.domain.name}; see docs/importing"
                    )
                found = opened.import_file(file, whole=whole, **how)
            else:
                facts = tuple(tuple(names_of(names)) for names in (numbers, categories, text))
                found = describe(opened, file, rows, subject=subject, unit=unit, facts=facts, **how)
        _tell_import(file, found, dry_run=dry_run, quarantine=quarantine, json=json)


def export_file(
    workspace: Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".jsonl, .csv or .parquet.")],
    columns: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="messages, text, prompt-completion, unpaired or preference."
        ),
    ] = "messages",
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Write conversations, and what was said of their replies, to a file in TRL's columns.

    Nobody is named in it. It takes its name once it is whole.
    """
    with outcome(interrupted="stopped; no file was written"):
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            found = opened.export_file(file, columns=columns)
        if json:
            print_json({"file": str(file), "rows": found.rows, "left_out": found.left_out})
            return
        print_words(f"{file.name}: {found.rows:,} rows.")
        for reason, count in found.left_out.items():
            say(f"Left out: {count:,} {reason}.")


def _tell_import(
    file: Path, found: ImportReport, *, dry_run: bool, quarantine: Path | None, json: bool
) -> None:
    if json:
        counts = ("read", "added", "duplicates", "refused")
        print_json({name: getattr(found, name) for name in counts})
    else:
        if dry_run:
            print_problems(found)
        print_words(
            f"{file.name}: {found.read:,} rows read, {found.added:,} added, "
            f"{found.duplicates:,} duplicates, {found.refused:,} refused."
        )
    if dry_run:
        say("This was a dry run: nothing was added.")
    elif found.refused:
        say(f"The refused rows are in {quarantine}, each with what is wrong with it.")
    if dry_run and found.n_problems:
        raise typer.Exit(BAD_DATA)


class _Stages:
    """Shows the stages of an import, one after the other."""

    def __init__(self) -> None:
        self._name = ""
        self._shown: Reporter | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        from heedful.loop.progress import reporter

        if stage != self._name or self._shown is None:
            self._close()
            self._name, self._shown = stage, reporter(stage)
        self._shown.update(done, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None
