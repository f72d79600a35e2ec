from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, VectorEnv

from heedful.evaluate.exact import Rules, greedy, policy_value
from heedful.loop.tabular import Linear, Played, Rule, TabularLearning, behaviour, learn, move
from heedful.policy import Choices, EventKind, Events
from tests.loop.walks import NumberedWalk

RULES = get_args(Rule)
QUICK = TabularLearning(episodes=30)
CONSTANT = {"step_size": Linear(0.5, 0.5), "epsilon": Linear(0.1, 0.1)}


LAKE = ["SFF", "FHF", "FFG"]


def lake(n: int) -> VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec("FrozenLake-v1", n, vectorization_mode="sync", desc=LAKE)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_seed_gives_the_same_table(rule: Rule) -> None:
    learning = replace(QUICK, rule=rule, episodes=80)
    first, again, other = (learn(lake(2), learning, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.table.q, again.table.q)
    assert first.returns.tolist() == again.returns.tolist()
    assert not torch.equal(first.table.q, other.table.q)
    assert len(first.returns) == len(first.lengths) == 80


def test_q_learning_finds_the_edge_of_the_cliff() -> None:
    cliff = gymnasium.make_vec("CliffWalking-v1", 1, vectorization_mode="sync")
    learned = learn(cliff, TabularLearning(episodes=250, gamma=1.0, **CONSTANT), seed=0)
    rules = Rules.of_environment(gymnasium.make("CliffWalking-v1"))
    assert policy_value(rules, greedy(learned.table.q.numpy()), horizon=200) == -13.0


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 0.0])
def test_logged_probabilities_are_those_of_the_policy_that_acts(epsilon: float) -> None:
    """The watcher sees the table as it was when the action was drawn."""
    play = TabularLearning(episodes=3, epsilon=Linear(epsilon, epsilon))
    seen: list[Played] = []
    walk = NumberedWalk(3, AutoresetMode.SAME_STEP)
    learned = learn(walk, play, seed=0, watch=seen.append)
    first = seen[0]  # a table of zeros: the first action is the greedy one
    best, other = 1 - epsilon / 2, epsilon / 2
    for action, logp in zip(first.transition.actions, first.logps, strict=True):
        wanted = best if action == 0 else other
        assert logp == pytest.approx(math.log(wanted), rel=1e-6)
    assert all(step.epsilon == epsilon for step in seen)
    # Read through events, as a log would be, the policy says the same.
    table = learned.table
    policy, state = behaviour(table, epsilon), 2
    shape = (1, 1)
    events = Events(
        kind=torch.full(shape, int(EventKind.CONTEXT)),
        unit=torch.full(shape, -1),
        channel=torch.zeros(shape, dtype=torch.int64),
        value=torch.zeros(shape),
        features=torch.tensor([[[float(state)]]]),
        time=torch.full(shape, torch.nan, dtype=torch.float64),
        lengths=torch.ones(1, dtype=torch.int64),
    )
    _, logits = policy.step(policy.start(1), events, Choices.everything(2, 1))
    p = torch.softmax(logits.double(), -1)[0]
    assert p[int(table.q[state].argmax())].item() == pytest.approx(best)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_mode_learns_the_same_from_one_environment(rule: Rule, mode: AutoresetMode) -> None:
    """Greedy play from zeros meets no chance: the steps are the same, so the table must be."""
    learning = TabularLearning(episodes=8, rule=rule, epsilon=Linear(0.0, 0.0))
    tables = [
        learn(NumberedWalk(1, each), learning, seed=3).table.q
        for each in (mode, AutoresetMode.DISABLED)
    ]
    assert torch.equal(*tables)


class OneStep(VectorEnv[Any, Any, Any]):
    """Reward 1, and the episode is over at once, terminated or cut off; state 1 comes last."""

    single_observation_space, single_action_space = Discrete(2), Discrete(1)
    num_envs, metadata = 1, {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, *, terminates: bool) -> None:
        self.terminates = np.array([terminates])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return np.array([0]), {}

    def step(self, actions: Any) -> Any:
        # Observing state 0 at the end: cut off, the game would have gone on as it began.
        return np.array([0]), np.ones(1), self.terminates, ~self.terminates, {}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_cut_off_would_have_gone_on(rule: Rule) -> None:
    learning = TabularLearning(
        episodes=200, rule=rule, gamma=0.5, step_size=Linear(0.5, 0.5), epsilon=Linear(0.5, 0.5)
    )
    ended = learn(OneStep(terminates=True), learning, seed=0).table.q[0, 0]
    cut_off = learn(OneStep(terminates=False), learning, seed=0).table.q[0, 0]
    assert ended.item() == pytest.approx(1.0)
    assert cut_off.item() == pytest.approx(2.0)  # 1 + 1/2 + 1/4 + ...


def test_states_and_actions_may_be_numbered_from_anywhere() -> None:
    plain, moved = (
        learn(NumberedWalk(2, AutoresetMode.NEXT_STEP, first=first), QUICK, seed=1)
        for first in (0, 7)
    )
    assert torch.equal(plain.table.q, moved.table.q)


def test_an_entry_met_twice_moves_as_far_as_two_moves() -> None:
    values = torch.zeros(2)
    move(values, torch.tensor([0, 0, 1]), torch.tensor([1.0, 1.0, 1.0]), 0.5)
    assert values.tolist() == [0.75, 0.5]


def test_what_no_table_can_number_is_refused() -> None:
    cart = gymnasium.make_vec("CartPole-v1", 1, vectorization_mode="sync")
    with pytest.raises(TypeError, match="observation space is Box"):
        learn(cart, QUICK, seed=0)
    walk = NumberedWalk(1, AutoresetMode.SAME_STEP)
    walk.offset = 4
    with pytest.raises(ValueError, match=r"the observation 4, outside its space 0\.\.3"):
        learn(walk, QUICK, seed=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"episodes": 0}, "episodes is 0"),
        ({"rule": "monte_carlo"}, "known: q_learning, sarsa, expected_sarsa"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"epsilon": Linear(2.0, 0.0)}, "epsilon is"),
        ({"step_size": Linear(0.0, 0.5)}, "step_size starts at 0"),
    ],
)
def test_settings_that_cannot_be_learned_by_are_refused(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TabularLearning(**{"episodes": 1, **wrong})
