"""Simulated trials, many side by side, through the same functions that judge a real one.

The benchmark of the gate and the tests of its error rates share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from heedful.evaluate import (
    ASSIGNMENT_FRACTIONS,
    OFF_POLICY_FRACTIONS,
    Betting,
    alpha_of,
    join_rate,
    log_evidence_by,
)
from heedful.evaluate.arms import missing_feedback
from heedful.evaluate.evidence import assignment_differences, off_policy_differences
from heedful.evaluate.guarded import GUARD_FRACTIONS

FloatArray = NDArray[np.float64]
Pairs = tuple[FloatArray, FloatArray]

ALPHA = 0.05
ROLLBACK_ALPHA = 0.2
CANDIDATE = 1  # the arm that the candidate of the bandit always plays
FAULTS = {  # what goes wrong, and what a gate without the defence does about it
    "late": (
        "half of live's clicks come hours later",
        "judged at once, and late is read as no",
    ),
    "unjoined": (
        "a fifth of live's answers do not find their decision",
        "the join rate is not looked at",
    ),
    "unsent": (
        "a fifth of live's answers, yes or no, never arrive",
        "missing answers are not compared",
    ),
    "duplicated": ("every subject is delivered three times", "every delivery counts"),
    "drift": (
        "click rates rise from .1 to .5 meanwhile",
        "the candidate is compared with live's rows from before it",
    ),
}
_AT_ONCE = 400_000  # rows simulated together: twelve stakes on each are 38 MB


def logged_bandit(
    runs: int, rows: int, exploration: float, values: Sequence[float], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Play arm 0, and with probability ``exploration`` any arm; the candidate plays arm 1 only.

    Returns:
        The candidate's importance weights and the rewards (0 or 1), both [runs, rows]; the largest
        possible weight is len(values) / exploration.
    """
    arms = len(values)
    explored = rng.random((runs, rows)) < exploration
    arm = np.where(explored, rng.integers(arms, size=(runs, rows)), 0)
    rewards = (rng.random((runs, rows)) < np.asarray(values)[arm]).astype(np.float64)
    return np.where(arm == CANDIDATE, arms / exploration, 0.0), rewards


def off_policy_pairs(weights: FloatArray, rewards: FloatArray, w_max: float) -> Pairs:
    """D and lowest D where only the live policy acted, without a baseline."""
    return off_policy_differences(weights, np.ones_like(weights), rewards, w_max)


