import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.evaluate.likelihood import cressie_read, cressie_read_interval, empirical_likelihood

EVEN = np.arange(1000) % 2 == 0
A1000 = (np.where(EVEN, 0.4, 1.6), EVEN.astype(float))


def test_a1000():
    assert cressie_read(*A1000).value == pytest.approx(0.1994687, abs=5e-8)
    assert empirical_likelihood(*A1000).value == pytest.approx(0.2, abs=1e-9)
    found = cressie_read_interval(*A1000, level=0.95)
    assert (found.low, found.high) == pytest.approx((0.1893288, 0.2426847), abs=5e-8)


weighted = st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1)), min_size=2, max_size=30)


@given(weighted)
def test_they_stay_within_the_range_of_rewards(rows):
    w, r = np.array(rows).T
    value = empirical_likelihood(w, r).value
    assert r.min() - 1e-6 <= value <= r.max() + 1e-6
    found = cressie_read_interval(w, r)
    assert 0 <= found.low <= found.high <= 1


@pytest.mark.parametrize("estimator", [cressie_read, empirical_likelihood])
def test_they_are_centred_on_the_truth_and_their_errors_are_those_over_repeated_logs(estimator):
    rng = np.random.default_rng(0)
    h, pi, value = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5]), np.array([0.2, 0.5, 0.8])
    found, plain = [], []
    for _ in range(300):
        action = rng.choice(3, p=h, size=500)
        r = (rng.random(500) < value[action]).astype(float)
        w = (pi / h)[action]
        found.append(estimator(w, r, w_max=10.0).value)
        plain.append((w * r).mean())
    assert np.mean(found) == pytest.approx(pi @ value, abs=0.01)
    assert np.std(found) < np.std(plain)


def test_the_interval_covers():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(300):
        shown = rng.random(400) < 0.25
        r = (rng.random(400) < 0.3).astype(float)
        found = cressie_read_interval(4.0 * shown, r, level=0.9, w_max=4.0)
        covered += found.low <= 0.3 <= found.high
    assert covered / 300 >= 0.84


def test_weights_of_one_are_the_mean():
    r = np.array([0.0, 1.0, 1.0, 0.0, 0.5])
    for estimator in (cressie_read, empirical_likelihood):
        assert estimator(np.ones(5), r).value == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cressie_read([], []), "no rows"),
        (lambda: cressie_read([-1.0], [0.0]), "weights: row 0"),
        (lambda: cressie_read([3.0], [0.0], w_max=2.0), r"row 0 \(3\) lies outside \[w_min, w_max"),
        (lambda: cressie_read([3.0], [0.0], w_max=0.5), "expected w_min < 1 < w_max"),
        (lambda: cressie_read_interval([1.0], [2.0]), "rewards: row 0"),
        (lambda: cressie_read_interval([1.0], [1.0], level=1.0), "level"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
