"""Verbs that learn: pretrain, reward, reinforce, tune, run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from time import strftime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from heedful.cli.options import By, Epochs, Folder, Json, Rate, Seed, Settings, overrides, somebody
from heedful.cli.outcome import FAILED, outcome, say
from heedful.cli.output import print_json, print_metrics, print_words

if TYPE_CHECKING:
    from heedful.loop.turn import Turn
    from heedful.store.registry import Version
    from heedful.workspace import Workspace

ROWS_SHOWN = 15
Parent: TypeAlias = Annotated[
    str | None, typer.Option(metavar="VERSION", help="Start from it; by default the live one.")
]
GOES_ON = "stopped; the same command goes on from here"


@contextmanager
def _shown(folder: Path, flags: dict[str, object]) -> Iterator[Workspace]:
    """Open a workspace whose steps show how far they have come."""
    from heedful.loop.progress import reporter
    from heedful.workspace import Workspace

    with Workspace.open(folder, flags) as opened:
        opened.reporter = reporter
        yield opened


def pretrain(
    workspace: Folder,
    popularity: Annotated[
        bool,
        typer.Option(
            "--popularity", help="Train no network: count what people liked, and show it."
        ),
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="VERSION", help="Begin with its network, grown to new units."
        ),
    ] = None,
    range_test: Annotated[
        bool,
        typer.Option(
            "--range-test", help="Make none: try learning rates for some steps, suggest one."
        ),
    ] = False,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Make a candidate by pre-training on what people chose."""
    if popularity and start is not None:
        raise typer.BadParameter("--popularity counts anew: leave out --from")
    if popularity and range_test:
        raise typer.BadParameter("--popularity has no learning rate: leave out --range-test")
    flags = overrides(
        settings,
        pretrain__epochs=epochs,
        pretrain__learning_rate=learning_rate,
        workspace__seed=seed,
    )

    if range_test:
        _try_rates(workspace, flags, start, json=json)
        return

    def make(opened: Workspace) -> Version:
        return opened.popularity() if popularity else opened.pretrain(start)

    _train(workspace, flags, make, json=json)


