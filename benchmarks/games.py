"""Games of Gymnasium learned by PPO, and one by deep Q-learning, to a stated mean return."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch

from benchmarks import Table
from benchmarks._lander import register
from benchmarks._ppo import Task, ours, spread, told
from heedful.loop.vectorised import RECENT

SEEDS = (10, 11, 12)  # settings were chosen on others

ACROBOT = Task(
    "Acrobot-v1",
    -90.0,
    300_000,
    {
        **{"environments": 16, "decisions": 128, "batch": 256, "epochs": 6},
        **{"lam": 0.94, "gamma": 0.99, "learning_rate": 0.001, "decay": "constant"},
    },
    SEEDS,
)
PENDULUM = Task(
    "Pendulum-v1",
    -200.0,
    300_000,
    {
        **{"environments": 16, "decisions": 128, "batch": 256, "epochs": 10},
        **{"lam": 0.95, "gamma": 0.9, "learning_rate": 0.001, "decay": "constant"},
    },
    SEEDS,
    stop=-180.0,
)
# After rl-baselines3-zoo's for this game, but for returns scaled to variance 1: a value of some
# hundreds takes a small network most of the steps to get to.
LANDER = Task(
    register(),
    200.0,
    1_000_000,
    {
        **{"environments": 16, "decisions": 1024, "batch": 128, "epochs": 4, "normalise": 1},
        **{"lam": 0.98, "gamma": 0.999, "learning_rate": 0.0007, "entropy": 0.003},
    },
    SEEDS,
    stop=220.0,
)
DEEP_CARTPOLE = Task(
    "CartPole-v1",
    475.0,
    100_000,
    {
        **{"environments": 8, "group": 1, "decisions": 16, "batch": 128, "epochs": 32},
        **{"gamma": 0.98, "learning_rate": 0.001, "clip": 10.0},
        **{"n_step": 5, "target": 200, "epsilon": 0.01, "exploring": 0.05},
    },
    SEEDS,
    "dqn",
)


def run(quick: bool) -> list[Table]:
    """Learn every game by every seed."""
    torch.set_num_threads(1)
    landing = [LANDER] if importlib.util.find_spec("Box2D") else []
    return [_games([ACROBOT] if quick else [ACROBOT, PENDULUM, *landing, DEEP_CARTPOLE])]


def _games(tasks: Sequence[Task]) -> Table:
    rows = []
    for task in tasks:
        name = task.game.removeprefix("benchmarks/")
        outcomes = [told(ours(task, seed, judge=True), name, seed) for seed in task.seeds]
        reached = sum(outcome.judged >= task.target for outcome in outcomes)
        rows.append(
            (
                name,
                task.objective.upper(),
                f"{task.target:g}",
                f"{task.target if task.stop is None else task.stop:g}",
                f"{reached} of {len(outcomes)}",
                spread([outcome.judged for outcome in outcomes], 1),
                spread([outcome.reached for outcome in outcomes], 1),
                spread([outcome.steps for outcome in outcomes], 0),
                f"{task.limit:,}",
                spread([outcome.seconds for outcome in outcomes], 1),
            )
        )
    return Table(
        "Games learned to a mean return",
        (
            "game",
            "by",
            "target",
            "stopped at",
            "seeds that reach it",
            f"best moves, {RECENT} games apart",
            f"last {RECENT} games while learning",
            "steps",
            "limit",
            "CPU s",
        ),
        tuple(rows),
        "Medians over seeds (lowest to highest), each stopped when the mean return of the last "
        f"{RECENT} games, as drawn while learning, is what it is stopped at. Then the best moves "
        f"are judged in {RECENT} games with seeds of their own, and a seed reaches the target if "
        "these do. Pendulum's moves are cut into 11 values.",
    )
