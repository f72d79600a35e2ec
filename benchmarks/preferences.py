"""Play learned from comparisons of clips: by what share of the best value, with whose answers.

Teachers are simulated and look at the game's own reward; a reward model sees states and moves.
Values are exact, of policies that are greedy in what they learned.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from benchmarks import Table, _clips_by_ppo
from benchmarks.tabular import newest
from heedful.domains.games.clips import (
    Asking,
    FixedHorizon,
    LearnedRewardVector,
    Lesson,
    Teacher,
    learn_reward,
    six_teachers,
    taught,
)
from heedful.evaluate.exact import Rules, greedy, optimal_value, policy_value
from heedful.evaluate.exact import Table as Transitions
from heedful.loop.tabular import Linear, TabularLearning, learn

Floats = NDArray[np.float64]

SEEDS = range(10, 20)  # settings were chosen on others
GAMMA = 0.99
EPSILON = 0.1  # share of uniform moves in play between answers
# With so few, clips of who falls again and again are all alike, and the model credits what stands
# beside the fall as much as the fall itself.
VARIED = 0.5
KNOWN = 2  # times a move was made somewhere before its consequences are believed
PLANNED = 5  # episodes after which play is planned anew
SLIPS = Linear(0.1, 0.02)  # as epsilon, while a table learns
SWEEPS, STILL = 300, 1e-4
DOUBT = 1.0


@dataclass(frozen=True)
class Game:
    """A toy game in which all episodes have one length, and stand still where the game is over.

    Attributes:
        name: its id in the registry.
        horizon: that length.
        asking: how much is played and asked.
        teachers: the six, on this game's scale.
        asked: the teacher of the target.
        target: share of the optimum.
        learning: how a table learns on the learned reward.
    """

    name: str
    horizon: int
    asking: Asking
    teachers: dict[str, Teacher]
    asked: str
    target: float
    learning: TabularLearning

    def make(self) -> FixedHorizon:
        """Return the game."""
        made = gymnasium.make(self.name, max_episode_steps=self.horizon, disable_env_checker=True)
        return FixedHorizon(made, self.horizon)

    def rules(self, sign: float = 1.0) -> Rules:
        """Return its rules, with rewards times ``sign``."""
        game = cast("Any", gymnasium.make(self.name).unwrapped)
        rules = Rules.of(standing(game.P), game.initial_state_distrib)
        return replace(rules, rewards=sign * rules.rewards)


CLIFF = Game(
    newest("CliffWalking"),
    100,
    Asking(questions=100, rounds=5, episodes=40, standing=100),
    six_teachers(unit=1.0, equal=2.0, skip=-50.0),
    "oracle",
    0.9,
    TabularLearning(episodes=400, gamma=GAMMA, epsilon=SLIPS),
)
LAKE = Game(
    newest("FrozenLake"),
    100,
    Asking(questions=700, rounds=7, episodes=50),
    six_teachers(unit=1.0, equal=0.5, skip=0.5),
    "mistake",
    0.85,
    TabularLearning(episodes=1000, gamma=GAMMA, epsilon=SLIPS),
)


def run(quick: bool) -> list[Table]:
    """Learn both games from all teachers by every seed."""
    seeds = SEEDS[:2] if quick else SEEDS
    return [
        _teachers(seeds),
        _targets(seeds, episodes=100 if quick else None),
        _opposed(seeds),
        _clips_by_ppo.table(quick=quick),
    ]


def standing(table: Transitions) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
    """Return the rules of a game that stands still where it would terminate."""
    over = {
        reached
        for row in table.values()
        for outcomes in row.values()
        for _, reached, _, terminated in outcomes
        if terminated
    }
    return {
        state: {
            move: [(1.0, state, 0.0, False)]
            if state in over
            else [(p, reached, reward, False) for p, reached, reward, _ in outcomes]
            for move, outcomes in row.items()
        }
        for state, row in table.items()
    }


def planned(following: Floats, rewards: Floats) -> Floats:
    """Return action values [S, A] of the best play, discounted by :data:`GAMMA`."""
    value = np.zeros(len(rewards))
    for _ in range(SWEEPS):
        q: Floats = rewards + GAMMA * (following @ value)
        new = q.max(1)
        if np.abs(new - value).max() < STILL:
            break
        value = new
    return q


class Explorer:
    """Plays by what was seen: greedy on the newest reward, drawn to moves that were hardly made.

    Moves made fewer than :data:`KNOWN` times are taken to lead back to where they are made, and to
    earn more than anything known there does (Brafman & Tennenholtz, R-max, JMLR 2002). Rewards are
    the newest model's, for all that was ever seen.
    """

    def __init__(self, states: int, moves: int, seed: int, chance: float = EPSILON) -> None:
        self._chance = chance
        self._counts = np.zeros((states, moves, states))
        self._rng = np.random.default_rng((seed, 1))
        self._seen = self._calls = 0
        self._best: list[int] = []

    def __call__(self, lesson: Lesson) -> Any:
        """Return how to play the next episode."""
        trajectories = list(lesson.plays.trajectories.values())
        for one in trajectories[self._seen :]:
            seen = one.observations
            np.add.at(self._counts, (seen[:-1], one.moves[:-1], seen[1:]), 1)
        self._seen = len(trajectories)
        if self._calls % PLANNED == 0:
            self._plan(lesson)
        self._calls += 1
        rng, best, moves, chance = self._rng, self._best, self._counts.shape[1], self._chance
        return lambda state: int(rng.integers(moves)) if rng.random() < chance else best[state]

    def _plan(self, lesson: Lesson) -> None:
        rewards = of_cases(lesson)
        made = self._counts.sum(2)
        known = made >= KNOWN
        following = self._counts / np.maximum(made, 1)[:, :, None]
        state, move = np.nonzero(~known)
        following[state, move] = 0.0
        following[state, move, state] = 1.0
        most = rewards[known].max(initial=0.0) + 1.0
        q = planned(following, np.where(known, rewards, most))
        self._best = (q + 1e-6 * self._rng.random(q.shape)).argmax(1).tolist()  # ties by chance


def of_cases(lesson: Lesson, doubt: float = 0.0) -> Floats:
    """Return the newest reward of every state and move, [S, A]; 0 where nobody could answer."""
    features = cast("Any", lesson.features)
    if lesson.reward is None:
        return np.zeros((features.states, features.moves))
    every = lesson.reward.doubting(doubt)(np.eye(features.width))
    found: Floats = every.reshape(features.states, features.moves)
    return found


def taught_by(
    game: Game,
    teacher: Teacher,
    seed: int,
    *,
    sign: float = 1.0,
    asking: Asking | None = None,
    chance: float = EPSILON,
) -> Lesson:
    """Return what is learned from one teacher's answers."""
    states, moves = game.rules().rewards.shape
    return learn_reward(
        game.make(),
        taught(teacher, seed=seed, sign=sign),
        Explorer(states, moves, seed, chance),
        asking or game.asking,
        seed=seed,
    )


