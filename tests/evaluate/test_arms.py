import numpy as np
import pytest

from heedful.evaluate import ASSIGNMENT_FRACTIONS, log_evidence
from heedful.evaluate.arms import differ, drift, feature_skew, missing_feedback, ranked
from heedful.evaluate.evidence import assignment_differences


def arms(subjects=1000, seed=0):
    rng = np.random.default_rng(seed)
    return rng, rng.random(subjects) < 0.5


def test_arms_that_differ_are_found_in_either_direction_and_equal_ones_are_not():
    rng, arm = arms()
    noise = rng.random(1000) / 2
    assert differ(noise, arm, 0.5) < np.log(20)
    assert differ(noise + 0.2 * arm, arm, 0.5) > np.log(1000)
    assert differ(noise + 0.2 * ~arm, arm, 0.5) > np.log(1000)
    assert differ(np.array([]), np.array([], dtype=bool), 0.5) == 0


def test_features_that_no_policy_can_change():
    rng, arm = arms()
    alike = {"age": rng.random(1000), "device is there": np.ones(1000)}
    assert feature_skew(alike, arm, 0.5).passed
    found = feature_skew({**alike, "hour": np.where(arm, 0.9, 0.1)}, arm, 0.5)
    assert not found.passed
    assert found.holds
    assert found.value == 1
    assert "1 of 3 features" in found.sentence
    assert "hour: known before the first decision" in found.sentence
    assert feature_skew({}, arm, 0.5).passed


def test_features_that_have_moved_since_training_are_named_and_hold_nothing_back():
    rng, _ = arms()
    features = {"age": rng.random(1000), "price": rng.random(1000) / 4, "tag": np.ones(1000)}
    reference = {"age": 0.5, "price": 0.5, "tag": 1.0}
    found = drift(features, reference)
    assert not found.passed
    assert not found.holds
    assert "price: by more than 20%" in found.sentence
    assert drift({"age": features["age"]}, reference).passed
    assert drift({"tag": features["tag"]}, {"tag": 0.1}).value == 1


def test_a_long_list_is_cut():
    features = {f"f{number}": np.ones(500) for number in range(5)}
    assert "f0, f1, f2 and 2 more" in drift(features, dict.fromkeys(features, 0.1)).sentence


def test_silence_means_no_unless_people_say_no():
    """Half as much silence under the candidate: what it is there for, or feedback that got lost."""
    rng, arm = arms()
    silent = rng.binomial(10, np.where(arm, 0.3, 0.6)) / 10
    assert missing_feedback(silent, arm, 0.5, explicit=False).passed
    lost = missing_feedback(silent, arm, 0.5, explicit=True)
    assert not lost.passed
    assert "feedback that got lost" in lost.sentence
    alike = rng.binomial(10, 0.4, 1000) / 10
    assert missing_feedback(alike, arm, 0.5, explicit=True).passed


def test_an_arm_that_is_never_heard_of_fails():
    _, arm = arms(100)
    silent = missing_feedback(np.where(arm, 0.5, 1.0), arm, 0.5, explicit=False)
    assert not silent.passed
    assert "nothing was heard at all" in silent.sentence
    assert "100.0% of the live" in silent.sentence
    nobody = missing_feedback(np.array([]), np.array([], dtype=bool), 0.5, explicit=False)
    assert not nobody.passed


def test_ranks_among_the_numbers_at_training():
    reference = np.array([3.0, 1.0, 2.0, 2.0])
    assert ranked(np.array([0.0, 1.0, 2.0, 9.0]), reference) == pytest.approx([0, 1 / 8, 0.5, 1])


def test_both_directions_share_what_is_bet():
    rng = np.random.default_rng(0)
    arm = rng.random(40) < 0.5
    values = np.where(arm, 0.9, 0.2)
    sides = [
        log_evidence(*assignment_differences(values, given, 0.5), ASSIGNMENT_FRACTIONS)
        for given in (arm, ~arm)
    ]
    expected = np.log((np.exp(sides[0]) + np.exp(sides[1])) / 2).max()
    assert differ(values, arm, 0.5) == pytest.approx(expected)
