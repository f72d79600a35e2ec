import csv
import gzip
import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.evaluate import (
    Running,
    clipped_ips,
    dm,
    dr,
    dr_shrunk,
    effective_sample_size,
    expected_under,
    importance_weights,
    ips,
    mean_weight,
    mips,
    off_policy,
    sndr,
    snips,
    sub_gaussian_dr,
    sub_gaussian_ips,
    switch_dr,
)
from heedful.evaluate.weights import Capped, Shrunk, SubGaussian, Switched

B8_LOGGED = np.log([0.25, 0.5, 0.1, 0.8, 0.4, 0.05, 0.9, 0.2])
B8_REWARDS = np.array([1, 0, 1, 0, 0.5, 1, 0.2, 0])
B8_TARGET = np.log([0.5, 0.25, 0.3, 0.4, 0.4, 0.01, 0.9, 0.6])
B8_Q = np.array([0.8, 0.1, 0.9, 0.2, 0.5, 0.7, 0.3, 0.1])
B8_Q_POLICY = np.array([0.6, 0.3, 0.7, 0.4, 0.5, 0.4, 0.35, 0.2])
B8 = (B8_TARGET, B8_LOGGED, B8_REWARDS)
B8_MODELLED = (*B8, B8_Q, B8_Q_POLICY)


def test_b8_weights():
    weights = importance_weights(B8_TARGET, B8_LOGGED)
    assert weights == pytest.approx([2, 0.5, 3, 0.5, 1, 0.2, 1, 3], abs=1e-12)
    assert mean_weight(weights) == pytest.approx(1.4, abs=1e-12)
    assert effective_sample_size(weights) == pytest.approx(5.1116544, abs=5e-8)


def test_b8_estimates():
    plain = ips(B8_TARGET, B8_LOGGED, B8_REWARDS)
    normalised = snips(B8_TARGET, B8_LOGGED, B8_REWARDS)
    assert plain.value == pytest.approx(0.7375, abs=1e-12)
    assert normalised.value == pytest.approx(0.5267857, abs=5e-8)
    for estimate in (plain, normalised):
        assert estimate.n == 8
        assert estimate.ess == pytest.approx(5.1116544, abs=5e-8)
        assert estimate.mean_weight == pytest.approx(1.4, abs=1e-12)
        assert estimate.max_weight == pytest.approx(3.0, abs=1e-12)
        assert estimate.zero_weights == 0.0


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (clipped_ips(*B8, 2.0), 0.6125),
        (dm(B8_TARGET, B8_LOGGED, B8_Q_POLICY), 0.43125),
        (dr(*B8_MODELLED), 0.4575),
        (sndr(*B8_MODELLED), 0.45),
        (switch_dr(*B8_MODELLED, 2.0), 0.4575),
        (dr_shrunk(*B8_MODELLED, 4.0), 0.4360287),
        (sub_gaussian_ips(*B8, 0.2), 0.5934524),
        (sub_gaussian_dr(*B8_MODELLED, 0.2), 0.4485119),
    ],
    ids=["clip", "dm", "dr", "sndr", "switch", "DRos", "sg-ips", "sg-dr"],
)
def test_b8_with_a_reward_model_or_smaller_weights(estimate, expected):
    assert estimate.value == pytest.approx(expected, abs=5e-8)
    assert estimate.ess == pytest.approx(5.1116544, abs=5e-8)  # of the weights as they are
    assert estimate.max_weight == pytest.approx(3.0, abs=1e-12)


def test_a1000():
    even = np.arange(1000) % 2 == 0
    logged, target = np.full(1000, np.log(0.5)), np.log(np.where(even, 0.2, 0.8))
    assert ips(target, logged, even).value == pytest.approx(0.2, abs=1e-12)
    assert snips(target, logged, even).value == pytest.approx(0.2, abs=1e-12)
    gaussian = ips(target, logged, even).interval(0.95)
    assert (gaussian.low, gaussian.high) == pytest.approx((0.1875979, 0.2124021), abs=5e-8)


modelled = st.lists(
    st.tuples(st.floats(-4, 0), st.floats(-4, 0), *[st.floats(0, 1)] * 3), min_size=2, max_size=30
)


@given(modelled)
def test_switch_dr_lies_between_dr_and_dm(rows):
    columns = np.array(rows).T
    assert switch_dr(*columns, np.inf) == dr(*columns)
    lowest = importance_weights(columns[0], columns[1]).min()
    none_switched = switch_dr(*columns, lowest / 2)
    assert none_switched.value == pytest.approx(columns[4].mean(), abs=1e-12)
    assert none_switched == dm(columns[0], columns[1], columns[4])


