import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from heedful.reward.isotonic import MOST_LEVELS, Calibration, isotonic

NUMBERS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 1), st.integers(1, 4)), min_size=1, max_size=30
)


@given(NUMBERS)
def test_it_is_what_scipy_finds(rows: list[tuple[int, int, int]]) -> None:
    scores, targets, weights = np.array(rows, float).T
    distinct, place = np.unique(scores, return_inverse=True)
    mass = np.bincount(place, weights=weights)
    means = np.bincount(place, weights=weights * targets) / mass
    found = isotonic(scores, targets, weights)
    np.testing.assert_array_equal(found[0], distinct)
    np.testing.assert_allclose(found[1], isotonic_regression(means, weights=mass).x, atol=1e-12)


def test_a_known_distribution_comes_back() -> None:
    """P(rating > l) = clip(score - l, 0, 1) / 2 + score / 20 for l = 1, 2, on a score in 0..3."""
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 3, 20_000)
    above = np.array([np.clip(score - level, 0, 1) / 2 + score / 20 for level in (0.0, 1.0)])
    rating = 1.0 + (rng.random(20_000) < above).sum(0)  # 1, 2 or 3; not nested, the mean is known
    fitted = Calibration.fit(np.exp(score), rating, np.ones(20_000))  # any rising score will do
    at = np.linspace(0.2, 2.8, 14)
    true = 1.0 + sum(np.clip(at - level, 0, 1) / 2 + at / 20 for level in (0.0, 1.0))
    np.testing.assert_allclose(fitted.mean(np.exp(at)), true, atol=0.06)


@given(NUMBERS, st.integers(2, 5))
def test_levels_never_cross_and_means_stay_inside(
    rows: list[tuple[int, int, int]], levels: int
) -> None:
    scores, _, weights = np.array(rows, float).T
    ratings = np.random.default_rng(len(rows)).integers(1, levels + 1, len(rows)).astype(float)
    fitted = Calibration.fit(scores, ratings, weights)
    at = np.linspace(-2, 10, 25)
    assert (np.diff(fitted.distribution(at), axis=0) <= 1e-12).all()
    assert (np.diff(fitted.mean(at)) >= -1e-12).all()
    assert ratings.min() - 1e-9 <= fitted.mean(at).min()
    assert fitted.mean(at).max() <= ratings.max() + 1e-9
    assert set(fitted.median(at)) <= set(ratings)
    # what it says is right on average over the rows it was fitted to, whatever the score is worth
    said = np.average(fitted.mean(scores), weights=weights)
    assert said == pytest.approx(np.average(ratings, weights=weights))


def test_one_rating_is_always_read() -> None:
    fitted = Calibration.fit(np.arange(5.0), np.full(5, 4.0), np.ones(5))
    assert fitted.mean(np.array([-1.0, 9.0])).tolist() == [4.0, 4.0]
    assert fitted.median(np.array([2.0])).tolist() == [4.0]


def test_many_ratings_are_read_by_their_quantiles() -> None:
    rng = np.random.default_rng(1)
    score = rng.uniform(0, 1, 4000)
    fitted = Calibration.fit(score, 100 * score + rng.normal(size=4000), np.ones(4000))
    assert len(fitted.levels) <= MOST_LEVELS
    at = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(fitted.mean(at), 100 * at, atol=4)
