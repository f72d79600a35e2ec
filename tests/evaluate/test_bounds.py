import numpy as np
import pytest

from heedful.evaluate.bounds import (
    between,
    clopper_pearson,
    empirical_bernstein,
    hoeffding,
    student_t,
)

B8 = np.array([2.0, 0.0, 3.0, 0.0, 0.5, 0.2, 0.2, 0.0])  # w r; its arithmetic takes b = max
BOUNDS = (hoeffding, empirical_bernstein, student_t)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [(hoeffding, -0.5606138), (empirical_bernstein, -4.0389969), (student_t, -0.0211240)],
)
def test_b8(bound, expected):
    assert bound(B8, 3.0, delta=0.05) == pytest.approx(expected, abs=5e-8)


def test_a1000_clopper_pearson():
    even = np.arange(1000) % 2 == 0
    weighted = np.where(even, 0.4, 0.0)
    found = clopper_pearson(weighted.sum() / 1.6, 1000 / 1.6, level=0.95)
    assert (found.low, found.high) == pytest.approx((0.1693190, 0.2335456), abs=5e-8)
    assert found.mean == pytest.approx(0.2, abs=1e-12)


def test_none_and_all_successes_reach_the_ends():
    assert clopper_pearson(0, 10).low == 0.0
    assert clopper_pearson(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert clopper_pearson(10, 10).high == 1.0


@pytest.mark.parametrize("bound", BOUNDS)
def test_they_are_wrong_no_more_often_than_they_say(bound):
    """2,000 samples of 200 rewards of 0 or 1, which are weighed by 4 with probability 1/4."""
    rng = np.random.default_rng(0)
    weighted = 4.0 * (rng.random((2000, 200)) < 0.25) * (rng.random((2000, 200)) < 0.4)
    wrong = np.mean([bound(row, 4.0, delta=0.1) > 0.4 for row in weighted])
    assert wrong <= 0.12
    if bound is student_t:
        assert wrong >= 0.05  # near what it says; the others are cautious


def test_intervals_mirror_the_lower_bound():
    rng = np.random.default_rng(1)
    x = rng.random(500)
    for bound in BOUNDS:
        found, mirrored = between(bound, x, 1.0), between(bound, 1.0 - x, 1.0)
        assert found.low < 0.5 < found.high
        assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)
        assert found.low == bound(x, 1.0, delta=0.025)


def test_the_bound_is_declared_and_matters():
    assert hoeffding(B8, 10.0) < hoeffding(B8, 3.0)
    assert empirical_bernstein(B8, 10.0) < empirical_bernstein(B8, 3.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hoeffding(B8, 2.5), r"values: row 2 \(3\) exceeds b: declare what"),
        (lambda: hoeffding([-0.5], 1.0), "row 0 .* is below 0"),
        (lambda: hoeffding([], 1.0), "0 rows; this bound takes at least 1"),
        (lambda: empirical_bernstein([1.0], 1.0), "takes at least 2"),
        (lambda: student_t([1.0, np.nan]), "row 1 is NaN"),
        (lambda: student_t([1.0, np.inf]), "row 1 .* is infinite"),
        (lambda: hoeffding(B8, 3.0, delta=1.0), "delta: expected"),
        (lambda: hoeffding(B8, 0.0), "b: expected"),
        (lambda: clopper_pearson(3, 2), "successes 3, n 2"),
        (lambda: clopper_pearson(1, 2, level=0.0), "level"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