@given(modelled)
def test_what_changes_nothing_gives_the_plain_estimates(rows):
    columns = np.array(rows).T
    assert clipped_ips(*columns[:3], np.inf).value == ips(*columns[:3]).value
    assert sub_gaussian_ips(*columns[:3], 0.0).value == ips(*columns[:3]).value
    assert dr_shrunk(*columns, np.inf).value == dr(*columns).value
    assert dr_shrunk(*columns, 0.0).value == dm(columns[0], columns[1], columns[4]).value
    nothing = np.zeros(len(rows))
    assert dr(*columns[:3], nothing, nothing) == ips(*columns[:3])
    assert sndr(*columns[:3], nothing, nothing) == snips(*columns[:3])
    one = sub_gaussian_ips(*columns[:3], 1.0).value  # all weights 1
    assert one == pytest.approx(columns[2].mean(), abs=1e-12)


@given(modelled, st.integers(0, 30), st.sampled_from([None, Capped(2.0), Shrunk(3.0)]))
def test_a_log_in_pieces_gives_the_estimate_of_the_whole(rows, cut, weighing):
    columns = np.array(rows).T
    for normalised in (False, True):
        whole = Running(weighing, normalised=normalised).update(*columns)
        first = Running(weighing, normalised=normalised).update(*columns[:, :cut])
        second = Running(weighing, normalised=normalised).update(*columns[:, cut:])
        apart = second.merge(first).estimate()
        for name, value in vars(whole.estimate()).items():
            assert getattr(apart, name) == pytest.approx(value, rel=1e-12, abs=1e-12), name


def test_a_log_longer_than_a_block_is_its_plain_formulas():
    rng = np.random.default_rng(2)
    logged, target = np.log(rng.uniform(0.1, 1.0, (2, 50_001)))
    r, q, q_pi = rng.random((3, 50_001))
    w = np.exp(target - logged)
    assert ips(target, logged, r).value == pytest.approx((w * r).mean(), rel=1e-12)
    error = (w * r).std(ddof=1) / math.sqrt(len(w))
    assert ips(target, logged, r).standard_error == pytest.approx(error, rel=1e-12)
    value = (w * r).sum() / w.sum()
    error = math.sqrt((w**2 * (r - value) ** 2).sum()) / w.sum()
    assert snips(target, logged, r).value == pytest.approx(value, rel=1e-12)
    assert snips(target, logged, r).standard_error == pytest.approx(error, rel=1e-9)
    rows = q_pi + w * (r - q)
    assert dr(target, logged, r, q, q_pi).value == pytest.approx(rows.mean(), rel=1e-12)
    error = rows.std(ddof=1) / math.sqrt(len(w))
    assert dr(target, logged, r, q, q_pi).standard_error == pytest.approx(error, rel=1e-9)
    assert dr(target, logged, r, q, q_pi).ess == pytest.approx(effective_sample_size(w), rel=1e-12)


def test_memory_does_not_grow_with_the_log():
    running, peaks = Running(Capped(5.0)), []
    tracemalloc.start()
    try:
        for size in (200_000, 200_000, 200_000):
            logps, rewards = np.full(size, -1.0), np.zeros(size)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            running.update(logps, logps, rewards)
            after, peak = tracemalloc.get_traced_memory()
            peaks.append((peak - before, after - before))
    finally:
        tracemalloc.stop()
    assert running.n == 600_000
    assert max(peak for peak, _ in peaks) < 3 << 20  # the rows given are 4.8 MB a piece
    assert max(kept for _, kept in peaks) < 64 << 10


