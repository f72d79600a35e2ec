"""Games of Gymnasium learned by the one on-policy trainer, to a stated mean return."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks import Table
from benchmarks._ppo import SEEDS, Task, ours, spread, told
from heedful.loop.vectorised import RECENT

ACROBOT = Task(
    "Acrobot-v1",
    -90.0,
    300_000,
    {
        **{"environments": 16, "decisions": 128, "batch": 256, "epochs": 6},
        **{"lam": 0.94, "gamma": 0.99, "learning_rate": 0.001, "decay": "constant"},
    },
    SEEDS[:3],
)
PENDULUM = Task(
    "Pendulum-v1",
    -200.0,
    300_000,
    {
        **{"environments": 16, "decisions": 128, "batch": 256, "epochs": 10},
        **{"lam": 0.95, "gamma": 0.9, "learning_rate": 0.001, "decay": "constant"},
    },
    SEEDS[:3],
)


def run(quick: bool) -> list[Table]:
    """Learn every game by every seed."""
    torch.set_num_threads(1)
    return [_games([ACROBOT] if quick else [ACROBOT, PENDULUM])]


def _games(tasks: Sequence[Task]) -> Table:
    rows = []
    for task in tasks:
        outcomes = [told(ours(task, seed), task.game, seed) for seed in task.seeds]
        reached = sum(outcome.reached >= task.target for outcome in outcomes)
        rows.append(
            (
                task.game,
                f"{task.target:g}",
                f"{reached} of {len(outcomes)}",
                spread([outcome.reached for outcome in outcomes], 1),
                spread([outcome.steps for outcome in outcomes], 0),
                f"{task.limit:,}",
                spread([outcome.seconds for outcome in outcomes], 1),
            )
        )
    return Table(
        "PPO to a mean return",
        (
            "game",
            f"target, mean of {RECENT}",
            "seeds that reach it",
            "reached",
            "steps",
            "limit",
            "CPU s",
        ),
        tuple(rows),
        "Medians over seeds (lowest to highest), each stopped when the mean return of the last "
        f"{RECENT} episodes, as drawn while learning, reaches the target. Pendulum's moves are "
        "cut into 11 values.",
    )
