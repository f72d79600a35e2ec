"""Deep Q-learning: what it remembers, what it learns towards, and that it gets there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from heedful.config import Interact
from heedful.domains.games import Game, Games
from heedful.loop.deep_q import _DeepQ, deep_q
from heedful.loop.interact import Interaction, Rollout
from heedful.loop.memory import Memory, Steps
from heedful.loop.run import Run
from heedful.loop.tabular import Linear, TabularLearning, learn
from heedful.loop.vectorised import Vectorised
from heedful.policy import Feedforward, Greedy, Policy, Schema
from tests.domains.games.scripted import LOCKS, SAME_STEP, register, track

register()
GAMMA = 0.9
LAKE = ["SFF", "FHF", "FFG"]
PLAIN = Interact(
    rounds=60,
    environments=4,
    group=1,
    decisions=16,
    epochs=16,
    batch=64,
    learning_rate=0.003,
    gamma=GAMMA,
    kl=0.0,
    kl_limit=0.0,
    entropy_floor=0.0,
    fall=0.0,
    memory=2_000,
    warm_up=100,
    target=50,
    save=7,
)


def network(features: int = 2, moves: int = 3, *, width: int = 32) -> Feedforward:
    torch.manual_seed(0)
    return Feedforward(Schema(moves, features=features), width=width, activation="relu").eval()


class Anew:
    """Rounds that follow from their number: games begin anew in each."""

    def __init__(self, game: Game, section: Interact) -> None:
        self.game, self.section, self.stop = game, section, -1

    def play(self, policy: Policy, number: int) -> Rollout:
        if number == self.stop:
            raise KeyboardInterrupt
        section = self.section
        fresh = Vectorised(self.game, steps=section.decisions, gamma=section.gamma, seed=3)
        return fresh.play(policy, number)


def learned(
    policy: Feedforward, rollouts: Any, section: Interact, folder: Path, *, seed: int = 0
) -> Interaction:
    folder.mkdir(exist_ok=True)
    run = Run(folder, {})
    try:
        return deep_q(policy, rollouts, section, run, seed=seed)
    finally:
        run.close()


def remembered(mode: AutoresetMode, n: int) -> list[tuple[Any, ...]]:
    """Return what a track taught whoever always goes right, step by step."""
    policy = network().requires_grad_(False)
    policy.actor[-1].weight.zero_()
    policy.actor[0].weight.zero_()
    policy.actor[-1].bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    rollouts = Vectorised(track(1, mode, masked=True), steps=8, gamma=GAMMA, seed=5)
    steps = Steps.of(rollouts.play(Greedy(policy), 0).batch, n=n)
    columns = (steps.seen[:, 0], steps.units, steps.rewards, steps.discounts, steps.following[:, 0])
    columns = (*columns, *steps.possible.T)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    return [row if row[3] else row[:4] for row in rows]  # behind the end nothing follows


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_a_step_is_remembered_with_what_came_of_it(mode: AutoresetMode) -> None:
    """Right, right, right ends it and earns 1, 2 and 13; at the wall left is not possible."""
    one = [
        (0.0, 1, 1.0, GAMMA, 1.0, True, True, True),
        (1.0, 1, 2.0, GAMMA, 2.0, True, True, True),
        (2.0, 1, 13.0, 0.0),
    ]
    two = [
        (0.0, 1, 1 + GAMMA * 2, GAMMA**2, 2.0, True, True, True),
        (1.0, 1, 2 + GAMMA * 13, 0.0),
        (2.0, 1, 13.0, 0.0),
    ]
    for n, wanted in ((1, one), (2, two)):
        found = remembered(mode, n)
        for row, expected in zip(found[:6], wanted + wanted, strict=True):
            assert row[: len(expected)] == pytest.approx(expected, rel=1e-6)
    whole = [remembered(each, 2)[:6] for each in AutoresetMode]
    assert whole[0] == whole[1] == whole[2]


def test_where_a_round_ends_or_an_episode_is_cut_off_what_is_seen_there_follows() -> None:
    """Staying at 0 is cut off after four steps, in the second round too; only right is left out."""
    policy = network().requires_grad_(False)
    policy.actor[-1].weight.zero_()
    policy.actor[-1].bias.copy_(torch.tensor([0.0, 0.0, 9.0]))
    rollouts = Vectorised(track(1, SAME_STEP, masked=True), steps=6, gamma=GAMMA, seed=5)
    steps = Steps.of(rollouts.play(Greedy(policy), 0).batch, n=3)
    clock = (steps.following[:, 1] * 12).round().tolist()
    assert clock == [3.0, 4.0, 4.0, 4.0, 2.0, 2.0]
    powers = [3, 3, 2, 1, 2, 1]
    assert steps.discounts.tolist() == pytest.approx([GAMMA**k for k in powers])
    at_the_wall = [False, True, True]
    last_of_a_round = steps.possible[[4, 5]].tolist()
    assert steps.possible[0].tolist() == at_the_wall
    assert last_of_a_round == [at_the_wall] * 2


def test_the_oldest_make_room() -> None:
    schema = Schema(2, features=1)
    memory = Memory(5, schema)
    for first in (0, 3, 6):
        numbers = torch.arange(first, first + 3)
        steps = Steps.empty(3, schema)
        memory.add(Steps(numbers[:, None].float(), *(getattr(steps, f) for f in FIELDS[1:])))
    assert len(memory) == 5
    drawn = memory.draw(np.random.default_rng(0), 200).seen[:, 0]
    assert sorted(set(drawn.tolist())) == [4.0, 5.0, 6.0, 7.0, 8.0]
    other = Memory(5, schema)
    other.restore({name: tensor.clone() for name, tensor in memory.tensors().items()})
    again = other.draw(np.random.default_rng(0), 200).seen[:, 0]
    assert torch.equal(drawn, again)
    many = Steps.empty(12, schema)
    memory.add(Steps(torch.arange(12)[:, None].float(), *(getattr(many, f) for f in FIELDS[1:])))
    drawn = memory.draw(np.random.default_rng(0), 200).seen[:, 0]
    assert sorted(set(drawn.tolist())) == [7.0, 8.0, 9.0, 10.0, 11.0]


FIELDS = list(Steps.__slots__)


def exact(lake: Any) -> np.ndarray:
    """Return Q* of a lake by value iteration, [states, moves]."""
    q = np.zeros((len(lake.P), 4))
    for _ in range(300):
        for s, moves in lake.P.items():
            for a, outcomes in moves.items():
                q[s, a] = sum(
                    p * (r + GAMMA * (not over) * q[after].max()) for p, after, r, over in outcomes
                )
    return q


def test_values_are_those_of_dynamic_programming_and_of_a_table(tmp_path: Path) -> None:
    """All moves by chance, so that everything is seen; what is learned is the best play's worth."""
    options = {"desc": LAKE, "is_slippery": False}
    games = Games({"game": "FrozenLake-v1", "options": options})
    section = PLAIN.model_copy(
        update={"epsilon": 1.0, "n_step": 1, "rounds": 40, "epochs": 24, "learning_rate": 0.01}
    )
    policy = network(features=9, moves=4, width=32)
    rollouts = Vectorised(games.environment(4, 0, {}), steps=16, gamma=GAMMA, seed=0)
    learned(policy, rollouts, section.model_copy(update={"keep": "last"}), tmp_path)
    lake = gymnasium.make("FrozenLake-v1", **options).unwrapped
    wanted = exact(lake)
    with torch.no_grad():
        found = policy.actor(torch.eye(9)).numpy()
    open_ = [s for s in range(8) if s != 4]  # of the hole and the goal nobody decides
    assert wanted.max() == 1.0
    np.testing.assert_allclose(found[open_], wanted[open_], atol=0.05)
    lakes = gymnasium.make_vec("FrozenLake-v1", 4, vectorization_mode="sync", **options)
    by_chance = TabularLearning(episodes=1_000, gamma=GAMMA, epsilon=Linear(1.0, 1.0))
    table = learn(lakes, by_chance, seed=0).table.q.detach().numpy()
    np.testing.assert_allclose(found[open_], table[open_], atol=0.06)