def test_a_bad_row_adds_nothing():
    running = Running().update([-1.0], [-1.0], [1.0])
    with pytest.raises(ValueError, match="target_logps: row 20000 gives a weight beyond"):
        running.update([-1.0] * 20_001, [-1.0] * 20_000 + [-900.0], [1.0] * 20_001)
    assert running.n == 1
    with pytest.raises(ValueError, match="weighs by"):
        running.merge(Running(Capped(2.0)))
    with pytest.raises(ValueError, match=r"q_policy: row 0 \(inf\) is infinite"):
        running.update([-1.0], [-1.0], [1.0], [0.0], [np.inf])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Capped(0.0), "most: expected a number above 0, got 0"),
        (lambda: Switched(-1.0), "threshold"),
        (lambda: Shrunk(math.nan), "strength"),
        (lambda: SubGaussian(1.5), "from 0 to 1, got 1.5"),
        (lambda: ips([0.0], [0.0], [1.0]).interval(1.0), "level"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_shrunk_weights_never_overflow():
    assert Shrunk(4.0)(np.array([1e200, 0.0, 2.0])) == pytest.approx([4e-200, 0.0, 1.0])
    assert SubGaussian(1.0)(np.array([0.0, 1e-300, 1e300])).tolist() == [0.0, 1.0, 1.0]


def test_weights_by_category_need_no_support_of_the_action():
    h, pi = np.array([[0.5, 0.0, 0.5]] * 4), np.array([[0.0, 0.5, 0.5]] * 4)
    estimate = mips(pi, h, [0, 2, 0, 2], [1, 0, 1, 0], categories=[0, 0, 1])
    assert estimate.value == 0.5
    assert estimate.max_weight == 1.0
    never = mips([[0.0, 1.0]], [[0.5, 0.5]], [0], [1.0], categories=[0, 1])
    assert (never.value, never.zero_weights) == (0.0, 1.0)
    with pytest.raises(ValueError, match=r"behaviour: expected shape \(4, 3\), got \(4, 2\)"):
        mips(pi, h[:, :2], [0, 2, 0, 2], [1, 0, 1, 0], categories=[0, 0, 1])


def test_what_a_model_expects_under_a_policy():
    pi = np.array([[0.25, 0.75], [1.0, 0.0]])
    assert expected_under(pi, [1.0, 3.0]).tolist() == [2.5, 1.0]
    assert expected_under(pi, [[1.0, 3.0], [7.0, 0.0]]).tolist() == [2.5, 7.0]
    with pytest.raises(ValueError, match=r"row 1 \(0.5\) does not sum to 1"):
        expected_under([[1.0, 0.0], [0.25, 0.25]], [1.0, 3.0])
    with pytest.raises(ValueError, match="does not fit"):
        expected_under(pi, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="row 0"):
        expected_under([[np.nan, 1.0]], [1.0, 3.0])


def test_a_wrong_model_does_not_bias_what_is_doubly_robust_and_a_good_one_steadies_it():
    """400 logs of 500 rows; q is right, or upside down."""
    rng = np.random.default_rng(5)
    h, pi, value = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6]), np.array([0.2, 0.5, 0.8])
    found = {"ips": [], "right": [], "wrong": [], "believed": []}
    for _ in range(400):
        action = rng.choice(3, p=h, size=500)
        rewards = value[action] + rng.normal(size=500) / 10
        log = (np.log(pi)[action], np.log(h)[action])
        found["ips"].append(ips(*log, rewards).value)
        for name, q in (("right", value), ("wrong", value[::-1])):
            expected = np.full(500, pi @ q)
            found[name].append(dr(*log, rewards, q[action], expected).value)
        found["believed"].append(dm(*log, np.full(500, pi @ value[::-1])).value)
    truth = pi @ value
    assert np.mean(found["right"]) == pytest.approx(truth, abs=0.005)
    assert np.mean(found["wrong"]) == pytest.approx(truth, abs=0.02)
    assert abs(np.mean(found["believed"]) - truth) > 0.2
    assert np.std(found["right"]) < np.std(found["ips"]) / 3


@pytest.mark.data
def test_ips_agrees_with_vw(data):
    case = json.loads((data / "reference-cases" / "cases.json").read_text())["ips_vw"]
    estimate = ips([math.log(case["p_pred"])], [math.log(case["p_log"])], [case["r"]])
    assert estimate.value == pytest.approx(case["expected_ips"], abs=1e-12)


@given(st.floats(-9, 0), st.floats(-9, 0), st.floats(-1, 1))
def test_snips_on_one_row_is_its_reward(target, logged, reward):
    assert snips([target], [logged], [reward]).value == pytest.approx(reward, abs=1e-12)


@given(st.lists(st.tuples(st.floats(-9, 0), st.floats(0, 1)), min_size=1, max_size=20))
def test_a_policy_judged_on_its_own_log_gets_the_mean_reward(rows):
    logps, rewards = np.array(rows).T
    for estimate in (ips(logps, logps, rewards), snips(logps, logps, rewards)):
        assert estimate.value == pytest.approx(rewards.mean(), abs=1e-12)
        assert estimate.ess == pytest.approx(len(rows))


def test_standard_errors_are_those_over_repeated_logs():
    """400 logs of 500 rows: the spread of the estimates beside the errors they report."""
    rng = np.random.default_rng(0)
    h, pi, value = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5]), np.array([0.2, 0.5, 0.8])
    spread = {ips: [], snips: []}
    reported = {ips: [], snips: []}
    for _ in range(400):
        action = rng.choice(3, p=h, size=500)
        rewards = rng.random(500) < value[action]
        for estimator in spread:
            estimate = estimator(np.log(pi)[action], np.log(h)[action], rewards)
            spread[estimator].append(estimate.value)
            reported[estimator].append(estimate.standard_error)
    for estimator in spread:
        assert np.mean(spread[estimator]) == pytest.approx(pi @ value, abs=0.01)
        assert np.mean(reported[estimator]) == pytest.approx(np.std(spread[estimator]), rel=0.1)


