"""Verbs of whoever answers for the service: canary, stop, block, unblock, review, audit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from heedful.cli.options import By, Folder, Json, Settings, overrides, somebody
from heedful.cli.outcome import outcome, say
from heedful.cli.output import print_json, print_table, print_words

if TYPE_CHECKING:
    from heedful.loop.status import Status
    from heedful.store.registry import AuditEntry, Held

Why = Annotated[str, typer.Option(help="The reason, for the audit.")]
Unit = Annotated[str, typer.Argument(metavar="UNIT", help="The id of a unit.")]
Stopped = Annotated[str, typer.Argument(metavar="VERSION", help='A version, such as "0007".')]


def canary(workspace: Folder, settings: Settings = None, json: Json = False) -> None:
    """Say what decides now, and how far the open trial has come.

    What is live and since when, the trial's stage and share and its evidence so far; this changes
    nothing.
    """
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            found = opened.canary()
        if json:
            print_json(found.to_dict())
        else:
            _print_status(found)


def _print_status(found: Status) -> None:
    if found.live is None:
        print_words("Nothing is live.")
    else:
        print_words(f"Version {found.live} is live since {_moment(found.live_since)}.")
    trial, verdict = found.trial, found.verdict
    if trial is None or verdict is None:
        print_words("No trial is open.")
    else:
        rows = [
            (
                f"{number} of {len(trial.shares)}",
                f"{share:.0%}",
                _moment(trial.since[number - 1]) if number <= len(trial.since) else "to come",
            )
            for number, share in enumerate(trial.shares, start=1)
        ]
        print_table(f"Version {trial.candidate} on trial", ("stage", "share", "since"), rows)
        print_words(
            f"{verdict.rows:,} subjects have matured, {found.in_stage:,} of them in this stage. "
            f"{verdict.words()}"
        )
    if found.blocked:
        print_words(f"Blocked: {', '.join(found.blocked)}.")
    if found.held:
        print_words(f"Held for a person: {found.held:,}; see heedful review.")
    if found.learns is not None:
        print_words(f"heedful reinforce {found.learns.words()}.")
    if found.refused:
        print_words(f"heedful reinforce would refuse: {found.refused}.")


def stop(workspace: Folder, version: Stopped, why: Why, by: By = "", json: Json = False) -> None:
    """Never serve a version again.

    Its trial ends, and it is refused. If it is live, the version before it becomes live in its
    place; if none was live before, nothing is stopped, as nobody would decide: promote another one
    first. A running service follows at its next request.
    """
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace) as opened:
            stopped = opened.stop(version, by=somebody(by), why=why)
            live = opened.registry.live()
        deciding = None if live is None else live.name
        if json:
            print_json({"policy": stopped.name, "state": stopped.state, "live": deciding})
        else:
            print_words(f"Version {stopped.name} is never served again; {deciding} is live.")


def block(workspace: Folder, unit: Unit, why: Why, by: By = "", json: Json = False) -> None:
    """Forbid a unit for all decisions from now on.

    It is left out before anything is drawn, so logged probabilities are those of the draws without
    it.
    """
    _change_block(workspace, unit, why, by, json, blocked=True)


def unblock(workspace: Folder, unit: Unit, why: Why, by: By = "", json: Json = False) -> None:
    """Allow a unit again."""
    _change_block(workspace, unit, why, by, json, blocked=False)


def _change_block(
    workspace: Folder, unit: str, why: str, by: str, json: bool, *, blocked: bool
) -> None:
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace) as opened:
            change = opened.block if blocked else opened.unblock
            change(unit, by=somebody(by), why=why)
            now, known = sorted(opened.registry.blocked()), opened.live_knows(unit)
        if blocked and not known:
            say(f"The live version does not know {unit}: is that how it is written?")
        if json:
            print_json({"unit": unit, "blocked": now})
        else:
            print_words(f"Blocked now: {', '.join(now) or 'nothing'}.")


def review(
    workspace: Folder,
    decision: Annotated[
        str | None, typer.Argument(metavar="[DECISION]", help="The id of one that waits.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Let it be shown.")] = False,
    no: Annotated[bool, typer.Option("--no", help="Do not let it be shown.")] = False,
    why: Annotated[str, typer.Option(help="The reason, for the audit; with --yes or --no.")] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """List the decisions that wait for a person, or answer one.

    Which decisions wait is a matter of chance: [serve] hold is their share.
    """
    if decision is None and (yes or no or why):
        raise typer.BadParameter("--yes, --no and --why belong to the id of a decision")
    if decision is not None and (yes == no or not why.strip()):
        raise typer.BadParameter("say --yes or --no, and --why: the audit keeps it")
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace) as opened:
            if decision is not None:
                opened.review(decision, approve=yes, by=somebody(by), why=why)
            waiting = opened.held()
        if json:
            print_json({"waiting": [held.to_dict() for held in waiting]})
        elif decision is not None:
            said = "may be shown" if yes else "is not shown"
            print_words(f"Decision {decision} {said}. Waiting: {len(waiting):,}.")
        elif not waiting:
            print_words("Nothing waits.")
        else:
            rows = [_held_row(held) for held in waiting]
            head = ("since", "decision", "policy", "units")
            print_table("Waiting for a person", head, rows, whole=("decision",))


def _held_row(held: Held) -> tuple[str, str, str, str]:
    drawn = held.decision
    return _moment(drawn.made_at), drawn.id, drawn.policy, " ".join(drawn.units)


def audit(
    workspace: Folder,
    last: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the newest N entries.")
    ] = None,
    json: Json = False,
) -> None:
    """Say who changed what, when, why, and with what evidence.

    The table leaves the evidence out; --json has it.
    """
    with outcome():
        from heedful.workspace import Workspace

        with Workspace.open(workspace) as opened:
            entries = opened.registry.audit()
        entries = entries[-last:] if last else entries
        if json:
            print_json({"audit": [entry.to_dict() for entry in entries]})
        else:
            head = ("", "when", "who", "what", "why")
            print_table("", head, [_audit_row(entry) for entry in entries])


def _audit_row(entry: AuditEntry) -> tuple[str, str, str, str, str]:
    about = entry.unit if entry.version is None else entry.version
    after = f" (was {entry.previous})" if entry.previous else ""
    what = f"{entry.action} {about}{after}"
    return str(entry.id), _moment(entry.at), entry.who, what, entry.why


def _moment(seconds: float | None) -> str:
    """Return a moment in UTC, to the second."""
    if seconds is None:
        return "an unknown time"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
