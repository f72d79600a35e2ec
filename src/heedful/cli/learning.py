"""Verbs that fill the log and make candidates: import, pretrain, reward, reinforce, tune, run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heedful.cli.describing import Categories, Numbers, Rows, Texts, describe, names_of
from heedful.cli.options import By, Epochs, Folder, Json, Rate, Seed, Settings, overrides, somebody
from heedful.cli.outcome import BAD_DATA, outcome, say
from heedful.cli.output import print_json, print_metrics, print_problems, print_words

if TYPE_CHECKING:
    from heedful.loop.progress import Reporter
    from heedful.store.importing import ImportReport
    from heedful.store.registry import Version
    from heedful.workspace import Workspace

ROWS_SHOWN = 15
GOES_ON = "stopped; the same command goes on from here"


def _column(meaning: str) -> Any:
    """Return an option that names a column of the file."""
    return typer.Option(metavar="COLUMN", help=f"Column of {meaning}.")


def import_file(
    workspace: Folder,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Plain or gzipped: .inter, .dat, .csv, .jsonl; .parquet."
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
    or under [import] in heedful.toml. A file is imported whole or not at all, and a second time
    adds nothing.
    """
    if rows is None and (numbers or categories or text):
        raise typer.BadParameter("--numbers, --categories and --text belong to --as")
    columns: dict[str, object] = {
        "import__subject": subject,
        "import__unit": unit,
        "import__rating": rating,
        "import__click": click,
        "import__comment": comment,
        "import__time": time,
        "import__order": order,
        "import__session": session,
        "import__decision": decision,
        "import__position": position,
        "import__propensity": propensity,
        "import__policy": policy,
        "import__context": names_of(context) or None,
        "import__anonymous": anonymous or None,
        "import__made_by": made_by,
    }
    with outcome(interrupted="stopped; nothing was added"):
        from heedful.workspace import Workspace

        flags = overrides(settings, **({} if rows else columns))
        with Workspace.open(workspace, flags) as opened:
            stages = _Stages()
            try:
                if rows is None:
                    found = opened.import_file(
                        file, dry_run=dry_run, quarantine=quarantine, progress=stages
                    )
                else:
                    found = describe(
                        opened,
                        file,
                        rows,
                        subject=subject,
                        unit=unit,
                        numbers=numbers,
                        categories=categories,
                        text=text,
                        dry_run=dry_run,
                        quarantine=quarantine,
                        progress=stages,
                    )
            finally:
                stages.close()
        _tell_import(file, found, dry_run=dry_run, quarantine=quarantine, json=json)


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
            self.close()
            self._name, self._shown = stage, reporter(stage)
        self._shown.update(done, total)

    def close(self) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None


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
        from heedful.loop.progress import reporter
        from heedful.workspace import Workspace

        with Workspace.open(folder, flags) as opened:
            opened.reporter = reporter
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
    """Fit what [reward] asks for: a reader of comments, subjects' scales, a model of answers."""
    with outcome(interrupted=GOES_ON):
        from heedful.loop.progress import reporter
        from heedful.workspace import RUNS, Workspace

        flags = overrides(settings, workspace__seed=seed)
        with Workspace.open(workspace, flags) as opened:
            opened.reporter = reporter
            fit = opened.reward()
        if json:
            print_json({"reward": fit.name, "metrics": dict(fit.metrics)})
        else:
            print_words(f"Reward {fit.name} is fitted; on what it was not fitted to:")
            print_metrics(fit.metrics)
        say(
            f"Curves, if there are any: tensorboard --logdir {workspace / RUNS}\n"
            f"Learn with it: heedful reinforce {workspace}"
        )


def reinforce(
    workspace: Folder,
    parent: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Start from it; by default the live one.")
    ] = None,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Make a candidate from the feedback in the log."""
    flags = overrides(
        settings,
        reinforce__epochs=epochs,
        reinforce__learning_rate=learning_rate,
        workspace__seed=seed,
    )
    _train(workspace, flags, lambda opened: opened.reinforce(parent), json=json)


def tune(
    workspace: Folder,
    parent: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Start from it; by default the live one.")
    ] = None,
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
        from heedful.loop.progress import reporter
        from heedful.workspace import RUNS, Workspace

        with Workspace.open(folder, flags) as opened:
            opened.reporter = reporter
            version = make(opened)
            metrics = dict(opened.registry.card(version.name).metrics)
        if json:
            print_json({"policy": version.name, "metrics": metrics})
        else:
            print_words(f"Version {version.name} is a candidate.")
            print_metrics(metrics)
        say(
            f"Curves: tensorboard --logdir {folder / RUNS}\n"
            f"What it is worth: heedful evaluate {folder} {version.name}"
        )


def run(
    workspace: Folder,
    by: By = "",
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Take one turn: judge the open trial, or train and try.

    The first version goes live at once; later ones begin a randomised trial, which a later run
    promotes, refuses, or leaves open until the evidence is in. Run it daily.
    """
    with outcome(interrupted=GOES_ON):
        from heedful.loop.progress import reporter
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            opened.reporter = reporter
            done = opened.turn(by=somebody(by))
        if json:
            print_json(done.to_dict())
        else:
            print_words(done.words)
