"""A log of walks along a line, and the domain that reads it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from heedful.contract import Observed
from heedful.policy import Channel, Vocabulary
from heedful.record import ALL, UNKNOWN, Context, Decision
from heedful.store import Log
from tests.contract.toys import Toy


class Walks(Toy):
    """Seven places; a move goes left or right. A context has the place."""

    name = "walks"
    channels: tuple[Channel, ...] = ()
    features = 7
    length = 1
    units = ("left", "right")

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        return np.full(1, -1, np.int32), np.eye(7, dtype=np.float32)[[context["place"]]]


def walk(name: str, steps: int, seed: int) -> list[Decision]:
    rng = np.random.default_rng(seed)
    made, place = [], 3
    for step in range(steps):
        way = int(rng.integers(2))
        made.append(
            Decision(
                id=f"{name}-{step}",
                episode=name,
                step=step,
                subject="walker",
                units=(Walks.units[way],),
                logps=UNKNOWN,
                policy="chance",
                made_at=float(step),
                context={"place": place},
                choices=ALL,
                vocabulary="v",
            )
        )
        place = min(6, max(0, place + 2 * way - 1))
    return made


def walked(folder: Path, walks: Iterable[tuple[str, int]]) -> Log:
    """Return a log, opened to write, of walks by name and length."""
    log = Log.open(folder / "log.db", write=True)
    for seed, (name, steps) in enumerate(walks):
        log.append(walk(name, steps, seed))
    return log
