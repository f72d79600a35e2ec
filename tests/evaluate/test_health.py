import math

import numpy as np
import pytest

from heedful.evaluate import duplicates, health, join_rate


def mean_check(weights):
    return health.mean_weight_is_one(weights, "mean weight", "Do this.")


def test_each_failing_check_says_what_to_do_and_a_passing_one_only_what_is():
    pairs = [
        (join_rate(0.99), join_rate(0.97), "judge again"),
        (duplicates(["a", "b"]), duplicates(["a", "b", "a"]), "one row per id"),
        (health.effective_rows(np.ones(30)), health.effective_rows(np.ones(29)), "Collect more"),
        (
            health.zero_weights([0.0] * 99 + [1.0]),
            health.zero_weights([0.0] * 199 + [1.0]),
            "share of the subjects",
        ),
        (mean_check(np.ones(5)), mean_check(np.full(5, 0.9)), "Do this."),
        (health.dropped(100, 99), health.dropped(100, 98), "begin a new trial"),
        (health.late_feedback(5, 100), health.late_feedback(6, 100), "gate.maturity longer"),
        (health.several_versions(5, 100), health.several_versions(6, 100), "restart those"),
    ]
    for good, bad, advice in pairs:
        assert good.passed
        assert advice not in good.sentence
        assert not bad.passed
        assert advice in bad.sentence


def test_what_is_measured_is_reported():
    assert duplicates([3, 3, 3]).value == 2
    assert health.effective_rows([1.0, 1.0, 0.0]).value == 2
    assert health.zero_weights([0.0, 1.0]).value == 0.5
    assert join_rate(1.0).limit == health.MIN_JOIN_RATE


def test_no_rows_are_not_healthy():
    assert not health.effective_rows([]).passed
    assert not health.zero_weights([]).passed
    assert not mean_check([]).passed
    assert duplicates([]).passed


def test_nothing_made_or_said_is_no_fault():
    for check in (
        health.dropped(0, 0),
        health.late_feedback(0, 0),
        health.several_versions(0, 0),
    ):
        assert check.passed
    with pytest.raises(ValueError, match="kept"):
        health.dropped(3, 4)


def test_an_impossible_join_rate_is_refused():
    for rate in (1.2, -0.1, math.nan):
        with pytest.raises(ValueError, match="rate"):
            join_rate(rate)


def test_mean_weight_holds_under_peeking_and_finds_missing_support():
    """Looked at after each of 3,000 rows, from the thirtieth effective one on, as `judge` does."""
    rng = np.random.default_rng(0)
    alarms = {0.1: 0, 0.05: 0}
    for chance in alarms:  # the log plays the candidate's only choice with .1, or half as often
        for _ in range(100):
            weights = 10.0 * (rng.random(3000) < chance)
            looks = [n for n in range(100, 3001, 100) if weights[:n].sum() >= 300]
            alarms[chance] += any(not mean_check(weights[:n]).passed for n in looks)
    assert alarms[0.1] <= 5
    assert alarms[0.05] >= 95


def test_rounding_of_replayed_weights_is_forgiven():
    assert mean_check(np.full(1000, 1.0004)).passed
