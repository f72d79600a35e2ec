"""PPO in Gymnasium's games beside Stable-Baselines3's, in CPU seconds to the same mean return."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard  # here, so that no clock sees how long it takes

from benchmarks import Table
from heedful.config import Interact
from heedful.domains.games import Games
from heedful.loop.interact import interact
from heedful.loop.run import Run
from heedful.loop.vectorised import RECENT, Vectorised
from heedful.policy import Feedforward
from heedful.store import Snapshot

try:
    import stable_baselines3 as peer
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
except ImportError:  # a peer, and no dependency
    peer = None

SEEDS = range(5)
# Neither a reference to stay near nor a floor of entropy: this is plain PPO from nothing.
PLAIN: dict[str, Any] = {"kl": 0.0, "kl_limit": 0.0, "entropy_floor": 0.0, "fall": 0.0}
PLAIN |= {"clip": 0.5, "save": 1_000_000}
# Stable-Baselines3's own for CartPole, from its zoo of tuned agents (rl-baselines3-zoo, ppo.yml).
ZOO: dict[str, Any] = {"environments": 8, "decisions": 32, "batch": 256, "epochs": 20}
ZOO |= {"lam": 0.8, "gamma": 0.98, "learning_rate": 0.001}
ZOO_STEPS = 100_000


@dataclass(frozen=True)
class Task:
    """A game, and how it is learned.

    Attributes:
        game: its id.
        target: a mean return over the last 100 episodes, as they were drawn while learning.
        limit: steps after which it counts as missed.
        settings: of ``[interact]``, beside plain PPO.
        seeds: from which it is learned.
    """

    game: str
    target: float
    limit: int
    settings: Mapping[str, Any]
    seeds: Sequence[int] = SEEDS


CARTPOLE = Task(
    "CartPole-v1",
    475.0,
    ZOO_STEPS,
    {
        **{"environments": 32, "decisions": 32, "batch": 256, "epochs": 6},
        **{"lam": 0.9, "gamma": 0.98, "learning_rate": 0.0025, "decay": "constant"},
    },
)
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


@dataclass(frozen=True)
class Outcome:
    """How one seed went.

    Attributes:
        steps: decisions made.
        seconds: CPU seconds, imports excluded.
        reached: the mean return over the last 100 episodes; NaN before there were so many.
    """

    steps: int
    seconds: float
    reached: float


def run(quick: bool) -> list[Table]:
    """Learn CartPole three ways, and the other games in ours."""
    torch.set_num_threads(1)
    seeds = SEEDS[:1] if quick else SEEDS
    tables = [_cartpole(seeds)]
    return tables if quick else [*tables, _games([ACROBOT])]


def ours(task: Task, seed: int) -> Outcome:
    """Learn ``task`` with the house's policy, trainer and optimiser loop."""
    started = time.process_time()
    section = Interact(**{**PLAIN, **task.settings})
    per_round = section.environments * section.decisions
    section = section.model_copy(update={"rounds": math.ceil(task.limit / per_round)})
    games = Games({"game": task.game})
    torch.manual_seed(seed)
    policy = Feedforward(games.schema(games.vocabulary(Snapshot.of([])))).eval()
    environment = games.environment(section.environments, seed, {})
    rollouts = Vectorised(environment, steps=section.decisions, gamma=section.gamma, seed=seed)
    seen: list[float] = []

    def enough(found: Mapping[str, float]) -> bool:
        seen.append(found.get(f"return_of_{RECENT}", math.nan))
        return seen[-1] >= task.target

    with tempfile.TemporaryDirectory() as folder:
        run_ = Run(Path(folder), {})
        interact(
            policy,
            policy,
            rollouts,
            section,
            run_,
            objective="ppo",
            seed=seed,
            cut=rollouts.single,
            enough=enough,
        )
        run_.close()
    environment.close()
    return Outcome(len(seen) * per_round, time.process_time() - started, seen[-1])


