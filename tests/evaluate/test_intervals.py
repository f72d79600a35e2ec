import numpy as np
import pytest

from heedful.evaluate import Interval, bootstrap, intervals, ratio


def test_an_interval_prints_itself():
    assert str(Interval(0.11214, 0.10431, 0.12, 0.95, 943)) == "0.1121 [0.1043, 0.1200]"


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_the_width_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(loc=3, size=2000)
    interval = bootstrap(values, seed=0)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, rel=0.0, abs=0.06 * half)
    assert interval.high == pytest.approx(values.mean() + half, rel=0.0, abs=0.06 * half)
    narrower = bootstrap(values, level=0.5, seed=0)
    assert interval.low < narrower.low < narrower.high < interval.high


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(4)
    covered = 0
    for run in range(300):
        interval = bootstrap(rng.exponential(size=60), level=0.9, draws=300, seed=run)
        covered += interval.low <= 1 <= interval.high
    assert 0.83 < covered / 300 < 0.94  # the percentile interval is a little short on skewed rows


def test_seeds_are_averaged_before_rows_are_drawn():
    table = np.random.default_rng(0).normal(size=(5, 40))
    assert bootstrap(table, seed=3) == bootstrap(table.mean(axis=0), seed=3)
    assert bootstrap(table, seed=3).n == 40


def test_a_paired_difference_is_tighter_than_two_intervals():
    rng = np.random.default_rng(0)
    users = rng.normal(size=500)
    a, b = users + 0.1 + 0.1 * rng.normal(size=500), users + 0.1 * rng.normal(size=500)
    assert bootstrap(a - b, seed=0).low > 0
    assert bootstrap(a, seed=0).low < bootstrap(b, seed=0).high


def test_memory_bounds_do_not_change_the_interval(monkeypatch):
    values = np.random.default_rng(0).normal(size=64)
    whole = bootstrap(values, draws=100, seed=5)
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 64 * 7)
    assert bootstrap(values, draws=100, seed=5) == whole


def test_one_row_and_equal_rows_have_no_width():
    assert bootstrap([0.25], seed=0) == Interval(0.25, 0.25, 0.25, 0.95, 1)
    assert str(bootstrap(np.full(9, 0.5), seed=0)) == "0.5000 [0.5000, 0.5000]"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "no rows"),
        (np.empty((0, 3)), {}, "values"),
        ([0.0, np.nan], {}, "values: row 1 is NaN"),
        ([[[0.0]]], {}, "one number per row"),
        ([0.0], {"level": 1.0}, "level"),
        ([0.0], {"draws": 0}, "draws"),
    ],
)
def test_bootstrap_refuses(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(values, seed=0, **options)


def test_the_ratio_of_sums_counts_rows_by_their_size():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 100, 400).astype(float)
    totals = 2.0 * sizes + rng.normal(size=400) * np.sqrt(sizes)
    found = ratio(totals, sizes, seed=0)
    assert found.mean == totals.sum() / sizes.sum() != pytest.approx((totals / sizes).mean())
    # the delta method: residuals over the mean size
    residuals = totals - found.mean * sizes
    half = 1.96 * residuals.std() / sizes.mean() / np.sqrt(len(sizes))
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)
    with pytest.raises(ValueError, match="nothing to divide by"):
        ratio([1.0, 2.0], [0.0, 0.0], seed=0)
