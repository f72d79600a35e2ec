import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.evaluate import (
    ASSIGNMENT_FRACTIONS,
    EProcess,
    assignment,
    judge,
    log_evidence,
    off_policy,
    paired,
)
from heedful.evaluate.evidence import running_mean

unit = st.floats(0, 1)


def bandit(weights, rewards, **options):
    """Off-policy evidence where only the live policy acted, from the candidate's weights."""
    live = np.full(len(weights), -3.0)
    with np.errstate(divide="ignore"):
        return off_policy(live + np.log(weights), live, live, rewards, **options)


def test_assignment_pairs_without_a_baseline():
    evidence = assignment(
        [1.0, 0.5, 0.0], np.array([True, False, True]), 0.2, margin=0.1, baseline=False
    )
    assert evidence.differences == pytest.approx([5 - 0.1, -0.5 / 0.8 - 0.1, -0.1])
    assert evidence.lowest == pytest.approx([-1 / 0.8 - 0.1] * 3)
    assert evidence.fractions == ASSIGNMENT_FRACTIONS
    assert (evidence.unit, evidence.subjects) == ("subjects", 3)
    assert evidence.candidate.tolist() == [1.0, 0.0]
    assert evidence.live.tolist() == [0.5]


def test_assignment_pairs_with_the_predictable_baseline():
    evidence = assignment([1.0, 0.5], np.array([True, False]), 0.2)
    q = np.array([0.5, 0.75])
    assert evidence.differences == pytest.approx([5 * (1 - q[0]), -1.25 * (0.5 - q[1])])
    assert evidence.lowest == pytest.approx(-np.maximum((1 - q) / 0.8, q / 0.2))


def test_the_baseline_knows_only_the_past():
    rewards = np.random.default_rng(0).random((3, 20))
    changed = rewards.copy()
    changed[:, 10:] = 1 - changed[:, 10:]
    assert (running_mean(rewards)[:, :11] == running_mean(changed)[:, :11]).all()
    assert (running_mean(rewards)[:, 11:] != running_mean(changed)[:, 11:]).any()
    assert running_mean(np.array([1.0, 0.0, 0.0])) == pytest.approx([0.5, 0.75, 0.5])


@given(
    st.lists(st.tuples(unit, st.booleans()), min_size=1, max_size=30),
    st.floats(0.05, 0.95),
    st.floats(0, 0.5),
    st.booleans(),
)
def test_no_assignment_falls_below_its_bound(rows, share, margin, baseline):
    rewards, arm = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    evidence = assignment(rewards, arm, share, margin=margin, baseline=baseline)
    EProcess(evidence.fractions).update(evidence.differences, evidence.lowest)


@given(
    st.lists(st.tuples(st.floats(0, 10), unit), min_size=1, max_size=30),
    st.floats(0, 0.5),
    st.booleans(),
)
def test_no_logged_decision_falls_below_its_bound(rows, margin, full_support):
    weights, rewards = np.array(rows).T
    evidence = bandit(weights, rewards, w_max=10.0, margin=margin, full_support=full_support)
    EProcess(evidence.fractions).update(evidence.differences, evidence.lowest)


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10), unit), min_size=1, max_size=30),
    st.booleans(),
)
def test_no_decision_of_a_mixed_log_falls_below_its_bound(rows, full_support):
    candidate, live, rewards = np.array(rows).T
    logged = np.full(len(rows), -4.0)
    evidence = off_policy(
        logged + np.log(candidate),
        logged + np.log(live),
        logged,
        rewards,
        w_max=10.0,
        mixed=True,
        full_support=full_support,
    )
    EProcess(evidence.fractions).update(evidence.differences, evidence.lowest)


def test_bounds_are_reached_so_they_are_not_too_wide():
    first = assignment([1.0], np.array([False]), 0.1, margin=0.2, baseline=False)
    assert first.differences[0] == pytest.approx(first.lowest[0])
    for weight, reward in ((0.0, 1.0), (2.0, 0.0)):
        evidence = bandit([weight], [reward], w_max=2.0, full_support=True)
        assert evidence.differences[0] == pytest.approx(evidence.lowest[0])


def test_off_policy_pairs():
    evidence = bandit([2.0, 0.0], [1.0, 0.5], margin=0.1, subjects=["a", "a"])
    assert evidence.differences == pytest.approx([1 - 0.1, -0.5 - 0.1])
    assert evidence.lowest == pytest.approx([-1.1, -1.1])
    assert (evidence.unit, evidence.subjects) == ("decisions", 1)
    assert evidence.candidate == pytest.approx([2.0, 0.0])
    assert evidence.live == pytest.approx([1.0, 0.5])