def value_of(game: Game, q: Floats, *, sign: float = 1.0) -> float:
    """Return the exact return of greedy play within the horizon, by the game's own rewards."""
    return policy_value(game.rules(sign), greedy(q), horizon=game.horizon)


def share(game: Game, value: float, *, sign: float = 1.0) -> float:
    """Return the share of the optimum: of costs, the least over what they are."""
    best = optimal_value(game.rules(sign), horizon=game.horizon)
    return best / value if best < 0 else value / best


def _by_plan(game: Game, lesson: Lesson, *, doubt: float = 0.0, sign: float = 1.0) -> float:
    q = planned(game.rules().following, of_cases(lesson, doubt))
    return value_of(game, q, sign=sign)


def _by_table(game: Game, lesson: Lesson, learning: TabularLearning, seed: int) -> float:
    assert lesson.reward is not None
    same = {"autoreset_mode": AutoresetMode.SAME_STEP}
    inner = SyncVectorEnv([game.make] * 16, **cast("Any", same))
    reward, most = lesson.reward, float(lesson.reward(lesson.steps()).max())
    # All episodes last as long, so a constant changes no preference; below 0 a table of zeros is
    # hopeful of what was not tried.
    environment = LearnedRewardVector(inner, lambda step: reward(step) - most, lesson.features)
    learned = learn(environment, learning, seed=seed)
    environment.close()
    return value_of(game, learned.table.q.double().numpy())


