"""PPO on CartPole beside Stable-Baselines3's, in CPU seconds to the same mean return."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks import Table
from benchmarks._ppo import SEEDS, Outcome, Task, ours, spread, told
from heedful.loop.vectorised import RECENT

try:
    import stable_baselines3 as peer
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
except ImportError:  # a peer, and no dependency
    peer = None

# Stable-Baselines3's own for CartPole, from its zoo of tuned agents (rl-baselines3-zoo, ppo.yml).
ZOO: dict[str, Any] = {"environments": 8, "decisions": 32, "batch": 256, "epochs": 20}
ZOO |= {"lam": 0.8, "gamma": 0.98, "learning_rate": 0.001}
ZOO_STEPS = 100_000


CARTPOLE = Task(
    "CartPole-v1",
    475.0,
    ZOO_STEPS,
    {
        **{"environments": 32, "decisions": 32, "batch": 256, "epochs": 6},
        **{"lam": 0.9, "gamma": 0.98, "learning_rate": 0.0025, "decay": "constant"},
    },
)


def run(quick: bool) -> list[Table]:
    """Learn CartPole three ways."""
    torch.set_num_threads(1)
    return [_cartpole(SEEDS[:1] if quick else SEEDS)]


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
            found[name].append(told(way(seed), name, seed))
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
        spread(seconds, 1),
        f"{statistics.median(seconds) / base:.2f}",
        spread([outcome.steps for outcome in outcomes], 0),
        f"{statistics.median(rates):,.0f}",
        f"{reached} of {len(outcomes)}",
    )
