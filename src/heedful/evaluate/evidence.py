"""Where the gate's (D, lowest D) come from: random assignment, logged probabilities, paired games.

The first two need fresh rows: decisions made after the candidate's snapshot, or by subjects that it
was never trained on. The caller selects them, in order, up to the watermark of maturity; a row that
comes late is put in its place before it is judged, never into a past that was already judged.
Rewards are scaled to [0, 1].

A *predictable baseline* q takes what rewards have in common out of D, and so makes it less noisy.
Here q_t = (1/2 + sum_{i<t} r_i) / t: the running mean of past rewards, which starts at 1/2 and
counts that start as one row. It depends on past rows alone, hence the bet stays fair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.evaluate.checked import FloatArray, refuse, unit_interval
from heedful.evaluate.gate import ASSIGNMENT_FRACTIONS, OFF_POLICY_FRACTIONS
from heedful.evaluate.health import (
    HealthCheck,
    effective_rows,
    mean_weight_is_one,
    zero_weights,
)
from heedful.evaluate.weights import importance_weights

_REDRAW = (
    "Rows of one arm are missing, or the arms were not drawn with the stated probability; "
    "compare the assignment with the log, then start a new trial."
)
_SUPPORT = (
    "Either the log never shows part of what this policy would choose, or the logged probabilities "
    "are not those that acted. Judge by random assignment, or raise the exploration floor and "
    "collect fresh decisions."
)
_SAME = 1e-3  # weights closer than this are the same, sampled and replayed in float32


@dataclass(frozen=True)
class Evidence:
    """Differences between candidate and live policy, in order, with their bounds.

    Attributes:
        unit: what a row is: "subjects", "decisions" or "pairs".
        differences: D [N].
        lowest: lowest possible D [N], known before each D.
        fractions: the stakes to bet with.
        candidate: numbers whose mean estimates the candidate's value per row.
        live: the same for the live policy.
        subjects: how many subjects are behind the rows, where known.
        health: checks of the rows.
        against: the mirrored differences with their own bounds, which bet that the candidate is
            worse; ``None`` where they have no bound (weights without a declared ``w_max``).
    """

    unit: str
    differences: FloatArray
    lowest: FloatArray
    fractions: tuple[float, ...]
    candidate: FloatArray
    live: FloatArray
    subjects: int | None
    health: tuple[HealthCheck, ...]
    against: tuple[FloatArray, FloatArray] | None = None


def assignment(
    rewards: ArrayLike,
    arm: ArrayLike,
    share: ArrayLike,
    *,
    margin: float = 0.0,
    baseline: bool = True,
) -> Evidence:
    """Evidence from subjects assigned at random, one D each.

    Assignment is sticky, so the coin is tossed once per subject: with one D per *decision* nothing
    is left to chance once the arm is known, and the bet is not fair. `per_subject` makes the one.

    Args:
        rewards: [N], one scaled reward per subject, in the order of maturity.
        arm: bool [N], True where the subject was given the candidate.
        share: probability p of the candidate, within (0, 1): one for all, or [N] where it was
            raised by degrees, each subject's as it was when the subject was assigned.
        margin: by how much the candidate must be better, scaled reward; below 0 it may be worse.
        baseline: take the running mean of past rewards out of D.

    Raises:
        ValueError: if a reward is NaN or outside [0, 1], shapes differ, or share or margin is out
            of range.
    """
    r = unit_interval("rewards", rewards)
    given = np.asarray(arm)
    if given.shape != r.shape or given.dtype != np.bool_:
        raise ValueError(f"arm: expected bool {r.shape}, got {given.dtype} {given.shape}")
    p = np.asarray(share, dtype=np.float64)
    if p.shape not in ((), r.shape) or not ((p > 0) & (p < 1)).all():
        raise ValueError(f"share: expected probabilities between 0 and 1, got {share!r}")
    _check_margin(margin)
    differences, lowest = assignment_differences(r, given, p, margin, baseline=baseline)
    weights = np.where(given, 1 / p, 0.0)
    smaller = given if given.sum() <= len(given) / 2 else ~given
    return Evidence(
        unit="subjects",
        differences=differences,
        lowest=lowest,
        fractions=ASSIGNMENT_FRACTIONS,
        candidate=r[given],
        live=r[~given],
        subjects=len(r),
        health=(
            effective_rows(smaller.astype(np.float64), "subjects in the smaller arm"),
            mean_weight_is_one(weights, "share of the candidate", _REDRAW),
        ),
        # With the arms exchanged, the same difference says by how much the candidate is worse.
        against=assignment_differences(r, ~given, 1 - p, tolerated(margin), baseline=baseline),
    )


def paired(candidate: ArrayLike, live: ArrayLike, *, margin: float = 0.0) -> Evidence:
    """Evidence from games that both versions play from the same seeds, one D for each pair.

    With c_t and l_t what the two earned,

        D_t = c_t - l_t - m,  lowest D_t = -1 - m

    Whatever luck they share falls out of the difference. Nothing has to be shared for the bet to be
    fair: seeds have to be new, and drawn without looking at what either version does.

    Args:
        candidate: [N], what the candidate earned in each game, scaled to [0, 1], in order.
        live: [N], what the live version earned in the same games.
        margin: m, by how much the candidate must be better, scaled reward; below 0 it may be worse.

    Raises:
        ValueError: a number is NaN or outside [0, 1], the lengths differ, or the margin is out of
            range.
    """
    mine = unit_interval("candidate", candidate)
    theirs = unit_interval("live", live, length=len(mine))
    _check_margin(margin)
    gap, worse = mine - theirs, tolerated(margin)
    return Evidence(
        unit="pairs",
        differences=gap - margin,
        lowest=np.full(len(gap), -1.0 - margin),
        fractions=ASSIGNMENT_FRACTIONS,
        candidate=mine,
        live=theirs,
        subjects=None,
        health=(effective_rows(np.ones(len(gap)), "pairs of games"),),
        against=(-gap - worse, np.full(len(gap), -1.0 - worse)),
    )


def tolerated(margin: float) -> float:
    """How much worse than live a candidate may be: nothing, unless the margin is below 0.

    >>> tolerated(0.02), tolerated(-0.02)
    (0.0, 0.02)
    """
    return max(0.0, -margin)


def assignment_differences(
    rewards: FloatArray,
    arm: NDArray[np.bool_],
    share: float | FloatArray,
    margin: float = 0.0,
    *,
    baseline: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """D and lowest D under random assignment; many trials at once along leading axes.

    With p the share and q the baseline (0 without one),

        D_t = (1{candidate} / p - 1{live} / (1 - p)) (r_t - q_t) - m
        lowest D_t = -max((1 - q_t) / (1 - p), q_t / p) - m

    Args:
        rewards: [..., N], within [0, 1], in order along the last axis.
        arm: bool [..., N], True for the candidate.
        share: p; broadcasts against ``rewards``.
        margin: m.
        baseline: use the predictable running mean as q.
    """
    q = running_mean(rewards) if baseline else np.zeros_like(rewards)
    sign = np.where(arm, 1 / share, -1 / (1 - share))
    lowest = -np.maximum((1 - q) / (1 - share), q / share) - margin
    return sign * (rewards - q) - margin, lowest


def off_policy(
    candidate_logps: ArrayLike,
    live_logps: ArrayLike,
    behaviour_logps: ArrayLike,
    rewards: ArrayLike,
    *,
    w_max: float = math.inf,
    margin: float = 0.0,
    full_support: bool = False,
    mixed: bool = False,
    subjects: ArrayLike | None = None,
) -> Evidence:
    """Evidence from logged probabilities, one D per decision.

    For single choices and short slates; the weights of long ones explode. The null is that the
    candidate is no better given the past, at every step.

    Args:
        candidate_logps: [N], log-probability of the logged decision under the candidate.
        live_logps: [N], the same under the live policy.
        behaviour_logps: [N], as logged by whoever acted.
        rewards: [N], scaled to [0, 1], in the order of the decisions.
        w_max: largest weight that the exploration floor allows, declared from the floor, never
            taken from the data. Needed where ``full_support`` or ``mixed``.
        margin: by how much the candidate must be better, scaled reward.
        full_support: the log could have shown, by construction, whatever the candidate chooses.
            Takes the running mean of past rewards out of D. Where it is untrue, worse candidates
            are promoted.
        mixed: the log holds decisions of other policies than the live one.
        subjects: [N], who decided, to be counted.

    Raises:
        ValueError: if a behaviour log-probability is UNKNOWN, a reward is NaN or outside [0, 1], a
            weight exceeds ``w_max``, ``w_max`` is missing where it is needed, or the behaviour
            differs from the live policy although ``mixed`` was not said.
    """
    w_candidate = importance_weights(candidate_logps, behaviour_logps)
    w_live = importance_weights(live_logps, behaviour_logps)
    r = unit_interval("rewards", rewards, length=len(w_candidate))
    _check_margin(margin)
    if (full_support or mixed) and not 1 <= w_max < math.inf:
        raise ValueError(f"w_max: {w_max}; full_support and mixed need the bound of the weights")
    too_large = "exceeds w_max: the exploration floor is not the one that was declared"
    refuse("weight of the candidate", w_candidate > w_max * (1 + _SAME), too_large, w_candidate)
    refuse("weight of the live policy", w_live > w_max * (1 + _SAME), too_large, w_live)
    if not mixed:
        other = np.abs(w_live - 1) > _SAME
        refuse("live_logps", other, "was not decided by the live policy; pass mixed=True", w_live)
        w_live = np.ones_like(w_live)
    w_candidate, w_live = np.minimum(w_candidate, w_max), np.minimum(w_live, w_max)
    differences, lowest = off_policy_differences(
        w_candidate, w_live, r, w_max, margin, full_support=full_support, mixed=mixed
    )
    against = None
    if w_max < math.inf:
        against = off_policy_differences(
            w_candidate,
            w_live,
            r,
            w_max,
            tolerated(margin),
            full_support=full_support,
            mixed=mixed,
            worse=True,
        )
    return Evidence(
        unit="decisions",
        differences=differences,
        lowest=lowest,
        fractions=OFF_POLICY_FRACTIONS,
        candidate=w_candidate * r,
        live=w_live * r,
        subjects=None if subjects is None else len(np.unique(np.asarray(subjects))),
        health=_off_policy_health(w_candidate, w_live),
        against=against,
    )


def off_policy_differences(
    w_candidate: FloatArray,
    w_live: FloatArray,
    rewards: FloatArray,
    w_max: float,
    margin: float = 0.0,
    *,
    full_support: bool = False,
    mixed: bool = False,
    worse: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """D and lowest D from importance weights; many logs at once along leading axes.

    With q the baseline (0 unless ``full_support``) and w_live within [0, w_max], or 1 throughout
    where only the live policy acted,

        D_t = (w_candidate - w_live) (r_t - q_t) - m
        lowest D_t = -max(a (1 - q_t), b q_t) - m,  w_candidate - w_live within [-a, b]

    so that a = 1 and b = w_max - 1 if only the live policy acted, else a = b = w_max. The mirror
    exchanges the two weights, and with them a and b.

    Args:
        w_candidate: [..., N], in order along the last axis.
        w_live: [..., N].
        rewards: [..., N], within [0, 1].
        w_max: bound of the weights.
        margin: m.
        full_support: use the predictable running mean as q.
        mixed: other policies than the live one acted, too.
        worse: the mirror, which bets that the candidate is worse by more than m; its bound needs
            a finite ``w_max``.
    """
    down, up = (w_max, w_max) if mixed else (1.0, w_max - 1)
    gap = w_candidate - w_live
    if worse:
        down, up, gap = up, down, -gap
    if full_support:
        q = running_mean(rewards)
        lowest = -np.maximum(down * (1 - q), up * q) - margin
    else:
        q = np.zeros_like(rewards)
        lowest = np.full_like(rewards, -down - margin)
    return gap * (rewards - q) - margin, lowest


def running_mean(rewards: FloatArray) -> FloatArray:
    """Mean of the rewards before each row, with 1/2 as one row before the first; [..., N]."""
    before = np.cumsum(rewards, axis=-1) - rewards
    mean: FloatArray = (0.5 + before) / (1 + np.arange(rewards.shape[-1]))
    return np.clip(mean, 0.0, 1.0)  # cumsum - reward may round below 0


def _off_policy_health(w_candidate: FloatArray, w_live: FloatArray) -> tuple[HealthCheck, ...]:
    checks = (
        effective_rows(w_candidate),
        zero_weights(w_candidate),
        mean_weight_is_one(w_candidate, "mean weight of the candidate", _SUPPORT),
    )
    if bool((w_live == 1).all()):
        return checks
    return (*checks, mean_weight_is_one(w_live, "mean weight of the live policy", _SUPPORT))


def _check_margin(margin: float) -> None:
    if not -1 < margin < 1:
        raise ValueError(f"margin: expected scaled reward between -1 and 1, got {margin}")
