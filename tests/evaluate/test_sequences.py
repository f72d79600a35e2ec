import numpy as np
import pytest

from heedful.evaluate.sequences import (
    GammaExponential,
    Stitched,
    asymptotic,
    betting_sequence,
    empirical_bernstein_sequence,
    off_policy_sequence,
)


def test_confidence_sequence_of_vw():
    rewards = np.tile([0.5, 0.6, 0.7, 0.8], 1000)
    found = off_policy_sequence(rewards, rewards, alpha=0.05)
    assert (found.low, found.high) == pytest.approx((0.4215480, 0.7907692), abs=1e-7)


def test_the_first_rows_by_hand():
    """One row of 0.9: m_0 = 1/2, s_0^2 = 1/4, and the stake is the largest allowed."""
    stake, log = 0.5, np.log(2 / 0.05)
    half = (log + 4 * 0.4**2 * (np.log(2) - stake) / 4) / stake
    found = empirical_bernstein_sequence([0.9])
    assert half > 1
    assert (found.low, found.high) == (0.0, 1.0)
    many = empirical_bernstein_sequence(np.tile([0.8, 1.0], 500))
    assert 0.8 < many.low < 0.9 < many.high < 1.0


def test_betting_stops_where_the_wealth_is_one_over_alpha():
    x = np.tile([0.2, 0.3, 0.9], 200)
    found = betting_sequence(x, alpha=0.1)
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    variance = np.r_[0.25, variance[:-1]]
    stakes = np.minimum(np.sqrt(2 * np.log(20) / (variance * t * np.log1p(t))), 0.5)
    wealth = np.cumprod(1 + np.minimum(stakes, 0.5 / found.low) * (x - found.low))
    assert wealth.max() / 2 == pytest.approx(10.0, rel=1e-9)
    mirrored = betting_sequence(1 - x, alpha=0.1)
    assert found.high == pytest.approx(1 - mirrored.low, abs=1e-12)


@pytest.mark.parametrize("sequence", [empirical_bernstein_sequence, betting_sequence])
def test_they_hold_at_every_look(sequence):
    """300 sequences of 400 rows: what is returned is the intersection over all looks."""
    rng = np.random.default_rng(0)
    rows = (rng.random((300, 400)) < 0.3).astype(float)
    found = [sequence(row, alpha=0.1) for row in rows]
    assert np.mean([not i.low <= 0.3 <= i.high for i in found]) <= 0.1
    assert np.mean([i.high - i.low for i in found]) < 0.35


def test_the_mixture_s_boundary_is_where_its_wealth_is_one_over_alpha():
    mixture = GammaExponential()
    for v in (0.1, 5.0, 3000.0):
        s = mixture(v, 0.025)
        assert mixture.log_wealth(s, v) == pytest.approx(np.log(40), rel=1e-9)
        assert mixture(v, 0.01) > s
    rewards = np.tile([0.5, 0.6, 0.7, 0.8], 1000)
    found = off_policy_sequence(rewards, rewards, boundary=mixture)
    # vw-estimators 0.2.2, bandits.cs.IntervalImpl(0, 1, False), the same 4,000 rows
    assert (found.low, found.high) == pytest.approx((0.42633032, 0.78753803), abs=1e-8)


@pytest.mark.parametrize("boundary", [Stitched(), GammaExponential()])
def test_the_off_policy_sequence_holds_at_every_look(boundary):
    """100 logs, looked at after every 100th of 500 rows; the largest weight is 10."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(100):
        w = 10.0 * (rng.random(500) < 0.1)
        r = (rng.random(500) < 0.6).astype(float)
        looks = [
            off_policy_sequence(w[:n], r[:n], alpha=0.1, boundary=boundary)
            for n in range(100, 501, 100)
        ]
        wrong += any(not i.low <= 0.6 <= i.high for i in looks)
    assert wrong <= 10


def test_a_larger_bound_scales():
    x = np.random.default_rng(2).random(300)
    for sequence in (empirical_bernstein_sequence, betting_sequence):
        one, five = sequence(x), sequence(5 * x, 5.0)
        assert (five.low, five.high) == pytest.approx((5 * one.low, 5 * one.high), rel=1e-9)


def test_a_looser_alpha_is_narrower():
    x = np.random.default_rng(3).random(300)
    for sequence in (empirical_bernstein_sequence, betting_sequence):
        strict, loose = sequence(x, alpha=0.01), sequence(x, alpha=0.2)
        assert strict.low < loose.low < loose.high < strict.high
    assert asymptotic(500, 0.01, tightest_at=500) > asymptotic(500, 0.2, tightest_at=500)
    assert Stitched()(100.0, 0.01) > Stitched()(100.0, 0.2) > Stitched()(10.0, 0.2)


def test_the_asymptotic_one_is_tightest_where_it_was_told():
    """Against the same sequence with its tightest row elsewhere."""
    for n in (100, 1000, 10_000):
        here = asymptotic(n, 0.05, tightest_at=n)
        assert here <= min(asymptotic(n, 0.05, tightest_at=m) for m in (n // 3, n * 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: betting_sequence([]), "no rows"),
        (lambda: betting_sequence([1.5]), r"row 0 \(1.5\) lies outside \[0, b = 1\]"),
        (lambda: empirical_bernstein_sequence([0.5], 0.0), "b: expected"),
        (lambda: empirical_bernstein_sequence([0.5], alpha=1.0), "alpha: expected"),
        (lambda: off_policy_sequence([-1.0], [0.0]), "weights: row 0"),
        (lambda: off_policy_sequence([1.0], [2.0]), r"rewards: row 0 \(2\) lies outside"),
        (lambda: off_policy_sequence([], []), "no rows"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
