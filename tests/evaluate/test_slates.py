import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heedful.evaluate import dr, ips
from heedful.evaluate.slates import (
    cascade,
    cascade_dr,
    per_decision,
    per_position,
    pseudo_inverse,
)

H = np.array([0.5, 0.3, 0.2])
PI = np.array([0.2, 0.3, 0.5])
WORTH = np.array([0.1, 0.4, 0.9])


def test_two_slates_by_hand():
    h, pi = np.log([[0.5, 0.25], [0.5, 0.5]]), np.log([[0.25, 0.5], [0.75, 0.25]])
    r = [[1.0, 1.0], [0.0, 1.0]]  # ratios (1/2, 2) and (3/2, 1/2)
    assert per_position(pi, h, r).value == pytest.approx((0.5 + 2 + 0 + 0.5) / 2)
    assert cascade(pi, h, r).value == pytest.approx((0.5 + 1 + 0 + 0.75) / 2)
    assert per_decision(pi, h, r, 0.5).value == pytest.approx((0.5 + 0.5 + 0 + 0.375) / 2)
    assert pseudo_inverse(pi, h, [2.0, 1.0]).value == pytest.approx((2 * 1.5 + 1.0) / 2)


@given(arrays(float, (5, 6), elements=st.floats(-3, 0)), arrays(float, 5, elements=st.floats(0, 1)))
def test_slates_of_one_unit_are_single_choices(logps, rewards):
    target, logged, r = logps[:, :1], logps[:, 1:2], rewards[:, None]
    one = ips(target[:, 0], logged[:, 0], rewards)
    for estimator in (per_position, cascade, per_decision):
        assert estimator(target, logged, r).value == pytest.approx(one.value, abs=1e-12)
    q, q_pi = np.exp(logps[:, 2:3]), np.exp(logps[:, 3:4])
    doubly = cascade_dr(target, logged, r, q, q_pi)
    expected = dr(target[:, 0], logged[:, 0], rewards, q[:, 0], q_pi[:, 0])
    assert doubly.value == pytest.approx(expected.value, abs=1e-12)
    assert doubly.ess == pytest.approx(expected.ess)


def drawn(rng, n, k):
    """Return slates drawn with replacement by H: ratios' logs, logged logs, units."""
    units = rng.choice(3, p=H, size=(n, k))
    return np.log(PI)[units], np.log(H)[units], units


def test_each_is_unbiased_where_its_assumption_holds_and_the_bolder_is_steadier():
    """300 logs of 300 slates; a unit pays by itself, halved below a unit of kind 2."""
    rng = np.random.default_rng(0)
    found = {name: [] for name in ("whole", "cascade", "doubly", "position")}
    for _ in range(300):
        target, logged, units = drawn(rng, 300, 3)
        above = np.maximum.accumulate(units == 2, axis=1)
        seen = np.c_[np.zeros(300, bool), above[:, :-1]]
        r = (rng.random((300, 3)) < WORTH[units] * np.where(seen, 0.5, 1.0)).astype(float)
        q, q_pi = WORTH[units] * 0.7, np.full((300, 3), PI @ WORTH * 0.7)
        found["whole"].append(ips(target.sum(1), logged.sum(1), r.sum(1)).value)
        found["cascade"].append(cascade(target, logged, r).value)
        found["doubly"].append(cascade_dr(target, logged, r, q, q_pi).value)
        found["position"].append(per_position(target, logged, r).value)
    free = [1.0, 0.5, 0.25]  # chance under pi that no unit above is of kind 2
    truth = sum(PI @ WORTH * (p + (1 - p) / 2) for p in free)
    for name in ("whole", "cascade", "doubly"):
        assert np.mean(found[name]) == pytest.approx(truth, abs=0.03), name
    assert np.mean(found["position"]) > truth + 0.05  # its assumption is untrue here
    spread = {name: np.std(values) for name, values in found.items()}
    assert spread["doubly"] < spread["cascade"] < spread["whole"]
    assert spread["position"] < spread["cascade"]


def test_the_pseudo_inverse_needs_the_total_only():
    rng, found, plain = np.random.default_rng(1), [], []
    for _ in range(200):
        target, logged, units = drawn(rng, 300, 4)
        total = (rng.random((300, 4)) < WORTH[units]).sum(axis=1).astype(float)
        found.append(pseudo_inverse(target, logged, total).value)
        plain.append(ips(target.sum(1), logged.sum(1), total).value)
    assert np.mean(found) == pytest.approx(4 * PI @ WORTH, abs=0.03)
    assert np.std(found) < np.std(plain)


def test_health_is_that_of_the_worst_position():
    h = np.log(np.full((50, 2), 0.5))
    pi = h.copy()
    pi[:40, 1] = -np.inf
    estimate = per_position(pi, h, np.ones((50, 2)))
    assert estimate.ess == pytest.approx(10)
    assert estimate.zero_weights == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cascade([-1.0], [-1.0], [1.0]), r"target_logps: expected shape \[N, K\]"),
        (lambda: cascade([[-1.0]], [[-1.0, 0.0]], [[1.0]]), "behaviour_logps: expected shape"),
        (lambda: cascade([[-1.0]], [[-1.0]], [1.0]), "rewards: expected shape"),
        (lambda: cascade([[-1.0]], [[-1.0]], [[np.nan]]), "rewards: row 0 holds NaN"),
        (lambda: cascade([[-1.0]], [[np.nan]], [[1.0]]), "UNKNOWN"),
        (lambda: cascade(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2))), "no rows"),
        (lambda: per_decision([[-1.0]], [[-1.0]], [[1.0]], 1.5), "discount"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
