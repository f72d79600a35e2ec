"""Clips: play, horizons, sampling, rendering, wrappers, teachers."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from heedful.domains.games.clips import (
    Answer,
    FixedHorizon,
    LearnedReward,
    LearnedRewardVector,
    NotTheSameError,
    Plays,
    Teacher,
    features_of,
    mode_of,
    play,
    random_pairs,
    records,
    rendered,
    replayed,
    six_teachers,
    spans,
    stacked,
)
from heedful.domains.games.clips.trajectories import Trajectory
from heedful.record import Span
from heedful.reward.steps import Episodes
from heedful.store import Log

LAKE, POLE = "FrozenLake-v1", "CartPole-v1"


def lake(mode: str | None = None, *, horizon: int = 30, after: Any = "hold") -> FixedHorizon:
    made = gymnasium.make(LAKE, max_episode_steps=100, render_mode=mode)
    return FixedHorizon(made, horizon, after=after)


def pole(mode: str | None = None, *, horizon: int = 40) -> FixedHorizon:
    return FixedHorizon(gymnasium.make(POLE, render_mode=mode), horizon)


def at_random(env: gymnasium.Env[Any, Any], n: int = 5, seed: int = 0) -> Plays:
    rng, plays = np.random.default_rng(seed), Plays()
    count = int(env.action_space.n)  # type: ignore[attr-defined]
    plays.add(
        play(env, lambda _: int(rng.integers(count)), episode=f"e{k}", seed=seed + k)
        for k in range(n)
    )
    return plays


# Horizons


@pytest.mark.parametrize("after", ["hold", "restart"])
def test_every_episode_lasts_as_long_and_none_terminates(after: Any) -> None:
    plays = at_random(lake(after=after), 20)
    assert {len(one) for one in plays.trajectories.values()} == {30}
    ended = [one.over for one in plays.trajectories.values()]
    assert (min(ended) < 30) is (after == "hold")


def test_a_game_that_is_over_stands_still_and_earns_nothing() -> None:
    env = pole()
    observation, _ = env.reset(seed=0)
    rewards, infos, seen = [], [], [observation]
    for step in range(40):
        observation, reward, terminated, truncated, info = env.step(1)
        assert not terminated
        assert truncated is (step == 39)
        rewards.append(reward)
        seen.append(observation)
        infos.append(info["held"])
    over = infos.index(True)
    assert 5 < over < 20
    assert rewards == [1.0] * (over + 1) + [0.0] * (39 - over)
    assert all((one == seen[over + 1]).all() for one in seen[over + 1 :])


def test_a_game_that_restarts_shows_the_first_observation_of_the_next() -> None:
    env = lake(after="restart", horizon=60)
    one = at_random(env, 1, seed=3).trajectories["e0"]
    jumps = [(a, b) for a, b in zip(one.observations[:-1], one.observations[1:], strict=True)]
    far = [b for a, b in jumps if b not in (a, a - 1, a + 1, a - 4, a + 4)]
    assert far
    assert set(far) == {0}
    assert not {5, 7, 11, 12, 15} & set(one.observations.tolist())  # ends are never observed


def test_a_horizon_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(ValueError, match=r"FrozenLake-v1 is cut off after 100 steps"):
        FixedHorizon(gymnasium.make(LAKE), 101)
    with pytest.raises(ValueError, match="horizon is 0"):
        lake(horizon=0)
    with pytest.raises(ValueError, match="after is 'stop'"):
        lake(after="stop")


# Clips


def test_clips_begin_in_play_or_so_long_after_it() -> None:
    plays = at_random(lake(), 30)
    every, rng = list(plays.trajectories.values()), np.random.default_rng(0)
    for standing in (0, 4):
        for span in spans(every, 300, 8, rng, standing=standing):
            one = plays.trajectories[span.episode]
            assert span.stop - span.start == 8
            assert span.stop <= len(one)
            assert span.start < one.over + standing


def test_every_clip_is_as_likely() -> None:
    every = [
        Trajectory(name, 0, np.zeros(10), np.zeros(10), np.zeros(10), over)
        for name, over in (("a", 2), ("b", 10))
    ]
    drawn = spans(every, 8000, 5, np.random.default_rng(1))
    counts = {clip: drawn.count(clip) for clip in set(drawn)}
    assert len(counts) == 2 + 6
    assert max(counts.values()) < 1.15 * 1000
    assert min(counts.values()) > 0.85 * 1000


def test_a_pair_is_of_two_clips() -> None:
    plays = at_random(lake(horizon=9), 1)
    every, rng = list(plays.trajectories.values()), np.random.default_rng(0)
    assert all(left != right for left, right in random_pairs(every, 50, 8, rng))
    with pytest.raises(ValueError, match="no two clips"):
        random_pairs(every, 1, 9, rng)
    with pytest.raises(ValueError, match="no episode has 10 steps"):
        random_pairs(every, 1, 10, rng)


def test_a_clip_shows_no_score() -> None:
    plays = at_random(pole(), 3)
    seen, moves = plays.clip(Span("e1", 2, 7))
    assert seen.shape == (5, 4)
    assert moves.shape == (5,)
    assert (seen == plays.trajectories["e1"].observations[2:7]).all()
    with pytest.raises(KeyError, match="no episode 'x'"):
        plays.clip(Span("x", 0, 1))
    with pytest.raises(ValueError, match="has 40 steps, no 41"):
        plays.clip(Span("e1", 0, 41))
    with pytest.raises(ValueError, match="'e1' was played before"):
        plays.add([plays.trajectories["e1"]])


def test_numbered_cases_are_indicators_and_numbers_are_numbers() -> None:
    env = lake()
    cases = features_of(env.observation_space, env.action_space)
    rows = cases(np.array([0, 3]), np.array([2, 1]))
    assert rows.shape == (2, cases.width) == (2, 64)
    assert rows.argmax(1).tolist() == [2, 13]
    assert rows.sum() == 2
    env = pole()
    numbers = features_of(env.observation_space, env.action_space)
    rows = numbers(np.arange(8.0).reshape(2, 4), np.array([0, 1]))
    assert rows.tolist() == [[0, 1, 2, 3, 1, 0], [4, 5, 6, 7, 0, 1]]
    plays = at_random(env, 2)
    clips = [Span("e0", 0, 5), Span("e1", 3, 8)]
    assert stacked(plays, clips, numbers).shape == (2, 5, 6)
    with pytest.raises(TypeError, match="no fixed number"):
        features_of(gymnasium.spaces.Text(5), env.action_space).width  # noqa: B018


# Rendering


def test_text_is_played_again_from_seed_and_moves() -> None:
    plays = at_random(lake(), 3)
    one = plays.trajectories["e2"]
    scenes = rendered(lake, "ansi", one, Span("e2", 4, 9))
    assert len(scenes) == 6
    for scene, state in zip(scenes, one.observations[4:10], strict=False):
        flat = "".join(line for line in scene.split("\n") if line and not line.startswith("  "))
        marked = flat.index("\x1b[41m")
        assert marked == state
    assert mode_of(lake(), text=True) == "ansi"
    assert mode_of(lake()) == "rgb_array"


class Lamp(gymnasium.Env[Any, Any]):
    """Its brightness is a drawn number plus the moves so far; it can only be drawn."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(0, 255, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.light = int(self.np_random.integers(100))
        return np.array([self.light], np.float32), {}

    def step(self, action: int) -> Any:
        self.light += action
        return np.array([self.light], np.float32), 0.0, False, False, {}

    def render(self) -> Any:
        return np.full((2, 3, 3), self.light, np.uint8)


