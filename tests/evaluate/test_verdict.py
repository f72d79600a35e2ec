import json
import math

import numpy as np
import pytest

from heedful.evaluate import EProcess, alpha_of, assignment, join_rate, judge, off_policy


def rewards_and_arm(gain, subjects, seed=0):
    """Subjects with ten decisions each and a click rate of .4, plus the gain for the candidate."""
    rng = np.random.default_rng(seed)
    arm = rng.random(subjects) < 0.5
    return rng.binomial(10, 0.4 + gain * arm) / 10, arm


def trial(gain, subjects=1500):
    return assignment(*rewards_and_arm(gain, subjects), 0.5)


def test_a_better_candidate_is_promoted_and_the_words_say_why():
    verdict = judge(trial(0.1), health=[join_rate(1.0)])
    assert verdict.promote
    assert verdict.needed == 1 / alpha_of(1, 0.05)
    assert verdict.evidence > verdict.needed
    assert 0 < verdict.crossed_at < verdict.rows == verdict.subjects == 1500
    assert verdict.candidate.low > verdict.live.high
    words = verdict.words()
    assert words.startswith("Promote: the candidate is better")
    for number in (
        str(verdict.candidate),
        str(verdict.live),
        f"{verdict.crossed_at:,} of 1,500 subjects",
    ):
        assert number in words
    assert "at most 3.0% of trials" in words
    assert words.endswith("All data checks passed.")


def test_a_worse_candidate_is_refused():
    verdict = judge(trial(-0.1))
    assert not verdict.promote
    assert verdict.crossed_at is None
    assert verdict.rollback
    assert verdict.log_evidence_against > math.log(5)
    words = verdict.words()
    assert words.startswith("Do not promote, roll back: the candidate is worse than the live")
    assert "and 5.0 rolls back (a candidate that is not worse gets this far in at most 20%" in words
    assert words.endswith("End the trial: the live policy decides for everybody again.")


def test_too_little_data_says_that_more_will_tell():
    verdict = judge(trial(0.03, subjects=200))
    assert not verdict.promote
    assert "more data" in verdict.words()
    assert "32.9 is needed" in verdict.words()


def test_the_decision_goes_by_the_maximum_up_to_now():
    good, bad = rewards_and_arm(0.2, 120), rewards_and_arm(-0.2, 30, seed=1)
    rewards, arm = (np.concatenate(parts) for parts in zip(good, bad, strict=True))
    verdict = judge(assignment(rewards, arm, 0.5))
    assert verdict.promote
    assert verdict.crossed_at <= 120
    assert verdict.log_evidence_now < verdict.log_evidence


def test_what_was_better_and_has_become_worse_is_rolled_back():
    good, bad = rewards_and_arm(0.2, 400), rewards_and_arm(-0.4, 2000, seed=1)
    rewards, arm = (np.concatenate(parts) for parts in zip(good, bad, strict=True))
    verdict = judge(assignment(rewards, arm, 0.5))
    assert verdict.crossed_at is not None
    assert verdict.rollback
    assert not verdict.promote


def test_unhealthy_data_hold_a_promotion_back():
    verdict = judge(trial(0.1), health=[join_rate(0.5)])
    assert verdict.crossed_at is not None
    assert not verdict.promote
    assert "Data check failed, join rate: 50.0% of the feedback" in verdict.words()
    assert verdict.words().endswith("No promotion before these checks pass.")


def test_the_same_policy_from_its_own_log_is_not_better():
    logps, rewards = np.full(500, -1.0), np.random.default_rng(0).random(500)
    verdict = judge(off_policy(logps, logps, logps, rewards))
    assert verdict.log_evidence == verdict.log_evidence_now == 0.0
    assert verdict.candidate == verdict.live
    assert verdict.unit == "decisions"
    assert verdict.subjects is None
    assert all(check.passed for check in verdict.health)


def test_later_candidates_need_more():
    needed = [judge(trial(0.0), k=k, alpha=0.1).needed for k in (1, 2, 3)]
    assert needed == pytest.approx([math.pi**2 * k**2 / 0.6 for k in (1, 2, 3)])


def test_looking_early_sees_the_same_path():
    whole = trial(0.1)
    early = EProcess(whole.fractions)
    path = early.update(whole.differences[:300], whole.lowest[:300])
    verdict = judge(whole)
    assert dict(verdict.history)[300 // 4 * 4] == path[300 // 4 * 4 - 1]


def test_no_rows_are_a_verdict_too():
    verdict = judge(assignment([], np.array([], dtype=bool), 0.5))
    assert verdict.candidate is None
    assert (verdict.rows, verdict.evidence) == (0, 1.0)
    one_arm = judge(assignment([0.5], np.array([True]), 0.5))
    assert one_arm.candidate.n == 1
    assert one_arm.live is None
    for nothing in (verdict, one_arm):
        assert not nothing.promote
        assert json.dumps(nothing.to_dict(), allow_nan=False)


def test_a_verdict_is_plain_data():
    verdict = judge(trial(0.1))
    plain = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert plain["promote"] is True
    assert plain["words"] == verdict.words()
    assert plain["evidence"] == verdict.evidence
    assert plain["candidate"]["mean"] == verdict.candidate.mean
    assert judge(trial(0.1)) == verdict
