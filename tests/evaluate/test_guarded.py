import math

import numpy as np
import pytest

from heedful.evaluate import Levels, equal_service, judge, kept_within, not_worse
from heedful.evaluate.gate import alpha_of
from heedful.evaluate.guarded import GUARD_FRACTIONS, lower_limit, upper_limit
from tests.evaluate.test_verdict import trial

LEVELS = Levels(alpha=0.03, rollback_alpha=0.2)


def flags(harm, subjects=3000, base=0.02, seed=0):
    """One number per subject: the share of ten decisions that were flagged."""
    rng = np.random.default_rng(seed)
    arm = rng.random(subjects) < 0.5
    return rng.binomial(10, base + harm * arm) / 10, arm


def test_a_guardrail_is_kept_or_broken_or_open():
    kept = not_worse("flagged", 0.01, *flags(0.0), 0.5, LEVELS, more_is_worse=True)
    assert (kept.passed, kept.broken, kept.limit) == (True, False, 0.01)
    assert kept.name == "not_more flagged = 0.01"
    assert kept.words.startswith("not_more flagged = 0.01 is kept: the candidate has 0.0")
    broken = not_worse("flagged", 0.01, *flags(0.05), 0.5, LEVELS, more_is_worse=True)
    assert (broken.passed, broken.broken) == (False, True)
    assert broken.value == pytest.approx(0.05, abs=0.01)
    assert "is broken" in broken.words
    assert "5.0 suffices" in broken.words
    few = not_worse("flagged", 0.01, *flags(0.0, 50), 0.5, LEVELS, more_is_worse=True)
    assert (few.passed, few.broken) == (False, False)
    assert "is not shown to be kept yet" in few.words
    assert "of the 33.3 that is needed" in few.words


def test_not_less_is_not_more_of_what_is_missing():
    values, arm = flags(0.05)
    more = not_worse("x", 0.01, values, arm, 0.5, LEVELS, more_is_worse=True)
    less = not_worse("x", 0.01, 1 - values, arm, 0.5, LEVELS, more_is_worse=False)
    assert (less.passed, less.broken) == (more.passed, more.broken) == (False, True)
    assert less.value == pytest.approx(-more.value)
    assert less.name == "not_less x = 0.01"


def test_more_of_what_is_wanted_keeps_a_guardrail():
    values, arm = flags(0.05)
    assert not_worse("clicked", 0.01, values, arm, 0.5, LEVELS, more_is_worse=False).passed


def test_one_arm_alone_says_nothing():
    one = not_worse("x", 0.01, [0.5], np.array([True]), 0.5, LEVELS, more_is_worse=True)
    assert (one.passed, one.broken, one.value) == (False, False, None)
    nothing = kept_within("x", 0.1, 0.01, [], LEVELS, at_most=True)
    assert (nothing.passed, nothing.value) == (False, None)


@pytest.mark.parametrize(
    ("mean", "passed", "broken"), [(0.005, True, False), (0.1, False, True), (0.03, False, False)]
)
def test_a_limit_of_the_candidates_own(mean, passed, broken):
    """A mean on the very edge, the limit of .02 plus the margin of .01, is neither."""
    values = np.random.default_rng(1).binomial(10, mean, 2000) / 10
    found = kept_within("flagged", 0.02, 0.01, values, LEVELS, at_most=True)
    assert (found.passed, found.broken) == (passed, broken)
    assert found.value == pytest.approx(mean, abs=0.01)
    mirrored = kept_within("fine", 0.98, 0.01, 1 - values, LEVELS, at_most=False)
    assert (mirrored.passed, mirrored.broken) == (passed, broken)
    assert mirrored.name == "at_least fine = 0.98"


def test_a_limit_that_nothing_can_miss_is_kept_without_evidence():
    assert kept_within("x", 0.995, 0.01, [1.0], LEVELS, at_most=True).passed
    assert kept_within("x", 0.005, 0.01, [0.0], LEVELS, at_most=False).passed


def test_a_limit_of_nothing_is_broken_by_what_is_beyond_its_margin():
    assert kept_within("x", 0.0, 0.01, np.full(200, 0.1), LEVELS, at_most=True).broken
    assert kept_within("x", 0.0, 0.01, np.zeros(2000), LEVELS, at_most=True).passed


def served(gap, each=3000, seed=2):
    rng = np.random.default_rng(seed)
    groups = np.array(["de", "fr"])[rng.integers(2, size=2 * each)]
    return rng.binomial(10, 0.3 + gap * (groups == "fr")) / 10, groups.tolist()


def test_groups_are_served_alike_or_not():
    kept = equal_service("country", 0.05, 0.01, *served(0.0), LEVELS)
    assert (kept.passed, kept.broken) == (True, False)
    broken = equal_service("country", 0.05, 0.01, *served(0.2), LEVELS)
    assert (broken.passed, broken.broken) == (False, True)
    assert broken.name == "equal country = 0.05"
    assert broken.value == pytest.approx(0.2, abs=0.02)
    assert "fr earns 0.4978, de 0.2988" in broken.words
    early = equal_service("country", 0.05, 0.01, *served(0.0, each=100), LEVELS)
    assert (early.passed, early.broken) == (False, False)


def test_small_groups_and_people_without_the_fact_are_left_out_and_counted():
    rewards, groups = served(0.0)
    rewards, groups = np.append(rewards, [1.0, 1.0]), [*groups, "li", None]
    found = equal_service("country", 0.05, 0.01, rewards, groups, LEVELS)
    assert found.passed
    assert "1 groups with fewer than 30 subjects are left out" in found.words
    one = equal_service("country", 0.05, 0.01, rewards[:3], ["de", "de", None], LEVELS)
    assert (one.passed, one.broken, one.value) == (False, False, None)
    assert "1 subjects without the fact" in one.words


