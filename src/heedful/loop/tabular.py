"""Q-learning, SARSA and expected SARSA: a table that learns while it plays.

For any vector environment with ``Discrete`` observations and actions. Every action is drawn from
an epsilon-greedy policy around the table, with its exact probability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import VectorEnv
from torch import Tensor

from heedful.contract.transitions import Transition, Transitions
from heedful.objectives import expected_sarsa_target, q_learning_target, sarsa_target
from heedful.policy import Choices, EpsilonGreedy, Events, Greedy, LogitWrapper, Schema, TabularQ
from heedful.policy import draw as draw_unit
from heedful.policy.tabular import TableState

Rule = Literal["q_learning", "sarsa", "expected_sarsa"]


@dataclass(frozen=True, slots=True)
class Linear:
    """A number that goes from ``start`` to ``end`` in a straight line, and stays there.

    Attributes:
        start: at the first episode.
        end: from the share ``over`` of all episodes on.
        over: in (0, 1].
    """

    start: float
    end: float
    over: float = 1.0

    def at(self, share: float) -> float:
        """Return the number when ``share`` of all episodes have ended.

        >>> Linear(1.0, 0.0, over=0.5).at(0.25)
        0.5
        """
        return self.start + (self.end - self.start) * min(1.0, share / self.over)


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularLearning:
    """How a table learns.

    Attributes:
        episodes: how many to play, over all environments of the vector.
        rule: the target, one of :mod:`heedful.objectives.temporal_difference`.
        gamma: the discount of one step, in [0, 1].
        step_size: how far a value moves towards its target, in (0, 1]. It starts large, so that a
            table of zeros is soon left, and ends small, so that chance averages out.
        epsilon: the share of uniform choices, in [0, 1]. Half of the episodes go from pure
            exploration to nearly none: what the greedy policy meets is learned best.

    Raises:
        ValueError: a value is out of its range; the message names it.
    """

    episodes: int
    rule: Rule = "q_learning"
    gamma: float = 0.99
    step_size: Linear = Linear(0.5, 0.02)
    epsilon: Linear = Linear(1.0, 0.02, over=0.5)

    def __post_init__(self) -> None:
        """Refuse what cannot be learned by."""
        if self.episodes < 1:
            raise ValueError(f"episodes is {self.episodes}: play at least 1")
        if self.rule not in get_args(Rule):
            raise ValueError(f"rule is {self.rule!r}; known: {', '.join(get_args(Rule))}")
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"gamma is {self.gamma}; it must lie in [0, 1]")
        for name, line in (("step_size", self.step_size), ("epsilon", self.epsilon)):
            if not (0.0 <= line.start <= 1.0 and 0.0 <= line.end <= 1.0 and 0.0 < line.over <= 1.0):
                raise ValueError(f"{name} is {line}: start and end in [0, 1], over in (0, 1]")
        if self.step_size.start == 0.0:
            raise ValueError("step_size starts at 0: nothing would be learned; start above it")


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A table, and how its episodes went while it learned.

    Attributes:
        table: the action values, [states, actions]; wrap it to act.
        returns: float64 [episodes], undiscounted, in the order in which episodes ended.
        lengths: int64 [episodes], steps.
    """

    table: TabularQ
    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """One step as it was played, for who wants to watch.

    Attributes:
        transition: what happened; states and actions number rows and columns of the table.
        logps: float64 [N], natural-log probability with which each action was drawn.
        epsilon: the share of uniform choices it was drawn with.
    """

    transition: Transition
    logps: npt.NDArray[np.float64]
    epsilon: float


def behaviour(table: TabularQ, epsilon: float) -> LogitWrapper:
    """Return the policy that acts: epsilon-greedy around ``table``, greedy where epsilon is 0."""
    return EpsilonGreedy(table, share=epsilon) if epsilon > 0.0 else Greedy(table)


def learn(
    environment: VectorEnv[Any, Any, Any],
    learning: TabularLearning,
    *,
    seed: int,
    watch: Callable[[Played], None] | None = None,
) -> Learned:
    """Play ``learning.episodes`` episodes and return the table that was learned.

    After every step of the vector each table entry moves towards the mean target of those
    environments that were there, as far as if they had come one after another. With one
    environment it is the textbook's algorithm (Sutton & Barto 2018, sections 6.4 to 6.6); more
    of them cost less a step. SARSA acts by what its target used; after an episode that was cut
    off, where no action follows, its target is the expected one.

    The same seed gives the same table. Episodes end by the environment's own rules: give one that
    might never end a time limit.

    Args:
        environment: of one or more members, in any autoreset mode.
        learning: how.
        seed: of the environment, and of the draws.
        watch: called after every step, before the table changes.

    Raises:
        TypeError: observations or actions are not ``Discrete``.
        ValueError: an observation outside its space, or a reward that is not finite.
    """
    observed = _discrete(environment, "observation")
    acts = _discrete(environment, "action")
    table = TabularQ(Schema(int(acts.n), features=1), states=int(observed.n))
    with torch.no_grad():
        play = _Play(environment, table, learning, int(observed.start), int(acts.start), seed)
        while len(play.returns) < learning.episodes:
            play.step(watch)
    return Learned(
        table.requires_grad_(False),
        np.array(play.returns[: learning.episodes]),
        np.array(play.lengths[: learning.episodes]),
    )


