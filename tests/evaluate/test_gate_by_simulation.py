"""False promotions and power over many simulated trials, looked at after every row.

Ville's inequality bounds the chance of a false promotion by alpha. Of 2,000 trials that err with
probability alpha exactly, at most `MOST` do with probability .99 (one-sided, normal approximation),
so a test fails by bad luck in at most one of a hundred seeds; the seeds are fixed.
"""

import math

import numpy as np
import pytest

from benchmarks._gate_trials import (
    ALPHA,
    assignment_trials,
    first_crossing,
    in_batches,
    off_policy_pairs,
    off_policy_trials,
    worth_of_the_log,
)
from benchmarks.gate import UNEQUAL
from heedful.evaluate import OFF_POLICY_FRACTIONS

pytestmark = pytest.mark.slow

RUNS = 2000
MOST = ALPHA + 2.33 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)  # .0614

EQUAL = [0.1] * 5


@pytest.mark.parametrize("exploration", [0.5, 0.2], ids=["w_max-10", "w_max-25"])
@pytest.mark.parametrize("arms", ["equal", "unequal"])
def test_logged_probabilities_rarely_promote_what_is_worth_the_same(exploration, arms):
    values = EQUAL if arms == "equal" else UNEQUAL[exploration]
    assert worth_of_the_log(values, exploration) == pytest.approx(values[1], abs=1e-12)
    crossed = off_policy_trials(RUNS, 20_000, exploration, values, seed=11)
    assert (crossed > 0).mean() <= MOST


SHAPES = [(100, 20), (30, 60), (300, 20)]  # subjects, decisions of each


@pytest.mark.parametrize("exploration", [0.5, 0.2], ids=["w_max-10", "w_max-25"])
@pytest.mark.parametrize(("subjects", "decisions"), SHAPES)
def test_logged_probabilities_of_subjects_who_disagree(subjects, decisions, exploration):
    """Arm 1 is twice as good for half of the subjects, worthless for the others: on average equal.

    One D per decision knows of the past rows of its subject, so Ville's inequality does not cover
    it; importance weights are noisy enough to hide that at these numbers of decisions.
    """
    rng = np.random.default_rng(21)
    w_max = 5 / exploration

    def simulate(size):
        shape = (size, subjects * decisions)
        arm = np.where(rng.random(shape) < exploration, rng.integers(5, size=shape), 0)
        likes = np.repeat(rng.random((size, subjects)) < 0.5, decisions, axis=1)
        pays = np.where(arm == 1, 0.2 * likes, 0.1)
        rewards = (rng.random(shape) < pays).astype(float)
        pairs = off_policy_pairs(np.where(arm == 1, w_max, 0.0), rewards, w_max)
        return first_crossing(pairs, OFF_POLICY_FRACTIONS)

    assert (in_batches(RUNS, subjects * decisions, simulate) > 0).mean() <= MOST


@pytest.mark.parametrize("baseline", [False, True], ids=["plain", "baseline"])
@pytest.mark.parametrize("base", [0.1, 0.3])
@pytest.mark.parametrize(("subjects", "decisions"), SHAPES)
def test_assignment_rarely_promotes_what_is_worth_the_same(subjects, decisions, base, baseline):
    crossed = assignment_trials(
        RUNS, subjects, decisions, base=base, gain=0.0, baseline=baseline, seed=12
    )
    assert (crossed > 0).mean() <= MOST


@pytest.mark.parametrize(
    ("subjects", "decisions", "errs"), [(100, 20, 0.13), (30, 60, 0.26), (300, 20, 0.13)]
)
def test_one_difference_per_decision_promotes_falsely(subjects, decisions, errs):
    """The mistake that the test above can see: a subject's arm is known after its first row."""
    crossed = assignment_trials(
        RUNS, subjects, decisions, base=0.1, gain=0.0, baseline=False, per_decision=True, seed=13
    )
    assert (crossed > 0).mean() == pytest.approx(errs, abs=0.03)
    assert (crossed > 0).mean() > 2 * MOST - ALPHA


@pytest.mark.parametrize("baseline", [False, True], ids=["plain", "baseline"])
def test_assignment_by_unequal_shares_over_many_subjects(baseline):
    crossed = assignment_trials(
        RUNS, 4000, 10, base=0.3, gain=0.0, share=0.1, baseline=baseline, seed=14
    )
    assert (crossed > 0).mean() <= MOST


def learned_candidates(runs, *, fresh, arms=50, rows=5000, seed=15):
    """Play equal arms at random, learn the best of them, and judge it on fresh rows or the same."""
    rng = np.random.default_rng(seed)

    def play(size):
        return rng.integers(arms, size=(size, rows)), (rng.random((size, rows)) < 0.3).astype(float)

    def simulate(size):
        arm, rewards = play(size)
        cell = (np.arange(size)[:, None] * arms + arm).ravel()
        plays = np.bincount(cell, minlength=size * arms)
        earned = np.bincount(cell, weights=rewards.ravel(), minlength=size * arms)
        best = (earned / plays).reshape(size, arms).argmax(axis=1)
        if fresh:
            arm, rewards = play(size)
        weights = np.where(arm == best[:, None], float(arms), 0.0)
        return first_crossing(off_policy_pairs(weights, rewards, arms), OFF_POLICY_FRACTIONS)

    return in_batches(runs, rows, simulate)


def test_a_candidate_learned_from_the_log_is_judged_on_fresh_rows():
    assert (learned_candidates(RUNS, fresh=True) > 0).mean() <= MOST
    assert (learned_candidates(RUNS, fresh=False) > 0).mean() > 0.10


def test_power_on_logged_probabilities():
    small, large = [0.1, 0.13, 0.1, 0.1, 0.1], [0.1, 0.2, 0.1, 0.1, 0.1]
    crossed = off_policy_trials(400, 20_000, 0.5, small, seed=16)
    assert (crossed > 0).mean() == pytest.approx(0.85, abs=0.05)
    crossed = off_policy_trials(400, 20_000, 0.5, large, seed=17)
    assert (crossed > 0).all()
    assert np.median(crossed) == pytest.approx(1065, rel=0.1)


@pytest.mark.parametrize(
    ("base", "gain", "baseline", "power", "median"),
    [
        (0.1, 0.05, False, 1.0, 629),
        (0.1, 0.05, True, 1.0, 485),
        (0.3, 0.05, False, 0.87, 1930),
        (0.3, 0.05, True, 1.0, 652),
        (0.3, 0.02, True, 0.51, 3912),
    ],
)
def test_power_of_random_assignment(base, gain, baseline, power, median):
    crossed = assignment_trials(1000, 4000, 10, base=base, gain=gain, baseline=baseline, seed=18)
    assert (crossed > 0).mean() == pytest.approx(power, abs=0.05)
    assert np.median(np.where(crossed > 0, crossed, np.inf)) == pytest.approx(median, rel=0.1)


def test_a_small_share_still_finds_a_gain():
    crossed = assignment_trials(400, 10_000, 10, base=0.3, gain=0.05, share=0.1, seed=19)
    assert (crossed > 0).mean() > 0.99
    assert np.median(crossed[crossed > 0]) == pytest.approx(1832, rel=0.1)
