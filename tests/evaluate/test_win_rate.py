"""Win rates: against counting, against scipy, and what length does to them."""

import numpy as np
import pytest
from scipy import optimize, stats

from heedful.evaluate import length_controlled, win_rate


def test_every_pair_counts_and_ties_count_half() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, 37).astype(float), rng.integers(0, 3, 23).astype(float)
    counted = np.mean([(a > b) + (a == b) / 2 for a in first for b in second])
    found = win_rate(first, second, seed=0)
    assert found.mean == pytest.approx(counted, abs=1e-12)
    statistic = stats.mannwhitneyu(first, second).statistic
    assert found.mean == pytest.approx(statistic / (37 * 23), abs=1e-12)
    assert found.low < found.mean < found.high


def test_the_interval_covers_what_is_true() -> None:
    """Normal rewards half a standard deviation apart: P(first > second) = Phi(1 / (2 sqrt 2))."""
    true = stats.norm.cdf(0.5 / 2**0.5)
    rng, covered = np.random.default_rng(1), 0
    for trial in range(200):
        found = win_rate(rng.normal(0.5, 1, 60), rng.normal(0, 1, 60), draws=200, seed=trial)
        covered += found.low <= true <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_at_equal_length_is_what_a_logistic_regression_says() -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(5, 30, 40).astype(float), rng.integers(3, 20, 30).astype(float)
    first, second = (rng.normal(size=len(of)) + of / 20 for of in lengths)
    y = np.array([[float(a > b) for b in second] for a in first])
    apart = lengths[0][:, None] - lengths[1]
    x = np.tanh(apart / apart.std())

    def loss(at: np.ndarray) -> float:
        z = at[0] + at[1] * x
        return float(np.mean(np.logaddexp(0, z) - y * z))

    theta = optimize.minimize(loss, np.zeros(2), tol=1e-12).x[0]
    found = length_controlled(first, second, lengths, draws=50, seed=0)
    assert found.mean == pytest.approx(1 / (1 + np.exp(-theta)), abs=1e-4)


def test_being_long_is_not_being_better() -> None:
    """The first side is only longer, and what is longer is liked more."""
    rng = np.random.default_rng(3)
    lengths = rng.normal(20, 5, 150), rng.normal(15, 5, 150)
    first, second = (0.3 * of + rng.normal(size=150) for of in lengths)
    assert win_rate(first, second, seed=0).low > 0.5
    controlled = length_controlled(first, second, lengths, seed=0)
    assert controlled.low < 0.5 < controlled.high


def test_equal_lengths_change_nothing() -> None:
    rng = np.random.default_rng(4)
    first, second, same = rng.normal(0.3, 1, 30), rng.normal(0, 1, 30), np.full(30, 7.0)
    plain, controlled = (
        win_rate(first, second, seed=0),
        length_controlled(first, second, (same, same), draws=20, seed=0),
    )
    assert controlled.mean == pytest.approx(plain.mean, abs=1e-5)


def test_of_many_rows_some_are_drawn_and_one_that_always_wins_stays_finite() -> None:
    first, second = np.arange(1000) + 1000.0, np.arange(1000.0)
    lengths = np.arange(1000.0), np.arange(1000.0)
    found = length_controlled(first, second, lengths, draws=5, seed=0)
    assert 0.99 < found.mean <= 1.0
    assert found.n == 400


@pytest.mark.parametrize(
    ("first", "lengths", "problem"),
    [([], [], "no rows"), ([1.0], [1.0, 2.0], "1 numbers and 2 lengths"), ([np.nan], [1.0], "NaN")],
)
def test_bad_rows_are_named(first: list, lengths: list, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        length_controlled(first, [1.0], (lengths, [1.0]), seed=0)
