"""Another library's PPO trains on our wrappers and environments as it comes."""

import gymnasium
import numpy as np
import pytest

from heedful.domains.games.boards import BoardEnv
from heedful.domains.games.clips import FixedHorizon, LearnedReward

sb3 = pytest.importorskip("stable_baselines3")


def to_the_right(features: np.ndarray) -> np.ndarray:
    """Who likes every push to the right, and does not mind that the pole falls."""
    return features[:, 5]


def liked() -> LearnedReward:
    return LearnedReward(FixedHorizon(gymnasium.make("CartPole-v1"), 20), to_the_right)


@pytest.mark.slow
def test_ppo_learns_what_the_learned_reward_wants_and_not_what_the_game_does() -> None:
    model = sb3.PPO("MlpPolicy", liked(), n_steps=256, learning_rate=3e-3, seed=0, device="cpu")
    model.learn(4096)
    game = liked()
    observation, _ = game.reset(seed=1)
    pushed, own = 0.0, 0.0
    for _ in range(20):
        move = int(model.predict(observation, deterministic=True)[0])
        observation, reward, _, _, info = game.step(move)
        pushed, own = pushed + reward, own + info["true_reward"]
    assert pushed >= 18
    assert own < 15  # the pole fell


@pytest.mark.slow
def test_ppo_plays_on_a_board() -> None:
    model = sb3.PPO("MlpPolicy", BoardEnv("tic-tac-toe"), n_steps=128, seed=0, device="cpu")
    model.learn(256)
    assert model.num_timesteps == 256