def test_choices_that_the_target_never_makes_weigh_nothing():
    estimate = ips([-np.inf, 0.0, -np.inf, -np.inf], np.log([0.5] * 4), [1, 1, 1, 0])
    assert estimate.value == 0.5
    assert estimate.zero_weights == 0.75
    assert estimate.ess == 1.0


def test_one_row_has_no_standard_error():
    assert math.isnan(ips([0.0], [0.0], [1.0]).standard_error)
    assert math.isnan(snips([0.0], [0.0], [1.0]).standard_error)


def test_effective_sample_size_neither_overflows_nor_divides_by_zero():
    assert effective_sample_size([1e200, 1e200]) == 2.0
    assert effective_sample_size([1e-200, 1e-200]) == 2.0
    assert effective_sample_size([0.0, 0.0]) == 0.0
    assert effective_sample_size([]) == 0.0


def test_unknown_behaviour_is_refused_with_what_it_is_good_for():
    message = r"behaviour_logps: row 1 \(and 1 more\) is UNKNOWN.*pre-training and reward models"
    for estimator in (ips, snips):
        with pytest.raises(ValueError, match=message):
            estimator([-1.0] * 3, [-1.0, np.nan, np.nan], [1.0] * 3)


@pytest.mark.parametrize(
    ("target", "logged", "rewards", "message"),
    [
        ([np.nan], [-1.0], [1.0], "target_logps: row 0 is NaN"),
        ([-1.0], [-np.inf], [1.0], "behaviour_logps: row 0 is -inf"),
        ([0.5], [-1.0], [1.0], r"target_logps: row 0 \(0.5\) is above 0"),
        ([-1.0], [0.25], [1.0], r"behaviour_logps: row 0 \(0.25\) is above 0"),
        ([-1.0], [-900.0], [1.0], "target_logps: row 0 gives a weight beyond"),
        ([-1.0], [-1.0], [np.nan], "rewards: row 0 is NaN"),
        ([-1.0], [-1.0], [np.inf], r"rewards: row 0 \(inf\) is infinite"),
        ([-1.0], [-1.0, -1.0], [1.0], "target_logps: 1 rows, but the other arguments have 2"),
        ([], [], [], "no rows"),
    ],
)
def test_estimates_refuse(target, logged, rewards, message):
    with pytest.raises(ValueError, match=message):
        ips(target, logged, rewards)


def test_snips_refuses_a_log_that_shows_nothing_of_the_target():
    with pytest.raises(ValueError, match="every weight is 0"):
        snips([-np.inf], [-1.0], [1.0])
    with pytest.raises(ValueError, match="no rows"):
        mean_weight([])


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match=r"weights: row 1 \(-1\) is negative"):
        effective_sample_size([1.0, -1.0])


@pytest.fixture
def thompson_log(data):
    """Logged log-probabilities, those of the uniform policy, and clicks of a campaign."""

    def read(campaign, items):
        path = data / "open-bandit" / "bts" / campaign / f"{campaign}.csv.gz"
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = [(float(r["propensity_score"]), float(r["click"])) for r in csv.DictReader(file)]
        propensity, clicks = np.array(rows).T
        return np.log(propensity), np.full(len(rows), -math.log(items)), clicks

    return read


@pytest.mark.data
def test_open_bandit_uniform_policy_from_the_thompson_log(thompson_log):
    logged, uniform, clicks = thompson_log("men", 34)
    estimate = ips(uniform, logged, clicks)
    assert clicks.mean() == pytest.approx(0.0069, abs=5e-5)
    assert estimate.value == pytest.approx(0.0030, abs=5e-5)
    assert estimate.standard_error == pytest.approx(0.0008, abs=5e-5)
    assert estimate.mean_weight == pytest.approx(0.94, abs=5e-3)
    assert estimate.ess == pytest.approx(656, abs=0.5)
    assert all(check.passed for check in off_policy(uniform, logged, logged, clicks).health)


@pytest.mark.data
def test_open_bandit_women_is_a_case_to_refuse(thompson_log):
    logged, uniform, clicks = thompson_log("women", 46)
    estimate = ips(uniform, logged, clicks)
    assert estimate.mean_weight == pytest.approx(3.1, abs=0.05)
    assert estimate.max_weight == pytest.approx(21_739, abs=0.5)
    assert estimate.ess == pytest.approx(2, abs=0.5)
    failed = [
        check.name
        for check in off_policy(uniform, logged, logged, clicks).health
        if not check.passed
    ]
    assert "effective sample size" in failed
