"""The shop as an environment: spaces, seeds, visits, feedback on its way."""

import time
from collections import Counter
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from scipy import stats

from heedful.domains.recommendation.shop import (
    ENV_ID,
    ShopEnv,
    ShopParameters,
    expected_clicks,
    oracle,
    register,
)
from heedful.domains.recommendation.shop.comments import VERDICTS, comment

STAY = {"leave_pleased": 0.0, "leave_unmoved": 0.0}


def shop(people: int, seed: int = 0, **changes: Any) -> ShopEnv:
    env = ShopEnv(people, ShopParameters(**changes))
    env.reset(seed=seed)
    env.action_space.seed(seed)
    return env


def events_of(infos: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return [(person, event) for person, them in enumerate(infos["feedback"]) for event in them]


def test_gymnasium_finds_it_and_its_spaces_hold() -> None:
    register()
    register()
    env = gymnasium.make_vec(
        ENV_ID,
        num_envs=7,
        vectorization_mode="vector_entry_point",
        parameters=ShopParameters(items=30, max_visit=3),
    )
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observations, infos = env.reset(seed=3)
    assert observations in env.observation_space
    assert infos == {}
    for _ in range(20):
        slates = env.action_space.sample()
        assert slates in env.action_space
        assert slates[0] in env.single_action_space
        observations, rewards, terminated, truncated, infos = env.step(slates)
        assert observations in env.observation_space
        assert observations[0] in env.single_observation_space
        assert rewards.shape == terminated.shape == truncated.shape == (7,)
        assert ((rewards >= 0) & (rewards <= 1)).all()
        assert not (terminated & truncated).any()
    env.close()


def test_gymnasium_wrapper_counts_visits() -> None:
    env = RecordEpisodeStatistics(shop(50, **STAY, max_visit=4))
    env.reset(seed=0)
    for step in range(1, 9):
        infos = env.step(env.action_space.sample())[-1]
        assert ("episode" in infos) == (step % 4 == 0)
    assert (infos["episode"]["l"] == 4).all()


def trace(seed: int, steps: int = 25) -> list[Any]:
    env = shop(6, seed, drift=0.2, switch_at=9)
    seen: list[Any] = []
    for _ in range(steps):
        observations, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
        seen += [observations.tolist(), rewards.tolist(), terminated.tolist(), truncated.tolist()]
        seen.append(infos["feedback"].tolist())
    return seen


def test_same_seed_same_bits() -> None:
    assert trace(4) == trace(4)
    assert trace(4) != trace(5)


def test_reset_with_a_seed_forgets_and_without_one_goes_on() -> None:
    env = shop(4)
    first = oracle(env)
    for _ in range(5):
        env.step(env.action_space.sample())
    observations, _ = env.reset()
    assert (observations[:, 0] > 0).all(), "the same people come back"
    observations, _ = env.reset(seed=0)
    assert (observations[:, 0] == 0).all()
    assert (oracle(env) == first).all()
    later = [event["decision_age"] for _, event in events_of(env.step(first)[-1])]
    assert set(later) <= {0}, "mail of the people before has been thrown away"


def test_two_policies_meet_the_same_people_with_the_same_luck() -> None:
    blind, seeing = shop(40, **STAY), shop(40, **STAY)
    for _ in range(12):
        blind.step(blind.action_space.sample())
        seeing.step(oracle(seeing))
    assert blind.np_random.random() == seeing.np_random.random()


def test_what_can_not_be_shown_is_refused() -> None:
    env = shop(3, items=10)
    good = np.tile(np.arange(5), (3, 1))
    env.step(good)
    for slates, message in [
        (good[:2], r"shape \(2, 5\)"),
        (good.astype(float), "integers"),
        (good + 6, r"slate \[0\] is \[6, 7, 8, 9, 10\].*within 0\.\.9"),
        (good - 1, "different items within"),
        (np.where(np.arange(3)[:, None] == 1, 7, good), r"slate \[1\] is \[7, 7"),
    ]:
        with pytest.raises(ValueError, match=message):
            env.step(slates)
        with pytest.raises(ValueError, match=message):
            expected_clicks(env, slates)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        ShopEnv(2).step(good)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        oracle(ShopEnv(2))
    with pytest.raises(ValueError, match="at least one person"):
        ShopEnv(0)
    with pytest.raises(TypeError, match="no ShopEnv"):
        oracle(gymnasium.make_vec("CartPole-v1", vectorization_mode="vector_entry_point"))


def test_slates_are_drawn_uniformly_without_replacement() -> None:
    space = shop(20_000, items=4, slate=2, genres=2).action_space
    counts = Counter(map(tuple, space.sample().tolist()))
    assert len(counts) == 12
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    with pytest.raises(ValueError, match="no mask"):
        space.sample(mask=np.ones(4, dtype=np.int8))


def test_a_visit_ends_and_the_next_begins_in_the_same_step() -> None:
    env = shop(200, max_visit=6)
    before, _ = env.reset(seed=1)
    length = np.zeros(200, dtype=int)
    for _ in range(40):
        after, _, terminated, truncated, infos = env.step(env.action_space.sample())
        length += 1
        left = terminated | truncated
        assert (truncated <= (length == 6)).all()
        assert (left | (length < 6)).all(), "nobody stays longer than max_visit"
        visit = np.rint(np.exp(before[:, 0]))
        assert (np.rint(np.exp(after[:, 0])) == visit + left).all()
        assert (after[~left] == before[~left]).all()
        assert (infos["_final_obs"] == left).all()
        for person in range(200):
            final = infos["final_obs"][person]
            assert (final is None) != left[person]
            assert final is None or (final == before[person]).all()
        length[left] = 0
        before = after


def test_people_leave_sooner_when_nothing_moves_them() -> None:
    env = shop(4000, leave_pleased=0.1, leave_unmoved=0.3)
    for moved, chance in [(True, 0.1), (False, 0.3)]:
        left = stayed = 0
        for _ in range(10):
            _, rewards, terminated, _, _ = env.step(env.action_space.sample())
            left += int(terminated[(rewards > 0) == moved].sum())
            stayed += int((~terminated)[(rewards > 0) == moved].sum())
        assert stats.binomtest(left, left + stayed, chance).pvalue > 1e-3


def test_clicks_are_as_frequent_as_they_are_probable() -> None:
    env = shop(3000)
    surprise, variance = np.zeros(5), np.zeros(5)
    for _ in range(12):
        slates = oracle(env) if env.np_random.random() < 0.5 else env.action_space.sample()
        chance = expected_clicks(env, slates)
        _, rewards, _, _, infos = env.step(slates)
        clicked = np.zeros_like(chance)
        for person, event in events_of(infos):
            if event["kind"] == "click":
                assert event == {
                    "kind": "click",
                    "decision_age": 0,
                    "unit": event["unit"],
                    "value": True,
                }
                clicked[person, event["unit"]] += 1
        assert (clicked.mean(axis=1) == rewards).all()
        surprise += (clicked - chance).sum(axis=0)
        variance += (chance * (1 - chance)).sum(axis=0)
    assert stats.chi2.sf((surprise**2 / variance).sum(), df=5) > 1e-3


def test_late_feedback_names_the_decision_it_is_about() -> None:
    env = shop(300, rating_rate=0.5, comment_rate=0.3)
    clicks: set[tuple[int, int, int]] = set()
    answered: set[tuple[str, int, int, int]] = set()
    visit_of: list[Any] = []
    observations, _ = env.reset(seed=2)
    crossed = 0
    for now in range(40):
        visit_of.append(observations[:, 0])
        observations, *_, infos = env.step(env.action_space.sample())
        assert (infos["_feedback"] == [bool(events) for events in infos["feedback"]]).all()
        for person, event in events_of(infos):
            made_at = now - event["decision_age"]
            about = (made_at, person, event["unit"])
            if event["kind"] == "click":
                clicks.add(about)
                continue
            assert event["decision_age"] > 0
            assert about in clicks, "only what was clicked is rated or commented"
            assert (event["kind"], *about) not in answered
            answered.add((event["kind"], *about))
            crossed += visit_of[made_at][person] != visit_of[now][person]
    assert crossed > 100, "some of it comes in a later visit"


@pytest.mark.parametrize(("kind", "rate"), [("rating", 0.6), ("comment", 0.4)])
def test_delays_are_geometric_and_patience_ends(kind: str, rate: float) -> None:
    env = shop(2000, prompt_rate=0.4, patience=3, rating_rate=0.6, comment_rate=0.4)
    ages: Counter[int] = Counter()
    clicks = 0
    for now in range(15):
        for _, event in events_of(env.step(env.action_space.sample())[-1]):
            clicks += event["kind"] == "click" and now < 12
            if event["kind"] == kind and now - event["decision_age"] < 12:
                ages[event["decision_age"]] += 1
    assert set(ages) == {1, 2, 3}
    chances = rate * 0.4 * 0.6 ** np.arange(3)
    seen = [ages[1], ages[2], ages[3], clicks - ages.total()]
    assert stats.chisquare(seen, clicks * np.append(chances, 1 - chances.sum())).pvalue > 1e-3


def test_prompt_people_answer_at_the_next_decision() -> None:
    env = shop(50, prompt_rate=1.0, rating_rate=1.0)
    ages = {
        event["decision_age"]
        for _ in range(4)
        for _, event in events_of(env.step(oracle(env))[-1])
        if event["kind"] == "rating"
    }
    assert ages == {1}


def test_ratings_and_comments_agree_with_the_taste() -> None:
    env = shop(500, rating_rate=1.0, comment_rate=1.0, prompt_rate=1.0, **STAY)
    verdict = {text: rating for rating, texts in VERDICTS.items() for text in texts}
    affinity, ratings = [], []
    liked = np.zeros((500, 5))
    for _ in range(10):
        slates = env.action_space.sample()
        now = np.take_along_axis(env._people.affinity(), slates, axis=1)  # type: ignore[union-attr]
        said: dict[tuple[int, int], int] = {}
        for person, event in events_of(env.step(slates)[-1]):
            place = (person, event["unit"])
            if event["kind"] == "rating":
                said[place] = event["value"]
                affinity.append(liked[place])
                ratings.append(event["value"])
            elif event["kind"] == "comment":
                assert verdict[event["value"].split(",")[0]] == said[place]
        liked = now
    assert set(ratings) == {1, 2, 3, 4, 5}
    assert stats.spearmanr(affinity, ratings).statistic > 0.6


def test_comments_differ_between_ratings_and_within_one() -> None:
    texts = {
        rating: {comment(rating, luck) for luck in np.linspace(0, 1, 100, endpoint=False)}
        for rating in range(1, 6)
    }
    assert all(len(of_rating) == 12 for of_rating in texts.values())
    assert len(set().union(*texts.values())) == 60


def test_an_explicit_no_is_sent_only_where_asked() -> None:
    for explicit_no in (False, True):
        env = shop(30, explicit_no=explicit_no)
        _, rewards, _, _, infos = env.step(env.action_space.sample())
        clicks = [event["value"] for _, event in events_of(infos) if event["kind"] == "click"]
        assert sum(clicks) == round(rewards.sum() * 5)
        assert len(clicks) == (150 if explicit_no else sum(clicks))


def test_a_thousand_people_are_cheap() -> None:
    env = shop(1000)
    slates = [env.action_space.sample() for _ in range(8)]
    began = time.process_time()
    for slate in slates:
        env.step(slate)
    assert time.process_time() - began < 1.0  # measured: .02 s
