"""The verbs in the order in which they are first needed."""

from __future__ import annotations

from typing import Annotated

import typer

from heedful import __version__
from heedful.cli import (
    chatting,
    importing,
    judging,
    labelling,
    learning,
    operating,
    planning,
    playing,
    recommending,
    serving,
    showing,
)

HELP = """\
Policies that learn from the people they serve.

\b
    heedful init shop                       make a workspace
    heedful import shop ratings.csv         fill its log
    heedful run shop                        train, try, judge: one turn
    heedful serve shop                      decide, and hear the answers
    heedful demo                            watch a simulated shop improve itself

Results go to stdout, messages to stderr. Exit codes: 0 ok, 1 failed, 2 usage or configuration,
3 the gate refused, 4 bad data.
"""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"heedful {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version."),
    ] = False,
) -> None:
    """See HELP, which typer shows."""


def command() -> typer.Typer:
    """Return the command with all its verbs."""
    app = typer.Typer(
        name="heedful",
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    app.command("init")(serving.init)
    app.command("import")(importing.import_file)
    app.command("export")(importing.export_file)
    app.command("pretrain")(learning.pretrain)
    app.command("reward")(learning.reward)
    app.command("reinforce")(learning.reinforce)
    app.command("tune")(learning.tune)
    app.command("evaluate")(judging.evaluate)
    app.command("plan")(planning.plan)
    app.command("promote")(judging.promote)
    app.command("rollback")(judging.rollback)
    app.command("canary")(operating.canary)
    app.command("stop")(operating.stop)
    app.command("block")(operating.block)
    app.command("unblock")(operating.unblock)
    app.command("review")(operating.review)
    app.command("audit")(operating.audit)
    app.command("serve")(serving.serve)
    app.command("chat")(chatting.chat)
    app.command("play")(playing.play)
    app.command("run")(learning.run)
    app.command("recommend")(recommending.recommend)
    app.command("label")(labelling.label)
    app.command("report")(judging.report)
    app.command("doctor")(serving.doctor)
    app.command("demo")(showing.demo)
    return app


def main() -> None:
    """Run the command; the entry point of the package."""
    command()(prog_name="heedful")