@pytest.mark.parametrize("n_step", [1, 3])
def test_play_becomes_as_good_as_it_can_be_and_the_impossible_is_never_done(
    tmp_path: Path, n_step: int
) -> None:
    """Whoever is patient stays before the end: at a gamma of a half it pays to go on."""
    section = PLAIN.model_copy(update={"n_step": n_step, "gamma": 0.5, "rounds": 40})
    policy = network()
    rollouts = Vectorised(track(4, masked=True), steps=16, gamma=0.5, seed=0)
    made = learned(policy, rollouts, section, tmp_path)
    judge = Vectorised(track(4, masked=True), steps=12, gamma=1.0, seed=99)
    assert judge.play(Greedy(policy).eval(), 0).score == 16.0
    assert made.metrics["epsilon"] == pytest.approx(section.epsilon)
    batch = rollouts.play(Greedy(policy).eval(), 99).batch
    at_the_wall = batch.events.features[..., 0] == 0
    assert bool((batch.units[at_the_wall & batch.mask] != 0).all())


def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    section = PLAIN.model_copy(update={"rounds": 20, "memory": 300})
    whole, stopped = network(), network()
    first = learned(whole, Anew(track(4), section), section, tmp_path / "whole")
    rollouts = Anew(track(4), section)
    rollouts.stop = 17
    with pytest.raises(KeyboardInterrupt):
        learned(stopped, rollouts, section, tmp_path / "stopped")
    rollouts.stop = -1
    resumed = network()
    second = learned(resumed, rollouts, section, tmp_path / "stopped")
    assert first == second
    assert first.metrics["steps"] > 0
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    one, other = ((tmp_path / f / "metrics.jsonl").read_text() for f in ("whole", "stopped"))
    assert one == other


