"""The people of the shop: tastes, boredom, drift, the oracle, the head-room, the history."""

from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest

from heedful.domains.recommendation.shop import (
    Interaction,
    ShopEnv,
    ShopParameters,
    expected_clicks,
    oracle,
    popular,
    visits,
)
from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.domains.recommendation.shop.headroom import headroom
from heedful.domains.recommendation.shop.people import People

STAY = {"leave_pleased": 0.0, "leave_unmoved": 0.0, "max_visit": 10_000}


def shop(people: int, seed: int = 0, **changes: Any) -> ShopEnv:
    env = ShopEnv(people, ShopParameters(**changes))
    env.reset(seed=seed)
    env.action_space.seed(seed)
    return env


def inside(env: ShopEnv) -> People:
    assert env._people is not None
    return env._people


def all_shown(env: ShopEnv, slate: list[int]) -> np.ndarray:
    return np.tile(slate, (env.num_envs, 1))


def test_no_slate_beats_the_oracle() -> None:
    env = shop(8, items=6, slate=3, genres=3, dimension=3, **STAY)
    for _ in range(6):
        best = expected_clicks(env, oracle(env)).sum(axis=1)
        others = [
            expected_clicks(env, all_shown(env, list(slate))).sum(axis=1)
            for slate in permutations(range(6), 3)
        ]
        assert len(others) == 120
        assert np.allclose(best, np.max(others, axis=0), rtol=1e-12)
        env.step(env.action_space.sample())


def test_looking_does_not_touch() -> None:
    one, other = shop(5), shop(5)
    for _ in range(5):
        expected_clicks(one, oracle(one))
        popular(one)
        slates = other.action_space.sample()
        assert one.step(slates)[1].tolist() == other.step(slates)[1].tolist()


def test_lower_positions_are_looked_at_less() -> None:
    env = shop(20, examination_decay=0.8)
    slate = [11, 3, 7, 100, 42]
    chances = [
        expected_clicks(env, all_shown(env, slate[-turn:] + slate[:-turn])) for turn in range(5)
    ]
    for turn, chance in enumerate(chances):  # item 11 stands at position `turn`
        assert np.allclose(chance[:, turn], chances[0][:, 0] * 0.8**turn, rtol=1e-12)


def test_boredom_rises_spreads_to_the_genre_and_fades() -> None:
    env = shop(50, **STAY)
    genre = env._catalogue.genre
    mates = np.flatnonzero(genre == 0)
    shown, mate, stranger = mates[:5], mates[5:10], np.flatnonzero(genre == 1)[:5]

    def wanted() -> np.ndarray:
        logits = inside(env).logits()
        return np.stack([logits[:, group].mean(axis=1) for group in (shown, mate, stranger)])

    fresh = wanted()
    for _ in range(10):
        env.step(all_shown(env, shown.tolist()))
    lost = fresh - wanted()
    assert (lost[0] > lost[1] + 0.5).all()
    assert (lost[1] > 0.1).all()
    assert np.allclose(lost[2], 0)
    elsewhere = np.flatnonzero(genre == 2)[:5]
    for _ in range(30):
        env.step(all_shown(env, elsewhere.tolist()))
    assert np.allclose(wanted(), fresh, atol=1e-3)


def test_who_comes_back_is_rested() -> None:
    env = shop(50, leave_pleased=1.0, leave_unmoved=1.0, boredom_rest=0.25)
    env.step(env.action_space.sample())
    assert np.unique(inside(env).shown).tolist() == [0.0, 0.25]
    assert np.allclose(inside(env).genre_shown.sum(axis=1), 0.25)


def test_tastes_stay_unless_asked_to_drift() -> None:
    env = shop(10)
    before = inside(env).affinity()
    for _ in range(20):
        env.step(env.action_space.sample())
    assert (inside(env).affinity() == before).all()


