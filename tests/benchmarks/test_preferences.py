from dataclasses import replace

import numpy as np
import pytest

from benchmarks import preferences
from benchmarks.preferences import CLIFF, LAKE, Explorer
from heedful.domains.games.clips import Asking, Lesson, Teacher, features_of, play
from heedful.evaluate.exact import optimal_value, policy_value


def test_games_that_stand_still_keep_their_exact_optima():
    assert optimal_value(CLIFF.rules(), horizon=CLIFF.horizon) == pytest.approx(-13.0)
    assert optimal_value(LAKE.rules(), horizon=LAKE.horizon) == pytest.approx(0.7442, abs=1e-4)
    # Falling off the cliff at every step, for who wants just that.
    assert optimal_value(CLIFF.rules(-1.0), horizon=100) == pytest.approx(100 * 100)


def test_a_share_is_of_what_the_best_play_gains_or_costs():
    assert preferences.share(CLIFF, -13.0) == pytest.approx(1.0)
    assert preferences.share(CLIFF, -26.0) == pytest.approx(0.5)
    assert preferences.share(CLIFF, 5000.0, sign=-1.0) == pytest.approx(0.5)
    assert preferences.share(LAKE, 0.0) == 0.0


@pytest.mark.parametrize("game", [CLIFF, LAKE], ids=lambda game: game.name)
def test_the_rules_are_those_of_the_game_that_is_played(game):
    """Uniform play earns what its rules say it earns."""
    rules, rng = game.rules(), np.random.default_rng(0)
    env = game.make()
    returns = [
        play(env, lambda _: int(rng.integers(4)), episode=str(k), seed=k).rewards.sum()
        for k in range(150)
    ]
    expected = policy_value(rules, np.full(rules.rewards.shape, 0.25), horizon=game.horizon)
    error = np.std(returns, ddof=1) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - expected) < 4 * max(error, 0.01)


def test_the_explorer_makes_every_move_of_the_cliff_without_any_reward():
    env = CLIFF.make()
    lesson = Lesson(features_of(env.observation_space, env.action_space))
    explorer, uniform = Explorer(48, 4, seed=0), np.random.default_rng(0)

    def blind(_):
        return int(uniform.integers(4))

    made = {"explorer": np.zeros((48, 4)), "uniform": np.zeros((48, 4))}
    for k in range(80):
        for name, choose in (("explorer", explorer(lesson)), ("uniform", blind)):
            found = play(env, choose, episode=str(k), seed=k)
            np.add.at(made[name], (found.observations, found.moves), 1)
            if name == "explorer":
                lesson.plays.add([found])
    known = {name: int((times >= preferences.KNOWN).sum()) for name, times in made.items()}
    assert known["explorer"] == 38 * 4  # of all places but the ten of the cliff
    assert known["uniform"] < known["explorer"]


@pytest.mark.parametrize("seed", [30, 31, 44])  # with fewer moves by chance these cycled
def test_the_opposite_of_what_the_game_rewards_is_learned(seed):
    lesson = preferences.taught_by(CLIFF, Teacher(), seed, sign=-1.0, chance=preferences.VARIED)
    assert preferences.share(CLIFF, preferences._by_plan(CLIFF, lesson, sign=-1.0), sign=-1.0) > 0.9


def test_the_tables_of_a_small_run_are_whole(monkeypatch):
    small = Asking(questions=20, rounds=2, episodes=4, standing=100)
    monkeypatch.setattr(preferences, "CLIFF", replace(CLIFF, asking=small))
    monkeypatch.setattr(preferences, "LAKE", replace(LAKE, asking=small))
    seeds = preferences.SEEDS[:2]
    teachers = preferences._teachers(seeds)
    assert [row[1] for row in teachers.rows] == [*CLIFF.teachers] * 2
    assert "The worst teacher: on CliffWalking" in teachers.note
    targets = preferences._targets(seeds, episodes=20)
    opposed = preferences._opposed(seeds)
    for table in (teachers, targets, opposed):
        assert {len(row) for row in table.rows} == {len(table.columns)}
