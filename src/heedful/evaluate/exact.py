"""The exact value of play where the rules are known: dynamic programming over a transition table.

Gymnasium's toy games carry their rules in ``P``; so does any map of FrozenLake. Finite horizons
count down a time limit; without one, sweeps go on until the values stand still.
Source: Sutton & Barto 2018, chapter 4; Puterman 1994, chapter 4, for the finite horizon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Table = Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]

_STILL = 1e-10  # values that move less in a sweep stand still
_SWEEPS = 100_000


class NoExactValueError(ValueError):
    """The values do not come to rest: play may go on for ever."""


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What every action leads to.

    Attributes:
        following: float64 [S, A, S], probability to be in a state next, and still play: a row sums
            to 1 minus the probability that the episode terminates.
        rewards: float64 [S, A], expected reward of the step.
        start: float64 [S], where episodes begin.
    """

    following: Floats
    rewards: Floats
    start: Floats

    @classmethod
    def of(cls, table: Table, start: npt.ArrayLike) -> Self:
        """Read ``table[state][action]``: (probability, next state, reward, terminated) each.

        Args:
            table: ``environment.unwrapped.P`` of a toy game; states and actions count from 0.
            start: [S], where episodes begin: ``environment.unwrapped.initial_state_distrib``.

        Raises:
            ValueError: outcomes that are no distribution, or a state that is not in the table.
        """
        states, actions = len(table), len(table[0])
        following = np.zeros((states, actions, states))
        rewards = np.zeros((states, actions))
        for state, row in table.items():
            for action, outcomes in row.items():
                _check(state, action, outcomes, states)
                for p, reached, reward, terminated in outcomes:
                    rewards[state, action] += p * reward
                    following[state, action, reached] += 0.0 if terminated else p
        first = np.asarray(start, np.float64)
        if first.shape != (states,) or (first < 0).any() or not np.isclose(first.sum(), 1.0):
            raise ValueError(f"start must be a distribution over the table's {states} states")
        return cls(following, rewards, first)

    @classmethod
    def of_environment(cls, environment: Any) -> Self:
        """Read the rules of a Gymnasium environment that carries them.

        Raises:
            TypeError: it has no ``P`` or no ``initial_state_distrib``.
        """
        game = environment.unwrapped
        for name in ("P", "initial_state_distrib"):
            if not hasattr(game, name):
                raise TypeError(
                    f"{type(game).__name__} has no {name}: only an environment that carries its "
                    "transition table has an exact value"
                )
        return cls.of(game.P, game.initial_state_distrib)


def optimal_value(rules: Rules, *, horizon: int | None, gamma: float = 1.0) -> float:
    """Return the expected return of the best play from the start, by value iteration.

        V_0 = 0,   V_k(s) = max_a [ r(s, a) + gamma sum_s' p(s' | s, a) V_{k-1}(s') ]

    With a horizon the best play may know how much time is left: no table of states alone can do
    better than this, and few can do as well.

    Args:
        rules: of the game.
        horizon: the time limit in steps, ``None`` without one.
        gamma: the discount of one step.

    Raises:
        NoExactValueError: without a horizon, the values do not come to rest.
    """
    return _iterate(rules, None, horizon, gamma)


def policy_value(
    rules: Rules, policy: npt.ArrayLike, *, horizon: int | None, gamma: float = 1.0
) -> float:
    """Return the expected return of ``policy`` from the start, by policy evaluation.

        V_k(s) = sum_a policy(a | s) [ r(s, a) + gamma sum_s' p(s' | s, a) V_{k-1}(s') ]

    Args:
        rules: of the game.
        policy: [S, A], probabilities.
        horizon: the time limit in steps, ``None`` without one.
        gamma: the discount of one step.

    Raises:
        ValueError: ``policy`` is not a distribution in every state.
        NoExactValueError: without a horizon, the values do not come to rest.
    """
    p = np.asarray(policy, np.float64)
    if p.shape != rules.rewards.shape or (p < 0).any() or not np.allclose(p.sum(1), 1.0):
        raise ValueError(f"policy must be a distribution in every state, {rules.rewards.shape}")
    return _iterate(rules, p, horizon, gamma)


def greedy(values: npt.ArrayLike) -> Floats:
    """Return the policy [S, A] that takes the best of ``values`` [S, A], of several the first.

    >>> greedy([[0.0, 1.0], [2.0, 2.0]])
    array([[0., 1.],
           [1., 0.]])
    """
    q = np.asarray(values, np.float64)
    policy: Floats = np.eye(q.shape[1])[q.argmax(1)]
    return policy


def _iterate(rules: Rules, policy: Floats | None, horizon: int | None, gamma: float) -> float:
    value = np.zeros(len(rules.start))
    for _ in range(_SWEEPS if horizon is None else horizon):
        q = rules.rewards + gamma * rules.following @ value
        new = q.max(1) if policy is None else (policy * q).sum(1)
        still = bool(np.abs(new - value).max() < _STILL)
        value = new
        if still:  # whatever the horizon, further sweeps change nothing
            return float(rules.start @ value)
    if horizon is None:
        raise NoExactValueError(
            f"values still move after {_SWEEPS} sweeps: play may go on for ever; give a horizon, "
            "or a gamma below 1"
        )
    return float(rules.start @ value)


def _check(
    state: int, action: int, outcomes: Sequence[tuple[float, int, float, bool]], states: int
) -> None:
    total = sum(p for p, *_ in outcomes)
    if any(p < 0 for p, *_ in outcomes) or not np.isclose(total, 1.0):
        raise ValueError(
            f"state {state}, action {action}: the outcomes' probabilities sum to {total}, not 1"
        )
    for _, reached, _, _ in outcomes:
        if not 0 <= reached < states:
            raise ValueError(f"state {state}, action {action}: leads to {reached}, no such state")
