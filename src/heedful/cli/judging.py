"""Verbs about what versions are worth: evaluate, promote, rollback, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heedful.cli.options import By, Folder, Json, Settings, overrides, somebody
from heedful.cli.outcome import outcome, say
from heedful.cli.output import print_evaluation, print_json, print_words

Named = Annotated[str, typer.Argument(metavar="VERSION", help='A version, such as "0002".')]
Perhaps = Annotated[
    str | None,
    typer.Argument(metavar="[VERSION]", help="By default the newest candidate, else the live one."),
]


def evaluate(
    workspace: Folder,
    version: Perhaps = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Say what a version is worth.

    Its ranking of held-out units, its estimated value, and the gate's verdict; this only reports.
    """
    with outcome():
        from heedful.loop.report import keep_evaluation
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            found = opened.evaluate(version)
            result = found.to_dict()
            keep_evaluation(opened.runs, found.policy, result, at=opened.clock())
        if json:
            print_json(result)
        else:
            print_words(f"Version {found.policy}")
            print_evaluation(found)


def promote(
    workspace: Folder,
    version: Named,
    trial: Annotated[
        bool, typer.Option("--trial", help="Begin a randomised trial instead.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Without evidence, on your word; needs --why.")
    ] = False,
    why: Annotated[str, typer.Option(help="The reason, for the audit.")] = "",
    by: By = "",
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Make a version live, if its trial says so, or the games it plays now.

    Where [gate] evidence is "paired", it and the live version play the same games. The exit code is
    3 if the evidence is not there. The first version of a workspace needs none. With --force the
    audit says that it was you.
    """
    _check_promote(trial=trial, force=force, why=why)
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            if trial:
                begun = opened.begin_trial(version, by=somebody(by))
                state = "canary"
                shares = " then ".join(f"{share:.0%}" for share in begun.shares)
                words = (
                    f"Version {version} is on trial against {begun.baseline} with {shares} of the "
                    f"subjects; evidence of {1 / begun.alpha:,.0f} promotes it."
                )
            else:
                done = opened.promote(version, by=somebody(by), why=why)
                state, words = done.state, f"Version {done.name} is live."
                last = opened.registry.audit()[-1]
                if last.evidence and not force:
                    words += f" {last.why}"
        if json:
            print_json({"policy": version, "state": state})
        else:
            print_words(words)


def _check_promote(*, trial: bool, force: bool, why: str) -> None:
    if trial and force:
        raise typer.BadParameter("--trial and --force: choose one")
    if force and not why.strip():
        raise typer.BadParameter("--force needs --why: the audit says who did it, and why")
    if why and not force:
        raise typer.BadParameter("--why belongs to --force: without it the evidence is the reason")


def rollback(
    workspace: Folder,
    why: Annotated[str, typer.Option(help="The reason, for the audit.")],
    by: By = "",
    json: Json = False,
) -> None:
    """Return to the version that was live before.

    A trial that is open is stopped.
    """
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace) as opened:
            version = opened.rollback(by=somebody(by), why=why)
        if json:
            print_json({"policy": version.name, "state": version.state})
        else:
            print_words(f"Version {version.name} is live again.")


def report(
    workspace: Folder,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="By default runs/report.html.")
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Write a report that a browser opens.

    What was learnt, on what evidence, and who decided, in one file.
    """
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            place = opened.report(out)
        if json:
            print_json({"report": str(place)})
        else:
            print(place)
            say("Open it in a browser; it needs nothing else.")
