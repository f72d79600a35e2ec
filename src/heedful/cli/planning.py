"""The verb that comes before a trial: plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from heedful.cli.options import Folder, Json, Settings, overrides
from heedful.cli.outcome import outcome
from heedful.cli.output import print_json, print_table, print_words

if TYPE_CHECKING:
    from heedful.loop.plan import TrialPlan


def plan(
    workspace: Folder,
    gain: Annotated[
        float, typer.Option(metavar="X", help="By how much it is better, scaled reward a subject.")
    ],
    base: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Assume this click rate; else the log's own rewards."),
    ] = None,
    decisions: Annotated[
        int, typer.Option(min=1, help="With --base: decisions of each subject.")
    ] = 10,
    subjects: Annotated[
        str | None, typer.Option(metavar="N,N", help="How many subjects to tell the power at.")
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Say how many subjects, and days, a gain needs before the gate sees it.

    Trials are simulated with the workspace's own rewards and settings; nothing is changed.
    """
    rows = _numbers(subjects)
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            found = opened.plan(gain, base=base, decisions=decisions, rows=rows)
        if json:
            print_json(found.to_dict())
        else:
            _print(found)


def _numbers(text: str | None) -> list[int]:
    try:
        return [int(part.replace("_", "")) for part in text.split(",")] if text else []
    except ValueError:
        raise typer.BadParameter(f"--subjects {text}: write numbers as in 500,2000") from None


def _print(found: TrialPlan) -> None:
    planned = found.planned
    print_words(
        f"A candidate that earns {planned.gain:+g} on {planned.base:.4f} per subject, judged as "
        f"number {found.k} with {found.share:.0%} of the subjects; evidence of "
        f"{planned.needed:,.0f} promotes it. Rewards: {found.source}."
    )
    rows = [(f"{n:,}", f"{power:.0%}", _days(found, n)) for n, power in planned.power]
    print_table("", ("subjects", "promoted by then", "days"), rows, numbers=3)
    median, most = (
        f"more than {planned.simulated:,}" if n is None else f"{n:,}"
        for n in (planned.median, planned.most)
    )
    print_words(
        f"Half of the trials promote within {median} subjects, four of five within {most} "
        f"({planned.runs:,} simulated trials)."
    )


def _days(found: TrialPlan, subjects: int) -> str:
    days = found.days(subjects)
    return "?" if days is None else f"{days:,.1f}"
