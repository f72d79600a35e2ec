"""A policy against itself and its past: seats, pool, ratings, checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heedful.config import Interact
from heedful.contract import Contested
from heedful.domains.games import Game, GameError, Games
from heedful.domains.games.boards import TIC_TAC_TOE, TIC_TAC_TOE_ID, Learned, worst_case
from heedful.loop.interact import interact
from heedful.loop.run import Run
from heedful.loop.self_play import ENVIRONMENT, ITSELF, Pool, SelfPlay, _exploring, results
from heedful.loop.vectorised import Vectorised
from heedful.policy import EpsilonGreedy, Feedforward, Policy, replay
from heedful.store import Snapshot
from tests.domains.games.scripted import TRACK, register

register()


def game(n: int, opponent: str = "uniform") -> Game:
    return Games({"game": TIC_TAC_TOE_ID, "options": {"opponent": opponent}}).environment(n, 0, {})


def network(seed: int = 0) -> Policy:
    torch.manual_seed(seed)
    games = Games({"game": TIC_TAC_TOE_ID})
    return Feedforward(games.schema(games.vocabulary(Snapshot.of([]))), width=32).eval()


def source(n: int = 16, **options: Any) -> SelfPlay:
    return SelfPlay(game(n), steps=10, gamma=1.0, seed=3, pool=Pool(every=2, **options))


def ordered(*moves: int) -> Policy:
    """Return a policy that plays the first of ``moves`` that it may, and others by chance."""
    policy = network()
    with torch.no_grad():
        policy.actor[-1].weight.zero_()  # type: ignore[attr-defined]
        for rank, move in enumerate(moves):
            bias = policy.actor[-1].bias  # type: ignore[attr-defined]
            bias[move] = 50.0 * (len(moves) - rank)
    return policy


def test_the_other_side_is_played_by_who_was_drawn_and_sees_its_own_stones_first() -> None:
    inner = game(8)
    assert isinstance(inner, Contested)
    asked: list[tuple[np.ndarray, np.ndarray]] = []

    def answer(rows: np.ndarray, games: np.ndarray) -> np.ndarray:
        asked.append((rows, games))
        return rows[:, 18:].argmax(1)[:, None]  # the first move that is legal

    which = np.arange(8) < 4
    inner.contest(answer, which)
    rows, _ = inner.reset(seed=1)
    begun = {int(g) for _, games in asked for g in games}
    assert begun <= set(range(4))
    for row in range(8):  # whoever was answered second is shown a stone of the other side's
        assert rows[row, :9].sum() == 0
    first = rows[:4, 9:18].sum(1) == 1
    assert set(np.flatnonzero(first)) == begun
    assert (rows[:4][first][:, 9] == 1).all()  # it is on the first cell
    asked.clear()
    inner.step(np.array([[4]] * 8))
    [(seen, games)] = asked
    assert sorted(games) == [0, 1, 2, 3]
    for row, number in zip(seen, games, strict=True):
        theirs = row[9:18]  # what is the learner's is the other's for who answers
        assert theirs[4] == 1
        assert row[:9].sum() == (1 if first[number] else 0)
    assert not inner.observations.outside(seen[:, :18]).any()


def test_a_game_without_a_second_side_says_so() -> None:
    track = Games({"game": TRACK}).environment(2, 0, {})
    with pytest.raises(GameError, match="has no second side"):
        SelfPlay(track, steps=4, gamma=1.0, seed=0, pool=Pool())


def test_both_seats_are_played_and_results_are_counted_once() -> None:
    rollouts, policy = source(), network()
    seats = []
    for number in range(3):
        rollout = rollouts.play(policy, number)
        batch = rollout.batch
        with torch.no_grad():
            gap = replay(policy, batch) - batch.behaviour_logps
        assert float(gap[batch.mask].abs().max()) < 1e-5
        ended = results(batch)
        assert len(ended) == int((batch.mask & (batch.discounts == 0)).sum()) > 0
        total = sum(earned for _, earned in ended)
        assert total == pytest.approx(float(batch.rewards[batch.mask].sum()))
        first = batch.events.features[:, 0]
        seats += first[:, 9:].sum(1).tolist()  # stones of who began before
    assert 0.2 < np.mean(seats) < 0.8


def test_the_reward_is_that_of_the_side_that_the_policy_had() -> None:
    """Against who never blocks: three in the middle column, seat by seat."""

    class Fixed(Pool):
        def opponents(self, n: int, rng: np.random.Generator) -> np.ndarray:
            return np.zeros(n, np.int64)

    rollouts = SelfPlay(game(12), steps=3, gamma=1.0, seed=0, pool=Fixed(every=1))
    weak = ordered(8, 0, 2)
    rollouts.pool.admit(weak, 0, np.zeros(0), np.zeros(0))
    learner = ordered(4, 1, 7)
    found = results(rollouts.play(learner, 1).batch)
    assert [earned for _, earned in found] == [1.0] * 12
    assert rollouts.pool.past[0].beaten > 0.9
    # The other way round it loses all it plays, as it takes three moves, whoever begins.
    rollouts = SelfPlay(game(12), steps=3, gamma=1.0, seed=0, pool=Fixed(every=1))
    rollouts.pool.admit(learner, 0, np.zeros(0), np.zeros(0))
    found = results(rollouts.play(weak, 1).batch)
    assert {earned for _, earned in found} == {-1.0}
    assert rollouts.pool.past[0].beaten < 0.1


def test_whom_it_plays() -> None:
    rng = np.random.default_rng(0)
    pool = Pool(every=1, size=4, others=0.25)
    alone = pool.opponents(16, rng)
    assert (alone == ENVIRONMENT).sum() == 4
    assert (alone <= ITSELF).sum() == 12
    policy = network()
    for number in range(6):
        n = len(pool.past)
        pool.admit(policy, number, np.full(n, 1.0), np.full(n, 2.0))
    assert pool.past[0].number == 0, "ratings are relative to the first"
    assert (len(pool.past), pool.table.shape) == (4, (4, 4))
    drawn = pool.opponents(16, rng)
    assert (drawn >= 0).sum() == 6
    assert (drawn <= ITSELF).sum() == 6
    # Who is beaten all the time is hardly met: 0.01^2 against 0.5^2.
    pool.past[0].score, pool.past[0].games = 100.0, 100.0
    weights = pool._weights()
    assert weights[0] == pytest.approx(0.01**2 / (0.01**2 + 3 * 0.5**2))
    pool.drawn = "uniform"
    assert pool._weights() == pytest.approx([0.25] * 4)


def test_how_it_did_against_a_version_fades() -> None:
    pool, policy = Pool(every=1), network()
    pool.admit(policy, 0, np.zeros(0), np.zeros(0))
    pool.note(np.array([3.0]), np.array([4.0]))
    (past,) = pool.past
    assert (past.score, past.games) == pytest.approx((3.5, 5.0))
    pool.note(np.array([0.0]), np.array([0.0]))
    assert (past.score, past.games) == pytest.approx((0.9 * 3.5 + 0.05, 0.9 * 5.0 + 0.1))
    for _ in range(200):
        pool.note(np.array([0.0]), np.array([0.0]))
    assert past.beaten == pytest.approx(0.5, abs=1e-6)


def test_who_is_beaten_most_makes_room_but_for_the_first_and_the_newest() -> None:
    pool, policy = Pool(every=1, size=3), network()
    for number in range(3):
        scores = np.full(number, 10.0 + number)
        pool.admit(policy, number, scores, 2 * scores)
    for past, beaten in zip(pool.past, (0.99, 0.7, 0.6), strict=True):
        past.score, past.games = 100 * beaten, 100.0
    pool.admit(policy, 3, np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0, 4.0]))
    assert [past.number for past in pool.past] == [0, 2, 3], "the newest has no results yet"
    assert pool.table.tolist() == [[0.0, 12.0, 3.0], [12.0, 0.0, 1.0], [1.0, 3.0, 0.0]]
    pool.past[1].score = 1.0  # 2 is hard now, and 3, as the newest, stayed out of it
    pool.past[2].score, pool.past[2].games = 90.0, 100.0
    pool.admit(policy, 4, np.zeros(3), np.zeros(3))
    assert [past.number for past in pool.past] == [0, 2, 4]
    # Nobody has been beaten less than one half: even so the newest stays.
    for past in pool.past:
        past.score, past.games = 10.0, 100.0
    pool.admit(policy, 5, np.zeros(3), np.zeros(3))
    assert [past.number for past in pool.past] == [0, 4, 5]


def test_a_draw_counts_half_and_only_games_against_the_past_count() -> None:
    rollouts = source(4)
    rollouts.pool.admit(network(), 0, np.zeros(0), np.zeros(0))
    rollouts.pool.admit(network(), 2, np.zeros(1), np.zeros(1))
    rollouts._opponents = np.array([0, 1, ITSELF, ENVIRONMENT])
    scores, games = rollouts._tally([(0, 1.0), (0, 0.0), (1, -1.0), (1, 0.0), (2, 1.0), (3, 1.0)])
    assert scores.tolist() == [1.5, 0.5]
    assert games.tolist() == [2.0, 2.0]


def test_against_itself_it_explores_in_three_measures() -> None:
    places = sorted(set(Pool().opponents(9, np.random.default_rng(0)).tolist()))
    shares = [_exploring(network(), place).share for place in places]  # type: ignore[attr-defined]
    assert shares == [0.6, 0.3, 0.1]


def test_ratings_come_from_the_games_against_the_past() -> None:
    pool, policy = Pool(every=1), network()
    assert pool.note(np.zeros(0), np.zeros(0)) == (0.0, 0.0)
    pool.admit(policy, 0, np.zeros(0), np.zeros(0))
    rating, error = pool.note(np.array([75.0]), np.array([100.0]))
    assert rating == pytest.approx(400 * np.log10(3), abs=8)  # a little less: the prior
    assert 30 < error < 50
    pool.admit(policy, 1, np.array([75.0]), np.array([100.0]))
    higher, _ = pool.note(np.array([0.0, 75.0]), np.array([0.0, 100.0]))
    assert higher == pytest.approx(2 * rating, abs=15)


SECTION = Interact(
    rounds=6,
    environments=16,
    decisions=10,
    epochs=2,
    batch=64,
    learning_rate=0.01,
    kl=0.0,
    kl_limit=0.0,
    entropy_floor=0.0,
    fall=0.0,
    keep="last",
    save=1,
)


class Stopped(Exception):
    pass


def learned(folder: Path, *, stop: int = -1) -> tuple[dict[str, torch.Tensor], Pool]:
    policy, rollouts = network(), source(others=0.25)
    folder.mkdir(exist_ok=True)
    run = Run(folder, {})

    def enough(found: Any) -> bool:
        rounds.append(found)
        if len(rounds) == stop:
            raise Stopped
        return False

    rounds: list[Any] = []
    try:
        interact(
            policy,
            policy,
            rollouts,
            SECTION,
            run,
            objective="ppo",
            seed=1,
            cut=rollouts.single,
            enough=enough,
        )
    finally:
        run.close()
    return policy.state_dict(), rollouts.pool  # type: ignore[attr-defined]


def test_learning_that_was_stopped_ends_with_the_same_bits_and_the_same_pool(
    tmp_path: Path,
) -> None:
    whole, pool = learned(tmp_path / "whole")
    with pytest.raises(Stopped):
        learned(tmp_path / "cut", stop=4)
    again, taken_up = learned(tmp_path / "cut")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert pool.facts() == taken_up.facts()
    assert [past.number for past in pool.past] == [0, 2, 4]
    for one, other in zip(pool.past, taken_up.past, strict=True):
        assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert not torch.equal(
        pool.past[0].weights["actor.0.weight"], pool.past[1].weights["actor.0.weight"]
    )


def test_a_version_of_the_past_explores_as_it_did_when_it_played() -> None:
    """Deep Q-learning explores less and less, and that is no weight of its network."""
    pool, network_ = Pool(every=1), network()
    pool.admit(EpsilonGreedy(network_, share=0.75).eval(), 0, np.zeros(0), np.zeros(0))
    now = EpsilonGreedy(network_, share=0.05).eval()
    other = Pool(every=1)
    other.restore(json.loads(json.dumps(pool.facts())), pool.tensors())
    for place in (pool, other):
        met = place.policy(0, now)
        assert isinstance(met, EpsilonGreedy)
        assert met.share == 0.75
        assert not met.training
        assert not any(p.requires_grad for p in met.parameters())


def test_a_game_that_was_cut_off_has_no_result_and_is_no_part_of_the_next() -> None:
    games = Games({"game": TIC_TAC_TOE_ID, "options": {"max_moves": 2}}).environment(4, 0, {})
    batch = Vectorised(games, steps=9, gamma=1.0, seed=0).play(network(), 0).batch
    batch = batch.filled(rewards=torch.full_like(batch.rewards, 1.0))
    assert bool(batch.bootstrap[:, :-1].any()), "some are cut off on the way"
    assert not results(batch)
    # The last decision of each row ends a game: what was earned since the one before was cut off.
    last = batch.mask.long().cumsum(1).argmax(1)
    discounts = batch.discounts.clone()
    discounts[torch.arange(4), last] = 0.0
    for row, earned in results(batch.filled(discounts=discounts)):
        before = batch.bootstrap[row, : int(last[row])].nonzero().max()
        assert earned == float(batch.mask[row, before:].sum())


def test_the_worst_case_is_every_line_of_the_other_side() -> None:
    """Counted by hand on the rules: who always fills the first free cell, and minimax."""
    from heedful.domains.games.boards import minimax

    def exact(board: Any, mine: Any, theirs: Any, rng: Any) -> Any:
        return minimax(board, mine, theirs, np.random.default_rng(0))

    for seat in (0, 1):
        perfect = worst_case(TIC_TAC_TOE, exact, seat)
        assert perfect.lost == 0
        assert perfect.won + perfect.drawn > 50
        weak = worst_case(TIC_TAC_TOE, Learned(ordered(*range(9))), seat)
        assert weak.lost > 0
        assert weak.won + weak.drawn + weak.lost > 100
