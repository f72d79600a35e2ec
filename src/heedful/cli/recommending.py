"""The verb that shows what a version would decide: recommend."""

from __future__ import annotations

import json as parser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heedful.cli.options import Folder, Json, Settings, overrides
from heedful.cli.outcome import FAILED, outcome, say
from heedful.cli.output import print_json, print_table, print_words

if TYPE_CHECKING:
    from heedful.serve import Answer
    from heedful.serve.listing import Written

Units = Annotated[str | None, typer.Option(metavar="A,B", help="Unit ids, with commas between.")]


def recommend(
    workspace: Folder,
    subject: Annotated[
        str | None, typer.Option(metavar="USER", help="A user id, as you know it.")
    ] = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Everybody in the log, under their pseudonyms.")
    ] = False,
    subjects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with one user id a line.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --all or --subjects: .csv, .parquet.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="The longest list.")] = 10,
    version: Annotated[
        str | None, typer.Option(help="By default the live one, else the newest.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Show another version's answer beside it.")
    ] = None,
    allowed: Units = None,
    forbidden: Units = None,
    rules: Annotated[
        str | None,
        typer.Option(metavar="JSON", help='As in {"cap": {"genres": 2}}; see docs/serving.'),
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show what a version would decide now; nothing is logged.

    The list is built as a slate is, with the likeliest unit at each place; a probability is that of
    a unit at its place, given those above it, exploration included.
    """
    _check(subject, subjects, out, against, everybody=everybody)
    choices = _choices(allowed, forbidden, rules)
    with outcome(interrupted="stopped; no file was written"):
        from heedful.loop.progress import reporter
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            opened.reporter = reporter
            if subject is not None:
                asked: dict[str, Any] = {"k": k, "choices": choices}
                answers = [opened.recommend(subject, version=version, **asked)]
                if against is not None:
                    answers.append(opened.recommend(subject, version=against, **asked))
                _show(answers, json=json)
            else:
                assert out is not None
                users = None if subjects is None else _users(subjects)
                found = opened.recommend_all(out, users, k=k, version=version, choices=choices)
                _tell(out, found, json=json)


def _check(
    subject: str | None,
    subjects: Path | None,
    out: Path | None,
    against: str | None,
    *,
    everybody: bool,
) -> None:
    if (subject is not None) + (subjects is not None) + everybody != 1:
        raise typer.BadParameter("say for whom: one of --subject, --subjects and --all")
    if subject is None and out is None:
        raise typer.BadParameter("say with --out which file to write, .csv or .parquet")
    if subject is not None and out is not None:
        raise typer.BadParameter("--out belongs to --all and --subjects")
    if subject is None and against is not None:
        raise typer.BadParameter("--against belongs to --subject")


def _choices(allowed: str | None, forbidden: str | None, rules: str | None) -> dict[str, object]:
    """Return what the flags say, as a request to the service has it."""
    choices: dict[str, object] = {}
    if rules is not None:
        try:
            said = parser.loads(rules)
        except ValueError:
            raise typer.BadParameter("--rules: is no JSON") from None
        known = {"require", "cap", "diversity"}
        if not isinstance(said, dict) or set(said) - known:
            raise typer.BadParameter(f"--rules: write an object with {', '.join(sorted(known))}")
        choices.update(said)
    for name, units in (("allowed", allowed), ("forbidden", forbidden)):
        if units is not None:
            choices[name] = [unit.strip() for unit in units.split(",") if unit.strip()]
    return choices


def _users(path: Path) -> list[str]:
    """Return the user ids in a file, one a line, each once."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 at byte {error.start}") from None
    users = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not users:
        raise ValueError(f"{path}: names nobody; write one user id a line")
    return users


def _show(answers: list[Answer], *, json: bool) -> None:
    """Print one subject's lists, side by side."""
    first = answers[0]
    if json:
        found = [answer.to_dict() for answer in answers]
        print_json({"subject": first.subject, **found[0], "against": [*found[1:], None][0]})
        return
    for answer in answers:
        _say_unknown(answer.policy, answer.unknown)
        if answer.why:
            say(f"Version {answer.policy} shows nothing: {answer.why}.")
    head = ["", *(name for answer in answers for name in (answer.policy, "probability"))]
    longest = max(len(answer.units) for answer in answers)
    print_table("", head, [_row(rank, answers) for rank in range(longest)])
    if first.cold:
        print_words(
            "There is no decision for this subject in the log: this is the answer for somebody of "
            "whom nothing is known but, perhaps, a description."
        )
    else:
        print_words(f"From a history of {first.decisions:,} decisions. Nothing was logged.")


def _row(rank: int, answers: list[Answer]) -> list[str]:
    cells = [str(rank + 1)]
    for answer in answers:
        here = rank < len(answer.units)
        cells += [answer.units[rank], f"{answer.probabilities[rank]:.4f}"] if here else ["", ""]
    return cells


def _say_unknown(policy: str, units: Sequence[str]) -> None:
    if units:
        more = f" and {len(units) - 5:,} more" if len(units) > 5 else ""
        say(f"Version {policy} does not know {', '.join(units[:5])}{more}.")


def _tell(out: Path, found: Written, *, json: bool) -> None:
    """Say what was written; nothing for anybody is a failure."""
    if json:
        print_json({"out": str(out), **asdict(found)})
    else:
        print_words(f"{out}: lists for {found.subjects - found.empty:,} subjects.")
    if found.unknown:
        say(f"The policy does not know {', '.join(found.unknown[:5])}.")
    if found.empty:
        say(f"{found.empty:,} subjects have none: {found.why}.")
    if found.empty and found.empty == found.subjects:
        raise typer.Exit(FAILED)
