"""What games are judged by, and the lander without pictures."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from benchmarks import games
from benchmarks._ppo import APART, judged, ours
from heedful.domains.games import Games
from heedful.policy import Feedforward
from heedful.store import Snapshot


def test_the_first_game_of_each_environment_counts_with_its_best_moves() -> None:
    pole = Games({"game": "CartPole-v1"})
    torch.manual_seed(0)
    policy = Feedforward(pole.schema(pole.vocabulary(Snapshot.of([])))).eval()
    found = judged(pole, policy, seed=3)
    game = pole.environment(100, 0, {})
    seed = int(np.random.SeedSequence([APART + 3, 0]).generate_state(1)[0])
    rows, _ = game.reset(seed=seed)
    returns, over = np.zeros(100), np.zeros(100, bool)
    while not over.all():
        with torch.no_grad():
            moves = policy.actor(torch.from_numpy(game.read(rows)[0])).argmax(1).numpy()
        rows, rewards, terminated, truncated, _ = game.step(moves[:, None])
        returns += np.where(over, 0.0, rewards)
        over |= terminated | truncated
    assert found == pytest.approx(returns.mean())


def test_deep_q_learning_is_measured_like_the_others() -> None:
    task = replace(games.DEEP_CARTPOLE, limit=2_500, stop=15.0)
    found = ours(task, 0, judge=True)
    assert found.steps <= 2_560
    assert found.judged > 8.0
    assert found.seconds > 0.0


def test_the_lander_flies_where_nothing_can_be_drawn() -> None:
    pytest.importorskip("Box2D")
    lander = Games({"game": games.LANDER.game}).environment(2, 0, {})
    rows, _ = lander.reset(seed=0)
    assert rows.shape == (2, 8 + 4)
    speed = rows[:, 3]
    for _ in range(20):
        rows, *_ = lander.step(np.zeros((2, 1), np.int64))
    assert (rows[:, 3] < speed - 0.3).all(), "it falls"
    assert gymnasium.spec(games.LANDER.game).max_episode_steps == 1000
