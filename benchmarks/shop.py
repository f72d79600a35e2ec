"""The shop that improves itself: how much of the gap to the oracle is closed, and by what.

Each run is the demo in a world of its own: people, service, log, training, trial, promotion. The
share closed is measured on new people, from their sixth slate on, between always showing the most
popular items (0) and an oracle that sees the tastes (1).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import Table
from heedful import demo

SEEDS = (11, 12)
VARIANTS: dict[str, dict[str, object]] = {
    "as shipped (recurrent, lambda 0)": {},
    "lambda 1: the whole slate's clicks are each item's": {"reinforce.lam": 1.0},
}


def run(quick: bool) -> list[Table]:
    """Turn the circle with every variant in every world."""
    seeds, rounds = (SEEDS[:1], 3) if quick else (SEEDS, 5)
    rows = []
    for name, changes in VARIANTS.items():
        began = time.process_time()
        stories = [_story(seed, rounds, changes) for seed in seeds]
        seconds = (time.process_time() - began) / len(seeds)
        closed = np.array([story.measured.closed for story in stories])
        live = np.mean([story.measured.live for story in stories])
        promoted = [sum(r.turn.action == "promoted" for r in s.rounds) for s in stories]
        rows.append(
            (
                name,
                f"{live:.3f}",
                f"{closed.mean():.0%}",
                f"{closed.min():.0%} to {closed.max():.0%}",
                f"{np.mean(promoted):.1f} of {rounds}",
                f"{seconds:.0f}",
            )
        )
    columns = ("variant", "clicks per item", "gap closed", "worlds", "promoted", "CPU s")
    note = f"Worlds {list(seeds)}, {rounds} rounds of 1,000 people with 8 slates of 5 each."
    return [Table("The circle in worlds nothing was tuned on", columns, tuple(rows), note)]


def _story(seed: int, rounds: int, changes: dict[str, object]) -> demo.Story:
    with tempfile.TemporaryDirectory() as folder:
        scale = demo.Scale(rounds=rounds)
        return demo.run(Path(folder) / "shop", seed=seed, scale=scale, overrides=changes)