def clicking_subjects(
    runs: int,
    subjects: int,
    decisions: int,
    base: float,
    gain: float,
    share: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Subjects whose click rates are Beta(5 base, 5 (1 - base)), plus the candidate's gain.

    Returns:
        Clicks [runs, subjects, decisions] and the arm, True for the candidate, [runs, subjects].
    """
    arm = rng.random((runs, subjects)) < share
    rate = np.minimum(rng.beta(5 * base, 5 * (1 - base), arm.shape) + gain * arm, 1.0)
    clicks = rng.random((runs, subjects, decisions)) < rate[..., None]
    return clicks.astype(np.float64), arm


def first_crossing(
    pairs: Pairs, fractions: Sequence[float], alpha: float = ALPHA, betting: Betting = "mixture"
) -> NDArray[np.int64]:
    """Look after every row: the first row (from 1) at which each run promotes, 0 for never."""
    over = log_evidence_by(betting, *pairs, fractions) >= math.log(1 / alpha)
    return np.where(over.any(axis=-1), over.argmax(axis=-1) + 1, 0)


def in_batches(
    runs: int, rows: int, simulate: Callable[[int], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Call ``simulate(how many runs)`` until all runs are done, in bounded memory."""
    at_once = max(1, _AT_ONCE // rows)
    sizes = (min(at_once, runs - done) for done in range(0, runs, at_once))
    return np.concatenate([simulate(size) for size in sizes])


def off_policy_trials(
    runs: int,
    rows: int,
    exploration: float,
    values: Sequence[float],
    seed: int,
    betting: Betting = "mixture",
) -> NDArray[np.int64]:
    """First crossings of ``runs`` off-policy trials."""
    rng = np.random.default_rng(seed)
    w_max = len(values) / exploration

    def simulate(size: int) -> NDArray[np.int64]:
        weights, rewards = logged_bandit(size, rows, exploration, values, rng)
        pairs = off_policy_pairs(weights, rewards, w_max)
        return first_crossing(pairs, OFF_POLICY_FRACTIONS, betting=betting)

    return in_batches(runs, rows, simulate)


def assignment_trials(
    runs: int,
    subjects: int,
    decisions: int,
    *,
    base: float,
    gain: float,
    seed: int,
    share: float = 0.5,
    baseline: bool = True,
    per_decision: bool = False,
    betting: Betting = "mixture",
) -> NDArray[np.int64]:
    """First crossings of ``runs`` trials by random assignment.

    ``per_decision`` makes the mistake that the gate avoids: one D per decision, visit by visit.
    """
    rng = np.random.default_rng(seed)

    def simulate(size: int) -> NDArray[np.int64]:
        clicks, arm = clicking_subjects(size, subjects, decisions, base, gain, share, rng)
        rewards = clicks.mean(axis=-1)
        if per_decision:
            rewards = np.swapaxes(clicks, 1, 2).reshape(size, -1)
            arm = np.tile(arm, decisions)
        pairs = assignment_differences(rewards, arm, share, baseline=baseline)
        return first_crossing(pairs, ASSIGNMENT_FRACTIONS, betting=betting)

    return in_batches(runs, subjects * decisions, simulate)


def worth_of_the_log(values: Sequence[float], exploration: float) -> float:
    """Mean reward of the policy that fills the log of `logged_bandit`."""
    return (1 - exploration) * values[0] + exploration * float(np.mean(values))


def canaries(
    runs: int,
    subjects: int,
    *,
    base: float,
    factor: float,
    share: float,
    seed: int,
    betting: Betting = "mixture",
    decisions: int = 10,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First crossings of both directions: where the candidate goes live, where it is rolled back.

    The candidate's click rate is ``factor`` times that of live; it is the workspace's first, so
    it goes live at alpha_1.
    """
    rng = np.random.default_rng(seed)
    found = []

    def simulate(size: int) -> NDArray[np.int64]:
        gain = base * (factor - 1)
        clicks, arm = clicking_subjects(size, subjects, decisions, base, gain, share, rng)
        better = assignment_differences(clicks.mean(-1), arm, share)
        worse = assignment_differences(clicks.mean(-1), ~arm, 1 - share)
        levels = ((better, alpha_of(1, ALPHA)), (worse, ROLLBACK_ALPHA))
        ups, downs = (
            first_crossing(pairs, ASSIGNMENT_FRACTIONS, alpha, betting) for pairs, alpha in levels
        )
        found.append(downs)
        return ups

    live = in_batches(runs, subjects * decisions, simulate)
    return live, np.concatenate(found)


def guardrail_trials(
    runs: int, subjects: int, *, base: float, harm: float, margin: float, seed: int, share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First crossings of a guardrail: where it is shown to be kept, where to be broken.

    One of ten decisions of a subject has it with probability ``base``, under the candidate with
    ``harm`` more.
    """
    rng = np.random.default_rng(seed)
    found = []

    def simulate(size: int) -> NDArray[np.int64]:
        arm = rng.random((size, subjects)) < share
        bad = rng.binomial(10, base + harm * arm) / 10
        kept = assignment_differences(1 - bad, arm, share, -margin)
        broken = assignment_differences(1 - bad, ~arm, 1 - share, margin)
        found.append(first_crossing(broken, GUARD_FRACTIONS, ROLLBACK_ALPHA))
        return first_crossing(kept, GUARD_FRACTIONS, alpha_of(1, ALPHA))

    kept = in_batches(runs, subjects, simulate)
    return kept, np.concatenate(found)


def loops(
    runs: int,
    *,
    rounds: int,
    rows: int,
    seed: int,
    fresh: bool = True,
    shared: bool = True,
    betting: Betting = "mixture",
    arms: int = 5,
    sorts: int = 50,
) -> NDArray[np.bool_]:
    """Whether a loop ever promotes, although all arms pay the same, over many rounds.

    The live policy plays arms at random. Every round the candidate plays, for each of 50 sorts of
    people, the arm that has paid best among them in the whole log so far, and is judged on the next
    ``rows`` decisions, which then join the log.

    Args:
        runs: loops.
        rounds: candidates of each loop.
        rows: fresh decisions a round.
        seed: of the randomness.
        fresh: judge on rows that the candidate was not learned from; else on the whole log, which
            it was.
        shared: the k-th candidate gets alpha_k; else each gets all of alpha.
        betting: the rule.
        arms: how many, paying .3 each.
        sorts: how many sorts of people.
    """
    rng = np.random.default_rng(seed)

    def simulate(size: int) -> NDArray[np.int64]:
        plays, earned = np.full((2, size, sorts, arms), 1e-9)
        promoted = np.zeros(size, dtype=np.int64)
        best = np.zeros((size, sorts), dtype=np.int64)
        run = np.arange(size)[:, None]
        seen: list[tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]] = []
        for k in range(rounds + 1):
            arm = rng.integers(arms, size=(size, rows))
            sort = rng.integers(sorts, size=(size, rows))
            rewards = (rng.random((size, rows)) < 0.3).astype(np.float64)
            if fresh and k > 0:
                promoted |= judged(arm == best[run, sort], rewards, k)
            cell = ((run * sorts + sort) * arms + arm).ravel()
            plays += np.bincount(cell, minlength=plays.size).reshape(plays.shape)
            earned += np.bincount(cell, rewards.ravel(), plays.size).reshape(plays.shape)
            best = (earned / plays).argmax(axis=-1)
            if not fresh and k < rounds:
                seen.append((sort, arm, rewards))
                sort, arm, rewards = (
                    np.concatenate(part, axis=-1) for part in zip(*seen, strict=True)
                )
                promoted |= judged(arm == best[run, sort], rewards, k + 1)
        return promoted

    def judged(chosen: NDArray[np.bool_], rewards: FloatArray, k: int) -> NDArray[np.int64]:
        alpha = alpha_of(k, ALPHA) if shared else ALPHA
        pairs = off_policy_pairs(np.where(chosen, float(arms), 0.0), rewards, arms)
        return (first_crossing(pairs, OFF_POLICY_FRACTIONS, alpha, betting) > 0).astype(np.int64)

    return in_batches(runs, rows if fresh else rows * rounds, simulate) > 0


def faults(
    runs: int,
    fault: str,
    *,
    defended: bool,
    seed: int,
    betting: Betting = "mixture",
    subjects: int = 2000,
) -> NDArray[np.int64]:
    """First crossings of trials between equal arms in which something goes wrong.

    Args:
        runs: trials.
        fault: a key of `FAULTS`.
        defended: as the gate does it, or as `FAULTS` says.
        seed: of the randomness.
        betting: the rule.
        subjects: of each trial, ten decisions each.
    """
    rng = np.random.default_rng(seed)

    def simulate(size: int) -> NDArray[np.int64]:
        arm = rng.random((size, subjects)) < 0.5
        base = np.full((size, subjects), 0.3)
        if fault == "drift":
            base += 0.2 * np.sin(np.linspace(-np.pi / 2, np.pi / 2, subjects))
            if not defended:
                arm = np.broadcast_to(np.arange(subjects) >= subjects // 2, arm.shape)
        clicks = rng.random((size, subjects, 10)) < rng.beta(5 * base, 5 * (1 - base))[..., None]
        chance = np.zeros(arm.shape)  # that an answer is not heard
        if fault == "late" and not defended:
            chance = np.where(arm, 0.0, 0.5)
        if fault in ("unjoined", "unsent"):
            chance = np.where(arm, 0.0, 0.2)
        unheard = rng.random(clicks.shape) < chance[..., None]
        rewards = (clicks & ~unheard).mean(axis=-1)
        if fault == "duplicated" and not defended:
            rewards, arm = np.repeat(rewards, 3, axis=-1), np.repeat(arm, 3, axis=-1)
        pairs = assignment_differences(rewards, arm, 0.5)
        crossed = first_crossing(pairs, ASSIGNMENT_FRACTIONS, betting=betting)
        if defended and fault in ("unjoined", "unsent"):
            crossed[[not fit(fault, *one) for one in zip(unheard, arm, strict=True)]] = 0
        return crossed

    def fit(fault: str, unheard: NDArray[np.bool_], arm: NDArray[np.bool_]) -> bool:
        if fault == "unjoined":
            return join_rate(1 - float(unheard.mean())).passed
        return missing_feedback(unheard.mean(axis=-1), arm, 0.5, explicit=True).passed

    return in_batches(runs, subjects * 10, simulate)
