"""The command, standing still in the midst of something, so that it can be killed just there.

``python -m tests.cli.halting PHASE WORDS...`` runs the command with WORDS; where PHASE is reached
it prints "halted" and waits to be killed.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from heedful.cli import main
from heedful.loop import deploy
from heedful.loop.run import Run
from heedful.store.registry import trial

PHASES: dict[str, tuple[Any, str]] = {
    "training": (Run, "save"),  # a pass is over, the next one is to come
    "judging": (deploy, "look_at"),  # the verdict is known, and nothing is done about it
    "promotion": (trial, "end"),  # in the transaction, before it is committed
}


def halting(usual: Callable[..., object]) -> Callable[..., object]:
    """Return ``usual`` with a long pause behind it."""

    def halted(*words: object, **more: object) -> object:
        usual(*words, **more)
        print("halted", flush=True)
        time.sleep(600)
        raise AssertionError("nobody came to kill it")

    return halted


if __name__ == "__main__":
    phase = sys.argv.pop(1)
    place, name = PHASES[phase]
    setattr(place, name, halting(getattr(place, name)))
    main()
