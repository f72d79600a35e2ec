"""Rounds in arrays: the same in all modes of autoreset, and the same as records and streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from heedful.domains.games import GameError, Games
from heedful.loop.collect import Collector
from heedful.loop.vectorised import Vectorised, memoryless
from heedful.objectives import prepare
from heedful.policy import (
    Batch,
    Feedforward,
    Floor,
    Greedy,
    Policy,
    Recurrent,
    Schema,
    TransitionPrior,
    replay,
)
from heedful.reward import Given, earn
from tests.domains.games.scripted import LOCKS, TRACK, broken, register, track

register()
MODES = list(AutoresetMode)
GAMMA, LAM = 0.9, 0.8


def feedforward(schema: Schema, *, seed: int = 1) -> Policy:
    torch.manual_seed(seed)
    policy = Feedforward(schema, width=8)
    torch.nn.init.normal_(policy.actor[-1].weight)
    return policy.double().eval()


def told(batch: Batch, row: int) -> list[tuple[float, ...]]:
    """Return what a row says of each slot, in order."""
    columns = (batch.units, batch.behaviour_logps, batch.rewards, batch.discounts)
    assert batch.advantages is not None
    assert batch.returns is not None
    slots = batch.slots[row]
    found = [column[row][slots].double().tolist() for column in columns]
    prepared = [column[row][slots].tolist() for column in (batch.advantages, batch.returns)]
    return list(zip(batch.bootstrap[row][slots].tolist(), *found, *prepared, strict=True))


def played(mode: AutoresetMode, policy: Policy, n: int, steps: int, *, masked: bool) -> Batch:
    rollouts = Vectorised(track(n, mode, masked=masked), steps=steps, gamma=GAMMA, seed=5)
    (batch,) = prepare(policy, [rollouts.play(policy, 0).batch], lam=LAM)
    return batch


@pytest.mark.parametrize("masked", [False, True], ids=["free", "masked"])
@pytest.mark.parametrize("policy_seed", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES[:1] + MODES[2:], ids=lambda mode: mode.name)
def test_all_autoreset_modes_give_the_same_advantages(
    mode: AutoresetMode, policy_seed: int, masked: bool
) -> None:
    """A mode that spends steps on resets gets less far; up to there every number is the same."""
    policy = Greedy(feedforward(Schema(3, features=2), seed=policy_seed))
    n, ends = 3, 0
    reference = played(AutoresetMode.SAME_STEP, policy, n, 40, masked=masked)
    found = played(mode, policy, n, 40, masked=masked)
    for row in range(n):
        expected, mine = told(reference, row), told(found, row)
        if mode is AutoresetMode.DISABLED:
            assert mine == expected
            continue
        # The last episode is cut off by the round's end, elsewhere: compare those before it.
        last = max(i for i, slot in enumerate(mine[:-1]) if slot[0] or slot[4] == 0.0)
        assert mine[: last + 1] == expected[: last + 1]
        ends += last
    assert mode is AutoresetMode.DISABLED or ends > 60


def test_terminated_is_not_cut_off() -> None:
    """By hand: right, right, right ends it; staying is cut off, and its value stands in."""
    policy = feedforward(Schema(3, features=2)).requires_grad_(False)
    with torch.no_grad():
        policy.actor[-1].weight.zero_()
        policy.actor[-1].bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    batch = played(AutoresetMode.SAME_STEP, Greedy(policy), 1, 3, masked=False)
    value = policy.critic(torch.tensor([[0.0, 0.0], [1.0, 1 / 12], [2.0, 2 / 12]]).double())[:, 0]
    assert not batch.bootstrap.any()
    assert batch.rewards.tolist() == [[1.0, 2.0, 13.0]]
    torch.testing.assert_close(batch.discounts, torch.tensor([[GAMMA, GAMMA, 0.0]]))
    delta = torch.stack([1 + GAMMA * value[1], 2 + GAMMA * value[2], torch.tensor(13.0)]) - value
    by_hand = delta[0] + GAMMA * LAM * (delta[1] + GAMMA * LAM * delta[2])
    assert float(batch.advantages[0, 0]) == pytest.approx(float(by_hand), rel=1e-6)
    with torch.no_grad():
        policy.actor[-1].bias.copy_(torch.tensor([0.0, 0.0, 9.0]))
    batch = played(AutoresetMode.SAME_STEP, Greedy(policy), 1, 6, masked=False)
    assert batch.bootstrap.tolist() == [[False] * 4 + [True] + [False] * 2 + [True]]
    last = policy.critic(torch.tensor([[0.0, 3 / 12], [0.0, 4 / 12]]).double())[:, 0]
    cut_off = GAMMA * last[1] - last[0]
    assert float(batch.advantages[0, 3]) == pytest.approx(float(cut_off), rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"game": TRACK, "options": {"masked": True}},
        {"game": TRACK},
        {"game": "FrozenLake-v1", "reward_min": 0.0},
    ],
    ids=["masked", "free", "frozen lake"],
)
def test_it_is_what_a_collector_and_encode_make(options: dict[str, Any]) -> None:
    """The same seeds: the same moves, log-probabilities, rewards, discounts and advantages."""
    games = Games(options)
    vocabulary = games.vocabulary(None)
    policy = feedforward(games.schema(vocabulary))
    rollouts = Vectorised(games.environment(3, 0, {}), steps=30, gamma=GAMMA, seed=5)
    (mine,) = prepare(policy, [rollouts.play(policy, 0).batch], lam=LAM)
    seed = int(np.random.SeedSequence([5, 0]).generate_state(1)[0])
    collector = Collector(games, vocabulary, games.environment(3, 0, {}), window=1000, seed=seed)
    snapshot = collector.play(policy, 30)
    rewards = earn(snapshot, Given(), maturity=0.0, now=1e9).units
    streams = games.encode(snapshot, vocabulary, rewards=rewards, gamma=GAMMA)
    (batch,) = prepare(policy, [streams.batch(streams.windows(1000))], lam=LAM)
    assert int(mine.bootstrap.sum()) > 3 or "Frozen" in options["game"]
    for row in range(3):
        found, expected = np.array(told(mine, row), float), np.array(told(batch, row), float)
        np.testing.assert_allclose(found[:, :5], expected[:, :5], atol=1e-6)
        # Records end with a move; where it led, arrays know: the value behind the round differs.
        ended = int(np.flatnonzero((expected[:-1, 0] == 1) | (expected[:-1, 4] == 0))[-1])
        np.testing.assert_allclose(found[:ended, 5:], expected[:ended, 5:], atol=1e-6)
        assert ended > 15
        assert len(expected) >= 30


@pytest.mark.parametrize("game", [TRACK, LOCKS, "heedful/ConnectFour-v0"])
def test_single_decisions_say_what_the_rows_said(game: str) -> None:
    games = Games({"game": game, "options": {"masked": True} if game == TRACK else {}})
    policy = feedforward(games.schema(games.vocabulary(None)))
    rollouts = Vectorised(games.environment(3, 0, {}), steps=20, gamma=GAMMA, seed=1)
    (batch,) = prepare(policy, [rollouts.play(policy, 0).batch], lam=LAM)
    alone = rollouts.single(batch)
    assert tuple(alone.mask.shape) == (60, games.length)
    assert alone.mask.all()
    for name in ("behaviour_logps", "advantages", "returns", "rewards", "units"):
        assert torch.equal(getattr(alone, name).flatten(), getattr(batch, name)[batch.mask])
    for part, rows in ((alone, slice(None)), (alone.select(torch.arange(7, 40)), slice(7, 40))):
        with torch.no_grad():
            replayed = replay(policy, part)
        torch.testing.assert_close(replayed, alone.behaviour_logps[rows], rtol=0, atol=1e-9)


def test_several_factors_are_drawn_in_their_order() -> None:
    games = Games({"game": LOCKS})
    policy = feedforward(games.schema(games.vocabulary(None)))
    rollouts = Vectorised(games.environment(2, 0, {}), steps=50, gamma=1.0, seed=0)
    batch = rollouts.play(policy, 0).batch
    drawn = batch.units[batch.mask].reshape(-1, 2)
    assert set(drawn[:, 0].tolist()) == {0, 1}, "the last dial is never possible"
    assert set(drawn[:, 1].tolist()) == {3, 4}
    with torch.no_grad():
        difference = (replay(policy, batch) - batch.behaviour_logps)[batch.mask]
    assert float(difference.abs().max()) < 1e-9
    rewards = batch.rewards[batch.mask].reshape(-1, 2)
    assert (rewards[:, 0] == 0).all(), "a decision is paid at its last unit"
    assert float(rewards[:, 1].max()) == 2.0


def test_rounds_go_on_where_the_last_one_stopped_and_out_of_turn_begin_anew() -> None:
    policy = feedforward(Schema(3, features=2))
    whole = Vectorised(track(2), steps=30, gamma=GAMMA, seed=4)
    parts = Vectorised(track(2), steps=15, gamma=GAMMA, seed=4)
    units = whole.play(policy, 0).batch
    halves = [parts.play(policy, number).batch for number in (0, 1)]
    for row in range(2):
        both = torch.cat([half.units[row][half.mask[row]] for half in halves])
        assert torch.equal(both, units.units[row][units.mask[row]])
    again = Vectorised(track(2), steps=15, gamma=GAMMA, seed=4)
    other = again.play(policy, 1).batch
    fresh = other.events.features[:, 0]
    assert fresh.tolist() == [[0.0, 0.0]] * 2
    twice = Vectorised(track(2), steps=15, gamma=GAMMA, seed=4).play(policy, 1).batch
    assert torch.equal(twice.units, other.units)


def test_returns_are_those_of_whole_episodes_without_discount() -> None:
    policy = feedforward(Schema(3, features=2))
    with torch.no_grad():
        policy.actor[-1].weight.zero_()
        policy.actor[-1].bias.copy_(torch.tensor([0.0, 9.0, 0.0]))  # right, right, right: 16
    game = track(2)
    rollouts = Vectorised(game, steps=2, gamma=0.5, seed=4)
    found = [rollouts.play(Greedy(policy), number) for number in range(80)]
    assert [np.isnan(f.score) for f in found[:3]] == [True, False, False]
    assert {f.score for f in found[1:] if not np.isnan(f.score)} == {16.0}
    assert [bool(f.metrics) for f in found].index(True) == 74  # 50 episodes of 3 steps, twice
    assert found[-1].metrics == {"return_of_100": 16.0}
    assert len(game._inner.seeds) == 1
    assert game._inner.seeds != [None]


def test_an_environment_that_breaks_leaves_nothing_and_the_next_round_goes_on() -> None:
    policy = feedforward(Schema(3, features=2))
    game = broken("nan")
    rollouts = Vectorised(game, steps=10, gamma=GAMMA, seed=0)
    with pytest.raises(GameError, match="game 1 of 2, step 3: observed nan"):
        rollouts.play(policy, 0)
    batch = rollouts.play(policy, 0).batch  # mended: the fault was in its third step alone
    assert int(batch.mask.sum()) == 20
    assert bool(torch.isfinite(batch.events.features).all())


def test_a_policy_with_a_memory_is_refused() -> None:
    schema = Schema(3, features=2)
    with pytest.raises(TypeError, match="Recurrent remembers what was before"):
        Vectorised(track(), steps=2, gamma=GAMMA, seed=0).play(Recurrent(schema).eval(), 0)
    assert memoryless(Floor(feedforward(schema), share=0.1))
    assert not memoryless(Floor(Recurrent(schema), share=0.1))
    assert not memoryless(TransitionPrior(feedforward(schema)))