def test_off_policy_pairs_with_full_support():
    evidence = bandit([2.0, 0.0], [1.0, 0.5], w_max=5.0, full_support=True)
    q = np.array([0.5, 0.75])
    assert evidence.differences == pytest.approx([0.5, -1 * (0.5 - 0.75)])
    assert evidence.lowest == pytest.approx(-np.maximum(1 - q, 4 * q))


def test_off_policy_pairs_of_a_mixed_log():
    logged, live, candidate = np.log([[0.5, 0.2], [0.25, 0.4], [0.75, 0.1]])
    evidence = off_policy(candidate, live, logged, [1.0, 0.5], w_max=4.0, mixed=True)
    assert evidence.differences == pytest.approx([1.5 - 0.5, (0.5 - 2) * 0.5])
    assert evidence.lowest == pytest.approx([-4.0, -4.0])
    assert [check.name for check in evidence.health][-1] == "mean weight of the live policy"


def test_decisions_of_other_policies_must_be_declared():
    logps = np.log([0.5, 0.5])
    with pytest.raises(ValueError, match=r"live_logps: row 1 \(0.5\) was not decided by the live"):
        off_policy(logps, np.log([0.5, 0.25]), logps, [0.0, 0.0])


def test_unknown_behaviour_is_refused():
    with pytest.raises(ValueError, match="behaviour_logps: row 0 is UNKNOWN"):
        off_policy([-1.0], [-1.0], [math.nan], [0.0])


@pytest.mark.parametrize("options", [{"full_support": True}, {"mixed": True}])
def test_w_max_is_needed_where_the_bound_rests_on_it(options):
    with pytest.raises(ValueError, match="w_max"):
        off_policy([-1.0], [-1.0], [-1.0], [0.0], **options)


def test_a_weight_beyond_w_max_is_refused():
    with pytest.raises(
        ValueError, match=r"weight of the candidate: row 1 \(11\) exceeds w_max.*floor"
    ):
        bandit([1.0, 11.0], [0.0, 1.0], w_max=10.0)


@pytest.mark.parametrize(
    ("rewards", "arm", "share", "options", "message"),
    [
        ([1.2], [True], 0.5, {}, r"rewards: row 0 \(1.2\) lies outside"),
        ([np.nan], [True], 0.5, {}, "rewards: row 0 is NaN"),
        ([0.5], [1], 0.5, {}, "arm: expected bool"),
        ([0.5], [True, False], 0.5, {}, "arm: expected bool"),
        ([0.5], [True], 1.0, {}, "share"),
        ([0.5], [True], 0.5, {"margin": 1.0}, "margin"),
    ],
)
def test_assignment_refuses(rewards, arm, share, options, message):
    with pytest.raises(ValueError, match=message):
        assignment(rewards, np.array(arm), share, **options)


def test_a_broken_assignment_is_noticed():
    rng = np.random.default_rng(0)
    rewards = rng.random(2000)
    fair = assignment(rewards, rng.random(2000) < 0.2, 0.2)
    lost = assignment(rewards, rng.random(2000) < 0.13, 0.2)
    assert all(check.passed for check in fair.health)
    assert [check.name for check in lost.health if not check.passed] == ["share of the candidate"]


def test_a_log_without_support_is_noticed():
    """The candidate puts half of its probability on what the log never plays."""
    rng = np.random.default_rng(0)
    weights = np.where(rng.random(3000) < 0.1, 5.0, 0.0)
    failed = [check for check in bandit(weights, np.zeros(3000)).health if not check.passed]
    assert [check.name for check in failed] == ["mean weight of the candidate"]
    assert "raise the exploration floor" in failed[0].sentence


@given(
    st.lists(st.tuples(unit, st.booleans()), min_size=1, max_size=30),
    st.floats(0.05, 0.95),
    st.floats(-0.5, 0.5),
)
def test_the_mirror_is_the_same_difference_with_its_own_bound(rows, share, margin):
    rewards, arm = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    evidence = assignment(rewards, arm, share, margin=margin)
    against, lowest = evidence.against
    assert against == pytest.approx(-(evidence.differences + margin) - max(0, -margin), abs=1e-12)
    EProcess(evidence.fractions).update(against, lowest)


