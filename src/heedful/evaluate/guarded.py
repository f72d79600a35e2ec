"""What a candidate must not cost: guardrails against the live policy, and declared limits.

Each is judged by evidence of its own, which holds however often one looks, in two directions:

* *kept*: evidence that the margin is not exceeded. Promotion needs all of them, and the null "some
  guardrail is missed" is rejected only if each one's null is (an intersection-union test, Berger
  1982). So none needs a share of the others' alpha: each gets the whole alpha_k of the judgement.
* *broken*: evidence that the margin is exceeded. Any one ends the trial, so false alarms add up; a
  candidate on the margin's edge is refused wrongly with at most ``rollback_alpha`` per guardrail,
  and one that is as good as live far more rarely, because the margin stands between.

Both are about the edge of the margin, from its two sides: what misses a limit by less than the
margin may be promoted, and the two cannot both be true. One number per subject throughout, as for
the reward: a measure's mean over the subject's matured window, so that everybody counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.evaluate.adaptive import Betting, log_evidence_by
from heedful.evaluate.checked import FloatArray, unit_interval
from heedful.evaluate.evidence import assignment_differences
from heedful.evaluate.gate import alpha_of, wealth

GUARD_FRACTIONS: tuple[float, ...] = tuple(np.geomspace(0.002, 0.95, 12).tolist())
"""Stakes of the mixture. Higher ones than for rewards: harm is rare, hence of small variance, and
with the allowed maximum itself no fewer than ln(1/alpha) |lowest D| / margin subjects show it."""

MIN_GROUP = 30
"""Subjects of the candidate's arm that a group needs to be compared with others."""