def lamp(mode: str | None = None) -> FixedHorizon:
    return FixedHorizon(Lamp(mode), 12)


def test_frames_are_drawn_again_where_the_environment_draws() -> None:
    one = at_random(lamp(), 3).trajectories["e2"]
    frames = rendered(lamp, mode_of(lamp()), one, Span("e2", 3, 7))
    assert [frame.shape for frame in frames] == [(2, 3, 3)] * 5
    assert [frame[0, 0, 0] for frame in frames] == one.observations[3:8, 0].tolist()
    assert mode_of(lamp(), text=True) == "rgb_array"
    with pytest.raises(ValueError, match="renders nothing"):
        mode_of(gymnasium.Env())


def test_another_environment_is_not_shown_in_its_place() -> None:
    one = at_random(lake(), 1).trajectories["e0"]

    def dry(mode: str) -> gymnasium.Env[Any, Any]:
        made = gymnasium.make(LAKE, is_slippery=False, render_mode=mode)
        return FixedHorizon(made, 30)

    with pytest.raises(NotTheSameError, match="make the environment as it was"):
        rendered(dry, "ansi", one, Span("e0", 20, 25))
    with pytest.raises(ValueError, match="no clip of episode 'e0'"):
        rendered(lake, "ansi", one, Span("e1", 0, 2))


def test_play_is_logged_and_played_again_from_the_log_alone(tmp_path: Path) -> None:
    one = at_random(lake(), 1, seed=5).trajectories["e0"]
    made = records(
        one,
        lambda state: {"observation": int(state)},
        lambda move: (str(move),),
        subject="ada",
        policy="chance",
        vocabulary="v",
        at=10.0,
    )
    with Log.open(tmp_path / "log.db", write=True) as log:
        assert {receipt.status for receipt in log.append(made)} == {"added"}
        assert {receipt.status for receipt in log.append(made)} == {"duplicate"}
        episodes = Episodes(log.snapshot())
    span = Span("e0", 3, 6)
    steps = episodes.until(span)
    assert steps[0].context == {"observation": 0, "seed": 5}
    shown = replayed(lake, steps, 3, lambda units: int(units[0]), text=True)
    assert shown == rendered(lake, "ansi", one, span)
    with pytest.raises(ValueError, match="cannot be played again: its first context has no 'seed'"):
        replayed(lake, steps[1:], 2, lambda units: int(units[0]), text=True)


# Learned rewards


