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
    FAULTS,
    ROLLBACK_ALPHA,
    assignment_trials,
    canaries,
    faults,
    first_crossing,
    guardrail_trials,
    in_batches,
    loops,
    off_policy_pairs,
    off_policy_trials,
    worth_of_the_log,
)
from benchmarks.gate import UNEQUAL
from heedful.evaluate import OFF_POLICY_FRACTIONS, Levels, equal_service

pytestmark = pytest.mark.slow

RUNS = 2000
MOST = ALPHA + 2.33 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)  # .0614

EQUAL = [0.1] * 5


@pytest.mark.parametrize("exploration", [0.5, 0.2], ids=["w_max-10", "w_max-25"])
@pytest.mark.parametrize("arms", ["equal", "unequal"])
@pytest.mark.parametrize("betting", ["mixture", "agrapa"])
def test_logged_probabilities_rarely_promote_what_is_worth_the_same(exploration, arms, betting):
    values = EQUAL if arms == "equal" else UNEQUAL[exploration]
    assert worth_of_the_log(values, exploration) == pytest.approx(values[1], abs=1e-12)
    crossed = off_policy_trials(RUNS, 20_000, exploration, values, seed=11, betting=betting)
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
@pytest.mark.parametrize("betting", ["mixture", "agrapa"])
@pytest.mark.parametrize(("subjects", "decisions"), SHAPES)
def test_assignment_rarely_promotes_what_is_worth_the_same(
    subjects, decisions, base, baseline, betting
):
    crossed = assignment_trials(
        RUNS,
        subjects,
        decisions,
        base=base,
        gain=0.0,
        baseline=baseline,
        seed=12,
        betting=betting,
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


FEW = 500  # runs, for what is far from its limit


def at_most(alpha, runs):
    """Largest share of ``runs`` that err with probability alpha that bad luck explains."""
    return alpha + 2.33 * math.sqrt(alpha * (1 - alpha) / runs)


@pytest.mark.parametrize("betting", ["mixture", "agrapa"])
def test_a_loop_of_many_rounds_rarely_promotes_at_all(betting):
    options = {"rounds": 30, "rows": 1000, "seed": 20, "betting": betting}
    assert loops(RUNS, **options).mean() <= MOST
    assert loops(FEW, shared=False, **options).mean() > 0.2
    assert loops(20, fresh=False, **options).all()


@pytest.mark.parametrize("betting", ["mixture", "agrapa"])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_breaks_the_gate_only_where_the_defence_is_missing(fault, betting):
    crossed = faults(FEW, fault, defended=True, seed=22, betting=betting)
    assert (crossed > 0).mean() <= at_most(ALPHA, FEW)
    crossed = faults(FEW, fault, defended=False, seed=22, betting=betting)
    assert (crossed > 0).mean() > 2 * at_most(ALPHA, FEW)


@pytest.mark.parametrize("betting", ["mixture", "agrapa"])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_canary_that_is_no_worse_is_rarely_rolled_back(share, betting):
    live, back = canaries(FEW, 4000, base=0.3, factor=1.0, share=share, seed=23, betting=betting)
    assert (back > 0).mean() <= at_most(ROLLBACK_ALPHA, FEW)
    assert (live > 0).mean() <= at_most(ALPHA, FEW)


@pytest.mark.parametrize(
    ("betting", "worse", "better"), [("mixture", 301, 539), ("agrapa", 198, 458)]
)
def test_a_canary_is_rolled_back_or_goes_live(betting, worse, better):
    """Medians as measured over 1,000 runs by `python -m benchmarks gate`."""
    options = {"base": 0.3, "share": 0.5, "seed": 24, "betting": betting}
    live, back = canaries(FEW, 4000, factor=0.8, **options)
    assert (back > 0).all()
    assert not (live > 0).any()
    assert np.median(back) == pytest.approx(worse, rel=0.15)
    live, back = canaries(FEW, 4000, factor=1.2, **options)
    assert (live > 0).all()
    assert (back > 0).mean() < 0.05
    assert np.median(live) == pytest.approx(better, rel=0.15)


@pytest.mark.parametrize("base", [0.01, 0.05])
def test_a_guardrail_errs_rarely_at_the_edge_of_its_margin_and_sees_what_lies_beyond(base):
    options = {"base": base, "margin": 0.01, "share": 0.5, "seed": 25}
    kept, broken = guardrail_trials(FEW, 4000, harm=0.01, **options)
    assert (kept > 0).mean() <= at_most(ALPHA, FEW)
    assert (broken > 0).mean() <= at_most(ROLLBACK_ALPHA, FEW)
    kept, broken = guardrail_trials(FEW, 4000, harm=0.0, **options)
    assert (kept > 0).mean() > 0.8
    assert (broken > 0).mean() < 0.01
    kept, broken = guardrail_trials(FEW, 4000, harm=0.03, **options)
    assert not (kept > 0).any()
    assert (broken > 0).all()


def test_limits_of_groups_rarely_call_equal_service_unequal():
    """Four groups that are served alike; looked at ten times, at the edge of the margin."""
    rng = np.random.default_rng(26)
    levels = Levels(ALPHA, ROLLBACK_ALPHA)
    called = {"passed": 0, "broken": 0}
    for _ in range(100):
        groups = [str(g) for g in rng.integers(4, size=800)]
        rewards = rng.binomial(10, 0.3 + 0.06 * (np.array(groups) == "3")) / 10
        looks = [
            equal_service("g", 0.05, 0.01, rewards[:n], groups[:n], levels)
            for n in range(200, 801, 200)
        ]
        called["passed"] += any(look.passed for look in looks)
        called["broken"] += any(look.broken for look in looks)
    assert called["passed"] / 100 <= at_most(ALPHA, 100)
    assert called["broken"] / 100 <= at_most(ROLLBACK_ALPHA, 100)
