import numpy as np
import pytest

from heedful.domains.recommendation.shop import LastClickShop, ShopParameters, expected_clicks
from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.loop.tabular import Linear, TabularLearning, learn

SHOP = ShopParameters(items=6, genres=3, slate=1)


def test_the_number_tells_the_last_click_and_the_last_item():
    shop, genre = LastClickShop(50, SHOP), Catalogue.draw(SHOP).genre
    rng = np.random.default_rng(0)
    observed, _ = shop.reset(seed=1)
    assert not observed.any()
    clicked = np.zeros(50, np.int64)
    for _ in range(20):
        items = rng.integers(6, size=50)
        observed, rewards, terminated, truncated, infos = shop.step(items)
        clicked = np.where(rewards > 0, genre[items] + 1, clicked)
        assert (observed == clicked * 7 + items + 1).all()
        over = terminated | truncated
        if over.any():
            assert [infos["final_obs"][i] for i in np.flatnonzero(over)] == observed[over].tolist()
    assert set(clicked) >= {1, 2, 3}
    assert not shop.reset()[0].any()


def test_a_shop_that_shows_slates_is_refused():
    with pytest.raises(ValueError, match="shows 5 items at a time"):
        LastClickShop(2, ShopParameters())


def test_a_table_learns_more_than_chance():
    learning = TabularLearning(episodes=4000, rule="sarsa", gamma=0.9, step_size=Linear(0.1, 0.001))
    best = learn(LastClickShop(64, SHOP), learning, seed=0).table.q.numpy().argmax(1)
    shop, rng = LastClickShop(500, SHOP), np.random.default_rng(0)
    learned, chance = [], []
    observed, _ = shop.reset(seed=99)
    for _ in range(12):
        chance.append(expected_clicks(shop.shop, rng.integers(6, size=(500, 1))).mean())
        learned.append(expected_clicks(shop.shop, best[observed][:, None]).mean())
        observed = shop.step(best[observed])[0]
    assert np.mean(learned) > 1.1 * np.mean(chance)
