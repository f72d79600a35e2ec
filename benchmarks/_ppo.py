"""Games of Gymnasium learned to a stated mean return: what several benchmarks share."""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import torch
import torch.utils.tensorboard  # here, so that no clock sees how long it takes

from heedful.config import Interact
from heedful.domains.games import Games
from heedful.loop.deep_q import deep_q
from heedful.loop.interact import interact
from heedful.loop.run import Run
from heedful.loop.vectorised import RECENT, Vectorised
from heedful.policy import Feedforward, Greedy, Policy
from heedful.store import Snapshot

SEEDS = range(5)
APART = 1_000
"""How far the seeds of the games a policy is judged in lie from those it was trained in."""

# Neither a reference to stay near nor a floor of entropy: this is plain PPO from nothing.
PLAIN: dict[str, Any] = {"kl": 0.0, "kl_limit": 0.0, "entropy_floor": 0.0, "fall": 0.0}
PLAIN |= {"clip": 0.5, "save": 1_000_000}


@dataclass(frozen=True)
class Task:
    """A game, and how it is learned.

    Attributes:
        game: its id.
        target: a mean return.
        limit: steps after which it counts as missed.
        settings: of ``[interact]``, beside plain PPO.
        seeds: from which it is learned.
        objective: by what.
        stop: the mean return over the last 100 episodes, as they were drawn while learning, at
            which it is enough; the target by default. A mean that is looked at every round is at
            its best when it gets there: what is judged apart needs some room.
    """

    game: str
    target: float
    limit: int
    settings: Mapping[str, Any]
    seeds: Sequence[int] = SEEDS
    objective: Literal["ppo", "dqn"] = "ppo"
    stop: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How one seed went.

    Attributes:
        steps: decisions made.
        seconds: CPU seconds, imports excluded.
        reached: the mean return over the last 100 episodes; NaN before there were so many.
        judged: the mean return of the best moves in 100 games of their own.
    """

    steps: int
    seconds: float
    reached: float
    judged: float = math.nan


def ours(task: Task, seed: int, *, judge: bool = False) -> Outcome:
    """Learn ``task`` with the house's policy, trainer and optimiser loop; judging takes no time."""
    started = time.process_time()
    section = Interact(**{**PLAIN, **task.settings})
    per_round = section.environments * section.decisions
    section = section.model_copy(update={"rounds": math.ceil(task.limit / per_round)})
    games = Games({"game": task.game})
    torch.manual_seed(seed)
    policy = Feedforward(
        games.schema(games.vocabulary(Snapshot.of([]))),
        activation="relu" if task.objective == "dqn" else "tanh",
    ).eval()
    environment = games.environment(section.environments, seed, {})
    rollouts = Vectorised(environment, steps=section.decisions, gamma=section.gamma, seed=seed)
    seen: list[float] = []
    stop = task.target if task.stop is None else task.stop

    def enough(found: Mapping[str, float]) -> bool:
        seen.append(found.get(f"return_of_{RECENT}", math.nan))
        return seen[-1] >= stop

    with tempfile.TemporaryDirectory() as folder:
        run_ = Run(Path(folder), {})
        if task.objective == "dqn":
            deep_q(policy, rollouts, section, run_, seed=seed, enough=enough)
        else:
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
    seconds = time.process_time() - started
    found = judged(games, policy, seed) if judge else math.nan
    return Outcome(len(seen) * per_round, seconds, seen[-1], found)


def judged(games: Games, policy: Policy, seed: int) -> float:
    """Return the mean return of the best moves in 100 games, each in an environment of its own."""
    limit = gymnasium.spec(games.options.game).max_episode_steps
    assert limit is not None
    environment = games.environment(RECENT, 0, {})
    rollouts = Vectorised(environment, steps=limit, gamma=1.0, seed=APART + seed)
    batch = rollouts.play(Greedy(policy).eval(), 0).batch
    environment.close()
    over = batch.bootstrap | (batch.mask & (batch.discounts == 0.0))
    first = over.cumsum(1) - over.long() == 0  # up to the first end
    return float((batch.rewards * (batch.mask & first)).sum(1).mean())


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median of ``values``, and the lowest and the highest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def told(outcome: Outcome, name: str, seed: int) -> Outcome:
    """Say on stderr how a seed went: the table is a while in coming."""
    print(
        f"{name}, seed {seed}: {outcome.reached:.1f} after {outcome.steps:,} steps and "
        f"{outcome.seconds:.1f} CPU s; {outcome.judged:.1f} judged apart",
        file=sys.stderr,
        flush=True,
    )
    return outcome