def test_drift_wanders_around_home_at_its_stated_size() -> None:
    env = shop(3000, drift=0.4, drift_memory=0.9, items=20)
    home = inside(env).home.copy()
    start = inside(env).wander.copy()
    for steps in (1, 9, 60):
        for _ in range(steps):
            env.step(env.action_space.sample())
        size = np.sqrt((inside(env).wander ** 2).sum(axis=1).mean())
        assert size == pytest.approx(0.4, rel=0.03), "stationary from the start"
    assert (inside(env).home == home).all()
    assert abs(np.corrcoef(start.ravel(), inside(env).wander.ravel())[0, 1]) < 0.05


def test_drift_is_remembered_from_one_decision_to_the_next() -> None:
    env = shop(3000, drift=0.4, drift_memory=0.9, items=20)
    before = inside(env).wander.ravel().copy()
    env.step(env.action_space.sample())
    assert np.corrcoef(before, inside(env).wander.ravel())[0, 1] == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("at", [1, 4])
def test_tastes_switch_once_at_the_stated_decision(at: int) -> None:
    env = shop(200, switch_at=at)
    homes = [inside(env).home.copy()]
    for _ in range(8):
        env.step(env.action_space.sample())
        homes.append(inside(env).home.copy())
    moved = [bool((a != b).any()) for a, b in pairwise(homes)]
    assert moved == [step == at for step in range(1, 9)]
    assert (homes[at] != homes[at - 1]).any(axis=1).all()


def test_tastes_turn_to_the_next_genre_at_the_stated_decision() -> None:
    still, turning = shop(50, taste_spread=0.0), shop(50, taste_spread=0.0, turn_at=3)
    fond = still._catalogue.centres
    before = inside(turning).home @ fond.T
    for decision in range(6):
        assert inside(turning).turned == (1.0 if decision >= 3 else 0.0)
        same = (inside(still).affinity() == inside(turning).affinity()).all()
        assert same == (decision < 3)
        for env in (still, turning):
            env.step(env.action_space.sample())
    now = still._catalogue.turned(inside(turning).home, 1.0) @ fond.T
    assert np.allclose(now, np.roll(before, 1, axis=1))
    assert np.allclose(inside(turning).affinity(), now @ fond @ still._catalogue.vectors.T)


def test_a_gradual_turn_keeps_tastes_at_length_one_and_knows_who_comes_late() -> None:
    env = shop(40, turn_at=2, turn_over=4)
    found = []
    for _ in range(8):
        found.append(inside(env).turned)
        turned = env._catalogue.turned(inside(env).home, inside(env).turned)
        assert np.allclose(np.linalg.norm(turned, axis=1), 1)
        env.step(env.action_space.sample())
    assert found == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert inside(shop(1, turn_at=-1, turn_over=4)).turned == 0.5
    assert inside(shop(1, turn_at=0)).turned == 1.0


def test_the_oracle_follows_a_turn() -> None:
    env = shop(300, turn_at=0, genre_skew=3.0)
    blind = shop(300, genre_skew=3.0)
    knowing, stale = (expected_clicks(env, oracle(who)).mean() for who in (env, blind))
    assert knowing > 2 * stale


def test_observations_and_public_names_hide_tastes() -> None:
    parameters = [{"strength": 0.0, "taste_spread": 0.0}, {"strength": 9.0, "taste_spread": 2.0}]
    one, other = (shop(6, **changes, items=30) for changes in parameters)
    assert (inside(one).home != inside(other).home).any()
    assert (one._observe(inside(one)) == other._observe(inside(other))).all()
    public = {name: getattr(one, name) for name in dir(one) if not name.startswith("_")}
    for name, value in public.items():
        assert not isinstance(value, People | Catalogue | np.ndarray), name


def test_popular_knows_the_world_and_nobody_in_it() -> None:
    one, other = shop(1, seed=1), shop(900, seed=2)
    ranking = popular(one)
    assert sorted(ranking.tolist()) == list(range(200))
    assert (ranking == popular(other)).all()
    assert (ranking != popular(shop(1, world_seed=1))).any()
    head, tail = (
        expected_clicks(other, all_shown(other, s)).mean()
        for s in (ranking[:5].tolist(), ranking[-5:].tolist())
    )
    assert head > 5 * tail


