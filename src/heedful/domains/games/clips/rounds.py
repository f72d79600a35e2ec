"""Play, ask, fit, relabel, play better: learning a reward from comparisons of clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from heedful.domains.games.clips.features import Floats, StepFeatures, features_of
from heedful.domains.games.clips.sampling import Pair, disputed_pairs, random_pairs, stacked
from heedful.domains.games.clips.teachers import Teacher
from heedful.domains.games.clips.trajectories import Move, Plays, play
from heedful.record import Span
from heedful.reward.clips import ClipPairs, ClipReward, Fitting, agreed, fit_linear
from heedful.reward.lapsing import Lapsing
from heedful.reward.questions import Answer

Ask = Callable[[Span, Span], Answer]
"""Somebody who answers which of two clips is better, and has the plays they are cut from."""

Improve = Callable[["Lesson"], Move]
"""Makes a way to play of what was learned so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How much is played and asked.

    Attributes:
        questions: how many, over all rounds; those that nobody can tell count, too.
        rounds: of playing, asking and fitting.
        episodes: played in each round.
        length: T, steps of a clip.
        at_random: the share of questions drawn at random; the others are those, of ``candidates``
            times as many, that the members disagree on most. The first round's are all random.
        candidates: see above.
        standing: a clip begins at most so many steps after the game is over. Where being there is
            what people want, it has to be seen; where all that earns happens before, it is a waste.
        lapse: the share of answers that the model takes for random.

    Raises:
        ValueError: a number is out of its range.
    """

    questions: int
    rounds: int = 5
    episodes: int = 20
    length: int = 10
    at_random: float = 0.3
    candidates: int = 10
    standing: int = 0
    lapse: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        for name in ("rounds", "episodes", "length", "candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1")
        if self.questions < self.rounds:
            raise ValueError(f"{self.questions} questions in {self.rounds} rounds: ask more")
        if not 0.0 <= self.at_random <= 1.0:
            raise ValueError(f"at_random is {self.at_random}: a share lies in [0, 1]")


@dataclass(slots=True, eq=False)
class Lesson:
    """What was played, asked and learned so far.

    Attributes:
        features: how steps are seen.
        plays: the buffer.
        pairs: every pair that was answered; no answer is ever dropped.
        outcomes: 1, 0 or 1/2 for each.
        unsure: questions that nobody could answer.
        reward: the newest model, ``None`` before the first.
        agreement: of each round after the first, the share of answers to random questions that the
            model foretold before it learned from them; NaN where all were ties.
        fell: the round after which agreement had fallen and learning stopped, else ``None``.
    """

    features: StepFeatures
    plays: Plays = field(default_factory=Plays)
    pairs: list[Pair] = field(default_factory=list)
    outcomes: list[float] = field(default_factory=list)
    unsure: int = 0
    reward: ClipReward | None = None
    agreement: list[float] = field(default_factory=list)
    fell: int | None = None

    def steps(self) -> Floats:
        """Return the features of every step in the buffer, [N, F], in the order of play."""
        every = self.plays.trajectories.values()
        return np.concatenate([self.features(one.observations, one.moves) for one in every])

    def relabelled(self) -> list[Floats]:
        """Return the newest model's reward of every step, [T] for each trajectory.

        Numbers of an earlier version mean something else: compute them anew when it changes.
        """
        if self.reward is None:
            raise ValueError("there is no model yet: ask first")
        lengths = [len(one) for one in self.plays.trajectories.values()]
        return np.split(self.reward(self.steps()), np.cumsum(lengths)[:-1])

    def compared(self) -> ClipPairs:
        """Return what was answered, as features."""
        left = stacked(self.plays, [pair[0] for pair in self.pairs], self.features)
        right = stacked(self.plays, [pair[1] for pair in self.pairs], self.features)
        return ClipPairs(left, right, np.array(self.outcomes))


def learn_reward(
    environment: gymnasium.Env[Any, Any],
    ask: Callable[[Plays], Ask],
    improve: Improve,
    asking: Asking,
    *,
    seed: int,
    features: StepFeatures | None = None,
    fitting: Fitting = fit_linear,
) -> Lesson:
    """Learn what somebody wants of play in ``environment``.

    Each round plays as ``improve`` says, asks about clips of it and of earlier play, and fits a new
    model to all answers there are. A model is judged on answers to random questions before it has
    learned from them; when that agreement has fallen by more than chance below the best so far, the
    policy has found where the model is wrong, and learning stops with the model that agreed best.

    Args:
        environment: whose episodes all have one length; see
            :class:`~heedful.domains.games.clips.FixedHorizon`.
        ask: given the buffer, returns who answers.
        improve: called before each episode; before the first answers there is no model.
        asking: how much.
        seed: of play, of questions and of fitting: the same seed gives the same lesson.
        features: how steps are seen; by default as suits the spaces.
        fitting: how a member of the model is fitted.
    """
    space = environment.observation_space, environment.action_space
    lesson, rng = Lesson(features or features_of(*space)), np.random.default_rng(seed)
    answer, guard = ask(lesson.plays), Agreement()
    best: ClipReward | None = None
    for number in range(asking.rounds):
        for episode, one in enumerate(rng.integers(2**31, size=asking.episodes).tolist()):
            name = f"{number}/{episode}"
            lesson.plays.add([play(environment, improve(lesson), episode=name, seed=one)])
        n = asking.questions * (number + 1) // asking.rounds
        n -= len(lesson.pairs) + lesson.unsure
        held_out = _ask(lesson, answer, n, asking, rng)
        if lesson.reward is not None:
            foretold = _foretold(lesson, held_out)
            lesson.agreement.append(float(foretold.mean()) if len(foretold) else float("nan"))
            if guard.fell(float(foretold.sum()), len(foretold)):
                lesson.fell, lesson.reward = number, best
                break
            if guard.newest_is_best:
                best = lesson.reward
        if lesson.pairs:
            lesson.reward = _fitted(lesson, asking, fitting, int(rng.integers(2**31)))
        best = best or lesson.reward
    return lesson


@dataclass(slots=True)
class Agreement:
    """Whether a model still foretells answers that it has not seen.

    A fall is a rate lower than the best one before by more than ``errors`` standard errors of their
    difference, after at least ``fewest`` answers each.

    Attributes:
        errors: how many.
        fewest: answers.
    """

    errors: float = 2.0
    fewest: int = 10
    newest_is_best: bool = field(default=True, init=False)
    _best: tuple[float, float] | None = field(default=None, init=False)
    _waiting: list[float] = field(default_factory=lambda: [0.0, 0.0], init=False)

    def fell(self, foretold: float, n: float) -> bool:
        """Take ``foretold`` of ``n`` further answers; say whether agreement has fallen.

        Answers wait until there are enough of them.
        """
        self._waiting[0] += foretold
        self._waiting[1] += n
        self.newest_is_best = False
        right, total = self._waiting
        if total < self.fewest:
            return False
        self._waiting = [0.0, 0.0]
        before = self._best
        if before is None or right / total >= before[0] / before[1]:
            self._best, self.newest_is_best = (right, total), True
            return False
        shared = (right + before[0]) / (total + before[1])
        error = np.sqrt(shared * (1.0 - shared) * (1.0 / total + 1.0 / before[1]))
        return bool(before[0] / before[1] - right / total > self.errors * error)


def taught(teacher: Teacher, *, seed: int, sign: float = 1.0) -> Callable[[Plays], Ask]:
    """Return a teacher that looks at the environment's own rewards, for ``ask``.

    Args:
        teacher: how it answers.
        seed: of its slips.
        sign: -1.0 for one who wants the opposite of what the environment rewards.
    """
    rng = np.random.default_rng(seed)

    def begin(plays: Plays) -> Ask:
        return lambda left, right: teacher(sign * plays.score(left), sign * plays.score(right), rng)

    return begin


def _ask(
    lesson: Lesson, answer: Ask, n: int, asking: Asking, rng: np.random.Generator
) -> list[int]:
    """Ask ``n`` questions; return which of the answered pairs were drawn at random."""
    trajectories = list(lesson.plays.trajectories.values())
    blind = n if lesson.reward is None else int(np.ceil(n * asking.at_random))

    def drawn(n: int) -> list[Pair]:
        return random_pairs(trajectories, n, asking.length, rng, standing=asking.standing)

    asked = drawn(blind)
    if lesson.reward is not None and n > blind:
        wide = drawn((n - blind) * asking.candidates)
        asked += disputed_pairs(lesson.plays, wide, n - blind, lesson.features, lesson.reward)
    held_out = []
    for number, pair in enumerate(asked):
        outcome = answer(*pair).outcome
        if np.isnan(outcome):
            lesson.unsure += 1
            continue
        if number < blind:
            held_out.append(len(lesson.pairs))
        lesson.pairs.append(pair)
        lesson.outcomes.append(outcome)
    return held_out


def _foretold(lesson: Lesson, rows: list[int]) -> Floats:
    """Return whether the answers at ``rows`` that are no ties were foretold."""
    told = [row for row in rows if lesson.outcomes[row] != 0.5]
    if not told or lesson.reward is None:
        return np.zeros(0)
    left = stacked(lesson.plays, [lesson.pairs[row][0] for row in told], lesson.features)
    right = stacked(lesson.plays, [lesson.pairs[row][1] for row in told], lesson.features)
    outcomes = np.array([lesson.outcomes[row] for row in told])
    return agreed(lesson.reward.prefer(left, right), outcomes)


def _fitted(lesson: Lesson, asking: Asking, fitting: Fitting, seed: int) -> ClipReward:
    before = () if lesson.reward is None else lesson.reward.penalties
    return ClipReward.fit(
        lesson.compared(),
        lesson.steps(),
        likelihood=Lapsing(asking.lapse),
        fitting=fitting,
        penalties=before,
        seed=seed,
    )
