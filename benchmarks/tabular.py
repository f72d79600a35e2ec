"""Tables of action values on toy games and in a small shop, the exact optimum beside each.

A greedy policy's value is computed from the game's rules, not played: it has no sampling error. The
spread is over seeds, of the environment and of the draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.toy_text.frozen_lake import generate_random_map
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from benchmarks import Table
from heedful.domains.recommendation.shop import (
    LastClickShop,
    ShopEnv,
    ShopParameters,
    expected_clicks,
)
from heedful.domains.recommendation.shop.headroom import REFERENCES, Memory, clicks_of
from heedful.evaluate.exact import Rules, greedy, optimal_value, policy_value
from heedful.loop.tabular import Learned, Linear, Rule, TabularLearning, learn

SEEDS = range(10)
RULES: tuple[Rule, ...] = ("q_learning", "sarsa", "expected_sarsa")
NAMES = {"q_learning": "Q-learning", "sarsa": "SARSA", "expected_sarsa": "expected SARSA"}
LAST = 100  # episodes of an online return
PATIENCE = 200  # steps after which a greedy policy that walks in circles is stopped

# Sutton & Barto 2018, example 6.6: undiscounted, both constant.
TEXTBOOK: dict[str, Any] = {
    "gamma": 1.0,
    "step_size": Linear(0.5, 0.5),
    "epsilon": Linear(0.1, 0.1),
}

SHOP = ShopParameters(items=12, genres=4, slate=1)
# People differ where their numbers do not: targets are noisy, and steps must be small.
SHOP_LEARNING: dict[str, Any] = {"gamma": 0.9, "step_size": Linear(0.1, 0.001)}
SHOPPERS = 256  # people at once while learning
DECISIONS, BEHIND = 24, 5  # of each judged person, and how many of them come before it counts


@dataclass(frozen=True)
class Game:
    """A toy game, and how a table learns it.

    Attributes:
        name: its id in the registry.
        episodes: to learn from.
        target: a greedy value asked for.
        at_once: environments in the vector.
        settings: of :class:`TabularLearning`, beside the defaults.
    """

    name: str
    episodes: int
    target: float
    at_once: int
    settings: dict[str, Any]
    rules: tuple[Rule, ...] = RULES[:1]


@dataclass(frozen=True)
class Scale:
    """How much is played."""

    seeds: Sequence[int] = SEEDS
    share: float = 1.0  # of every number of episodes
    visits: int = 200_000
    judged: int = 2000


QUICK = Scale(seeds=SEEDS[:2], share=0.1, visits=5000, judged=200)


def newest(name: str) -> str:
    """Return the id of the newest version that the registry holds of ``name``."""
    versions = [spec for spec in gymnasium.registry.values() if spec.name == name]
    return max(
        (spec for spec in versions if spec.namespace is None), key=lambda spec: spec.version or 0
    ).id


def run(quick: bool) -> list[Table]:
    """Learn every game by every seed."""
    scale = QUICK if quick else Scale()
    cliff = Game(newest("CliffWalking"), 500, -13.0, 1, TEXTBOOK, RULES)
    games = [
        cliff,
        Game(newest("Taxi"), 5000, 7.7, 16, {}),
        Game(newest("FrozenLake"), 10_000, 0.72, 16, {}),
    ]
    return [_learned(games, scale), _exact(), _shop(scale)]


def _learned(games: Sequence[Game], scale: Scale) -> Table:
    rows, online = [], {}
    for game in games:
        for rule in game.rules:
            row, online[game.name, rule] = _row(game, rule, scale)
            rows.append(row)
    cliff = games[0].name
    ahead = np.subtract(online[cliff, "sarsa"], online[cliff, "q_learning"])
    return Table(
        "Toy games",
        (
            "game",
            "rule",
            "exact optimum",
            "greedy, exact",
            "worst seed",
            "target",
            "seeds that reach it",
            f"online return, last {LAST}",
            "episodes",
            "steps",
            "CPU s",
        ),
        tuple(rows),
        f"Means of {len(scale.seeds)} seeds ± standard deviation over seeds; CPU seconds per seed, "
        "of playing and learning. CliffWalking with the textbook's numbers (gamma 1, step size "
        "0.5, epsilon 0.1) in one environment, a greedy policy that walks in circles stopped after "
        f"{PATIENCE} steps; Taxi and FrozenLake with the defaults, 16 environments at once. On "
        f"{cliff} SARSA's online return is {ahead.mean():.1f} above Q-learning's, and "
        f"{ahead.min():.1f} with the seed where that is least. Targets are for Q-learning.",
    )


def _row(game: Game, rule: Rule, scale: Scale) -> tuple[tuple[str, ...], list[float]]:
    """Return the table's row, and the online return by each seed."""
    one = gymnasium.make(game.name)
    limit = one.spec.max_episode_steps if one.spec is not None else None
    rules = Rules.of_environment(one)
    learning = TabularLearning(
        episodes=max(LAST, int(game.episodes * scale.share)), rule=rule, **game.settings
    )
    values, online, steps, seconds = [], [], [], []
    for seed in scale.seeds:
        learned, spent = _timed(_environment(game), learning, seed)
        policy = greedy(learned.table.q.numpy())
        values.append(policy_value(rules, policy, horizon=limit or PATIENCE))
        online.append(float(learned.returns[-LAST:].mean()))
        steps.append(learned.lengths.sum())
        seconds.append(spent)
    reached = sum(value >= game.target - 1e-9 for value in values)
    asked = rule == "q_learning"
    cells = (
        game.name,
        NAMES[rule],
        f"{optimal_value(rules, horizon=limit):.4g}",
        _spread(values, 3),
        f"{min(values):.3f}",
        f"{game.target:g}" if asked else "",
        f"{reached} of {len(values)}" if asked else "",
        _spread(online, 2),
        f"{learning.episodes:,}",
        f"{np.mean(steps):,.0f}",
        f"{np.mean(seconds):.1f}",
    )
    return cells, online