_STEPS = 20  # bisections of [0, 1]: a limit is known to one in a million


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guardrail or a constraint, and what became of it.

    Attributes:
        name: as it was declared, such as ``"not_more flagged = 0.01"``.
        passed: it was shown to be kept, up to its margin.
        broken: it was shown to be missed by more than its margin.
        value: what is compared with the limit: a difference of the arms' means, the candidate's
            mean, or the largest difference between groups; ``None`` while there is no data.
        limit: what was declared.
        words: a sentence about it.
    """

    name: str
    passed: bool
    broken: bool
    value: float | None
    limit: float
    words: str


@dataclass(frozen=True, slots=True)
class Levels:
    """What evidence has to reach, and how it is bet for.

    Attributes:
        alpha: probability of wrongly holding a guardrail for kept; alpha_k of the judgement.
        rollback_alpha: probability of wrongly holding it for broken.
        betting: the rule.
    """

    alpha: float
    rollback_alpha: float
    betting: Betting = "mixture"

    def strongest(self, differences: FloatArray, lowest: FloatArray | float) -> float:
        """Log of the largest evidence so far against "D is not above 0 on average"."""
        path = log_evidence_by(self.betting, differences, lowest, GUARD_FRACTIONS)
        return float(path.max(initial=0.0))

    def kept(self, log_evidence: float) -> bool:
        """Whether evidence for "kept" is enough."""
        return log_evidence >= math.log(1 / self.alpha)

    def broken(self, log_evidence: float) -> bool:
        """Whether evidence for "broken" is enough."""
        return log_evidence >= math.log(1 / self.rollback_alpha)


def not_worse(
    measure: str,
    margin: float,
    values: ArrayLike,
    arm: NDArray[np.bool_],
    share: float | FloatArray,
    levels: Levels,
    *,
    more_is_worse: bool,
) -> Guarded:
    """Judge that the candidate has no more (or no less) of ``measure`` than live.

    With g the measure turned so that more is better, and D_t as for rewards: non-inferiority bets
    on D_t + margin against "worse by the margin or more", harm on -D_t - margin against "worse by
    no more than that".

    Args:
        measure: its name.
        margin: by how much the candidate may be worse, within (0, 1).
        values: [N], one number within [0, 1] per subject, in the order of maturity.
        arm: bool [N], True where the subject was given the candidate.
        share: probability of the candidate, a number or [N].
        levels: what evidence has to reach.
        more_is_worse: ``not_more``; else ``not_less``.
    """
    value = unit_interval(measure, values, length=len(arm))
    good = 1 - value if more_is_worse else value
    kept = levels.strongest(*assignment_differences(good, arm, share, -margin))
    harm = levels.strongest(*assignment_differences(good, ~arm, 1 - share, margin))
    name = f"{'not_more' if more_is_worse else 'not_less'} {measure} = {margin:g}"
    gap = None
    means = "there is no data yet"
    if 0 < arm.sum() < len(arm):
        candidate, live = float(value[arm].mean()), float(value[~arm].mean())
        gap = candidate - live
        means = f"the candidate has {candidate:.4f}, the live policy {live:.4f}"
    side = "more" if more_is_worse else "less"
    allowed = f"no more than {margin:g} {side}"
    return _guarded(name, levels, kept, harm, gap, margin, f"{means}, {allowed} is allowed")


def kept_within(
    measure: str,
    limit: float,
    margin: float,
    values: ArrayLike,
    levels: Levels,
    *,
    at_most: bool,
) -> Guarded:
    """Judge that the candidate's mean of ``measure`` keeps to ``limit``, up to ``margin``.

    With c the limit plus the margin and v_t the measure of the t-th subject who got the candidate
    (1 - v_t and 1 - limit where it is a lower limit), D_t = c - v_t bets that the limit is kept and
    v_t - c that it is broken; they lie above c - 1 and -c.

    Args:
        measure: its name.
        limit: of the mean per decision, subjects counting alike.
        margin: what may be missed, above 0.
        values: [M], one number within [0, 1] for each subject of the candidate, in the order of
            maturity.
        levels: what evidence has to reach.
        at_most: an upper limit, else a lower one.
    """
    value = unit_interval(measure, values)
    bad, bound = (value, limit + margin) if at_most else (1 - value, 1 - limit + margin)
    name = f"{'at_most' if at_most else 'at_least'} {measure} = {limit:g}"
    mean = float(value.mean()) if len(value) else None
    if bound >= 1:
        sentence = f"with the margin of {margin:g} everything keeps to it"
        return Guarded(name, True, False, mean, limit, f"{name} is kept: {sentence}.")
    kept = levels.strongest(bound - bad, bound - 1)
    harm = levels.strongest(bad - bound, -bound)
    means = "there is no data yet" if mean is None else f"the candidate's mean is {mean:.4f}"
    tail = f"{means}, and it may miss the limit by {margin:g}"
    return _guarded(name, levels, kept, harm, mean, limit, tail)


def equal_service(
    fact: str,
    limit: float,
    margin: float,
    rewards: ArrayLike,
    groups: Sequence[str | None],
    levels: Levels,
) -> Guarded:
    """Judge that mean rewards of groups of the candidate's subjects lie within ``limit``.

    By confidence sequences of each group's mean: [L_g, U_g] are what `upper_limit` has excluded on
    either side. *Kept*: max_g U_g - min_g L_g <= limit + margin, each side at alpha / 2: were the
    limit missed by the pair (a, b), U_a or L_b would have to be wrong, so the number of pairs does
    not matter. *Broken*: some L_a - U_b > limit + margin. There any group may be wrong, so the
    j-th to appear gets half of 6 rollback_alpha / (pi j)^2 on each side. Groups of fewer than
    `MIN_GROUP` subjects are left out; how many there are does not depend on their rewards.

    Args:
        fact: what makes the groups.
        limit: the largest allowed difference.
        margin: what may be missed, above 0.
        rewards: [M], one scaled reward for each subject of the candidate, in the order of maturity.
        groups: M values of the fact as text, ``None`` where a subject has none.
        levels: what evidence has to reach.
    """
    value = unit_interval("rewards", rewards, length=len(groups))
    name, bound = f"equal {fact} = {limit:g}", limit + margin
    label = np.array(["" if g is None else f"={g}" for g in groups], dtype=object)
    known = [g for g in dict.fromkeys(label.tolist()) if g]
    parts = {g[1:]: value[label == g] for g in known}
    large = {g: part for g, part in parts.items() if len(part) >= MIN_GROUP}
    if len(large) < 2:
        words = (
            f"{name} is open: fewer than two groups have {MIN_GROUP} subjects of the candidate "
            f"({len(parts)} groups, {int((label == '').sum())} subjects without the fact)."
        )
        return Guarded(name, False, False, None, limit, words)
    high = max(upper_limit(part, levels.alpha / 2, levels.betting) for part in large.values())
    low = min(lower_limit(part, levels.alpha / 2, levels.betting) for part in large.values())
    apart = _shown_apart(list(parts.values()), levels)
    means = {g: float(part.mean()) for g, part in large.items()}
    best, worst = max(means, key=lambda g: means[g]), min(means, key=lambda g: means[g])
    gap = means[best] - means[worst]
    tail = (
        f"{best} earns {means[best]:.4f}, {worst} {means[worst]:.4f}; they may lie {bound:g} apart "
        f"with the margin, and do not lie more than {high - low:.4f} or less than {apart:.4f} apart"
    )
    left_out = len(parts) - len(large)
    if left_out:
        tail += f" ({left_out} groups with fewer than {MIN_GROUP} subjects are left out)"
    broken = apart > bound
    passed = high - low <= bound and not broken
    return Guarded(name, passed, broken, gap, limit, _sentence(name, passed, broken, tail))


def upper_limit(values: FloatArray, alpha: float, betting: Betting = "mixture") -> float:
    """Return the smallest number that the mean was shown to lie below; 1 if none was.

    A confidence sequence, wrong at any time with probability at most ``alpha``: m is excluded once
    the bet on D = m - x, which lies above m - 1, has reached 1 / alpha. The larger m is, the larger
    is D over its bound, and so the evidence: the limit is found by bisection.

    Args:
        values: [n], within [0, 1], in order.
        alpha: error rate.
        betting: the rule.
    """
    if len(values) == 0:
        return 1.0
    excluded, open_ = 1.0, 0.0
    for _ in range(_STEPS):
        m = (excluded + open_) / 2
        path = log_evidence_by(betting, m - values, m - 1, GUARD_FRACTIONS)
        if path.max() >= math.log(1 / alpha):
            excluded = m
        else:
            open_ = m
    return excluded


def lower_limit(values: FloatArray, alpha: float, betting: Betting = "mixture") -> float:
    """Return the largest number that the mean was shown to lie above; 0 if none was."""
    return 1 - upper_limit(1 - values, alpha, betting)


def _shown_apart(parts: Sequence[FloatArray], levels: Levels) -> float:
    """How far apart two groups lie at least, groups in the order of their appearance; or 0."""
    bounds = []
    for j, part in enumerate(parts, start=1):
        if len(part) >= MIN_GROUP:
            alpha = alpha_of(j, levels.rollback_alpha) / 2
            low = lower_limit(part, alpha, levels.betting)
            bounds.append((low, upper_limit(part, alpha, levels.betting)))
    return max(0.0, max(low for low, _ in bounds) - min(high for _, high in bounds))


def _guarded(
    name: str,
    levels: Levels,
    kept: float,
    harm: float,
    value: float | None,
    limit: float,
    tail: str,
) -> Guarded:
    broken = levels.broken(harm)
    passed = levels.kept(kept) and not broken
    risen = f"{wealth(kept)} of the {1 / levels.alpha:,.1f} that is needed"
    if broken:
        risen = f"evidence of harm {wealth(harm)}, {1 / levels.rollback_alpha:,.1f} suffices"
    words = _sentence(name, passed, broken, f"{tail} ({risen})")
    return Guarded(name, passed, broken, value, limit, words)


def _sentence(name: str, passed: bool, broken: bool, tail: str) -> str:
    state = "is broken" if broken else "is kept" if passed else "is not shown to be kept yet"
    return f"{name} {state}: {tail}."
