"""The verb for whoever compares clips: label."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated

import typer

from heedful.cli.options import By, Folder, Json, Settings, overrides, somebody
from heedful.cli.outcome import outcome, say
from heedful.cli.output import print_json, print_words

if TYPE_CHECKING:
    from heedful.reward.questions import Answer, Question, Questions

KEYS = {"l": "LEFT", "r": "RIGHT", "e": "EQUAL", "c": "UNSURE"}
QUIT = "q"
ASKED = "Which is better? [l]eft, [r]ight, [e]qual, [c]annot tell, [q]uit: "

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def label(
    workspace: Folder,
    by: By = "",
    questions: Annotated[
        int, typer.Option("--questions", "-n", min=1, help="At most so many.")
    ] = 20,
    length: Annotated[int, typer.Option(min=1, help="Decisions in a clip.")] = 10,
    random: Annotated[
        bool, typer.Option("--random", help="Ask at random, not where models disagree.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Where randomness starts.")] = 0,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Compare clips of logged episodes; each answer goes into the log.

    A key answers: l, r, e, c; q ends. In a pipe each answer is a line. Nothing else may write the
    log meanwhile, so stop the service before.
    """
    with outcome(interrupted="stopped; every answer so far is in the log"):
        from heedful.record import pseudonym
        from heedful.reward.questions import LoggedQuestions
        from heedful.workspace import Workspace

        who = somebody(by)
        with Workspace.open(workspace, overrides(settings)) as opened, opened.writing() as log:
            asking = LoggedQuestions(
                log,
                opened.domain,
                by=pseudonym(who, opened.key),
                length=length,
                chosen="random" if random else "disagreement",
                seed=seed,
                clock=opened.clock,
            )
            counts = _ask(asking, questions)
        if json:
            print_json(counts)
        else:
            kept = counts["left"] + counts["right"] + counts["equal"]
            print_words(f"{kept:,} answers are in the log; {counts['unsure']:,} could not be told.")


def _ask(asking: Questions, most: int) -> dict[str, int]:
    """Ask up to ``most`` questions; return how often each answer was given."""
    counts = {name.lower(): 0 for name in KEYS.values()}
    for number in range(1, most + 1):
        question = asking.next()
        if question is None:
            say("There is nothing left to ask.")
            break
        _show(asking, question, f"{number} of {most}")
        answer = _answered()
        if answer is None:
            break
        asking.answer(question, answer)
        counts[answer.name.lower()] += 1
    return counts


def _answered() -> Answer | None:
    """Return the answer; ``None`` at the end of the input, or of patience."""
    from heedful.reward.questions import Answer

    while True:
        print(ASKED, end="", file=sys.stderr, flush=True)
        key = typer.getchar() if sys.stdin.isatty() else sys.stdin.readline()
        say("" if not sys.stdin.isatty() else key)
        key = key.strip().lower()[:1] if key else QUIT
        if key == QUIT:
            return None
        if key in KEYS:
            return Answer[KEYS[key]]
        say(f"{key or 'An empty line'} is no answer.")


def _show(asking: Questions, question: Question, title: str) -> None:
    """Print both clips side by side, scene by scene."""
    clips = []
    for span in (question.left, question.right):
        scenes = asking.show(span, text=True)
        if not all(isinstance(scene, str) for scene in scenes):
            raise ValueError(
                "these episodes are drawn as pictures, which a terminal cannot show; the domain "
                "has to show text as well"
            )
        clips.append([str(scene) for scene in scenes])
    say(f"\nQuestion {title}")
    width = max([len("left"), *(_width(line) for scene in clips[0] for line in scene.split("\n"))])
    say(f"{'left':<{width}}   right")
    tall = any("\n" in scene.strip("\n") for clip in clips for scene in clip)
    for left, right in zip_longest(*clips, fillvalue=""):
        say(_beside(left, right, width) + ("\n" if tall else ""))


def _beside(left: str, right: str, width: int) -> str:
    lines: Sequence[tuple[str, str]] = list(
        zip_longest(left.strip("\n").split("\n"), right.strip("\n").split("\n"), fillvalue="")
    )
    return "\n".join(f"{one}{' ' * (width - _width(one))}   {two}" for one, two in lines)


def _width(line: str) -> int:
    """Return how many columns a line takes: colours take none."""
    return len(_COLOUR.sub("", line))
