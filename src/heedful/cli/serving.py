"""Verbs around a running application: init, serve, doctor."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from heedful.cli.options import Folder, Json, Settings, overrides
from heedful.cli.outcome import FAILED, outcome, say
from heedful.cli.output import print_json, print_words

if TYPE_CHECKING:
    from heedful.serve import Role
    from heedful.workspace import Workspace

OWNER = "owner"


def init(
    workspace: Annotated[Path, typer.Argument(metavar="WORKSPACE", help="The folder to make.")],
    domain: Annotated[str, typer.Option(help="What a unit is.")] = "recommendation",
    json: Json = False,
) -> None:
    """Make a workspace.

    It is a folder with a documented heedful.toml, an empty log, and a key for its service.
    """
    with outcome():
        from heedful.loop.router import PLAYED
        from heedful.serve.keys import FILE_NAME, Keys
        from heedful.workspace import Workspace

        try:
            with Workspace.create(workspace, domain=domain) as made:
                plays = made.config.reinforce.objective in PLAYED
        except FileExistsError as error:
            raise ValueError(
                f"{error.filename}: there is a workspace already, and it was left as it is; choose "
                "another folder"
            ) from None
        token = Keys(workspace / FILE_NAME).new(OWNER, "admin")
        if json:
            print_json({"workspace": str(workspace), "domain": domain, "key": token})
            return
        print_words(f"Made {workspace}, a workspace for {domain}.")
        print(f"Key of its service, shown this once: {token}")
        place = shlex.quote(str(workspace))
        by_playing = f", or heedful reinforce {place}, to learn by playing" if plays else ""
        say(
            f"Next: heedful import {place} FILE{by_playing}\n"
            f"What it learns, and how, stands in {workspace / 'heedful.toml'}."
        )


def serve(
    workspace: Folder,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Where to listen.")] = None,
    port: Annotated[
        str | None, typer.Option(metavar="N", help="Where to listen; 0: any free port.")
    ] = None,
    new_key: Annotated[
        str,
        typer.Option(metavar="NAME", help="Make a key for a client, print it once, and end."),
    ] = "",
    role: Annotated[
        str, typer.Option(help='With --new-key: "client", "reviewer" of held decisions, "admin".')
    ] = "client",
    revoke: Annotated[str, typer.Option(metavar="NAME", help="Take a key back, and end.")] = "",
    settings: Settings = None,
) -> None:
    """Decide for people over HTTP, and hear what they answer.

    POST {"user": "ann"} to /v1/decisions to be told units, and {"decision": ID, "unit": 0, "kind":
    "click", "value": true} to /v1/feedback to say what came of them. Every request needs the header
    Authorization: Bearer KEY; init printed the first key.

    A version that goes live meanwhile decides from its promotion on, without a restart.
    """
    with outcome():
        from heedful.workspace import Workspace

        flags = overrides(settings, serve__host=host, serve__port=port)
        with Workspace.open(workspace, flags) as opened:
            if new_key or revoke:
                _change_keys(opened, new_key, role, revoke)
            else:
                _listen(opened)


def _change_keys(opened: Workspace, new: str, role: str, revoked: str) -> None:
    """Make or take back a key; a running service takes notice at once."""
    from heedful.serve.keys import FILE_NAME, Keys

    keys = Keys(opened.folder / FILE_NAME)
    if revoked:
        keys.revoke(revoked)
        say(f"The key {revoked} is no longer valid.")
    if new:
        print(keys.new(new, cast("Role", role)))
        say(f"This is the key {new}, shown this once.")


def _listen(opened: Workspace) -> None:
    from heedful.serve import Keys, run
    from heedful.serve.keys import FILE_NAME

    keys = Keys(opened.folder / FILE_NAME)
    if not keys.all():
        raise ValueError(
            f"{opened.folder / FILE_NAME}: there is no key, so nobody could ask; make one with "
            f"heedful serve {opened.folder} --new-key NAME"
        )
    with opened.serving() as service:
        if service.deciding().live is None:
            say("No version is live yet: decisions are refused until one is promoted.")
        run(service, keys, opened.config.serve, ready=lambda url: say(f"Listening on {url}"))
    say("Stopped; everything that was answered is in the log.")


def doctor(workspace: Folder, json: Json = False) -> None:
    """Examine a workspace for what is not well.

    Its configuration, log, registry, secrets and disk; the exit code is 1 where one is not well.
    """
    with outcome():
        from heedful.cli.doctor import examine

        checks = examine(workspace)
        ok = all(check.ok for check in checks)
        if json:
            found = [
                {"name": c.name, "ok": c.ok, "warning": c.warning, "detail": c.detail}
                for c in checks
            ]
            print_json({"ok": ok, "checks": found})
        else:
            _print_checks([(c.ok, c.warning, c.name, c.detail) for c in checks])
        if not ok:
            raise typer.Exit(FAILED)


def _print_checks(rows: list[tuple[bool, bool, str, str]]) -> None:
    from heedful.cli.output import print_table

    marks = [
        ("warning" if warning else "ok" if ok else "FAILED", name, detail)
        for ok, warning, name, detail in rows
    ]
    print_table("", ("", "what", "found"), marks)
