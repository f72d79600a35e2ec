"""The verb that shows the whole circle: demo."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heedful.cli.outcome import outcome
from heedful.cli.output import print_json, print_table

if TYPE_CHECKING:
    from heedful.demo import Story


def demo(
    folder: Annotated[
        Path, typer.Argument(help="Where the shop is made; an earlier demo there is replaced.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of the world, its people, and the training.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Candidates that get a chance.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Watch a small shop with simulated people improve itself."""
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {line}", file=sys.stderr, flush=True)

    with outcome():
        from heedful.demo import Scale, run

        story = run(folder, seed=seed, scale=Scale(rounds=rounds), tell=tell)
    if as_json:
        print_json(_plain(story))
    else:
        _show(story)


def _show(story: Story) -> None:
    rows = [
        (
            str(done.number),
            f"{done.clicks.mean():.3f}",
            done.opened,
            done.turn.policy or "-",
            done.turn.action,
            "-" if done.turn.verdict is None else f"{done.turn.verdict.evidence:,.1f}",
            "-" if done.turn.verdict is None else f"{done.turn.verdict.needed:,.0f}",
        )
        for done in story.rounds
    ]
    head = ("round", "clicks per item", "live", "candidate", "verdict", "evidence", "needed")
    print_table("The shop, round by round", head, rows)
    found = story.measured
    typer.echo(
        f"New people, from their sixth slate on, click {found.live:.3f} of the items that version "
        f"{story.rounds[-1].closed} shows them,\n{found.popularity:.3f} of the most popular items, "
        f"and {found.oracle:.3f} of what an oracle would show that sees their tastes:\n"
        f"{found.closed:.0%} of the gap between popularity and oracle is closed.\n"
    )
    typer.echo("Open:")
    for words, path in story.files.items():
        typer.echo(f"  {path}  {words}")


def _plain(story: Story) -> dict[str, object]:
    found = story.measured
    return {
        "folder": str(story.folder),
        "rounds": [
            {
                "round": done.number,
                "clicks": float(done.clicks.mean()),
                "live": done.closed,
                **done.turn.to_dict(),
            }
            for done in story.rounds
        ],
        "popularity": found.popularity,
        "oracle": found.oracle,
        "live": found.live,
        "closed": found.closed,
        "files": {words: str(path) for words, path in story.files.items()},
    }