def test_what_is_impossible_is_not_what_a_target_looks_at() -> None:
    """Left is worth 9 by the network, and impossible at the wall: the best that follows is 2."""
    policy = network()
    with torch.no_grad():
        policy.actor[-1].weight.zero_()
        policy.actor[-1].bias.copy_(torch.tensor([9.0, 2.0, 1.0]))
    steps = Steps.empty(2, policy.schema)
    possible = torch.tensor([[False, True, True], [True, True, True]])
    steps = replace(steps, discounts=torch.full((2,), 0.5), possible=possible)
    targets = _DeepQ(policy, PLAIN, 0)._targets(steps)
    assert targets.tolist() == [1.0, 4.5]


def test_the_copy_that_judges_is_renewed_every_so_many_steps() -> None:
    policy = network()
    job = _DeepQ(policy, PLAIN.model_copy(update={"target": 3}), 0)
    job.memory.add(Steps.empty(8, policy.schema))
    batches, judged = job._minibatches(0, 7), []
    for step in range(7):
        job.optimiser.step_count = step
        with torch.no_grad():
            policy.actor[-1].bias.fill_(float(step))
        next(batches)
        judged.append(float(job.old.actor[-1].bias[0]))  # type: ignore[attr-defined]
    assert judged == [0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 6.0]


def test_moves_of_several_factors_are_refused(tmp_path: Path) -> None:
    games = Games({"game": LOCKS})
    schema = games.schema(games.vocabulary(None))  # type: ignore[arg-type]
    policy = network(features=schema.features, moves=schema.size)
    rollouts = Vectorised(games.environment(2, 0, {}), steps=3, gamma=GAMMA, seed=0)
    with pytest.raises(ValueError, match="several units have no action values"):
        learned(policy, rollouts, PLAIN, tmp_path)