class _Play:
    """A game that is going on: the table, where each environment stands, what it does next."""

    def __init__(
        self,
        environment: VectorEnv[Any, Any, Any],
        table: TabularQ,
        learning: TabularLearning,
        first_state: int,
        first_action: int,
        seed: int,
    ) -> None:
        self.table, self.learning = table, learning
        self.first_state, self.first_action = first_state, first_action
        self.transitions = Transitions(environment, seed=seed)
        self.rng = torch.Generator().manual_seed(seed)
        n = environment.num_envs
        self.everything = Choices.everything(table.schema.size, n)
        self.nothing_new = Events.none(n, table.schema.features)
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self.return_so_far, self.length_so_far = np.zeros(n), np.zeros(n, np.int64)
        self._schedule()
        self.actions, self.logps = self._choose()

    def step(self, watch: Callable[[Played], None] | None) -> None:
        """Play one step, learn from it, and choose the next one."""
        done = self.transitions.step(self.actions + self.first_action)
        logps = self.logps[done.rows]
        if watch is not None:
            watch(Played(self._numbered(done), logps, self.epsilon))
        if self._count(done):
            self._schedule()
        if self.learning.rule == "sarsa":  # the action of the target is the action that is done
            self.actions, self.logps = self._choose()
            self._learn(done)
        else:
            self._learn(done)
            self.actions, self.logps = self._choose()

    def _schedule(self) -> None:
        share = len(self.returns) / self.learning.episodes
        self.epsilon = self.learning.epsilon.at(share)
        self.step_size = self.learning.step_size.at(share)
        self.policy = behaviour(self.table, self.epsilon)

    def _states(self, observations: npt.NDArray[Any]) -> Tensor:
        """Return the rows of the table that observations number, int64 [N]."""
        states = observations.astype(np.int64) - self.first_state
        outside = (states < 0) | (states >= self.table.states)
        if outside.any():
            last = self.first_state + self.table.states - 1
            raise ValueError(
                f"an environment gave the observation {observations[outside][0]}, outside its "
                f"space {self.first_state}..{last}"
            )
        return torch.from_numpy(states)

    def _logits(self, states: Tensor) -> Tensor:
        """Return the acting policy's logits in ``states`` [n], one for each environment."""
        return self.policy.step(TableState(states), self.nothing_new, self.everything)[1]

    def _choose(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        logits = self._logits(self._states(self.transitions.observation))
        actions, logps = draw_unit(logits, self.rng)
        return actions.numpy(), logps.numpy()

    def _count(self, done: Transition) -> bool:
        """Add up returns and lengths; say whether an episode ended."""
        self.return_so_far[done.rows] += done.rewards
        self.length_so_far[done.rows] += 1
        for row in done.rows[done.over]:
            self.returns.append(float(self.return_so_far[row]))
            self.lengths.append(int(self.length_so_far[row]))
            self.return_so_far[row], self.length_so_far[row] = 0.0, 0
        return bool(done.over.any())

    def _learn(self, done: Transition) -> None:
        """Move the entries of ``done`` towards their targets."""
        if not len(done.rows):
            return
        states, following = self._states(done.observations), self._states(done.following)
        actions = torch.from_numpy(done.actions - self.first_action)
        entries = states * self.table.schema.size + actions
        move(self.table.q.data.view(-1), entries, self._targets(done, following), self.step_size)

    def _targets(self, done: Transition, following: Tensor) -> Tensor:
        rewards = torch.from_numpy(done.rewards)
        discounts = torch.from_numpy(np.where(done.terminated, 0.0, self.learning.gamma))
        values = self.table.q[following].double()
        if self.learning.rule == "q_learning":
            return q_learning_target(rewards, discounts, values)
        if self.learning.rule == "expected_sarsa":
            return expected_sarsa_target(rewards, discounts, values, self._p(done, following))
        chosen = torch.from_numpy(self.actions[done.rows])
        targets = sarsa_target(rewards, discounts, values, chosen)
        if not done.truncated.any():
            return targets
        expected = expected_sarsa_target(rewards, discounts, values, self._p(done, following))
        return torch.where(torch.from_numpy(done.truncated), expected, targets)

    def _p(self, done: Transition, following: Tensor) -> Tensor:
        """Return the acting policy's probabilities in ``following``, float64 [N, A]."""
        everywhere = torch.zeros(len(self.actions), dtype=torch.int64)
        everywhere[torch.from_numpy(done.rows)] = following
        return torch.softmax(self._logits(everywhere).double(), -1)[torch.from_numpy(done.rows)]

    def _numbered(self, done: Transition) -> Transition:
        return Transition(
            done.rows,
            self._states(done.observations).numpy(),
            done.actions - self.first_action,
            done.rewards,
            self._states(done.following).numpy(),
            done.terminated,
            done.truncated,
            done.info,
        )


def move(values: Tensor, entries: Tensor, targets: Tensor, step_size: float) -> None:
    """Move ``values`` [M] at ``entries`` int64 [N] towards ``targets`` [N], in place.

    An entry that stands k times moves 1 - (1 - step_size)^k of the way to the mean of its targets:
    as far as k moves in a row, and in no order.

    >>> values = torch.zeros(3)
    >>> move(values, torch.tensor([1, 1]), torch.tensor([1.0, 3.0]), step_size=0.5)
    >>> values
    tensor([0.0000, 1.5000, 0.0000])
    """
    if len(entries) == 1:  # the textbook's case, without the bookkeeping
        values[entries] += step_size * (targets.to(values) - values[entries])
        return
    met, which, times = torch.unique(entries, return_inverse=True, return_counts=True)
    mean = torch.zeros(len(met), dtype=torch.float64).index_add_(0, which, targets.double()) / times
    share = 1.0 - (1.0 - step_size) ** times
    values[met] += (share * (mean - values[met])).to(values)


def _discrete(environment: VectorEnv[Any, Any, Any], what: str) -> Discrete[np.int64]:
    space = getattr(environment, f"single_{what}_space")
    if not isinstance(space, Discrete):
        raise TypeError(
            f"the environment's {what} space is {space}: a table needs a Discrete one; number the "
            "cases in a wrapper, or use a network"
        )
    return space