def test_a_world_depends_on_its_own_seed_only() -> None:
    assert (Catalogue.draw(ShopParameters()).vectors == shop(3, seed=9)._catalogue.vectors).all()
    other = Catalogue.draw(ShopParameters(world_seed=1))
    assert (Catalogue.draw(ShopParameters()).vectors != other.vectors).any()
    assert np.allclose(np.linalg.norm(other.vectors, axis=1), 1)
    assert np.bincount(other.genre).tolist() == [34, 34, 33, 33, 33, 33]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": 0}, "items is 0: it must be at least 1"),
        ({"slate": 201}, r"slate is 201: it must be within 1\.\.200"),
        ({"genres": 9}, r"genres is 9: it must be within 1\.\.8"),
        ({"examination_decay": 1.1}, "examination_decay"),
        ({"prompt_rate": 0.0}, "above 0"),
        ({"strength": float("nan")}, "strength is nan: give a finite number"),
        ({"drift": -0.1}, "drift is -0.1"),
        ({"switch_at": 0}, "switch_at is 0: it must be at least 1"),
        ({"turn_over": 0}, "turn_over is 0: it must be at least 1"),
        ({"world_seed": -1}, "world_seed"),
    ],
)
def test_parameters_that_make_no_shop_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShopParameters(**changes)


def test_there_is_room_and_a_few_clicks_tell_a_taste() -> None:
    found = [headroom(ShopParameters(world_seed=w), people=300, visits=2) for w in (0, 1, 2)]
    mean = {name: float(np.mean([world[name] for world in found])) for name in found[0]}
    assert 0.10 <= mean["uniform"] <= 0.15
    assert 0.20 <= mean["popular"] <= 0.25
    assert 0.45 <= mean["oracle"] <= 0.55
    for world in found:
        for floor in ("popular", "popular, rested"):
            gap = world["oracle"] - world[floor]
            assert world["reads clicks"] - world[floor] >= 0.6 * gap


def test_history_is_of_the_same_people() -> None:
    parameters = ShopParameters()
    rows = list(visits(parameters, people=300, per_person=20, seed=5))
    assert rows == list(visits(parameters, people=300, per_person=20, seed=5))
    assert len(rows) == 6000
    assert len({(row.user, row.item) for row in rows}) == 6000, "nobody chooses an item twice"
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    assert {type(value) for row in rows for value in row} == {int}
    affinity = inside(shop(300, seed=5)).affinity()
    users, items, ratings, _ = np.array(rows).T
    chosen = affinity[users, items]
    assert chosen.mean() > affinity.mean() + 0.2
    assert np.corrcoef(chosen, ratings)[0, 1] > 0.6
    strangers = inside(shop(300, seed=6)).affinity()[users, items]
    assert abs(np.corrcoef(strangers, ratings)[0, 1]) < 0.2


def test_history_prefers_what_appeals() -> None:
    parameters = ShopParameters(strength=0.0)
    counts = np.zeros(200)
    for row in visits(parameters, people=2000, per_person=1, seed=0):
        counts[row.item] += 1
    weight = np.exp(0.5 * Catalogue.draw(parameters).appeal)
    expected = 2000 * weight / weight.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 280  # chi-square, 199 degrees: p = 1e-4


def test_history_refuses_what_nobody_can_have_done() -> None:
    assert list(visits(ShopParameters(), 2, 0, 0)) == []
    for people, per_person in [(0, 1), (1, 201), (1, -1)]:
        with pytest.raises(ValueError, match="give at least one person"):
            list(visits(ShopParameters(), people, per_person, 0))
    assert Interaction(1, 2, 3, 4)._asdict() == {"user": 1, "item": 2, "rating": 3, "time": 4}
