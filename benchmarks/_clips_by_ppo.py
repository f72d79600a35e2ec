"""A pole balanced by another library's PPO, unmodified, on a reward that was learned from clips."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from benchmarks import Table
from benchmarks.tabular import newest
from heedful.domains.games.clips import (
    Asking,
    FixedHorizon,
    LearnedReward,
    Lesson,
    Teacher,
    learn_reward,
    play,
    taught,
)
from heedful.reward.clip_network import fit_network

SEEDS = (10, 11)
HORIZON = 100
ASKING = Asking(questions=150, rounds=3, episodes=10, standing=HORIZON, at_random=0.5)
STEPS = 20_000  # of PPO on the last reward; half of that between rounds
JUDGED = 20  # episodes
AT_ONCE = 8

# RL Baselines3 Zoo's for CartPole-v1, without its schedules.
ZOO = {
    "n_steps": 32,
    "batch_size": 256,
    "gae_lambda": 0.8,
    "gamma": 0.98,
    "n_epochs": 20,
    "learning_rate": 1e-3,
}


def pole() -> FixedHorizon:
    """Return the game: it stands still where the pole fell, and nobody is told."""
    made = gymnasium.make(newest("CartPole"), disable_env_checker=True)
    return FixedHorizon(made, HORIZON)


def table(quick: bool) -> Table:
    """Balance by PPO on the learned reward, and on the game's own."""
    columns = ("reward", "comparisons", "steps before the fall, of 100", "PPO steps", "CPU s")
    title = "Stable-Baselines3's PPO on the wrapper"
    if importlib.util.find_spec("stable_baselines3") is None:
        return Table(title, columns, (), "Not run: stable-baselines3 is not installed.")
    steps = 512 if quick else STEPS
    rows = [
        _row("none: uniform moves", "", [_judged(_uniform(seed), seed) for seed in SEEDS], "", ""),
    ]
    for name, learned in (("learned from clips", True), ("the game's own", False)):
        returns, seconds = [], []
        for seed in SEEDS[:1] if quick else SEEDS:
            began = time.process_time()
            make = _taught(seed, steps // 2) if learned else pole
            returns.append(_judged(_trained(make, steps, seed), seed))
            seconds.append(time.process_time() - began)
        asked = f"{ASKING.questions}" if learned else ""
        played = steps * (ASKING.rounds + 1) // 2 if learned else steps
        rows.append(_row(name, asked, returns, f"{played:,}", f"{np.mean(seconds):.0f}"))
    return Table(
        title,
        columns,
        tuple(rows),
        f"CartPole with a fixed horizon of {HORIZON} steps: what falls lies there, and the reward "
        f"model is not told. An oracle compares clips of {ASKING.length} steps; the model is three "
        "small networks of observation and move. The game's own reward counts the steps before "
        f"the fall. Means of {len(SEEDS)} seeds, each with the lowest seed in brackets, over "
        f"{JUDGED} episodes of their own; moves are drawn, not the likeliest ones.",
    )


def _row(
    name: str, asked: str, returns: Sequence[float], steps: str, seconds: str
) -> tuple[str, ...]:
    return (name, asked, f"{np.mean(returns):.1f} ({min(returns):.1f})", steps, seconds)


def _taught(seed: int, steps: int) -> Callable[[], gymnasium.Env[Any, Any]]:
    """Return what makes the game with a reward learned in rounds, PPO playing in between."""
    ways: dict[int, Callable[[Any], Any]] = {}

    def improve(lesson: Lesson) -> Callable[[Any], Any]:
        answered = len(lesson.pairs)  # a new model after each round of answers
        if answered not in ways:
            made = _uniform(seed) if lesson.reward is None else _trained(game(lesson), steps, seed)
            ways[answered] = made
        return ways[answered]

    def game(lesson: Lesson) -> Callable[[], gymnasium.Env[Any, Any]]:
        reward = lesson.reward
        assert reward is not None
        return lambda: LearnedReward(pole(), reward, lesson.features)

    asked = taught(Teacher(), seed=seed)
    return game(learn_reward(pole(), asked, improve, ASKING, seed=seed, fitting=fit_network))


def _uniform(seed: int) -> Callable[[Any], int]:
    rng = np.random.default_rng(seed)
    return lambda _: int(rng.integers(2))


def _trained(
    make: Callable[[], gymnasium.Env[Any, Any]], steps: int, seed: int
) -> Callable[[Any], int]:
    """Return how PPO plays after so many steps."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    settings: dict[str, Any] = dict(ZOO)
    model = PPO("MlpPolicy", DummyVecEnv([make] * AT_ONCE), seed=seed, device="cpu", **settings)
    model.learn(steps)
    return lambda seen: int(model.predict(seen, deterministic=False)[0])


def _judged(choose: Callable[[Any], int], seed: int) -> float:
    """Return the mean return by the game's own reward."""
    game = pole()
    returns = [
        play(game, choose, episode=str(k), seed=1000 * seed + k).rewards.sum()
        for k in range(JUDGED)
    ]
    return float(np.mean(returns))