def steepness(features: np.ndarray) -> np.ndarray:
    return 10.0 * features[:, 2] + features[:, 5]


def test_any_environment_gives_the_learned_reward_and_tells_its_own() -> None:
    env = LearnedReward(pole(), steepness)
    observation, _ = env.reset(seed=1)
    following, reward, _, _, info = env.step(1)
    assert reward == pytest.approx(10.0 * observation[2] + 1.0)
    assert info["true_reward"] == 1.0
    _, reward, *_ = env.step(0)
    assert reward == pytest.approx(10.0 * following[2])
    env.reward = lambda features: np.zeros(len(features))
    assert env.step(0)[1] == 0.0
    assert play(env, lambda _: 0, episode="e", seed=1).rewards.max() == 1.0  # not the learned one


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*A Box observation space m")  # the pole's own space
def test_the_wrapper_passes_gymnasiums_own_check() -> None:
    check_env(LearnedReward(pole(), steepness), skip_render_check=True)
    check_env(LearnedReward(lake(), lambda features: features[:, 0]), skip_render_check=True)


def test_a_reward_that_is_no_number_is_refused() -> None:
    env = LearnedReward(pole(), lambda features: np.full(len(features), np.nan))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="must be finite"):
        env.step(0)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_many_environments_give_what_each_would_give_alone(mode: AutoresetMode) -> None:
    """In every autoreset mode: the same rewards for the same moves, 0 for a step that resets."""
    single = LearnedReward(gymnasium.make(POLE), steepness)
    many = LearnedRewardVector(
        SyncVectorEnv([lambda: gymnasium.make(POLE)] * 2, autoreset_mode=mode), steepness
    )
    many.reset(seed=[7, 8])
    found: list[float] = []
    resetting = False
    while len(found) < 25:
        _, rewards, terminated, truncated, info = many.step(np.array([1, 0]))
        assert info["true_reward"].shape == (2,)
        over = bool(terminated[0] | truncated[0])
        if resetting:
            assert rewards[0] == 0.0
        else:
            found.append(float(rewards[0]))
        if mode is AutoresetMode.DISABLED and (terminated | truncated).any():
            many.reset(options={"reset_mask": terminated | truncated})
        resetting = over and mode is AutoresetMode.NEXT_STEP
    alone, done = [], True
    while len(alone) < len(found):
        if done:
            single.reset(seed=7 if not alone else None)
        _, reward, terminated, truncated, _ = single.step(1)
        alone.append(reward)
        done = terminated or truncated
    assert found == pytest.approx(alone)


# Teachers


def said(teacher: Teacher, left: list[float], right: list[float], n: int = 1) -> list[Answer]:
    rng = np.random.default_rng(0)
    return [teacher(np.array(left), np.array(right), rng) for _ in range(n)]


SIX = six_teachers(unit=1.0, equal=1.5, skip=0.5)


def test_the_oracle_says_what_earns_more_and_ties_are_ties() -> None:
    assert said(SIX["oracle"], [1, 0], [0, 0]) == [Answer.LEFT]
    assert said(SIX["oracle"], [0, 0], [0, 1]) == [Answer.RIGHT]
    assert said(SIX["oracle"], [0, 1], [1, 0]) == [Answer.EQUAL]


def test_a_tenth_of_a_mistaken_teachers_answers_is_the_wrong_way_round() -> None:
    wrong = said(SIX["mistake"], [1.0], [0.0], 2000).count(Answer.RIGHT) / 2000
    assert 0.08 < wrong < 0.12
    ties = said(SIX["mistake"], [1.0], [1.0], 2000)
    assert 0.88 < ties.count(Answer.EQUAL) / 2000 < 0.92


def test_a_noisy_teacher_sees_one_unit_in_nine_of_ten_cases() -> None:
    assert 0.87 < said(SIX["noisy"], [1.0], [0.0], 2000).count(Answer.LEFT) / 2000 < 0.93
    assert 0.45 < said(SIX["noisy"], [1.0], [1.0], 2000).count(Answer.LEFT) / 2000 < 0.55
    assert said(SIX["noisy"], [1e9], [0.0]) == [Answer.LEFT]


def test_others_call_much_equal_skip_or_forget() -> None:
    assert said(SIX["equal"], [1.0], [0.0]) == [Answer.EQUAL]
    assert said(SIX["equal"], [2.0], [0.0]) == [Answer.LEFT]
    assert said(SIX["skip"], [0.4], [0.0]) == [Answer.UNSURE]
    assert said(SIX["skip"], [0.4], [0.6]) == [Answer.RIGHT]
    assert said(SIX["oracle"], [1.0, 0, 0], [0, 0, 0.95]) == [Answer.LEFT]
    assert said(SIX["myopic"], [1.0, 0, 0], [0, 0, 0.95]) == [Answer.RIGHT]


def test_what_nobody_can_tell_is_no_outcome() -> None:
    assert [answer.outcome for answer in Answer][:3] == [1.0, 0.0, 0.5]
    assert np.isnan(Answer.UNSURE.outcome)
