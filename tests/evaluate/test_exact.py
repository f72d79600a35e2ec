import gymnasium
import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import generate_random_map

from heedful.evaluate.exact import NoExactValueError, Rules, greedy, optimal_value, policy_value

# Two rooms: stay (reward 1) or leave for the end (reward 5).
TABLE = {
    0: {0: [(1.0, 0, 1.0, False)], 1: [(1.0, 1, 5.0, True)]},
    1: {0: [(1.0, 1, 0.0, True)], 1: [(1.0, 1, 0.0, True)]},
}


def rules_of(name: str, **options: object) -> Rules:
    return Rules.of_environment(gymnasium.make(name, **options))


@pytest.mark.parametrize(
    ("name", "horizon", "value"),
    [
        ("CliffWalking-v1", None, -13.0),
        ("CliffWalkingSlippery-v1", None, -64.71),
        ("FrozenLake-v1", 100, 0.7442),
        ("FrozenLake8x8-v1", 200, 0.9132),
        ("Taxi-v4", 200, 7.930),
    ],
)
def test_known_optima(name: str, horizon: int | None, value: float) -> None:
    if name not in gymnasium.registry:
        pytest.skip(f"this Gymnasium registers no {name}")
    assert optimal_value(rules_of(name), horizon=horizon) == pytest.approx(value, abs=6e-3)


def test_a_horizon_counts_steps() -> None:
    rules = Rules.of(TABLE, [1.0, 0.0])
    assert [optimal_value(rules, horizon=k) for k in (0, 1, 2, 10)] == [0.0, 5.0, 6.0, 14.0]
    assert optimal_value(rules, horizon=2, gamma=0.9) == 1.0 + 0.9 * 5.0


def test_discounting_makes_endless_play_finite() -> None:
    rules = Rules.of(TABLE, [1.0, 0.0])
    always_stay = [[1.0, 0.0], [1.0, 0.0]]
    assert policy_value(rules, always_stay, horizon=None, gamma=0.5) == pytest.approx(2.0)
    assert optimal_value(rules, horizon=None, gamma=0.5) == pytest.approx(5.0)
    with pytest.raises(NoExactValueError, match="give a horizon"):
        policy_value(rules, always_stay, horizon=None)


def test_a_policys_value_is_the_mean_return_of_playing_it() -> None:
    game = gymnasium.make("FrozenLake-v1", desc=generate_random_map(size=3, seed=5))
    rules = Rules.of_environment(game)
    policy = np.random.default_rng(0).dirichlet(np.ones(4), size=9)
    rng, returns = np.random.default_rng(1), []
    game.reset(seed=1)
    for _ in range(3000):
        state, total, over = game.reset()[0], 0.0, False
        while not over:
            state, reward, terminated, truncated, _ = game.step(int(rng.choice(4, p=policy[state])))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - policy_value(rules, policy, horizon=100)) < 4 * error


def test_no_policy_beats_the_optimum_and_the_best_action_values_reach_it() -> None:
    rules = rules_of("FrozenLake-v1", desc=generate_random_map(size=5, seed=1))
    best = optimal_value(rules, horizon=None, gamma=0.95)
    rng = np.random.default_rng(2)
    for _ in range(20):
        policy = rng.dirichlet(np.ones(4), 25)
        assert policy_value(rules, policy, horizon=None, gamma=0.95) <= best + 1e-9
    value = np.zeros(25)
    for _ in range(2000):
        q = rules.rewards + 0.95 * rules.following @ value
        value = q.max(1)
    reached = policy_value(rules, greedy(q), horizon=None, gamma=0.95)
    assert reached == pytest.approx(best, abs=1e-8)


def test_rules_that_make_no_game_are_refused() -> None:
    short = {0: {0: [(0.5, 0, 1.0, False)]}}
    with pytest.raises(ValueError, match=r"state 0, action 0: .* sum to 0\.5"):
        Rules.of(short, [1.0])
    with pytest.raises(ValueError, match="leads to 3"):
        Rules.of({0: {0: [(1.0, 3, 1.0, False)]}}, [1.0])
    with pytest.raises(ValueError, match="distribution over the table's 2 states"):
        Rules.of(TABLE, [1.0, 1.0])
    with pytest.raises(ValueError, match="distribution in every state"):
        policy_value(Rules.of(TABLE, [1.0, 0.0]), [[1.0, 1.0], [1.0, 0.0]], horizon=1)
    with pytest.raises(TypeError, match="CartPoleEnv has no P"):
        rules_of("CartPole-v1")
