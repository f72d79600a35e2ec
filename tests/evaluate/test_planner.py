import json

import numpy as np
import pytest

from heedful.evaluate.planner import assumed, moved, plan


def test_a_gain_moves_the_mean_exactly_and_nothing_beyond_the_bounds():
    rewards = np.random.default_rng(0).beta(1, 3, 1000)
    for gain in (0.1, 0.0, -0.1):
        after = moved(rewards, gain)
        assert after.mean() - rewards.mean() == pytest.approx(gain)
        assert after.min() >= 0
        assert after.max() <= 1
    with pytest.raises(ValueError, match="more than there is room for"):
        moved(rewards, 0.9)
    with pytest.raises(ValueError, match="room"):
        moved(np.ones(3), 0.0)


def test_assumed_rewards_are_click_rates_about_the_base():
    rewards = assumed(0.3, 10)
    assert rewards.mean() == pytest.approx(0.3, abs=0.01)
    assert set(np.round(rewards * 10).astype(int)) == set(range(11))
    with pytest.raises(ValueError, match="base"):
        assumed(1.0, 10)
    with pytest.raises(ValueError, match="decisions"):
        assumed(0.3, 0)


def test_power_rises_with_subjects_and_with_the_gain_and_agrees_with_the_gates_table():
    """facts of the design: base .3, gain .10, alpha .05: all of the trials, median 206 subjects.

    The plan's alpha is that of the first candidate, 6 / pi^2 of it, and its gain is a share of what
    is left to gain, so a little other than there.
    """
    found = plan(assumed(0.3, 10), 0.1, share=0.5, rows=(100, 400, 2000), runs=200)
    powers = [power for _, power in found.power]
    assert powers == sorted(powers)
    assert powers[-1] == 1.0
    assert 150 < found.median < 300
    assert found.median < found.most <= 2000
    smaller = plan(assumed(0.3, 10), 0.05, share=0.5, rows=(100, 400, 2000), runs=200)
    assert smaller.power[1][1] < found.power[1][1]
    assert smaller.median > 2 * found.median


def test_what_is_not_better_is_rarely_promoted_and_what_is_not_seen_is_none():
    found = plan(assumed(0.3, 10), 0.0, share=0.5, rows=(1000,), runs=300)
    assert found.power[0][1] <= 0.05
    assert found.median is found.most is None
    assert json.loads(json.dumps(found.to_dict()))["power"][0]["subjects"] == 1000


def test_later_candidates_and_margins_need_more():
    first, later, wide = (
        plan(assumed(0.3, 10), 0.1, share=0.5, rows=(2000,), runs=100, **options).median
        for options in ({}, {"k": 10}, {"margin": 0.03})
    )
    assert first < later
    assert first < wide


def test_the_same_seed_gives_the_same_plan():
    options = {"share": 0.5, "rows": (500,), "runs": 50}
    assert plan(assumed(0.3, 10), 0.1, **options) == plan(assumed(0.3, 10), 0.1, **options)


@pytest.mark.parametrize("rows", [(), (0, 10), (10, 10), (20, 10)])
def test_rows_that_do_not_rise_are_refused(rows):
    with pytest.raises(ValueError, match="rows"):
        plan(assumed(0.3, 10), 0.1, share=0.5, rows=rows)
    with pytest.raises(ValueError, match="rewards"):
        plan(np.array([]), 0.1, share=0.5)
