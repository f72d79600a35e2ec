"""The loop as a service: turn after turn, as the log grows, until it is told to stop.

New feedback triggers training, by rows or by time; in between, the open trial is looked at. All
that it goes by stands in the log and the registry, so whoever kills it and starts it again changes
nothing but the time. It reads the log, which the server writes, and never spins: between two looks
it always waits, and after an error longer each time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from heedful.loop.bench import Bench
from heedful.loop.turn import (
    Turn,
    chosen,
    looked_until,
    networks,
    rewarded,
    turn,
    untried,
)
from heedful.store.lock import LoopLock

logger = logging.getLogger("heedful.loop")

LOCK = "loop.lock"
LONGEST = 600.0
"""Seconds that it waits at most between two attempts, however often they failed."""


@dataclass(slots=True)
class Backoff:
    """Waits longer after every failure in a row, and says each kind of failure once.

    Attributes:
        first: seconds after the first failure.
        failures: so many in a row.
    """

    first: float
    failures: int = 0
    _said: str = ""

    def failed(self, error: Exception) -> float:
        """Take note of ``error``; return the seconds to wait before the next attempt."""
        words = f"{type(error).__name__}: {error}"
        self.failures += 1
        if words != self._said:
            self._said = words
            logger.error("%s; the loop goes on and will try again", words)
        # Bounded before it is raised to a power: a loop may fail for months.
        return min(self.first * 2.0 ** min(self.failures - 1, 60), max(LONGEST, self.first))

    def went_well(self) -> None:
        """Take note that the last attempt did not fail."""
        if self.failures:
            logger.warning("well again after %d failures", self.failures)
        self.failures, self._said = 0, ""


def forever(
    bench: Callable[[], Bench],
    tell: Callable[[Turn], None],
    wait: Callable[[float], bool],
    *,
    by: str = "heedful",
) -> None:
    """Look, turn and wait until ``wait`` says that it is over.

    Args:
        bench: what is worked with, asked for before every look.
        tell: is told each turn that did or found something new. What it raises ends the loop.
        wait: waits so many seconds, and returns True where the loop shall end. An
            :class:`threading.Event` has such a method.
        by: who does it, for the audit.
    """
    section = bench().config.loop
    backoff, said = Backoff(section.look), ""
    while True:
        try:
            done = look(bench(), by=by)
        except Exception as error:  # a full disk or a damaged version: a person will see to it
            pause = backoff.failed(error)
        else:
            backoff.went_well()
            pause = section.look
            if done is not None and done.words != said:
                tell(done)
            said = "" if done is None else done.words
        if wait(pause):
            return


def look(bench: Bench, *, by: str = "heedful") -> Turn | None:
    """Take a turn if one is due.

    Returns:
        ``None`` where there was nothing to do.
    """
    if bench.registry.trial() is None and not due(bench):
        return None
    done = turn(bench, by=by)
    return None if done.action == "nothing new" else done


def due(bench: Bench) -> bool:
    """Say whether a candidate is to be trained or tried now; no trial is open.

    It is when one waits for its trial (the loop was killed before it began), when there is history
    and no network yet, and as soon as there are new rewarded decisions: ``[loop] rows`` of them,
    or any number when the last version that was trained is ``[loop] every`` seconds old.
    """
    if bench.registry.live() is None or untried(bench) is not None:
        return True
    known, section = networks(bench), bench.config.loop
    if not known and chosen(bench, liked=False):
        return True
    rows = rewarded(bench, after=looked_until(bench))
    last = (known or bench.registry.versions())[-1]
    late = bench.clock() - bench.registry.card(last.name).created_at >= section.every
    return rows >= section.rows or (late and rows > 0)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the one process that trains, judges and promotes by itself in the workspace ``folder``.

    Raises:
        StoreError: another process is; says which.
    """
    lock = LoopLock(folder / LOCK)
    try:
        yield
    finally:
        lock.release()