def test_limits_of_a_mean_enclose_it_and_close_in():
    values = np.random.default_rng(3).binomial(10, 0.3, 4000) / 10
    widths = []
    for rows in (0, 100, 4000):
        low, high = (limit(values[:rows], 0.01) for limit in (lower_limit, upper_limit))
        assert low <= 0.3 <= high
        widths.append(high - low)
    assert widths[0] == 1.0
    assert widths[2] < 0.025 < 0.1 < widths[1]
    assert 0.003 < upper_limit(np.zeros(1000), 0.05) < 0.006  # betting all gives ln(20)/1000


def test_a_limit_is_where_the_evidence_is_just_enough():
    values = np.random.default_rng(4).random(300)
    high = upper_limit(values, 0.05)
    for m, enough in ((high + 1e-3, True), (high - 1e-3, False)):
        stakes = np.array(GUARD_FRACTIONS)[:, None]
        wealth = np.cumsum(np.log1p(stakes * (m - values) / (1 - m)), axis=1)
        path = np.log(np.exp(wealth).mean(axis=0))
        assert (path.max() >= math.log(20)) == enough


def test_promotion_needs_every_guardrail_and_a_broken_one_rolls_back():
    better = trial(0.1)
    kept = not_worse("flagged", 0.01, *flags(0.0), 0.5, LEVELS, more_is_worse=True)
    open_ = not_worse("flagged", 0.01, *flags(0.0, 50), 0.5, LEVELS, more_is_worse=True)
    broken = kept_within("flagged", 0.02, 0.01, np.full(500, 0.1), LEVELS, at_most=True)
    assert judge(better, guardrails=[kept]).promote
    waiting = judge(better, guardrails=[kept, open_])
    assert not waiting.promote
    assert not waiting.rollback
    assert waiting.crossed_at is not None
    assert "Guardrail not_more flagged = 0.01 is not shown to be kept yet" in waiting.words()
    assert "no promotion before every guardrail is shown to be kept" in waiting.words()
    refused = judge(better, guardrails=[kept, broken])
    assert not refused.promote
    assert refused.rollback
    assert "refused: at_most flagged = 0.02 is broken: the candidate's mean is 0.1000" in (
        refused.words()
    )
    assert refused.to_dict()["guardrails"][1]["broken"] is True


def test_each_direction_has_its_own_level():
    assert LEVELS.kept(math.log(1 / 0.03) + 1e-9)
    assert not LEVELS.kept(math.log(1 / 0.03) - 1e-9)
    assert LEVELS.broken(math.log(1 / 0.2) + 1e-9)
    assert not LEVELS.broken(math.log(1 / 0.2) - 1e-9)


def test_what_was_kept_and_then_broken_is_broken():
    values = np.concatenate([np.zeros(600), np.ones(200)])
    assert kept_within("x", 0.05, 0.01, values[:600], LEVELS, at_most=True).passed
    both = kept_within("x", 0.05, 0.01, values, LEVELS, at_most=True)
    assert (both.passed, both.broken) == (False, True)


def test_groups_share_the_level_of_an_alarm():
    rng = np.random.default_rng(0)
    parts = [rng.binomial(1, mean, 200).astype(float) for mean in (0.9, 0.5, 0.1)]
    alphas = [alpha_of(j, LEVELS.rollback_alpha) / 2 for j in (1, 2, 3)]
    lows = [lower_limit(part, alpha) for part, alpha in zip(parts, alphas, strict=True)]
    highs = [upper_limit(part, alpha) for part, alpha in zip(parts, alphas, strict=True)]
    apart = max(lows) - min(highs)
    groups = [name for name in "abc" for _ in range(200)]
    guard = equal_service("town", 0.2, 0.01, np.concatenate(parts), groups, LEVELS)
    assert f"or less than {apart:.4f} apart" in guard.words
    width = [(LEVELS.alpha / 2, part) for part in parts]
    high = max(upper_limit(part, alpha) for alpha, part in width)
    low = min(lower_limit(part, alpha) for alpha, part in width)
    assert f"do not lie more than {high - low:.4f}" in guard.words


def test_on_the_edge_of_its_margin_a_guardrail_errs_within_its_levels():
    """Worse by just the margin: neither "kept" nor "broken" is true by more than their levels."""
    runs, margin = 400, 0.05
    found = [
        not_worse(
            "flagged", margin, *flags(margin, 1000, 0.1, seed), 0.5, LEVELS, more_is_worse=True
        )
        for seed in range(runs)
    ]
    assert sum(one.passed for one in found) / runs <= LEVELS.alpha + 0.02
    assert sum(one.broken for one in found) / runs <= LEVELS.rollback_alpha + 0.04


def test_groups_on_the_edge_err_within_their_levels():
    runs, found = 150, []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        groups = rng.integers(4, size=800)
        rewards = rng.binomial(10, np.array([0.35, 0.4, 0.4, 0.46])[groups]) / 10
        names = [f"town {group}" for group in groups]
        found.append(equal_service("town", 0.1, 0.01, rewards, names, LEVELS))
    assert sum(one.passed for one in found) / runs <= LEVELS.alpha + 0.03
    assert sum(one.broken for one in found) / runs <= LEVELS.rollback_alpha + 0.06