def _try_rates(folder: Path, flags: dict[str, object], start: str | None, *, json: bool) -> None:
    """Run a range test, and say what came of it."""
    with outcome():
        with _shown(folder, flags) as opened:
            found, plot = opened.range_test(start)
        if json:
            print_json(
                {
                    "rates": found.rates,
                    "losses": found.losses,
                    "suggested": found.suggested,
                    "plot": str(plot),
                }
            )
        else:
            print_words("   rate   loss (nats per unit)")
            every = max(1, len(found.rates) // ROWS_SHOWN)
            for rate, loss in zip(found.rates[::every], found.losses[::every], strict=True):
                print_words(f"{rate:.1e}   {loss:.3f}")
            print_words(f"Suggested: pretrain.learning_rate = {found.suggested:.1e}")
        if not found.broken:
            say("The loss was still falling at the highest rate: take this for a lower bound.")
        say(f"The whole curve: {plot}")


def reward(
    workspace: Folder,
    seed: Seed = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Fit what [reward] asks for: comments, scales, answers, replies, or clips of play."""
    with outcome(interrupted=GOES_ON):
        with _shown(workspace, overrides(settings, workspace__seed=seed)) as opened:
            fit = opened.reward()
        if json:
            print_json({"reward": fit.name, "metrics": dict(fit.metrics)})
        else:
            print_words(f"Reward {fit.name} is fitted; on what it was not fitted to:")
            print_metrics(fit.metrics)
        say(
            f"Curves, if there are any: tensorboard --logdir {opened.runs}\n"
            f"Learn with it: heedful reinforce {workspace}"
        )


def reinforce(
    workspace: Folder,
    parent: Parent = None,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Make a candidate from the feedback in the log, or by playing.

    [reinforce] objective says how; "auto" takes what the feedback in the log can feed most: see
    heedful canary. Where it learns by playing and there is no version yet it begins from nothing.
    If learning collapses it stops, the last policy that was well is the candidate,
    and the command fails.
    """
    flags = overrides(
        settings,
        reinforce__epochs=epochs,
        reinforce__learning_rate=learning_rate,
        workspace__seed=seed,
    )
    _train(workspace, flags, lambda opened: opened.reinforce(parent), json=json)


def tune(
    workspace: Folder,
    parent: Parent = None,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Make a candidate from a few trusted labels.

    Labels are demonstrations in the log, what should have been chosen, and what people named under
    [tune] trusted clicked or rated. The candidate stays near the version it starts from, and goes
    through the same gate.
    """
    flags = overrides(
        settings,
        tune__epochs=epochs,
        tune__learning_rate=learning_rate,
        workspace__seed=seed,
    )
    _train(workspace, flags, lambda opened: opened.tune(parent), json=json)


def _train(
    folder: Path,
    flags: dict[str, object],
    make: Callable[[Workspace], Version],
    *,
    json: bool,
) -> None:
    """Open the workspace, make a candidate, and say what came of it."""
    with outcome(interrupted=GOES_ON):
        with _shown(folder, flags) as opened:
            version = make(opened)
            card = opened.registry.card(version.name)
            metrics = dict(card.metrics)
            begun = card.parent if card.parent and _is_fresh(opened, card.parent) else ""
        if json:
            print_json({"policy": version.name, "metrics": metrics})
        else:
            print_words(f"Version {version.name} is a candidate.")
            print_metrics(metrics)
        if begun:
            say(f"It began with version {begun}, a network that had learned nothing.")
        say(
            f"Curves: tensorboard --logdir {opened.runs}\n"
            f"What it is worth: heedful evaluate {folder} {version.name}"
        )
        if metrics.get("collapsed"):
            say(
                f"heedful: learning collapsed and was stopped: {metrics['collapse']}. Version "
                f"{version.name} is the last policy that was well; try a lower [interact] "
                "learning_rate, or a higher kl"
            )
            raise typer.Exit(FAILED)


def _is_fresh(opened: Workspace, name: str) -> bool:
    """Say whether a version is a network that has learned nothing."""
    from heedful.loop.steps import BEGUN

    return opened.registry.card(name).step == BEGUN


def run(
    workspace: Folder,
    forever: Annotated[
        bool,
        typer.Option("--forever", help="Go on turning, as [loop] says, until Ctrl-C or SIGTERM."),
    ] = False,
    by: By = "",
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Take one turn: judge the open trial, or train and try.

    The first version goes live at once; later ones begin a randomised trial, which a later run
    promotes, refuses, or leaves open until the evidence is in. Run it daily, or with --forever
    beside the service: new feedback then triggers training, by rows or by time. One line a turn
    goes to stdout, a JSON object each with --json.
    """
    who = somebody(by)
    with outcome(interrupted=GOES_ON):
        with _shown(workspace, overrides(settings)) as opened:
            if forever:
                _turn_forever(opened, who, json=json)
                return
            done = opened.turn(by=who)
        if json:
            print_json(done.to_dict())
        else:
            print_words(done.words)


def _turn_forever(opened: Workspace, who: str, *, json: bool) -> None:
    """Turn until somebody says stop, which is how this ends well."""

    def tell(done: Turn) -> None:
        if json:
            print_json({"at": opened.clock(), **done.to_dict()})
        else:
            print(f"{strftime('%Y-%m-%d %H:%M:%S')} {done.words}")
        sys.stdout.flush()

    section = opened.config.loop
    say(
        f"Looking every {section.look:g} s; training after {section.rows:,} new rewarded "
        f"decisions, or after {section.every:g} s if there are any."
    )
    with _until_told() as told:
        opened.forever(tell, told.wait, by=who)
    say(GOES_ON)


@contextmanager
def _until_told() -> Iterator[Event]:
    """End the block on SIGTERM or Ctrl-C, in the midst of whatever it does; once is enough.

    All that a turn does is safe to be killed at any moment, so it need not be waited for. The event
    is set as well: where an exception would be lost, in a finaliser say, the loop still ends.
    """
    told = Event()

    def stop(_number: int, _frame: object) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        told.set()
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        with suppress(KeyboardInterrupt):
            yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
