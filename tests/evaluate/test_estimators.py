import csv
import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.evaluate import (
    effective_sample_size,
    importance_weights,
    ips,
    mean_weight,
    off_policy,
    snips,
)

B8_LOGGED = np.log([0.25, 0.5, 0.1, 0.8, 0.4, 0.05, 0.9, 0.2])
B8_REWARDS = np.array([1, 0, 1, 0, 0.5, 1, 0.2, 0])
B8_TARGET = np.log([0.5, 0.25, 0.3, 0.4, 0.4, 0.01, 0.9, 0.6])


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


def test_a1000():
    even = np.arange(1000) % 2 == 0
    logged, target = np.full(1000, np.log(0.5)), np.log(np.where(even, 0.2, 0.8))
    assert ips(target, logged, even).value == pytest.approx(0.2, abs=1e-12)
    assert snips(target, logged, even).value == pytest.approx(0.2, abs=1e-12)


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