def _teachers(seeds: Sequence[int]) -> Table:
    rows, worst = [], []
    for game in (CLIFF, LAKE):
        best = optimal_value(game.rules(), horizon=game.horizon)
        shares = {}
        for name, teacher in game.teachers.items():
            lessons = [taught_by(game, teacher, seed) for seed in seeds]
            values = [_by_plan(game, lesson) for lesson in lessons]
            shares[name] = [share(game, value) for value in values]
            ties = np.concatenate([np.equal(lesson.outcomes, 0.5) for lesson in lessons])
            rows.append(
                (
                    game.name,
                    name,
                    f"{game.asking.questions}",
                    f"{np.mean([lesson.unsure for lesson in lessons]):.0f}",
                    f"{np.mean(ties):.2f}" if len(ties) else "none",
                    _foretold(lessons),
                    _spread(values),
                    f"{best:.4g}",
                    _spread(shares[name]),
                    f"{min(shares[name]):.2f}",
                )
            )
        last = min(shares, key=lambda name: float(np.mean(shares[name])))
        worst.append(f"on {game.name} {last} ({np.mean(shares[last]):.2f})")
    return Table(
        "Six teachers",
        (
            "game",
            "teacher",
            "questions",
            "cannot tell",
            "ties among answers",
            "foretold",
            "value, exact",
            "optimum",
            "share of the optimum",
            "worst seed",
        ),
        tuple(rows),
        f"Means of {len(seeds)} seeds ± standard deviation over seeds. The learned reward is "
        "planned on exactly, with the game's rules and without time in the state; the value is "
        "that play's, by the game's own reward. A share of costs is the least cost over the cost. "
        "Foretold: the share of answers to random questions that the model gave before it learned "
        f"from them, ties left out. The worst teacher: {' and '.join(worst)}.",
    )


def _targets(seeds: Sequence[int], episodes: int | None) -> Table:
    rows = []
    for game in (CLIFF, LAKE):
        teacher = game.teachers[game.asked]
        learning = replace(game.learning, episodes=episodes or game.learning.episodes)
        blind = replace(game.asking, at_random=1.0)
        lessons = [taught_by(game, teacher, seed) for seed in seeds]
        at_random = [taught_by(game, teacher, seed, asking=blind) for seed in seeds]
        started = time.process_time()
        learned = [
            _by_table(game, les, learning, seed) for les, seed in zip(lessons, seeds, strict=True)
        ]
        spent = (time.process_time() - started) / len(seeds)
        ways = {
            f"Q-learning, {learning.episodes:,} episodes": learned,
            "planned exactly": [_by_plan(game, les) for les in lessons],
            "planned exactly, doubt subtracted": [
                _by_plan(game, les, doubt=DOUBT) for les in lessons
            ],
            "planned exactly, all questions at random": [_by_plan(game, les) for les in at_random],
        }
        for way, values in ways.items():
            shares = [share(game, value) for value in values]
            rows.append(
                (
                    game.name,
                    game.asked,
                    f"{game.asking.questions}",
                    way,
                    _spread(values),
                    _spread(shares),
                    f"{min(shares):.2f}",
                    f"{game.target:g}",
                    f"{spent:.1f}" if values is learned else "",
                )
            )
    return Table(
        "From a learned reward to play",
        (
            "game",
            "teacher",
            "questions",
            "play by",
            "value, exact",
            "share of the optimum",
            "worst seed",
            "target",
            "CPU s",
        ),
        tuple(rows),
        f"Means of {len(seeds)} seeds ± standard deviation over seeds. Q-learning plays in "
        "`LearnedRewardVector` and never sees the game's own reward; CPU seconds per seed are of "
        f"its playing and learning. Doubt: {DOUBT:g} standard deviation of the three members.",
    )


def _opposed(seeds: Sequence[int]) -> Table:
    game = CLIFF
    lessons = [taught_by(game, Teacher(), seed, sign=-1.0, chance=VARIED) for seed in seeds]
    wanted = [_by_plan(game, lesson, sign=-1.0) for lesson in lessons]
    own = [_by_plan(game, lesson) for lesson in lessons]
    best = optimal_value(game.rules(-1.0), horizon=game.horizon)
    cells = (
        game.name,
        f"{game.asking.questions}",
        _spread(wanted),
        f"{best:,.0f}",
        _spread([share(game, value, sign=-1.0) for value in wanted]),
        _spread(own),
    )
    return Table(
        "A preference that opposes the game's reward",
        ("game", "questions", "value, as wanted", "optimum", "share", "by the game's own reward"),
        (cells,),
        "The teacher wants the opposite of what the game rewards: to fall off the cliff, and to "
        f"take long. Between the answers {VARIED:.0%} of the moves are uniform. Means of "
        f"{len(seeds)} seeds, planned exactly.",
    )


def _foretold(lessons: Sequence[Lesson]) -> str:
    told = [one for lesson in lessons for one in lesson.agreement if not np.isnan(one)]
    return f"{np.mean(told):.2f}" if told else "none"


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}"
