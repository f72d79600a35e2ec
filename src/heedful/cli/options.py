"""The flags that several verbs share, and how they become settings."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Folder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="WORKSPACE", help="The folder that heedful init made.")
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, for programs.")
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Set any key of heedful.toml for this command; may be repeated.",
    ),
]
By: TypeAlias = Annotated[
    str, typer.Option("--by", help="Who does it, for the audit; by default your login name.")
]
Seed: TypeAlias = Annotated[
    str | None, typer.Option(metavar="N", help="Where randomness starts: same seed, same bits.")
]
Epochs: TypeAlias = Annotated[str | None, typer.Option(metavar="N", help="Passes over the data.")]
Rate: TypeAlias = Annotated[
    str | None, typer.Option(metavar="X", help="The optimiser's highest step size.")
]


def overrides(settings: Iterable[str] | None, **flags: object) -> dict[str, object]:
    """Return what ``--set`` and the flags say, by ``section.key``; a flag of its own wins.

    Args:
        settings: as typed, ``section.key=value``.
        **flags: ``section__key``; ``None`` where a flag was not given.

    >>> overrides(["policy.width=8", "pretrain.epochs=2"], pretrain__epochs="3")
    {'policy.width': '8', 'pretrain.epochs': '3'}
    """
    found: dict[str, object] = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {setting}: write it as section.key=value")
        found[name.strip()] = value.strip()
    given = {name.replace("__", "."): flag for name, flag in flags.items() if flag is not None}
    return found | given


def somebody(by: str) -> str:
    """Return ``by``, or the login name."""
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise typer.BadParameter("nobody is logged in here: say who you are with --by") from None