def theirs(task: Task, seed: int) -> Outcome:
    """Learn ``task`` with Stable-Baselines3's PPO and its zoo's settings for CartPole."""
    started = time.process_time()
    seen: list[float] = [math.nan]

    class Enough(BaseCallback):  # type: ignore[misc]
        def _on_step(self) -> bool:
            return not seen[-1] >= task.target

        def _on_rollout_end(self) -> None:
            ended = [episode["r"] for episode in self.model.ep_info_buffer]
            if len(ended) >= RECENT:
                seen.append(statistics.fmean(ended))

    environment = make_vec_env(task.game, n_envs=ZOO["environments"], seed=seed)
    model = peer.PPO(
        "MlpPolicy",
        environment,
        n_steps=ZOO["decisions"],
        batch_size=ZOO["batch"],
        n_epochs=ZOO["epochs"],
        gae_lambda=ZOO["lam"],
        gamma=ZOO["gamma"],
        learning_rate=lambda left: ZOO["learning_rate"] * left,
        clip_range=lambda left: 0.2 * left,
        ent_coef=0.0,
        seed=seed,
        device="cpu",
    )
    model.learn(task.limit, callback=Enough())
    environment.close()
    return Outcome(model.num_timesteps, time.process_time() - started, seen[-1])


def _cartpole(seeds: Sequence[int]) -> Table:
    """Learn by turns, so that a machine that grows busier is busier for all."""
    same = Task(CARTPOLE.game, CARTPOLE.target, CARTPOLE.limit, {**ZOO, "decay": "linear"})
    ways: dict[str, Callable[[int], Outcome]] = {
        "heedful": lambda seed: ours(CARTPOLE, seed),
        "heedful, with the zoo's settings": lambda seed: ours(same, seed),
    }
    if peer is not None:
        ways[f"Stable-Baselines3 {peer.__version__}"] = lambda seed: theirs(CARTPOLE, seed)
    found: dict[str, list[Outcome]] = {name: [] for name in ways}
    for seed in seeds:
        for name, way in ways.items():
            found[name].append(way(seed))
    base = statistics.median(outcome.seconds for outcome in list(found.values())[-1])
    rows = [_row(name, outcomes, CARTPOLE.target, base) for name, outcomes in found.items()]
    absent = "" if peer is not None else " Stable-Baselines3 is not installed here."
    return Table(
        f"CartPole-v1 to a mean return of {CARTPOLE.target:g}",
        ("trainer", "CPU s", "of the last row", "steps", "steps per CPU s", "seeds that reach it"),
        tuple(rows),
        f"Medians of {len(seeds)} seeds (lowest to highest), one thread, imports excluded, by "
        "turns in one process. Both sides stop when the mean return of the last "
        f"{RECENT} episodes, as drawn while learning, reaches the target; looked at after every "
        f"round, {ZOO_STEPS:,} steps at most. The zoo's settings are those rl-baselines3-zoo tuned "
        "for this game. Ours steps Gymnasium's vector CartPole, Stable-Baselines3 its own vector "
        f"of single ones.{absent}",
    )


def _row(name: str, outcomes: Sequence[Outcome], target: float, base: float) -> tuple[str, ...]:
    seconds = [outcome.seconds for outcome in outcomes]
    reached = sum(outcome.reached >= target for outcome in outcomes)
    rates = [outcome.steps / outcome.seconds for outcome in outcomes]
    return (
        name,
        _range(seconds, 1),
        f"{statistics.median(seconds) / base:.2f}",
        _range([outcome.steps for outcome in outcomes], 0),
        f"{statistics.median(rates):,.0f}",
        f"{reached} of {len(outcomes)}",
    )


def _games(tasks: Sequence[Task]) -> Table:
    rows = []
    for task in tasks:
        outcomes = [ours(task, seed) for seed in task.seeds]
        reached = sum(outcome.reached >= task.target for outcome in outcomes)
        rows.append(
            (
                task.game,
                f"{task.target:g}",
                f"{reached} of {len(outcomes)}",
                _range([outcome.reached for outcome in outcomes], 1),
                _range([outcome.steps for outcome in outcomes], 0),
                f"{task.limit:,}",
                _range([outcome.seconds for outcome in outcomes], 1),
            )
        )
    return Table(
        "Other games, the same trainer",
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
        "Medians over seeds (lowest to highest); stopped at the target, as above.",
    )


def _range(values: Sequence[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