def _environment(game: Game) -> Any:
    mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return gymnasium.make_vec(
        game.name, game.at_once, vectorization_mode="sync", vector_kwargs=mode
    )


def _timed(environment: Any, learning: TabularLearning, seed: int) -> tuple[Learned, float]:
    started = time.process_time()
    learned = learn(environment, learning, seed=seed)
    spent = time.process_time() - started
    environment.close()
    return learned, spent


def _exact() -> Table:
    """What best play comes to, for registered games and for maps drawn at random."""
    names = ["CliffWalking", "CliffWalkingSlippery", "FrozenLake", "FrozenLake8x8", "Taxi"]
    games = [(one, gymnasium.make(one)) for one in map(newest, names)]
    for size, seed in ((5, 1), (6, 2), (10, 3)):
        layout = generate_random_map(size=size, seed=seed)
        title = f"FrozenLake, a random map of {size} x {size} (seed {seed})"
        games.append((title, gymnasium.make(newest("FrozenLake"), desc=layout)))
    rows = []
    for title, game in games:
        limit = game.spec.max_episode_steps if game.spec is not None else None
        started = time.process_time()
        value = optimal_value(Rules.of_environment(game), horizon=limit)
        spent = time.process_time() - started
        rows.append((title, str(limit or "none"), f"{value:.4f}", f"{1000 * spent:.0f}"))
    return Table(
        "Exact optima",
        ("game", "time limit", "value of best play", "CPU ms"),
        tuple(rows),
        "Undiscounted, from the transition table; best play may know how much time is left.",
    )


def _shop(scale: Scale) -> Table:
    """Clicks per decision of learned tables and of references, on the same new people."""
    references = {
        name: [_reference(choose, seed, scale.judged) for seed in scale.seeds]
        for name, choose in REFERENCES.items()
    }
    rows = [(name, _spread(clicks, 3), "", "") for name, clicks in references.items()]
    for rule in RULES:
        learning = TabularLearning(episodes=scale.visits, rule=rule, **SHOP_LEARNING)
        clicks, steps, seconds = [], [], []
        for seed in scale.seeds:
            learned, spent = _timed(LastClickShop(SHOPPERS, SHOP), learning, seed)
            clicks.append(_table_clicks(learned, seed, scale.judged))
            steps.append(learned.lengths.sum())
            seconds.append(spent)
        rows.insert(
            -1,
            (
                f"table, {NAMES[rule]}",
                _spread(clicks, 3),
                f"{np.mean(steps):,.0f}",
                f"{np.mean(seconds):.1f}",
            ),
        )
    return Table(
        "A small shop",
        ("policy", "expected clicks per decision", "decisions learned from", "CPU s"),
        tuple(rows),
        f"`heedful/Shop-v0` with {SHOP.items} items of {SHOP.genres} genres, one shown at a time; "
        f"means of {len(scale.seeds)} seeds ± standard deviation over seeds. Judged on "
        f"{scale.judged:,} new people a seed, the same for all, {DECISIONS} decisions each, the "
        f"first {BEHIND} not counted. Tables are greedy when judged.",
    )


def _table_clicks(learned: Learned, seed: int, people: int) -> float:
    best = learned.table.q.numpy().argmax(1)
    shop = LastClickShop(people, SHOP)
    observed, _ = shop.reset(seed=_judges(seed))
    clicks = []
    for _ in range(DECISIONS):
        items = best[observed]
        clicks.append(expected_clicks(shop.shop, items[:, None]).mean())
        observed = shop.step(items)[0]
    return float(np.mean(clicks[BEHIND:]))


def _reference(choose: Callable[[Memory], NDArray[np.int64]], seed: int, people: int) -> float:
    shop = ShopEnv(people, SHOP)
    shop.reset(seed=_judges(seed))
    shop.action_space.seed(seed)
    memory, clicks = Memory.of(shop), []
    for _ in range(DECISIONS):
        slates = choose(memory)
        clicks.append(expected_clicks(shop, slates).mean())
        infos = shop.step(slates)[-1]
        memory.see(slates, clicks_of(infos, slates.shape))
    return float(np.mean(clicks[BEHIND:]))


def _judges(seed: int) -> int:
    """Return the seed of people that nobody learned from."""
    return 1000 + seed


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"