@given(
    st.lists(st.tuples(st.floats(0, 10), unit), min_size=1, max_size=30),
    st.booleans(),
)
def test_the_mirror_of_logged_decisions_needs_the_largest_weight(rows, full_support):
    weights, rewards = np.array(rows).T
    evidence = bandit(weights, rewards, w_max=10.0, full_support=full_support)
    against, lowest = evidence.against
    assert against == pytest.approx(-evidence.differences, abs=1e-9)
    EProcess(evidence.fractions).update(against, lowest)
    if not full_support:
        assert lowest == pytest.approx(-9.0)
        assert bandit(weights, rewards).against is None


def test_each_subject_may_have_a_share_of_its_own():
    rewards, arm = np.array([1.0, 0.5, 0.0, 1.0]), np.array([True, False, True, False])
    raised = assignment(rewards, arm, [0.1, 0.1, 0.5, 0.5])
    for share, part in ((0.1, slice(2)), (0.5, slice(2, 4))):
        alone = assignment(rewards, arm, share)
        assert (raised.differences[part] == alone.differences[part]).all()
        assert (raised.lowest[part] == alone.lowest[part]).all()
        assert (raised.against[0][part] == alone.against[0][part]).all()
    with pytest.raises(ValueError, match="share"):
        assignment(rewards, arm, [0.1, 0.5])


def test_halves_without_a_baseline_merge():
    rng = np.random.default_rng(0)
    rewards, arm = rng.random(100), rng.random(100) < 0.5

    def judged(part):
        evidence = assignment(rewards[part], arm[part], 0.5, baseline=False)
        process = EProcess(evidence.fractions)
        process.update(evidence.differences, evidence.lowest)
        return process

    whole, merged = judged(slice(None)), judged(slice(40)).merge(judged(slice(40, None)))
    assert merged.log_wealth == pytest.approx(whole.log_wealth, abs=1e-12)
    assert json.dumps(merged.to_dict())


def test_paired_games_have_one_difference_each():
    evidence = paired([1.0, 0.5, 0.0], [0.5, 0.5, 1.0], margin=0.1)
    assert evidence.differences == pytest.approx([0.4, -0.1, -1.1])
    assert evidence.lowest == pytest.approx([-1.1] * 3)
    assert evidence.unit == "pairs"
    assert evidence.against is not None
    assert evidence.against[0] == pytest.approx([-0.5, 0.0, 1.0])
    assert evidence.against[1] == pytest.approx([-1.0] * 3)
    kinder = paired([0.5], [1.0], margin=-0.2)
    assert kinder.differences == pytest.approx([-0.3])
    assert kinder.lowest == pytest.approx([-0.8])
    assert kinder.against is not None
    assert kinder.against[0] == pytest.approx([0.3])


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=30), st.floats(-0.5, 0.5))
def test_no_pair_falls_below_its_bound(rows, margin):
    evidence = paired([row[0] for row in rows], [row[1] for row in rows], margin=margin)
    assert evidence.against is not None
    EProcess(evidence.fractions).update(evidence.differences, evidence.lowest)
    EProcess(evidence.fractions).update(*evidence.against)


def test_a_copy_on_the_same_games_is_never_promoted():
    returns = np.random.default_rng(0).random(500)
    verdict = judge(paired(returns, returns))
    assert (verdict.promote, verdict.rollback, verdict.log_evidence) == (False, False, 0.0)


def test_false_promotions_of_equal_players_stay_below_alpha():
    """2,000 gates, looked at after every pair, of players who win, draw and lose alike."""
    rng = np.random.default_rng(1)
    values, p = [0.0, 0.5, 1.0], [0.3, 0.2, 0.5]
    mine, theirs = (rng.choice(values, p=p, size=(2000, 1000)) for _ in range(2))
    gap = mine - theirs
    path = log_evidence(gap, -1.0, ASSIGNMENT_FRACTIONS)
    assert (path.max(axis=1) >= math.log(1 / 0.05)).mean() <= 0.05
    better = np.where(rng.random(gap.shape) < 0.2, 1.0, gap)
    path = log_evidence(better, -1.0, ASSIGNMENT_FRACTIONS)
    assert (path.max(axis=1) >= math.log(1 / 0.05)).mean() > 0.95


@pytest.mark.parametrize(
    ("mine", "theirs", "says"),
    [([1.5], [0.0], "candidate"), ([1.0], [-0.1], "live"), ([1.0, 1.0], [0.0], "live")],
)
def test_pairs_that_are_none_are_refused(mine, theirs, says):
    with pytest.raises(ValueError, match=says):
        paired(mine, theirs)
