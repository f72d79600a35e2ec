"""Is the data fit to judge by? Checks whose limits were fixed before any data came.

A failing check holds a promotion back and says what it means and what to do. None of them can
cause a promotion, so they need not share the gate's alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heedful.evaluate.checked import vector
from heedful.evaluate.sequences import asymptotic
from heedful.evaluate.weights import effective_sample_size

MIN_JOIN_RATE = 0.98
"""Feedback that finds its decision. What is lost reads as no reward, so an arm that loses 2 % of
its feedback looks 2 % worse than it is; a gain worth promoting is several per cent."""

MIN_EFFECTIVE_ROWS = 30.0
"""Effective rows (or subjects of the smaller arm). Below about thirty, the normal approximation
behind the intervals and the check of the mean weight cannot be trusted."""

MAX_ZERO_WEIGHTS = 0.99
"""Share of logged decisions that the candidate would never make. Beyond it, fewer than one decision
in a hundred says anything about what the candidate does choose."""

MAX_DROPPED = 0.01
"""Share of decisions that were made and are not in the log. They may be those of slow answers or
of full queues, which no arm has by chance alone."""

MAX_LATE = 0.05
"""Share of feedback that came after its subject was judged. It counts for nothing, so rewards are
too low by about this share, in both arms alike if the delay is alike."""

MAX_STRANGERS = 0.05
"""Share of a trial's decisions by another version than the subject's arm. Their subjects are left
out; more than one in twenty is no accident of a restart."""

MEAN_WEIGHT_ALPHA = 0.01
"""Error rate of the confidence sequence of the mean weight, however often one looks."""

_ROUNDING = 1e-3  # of weights whose log-probabilities were replayed in float32
_TIGHTEST_AT = 1000  # rows at which that confidence sequence is tightest


@dataclass(frozen=True)
class HealthCheck:
    """One check: what was measured, the limit it was held to, and a sentence about it.

    ``holds`` says whether a promotion waits until it passes; where it does not, the trial itself
    measures what the check warns of, and the sentence is for whoever looks after the data.
    """

    name: str
    passed: bool
    value: float
    limit: float
    sentence: str
    holds: bool = True


def join_rate(rate: float) -> HealthCheck:
    """Check the share of feedback that found its decision (within [0, 1], from the log)."""
    if not 0 <= rate <= 1:
        raise ValueError(f"rate: expected a share between 0 and 1, got {rate}")
    sentence = f"{rate:.1%} of the feedback found its decision ({MIN_JOIN_RATE:.0%} needed)."
    if rate < MIN_JOIN_RATE:
        sentence += (
            " The rest would count as no reward. Find where decisions are lost or ids changed "
            "between the decision and its feedback, then judge again."
        )
    return HealthCheck("join rate", rate >= MIN_JOIN_RATE, rate, MIN_JOIN_RATE, sentence)


def duplicates(ids: ArrayLike) -> HealthCheck:
    """Check that no row is judged twice; ``ids`` [N] are those of the decisions or subjects.

    A test that is sound on single rows errs several times as often on doubled ones.
    """
    given = np.asarray(ids)
    repeated = len(given) - len(np.unique(given))
    sentence = f"{repeated} of {len(given)} rows repeat the id of another."
    if repeated:
        sentence += " Counting a row twice fakes evidence. Keep one row per id, then judge again."
    return HealthCheck("duplicates", repeated == 0, float(repeated), 0.0, sentence)


def dropped(made: int, kept: int) -> HealthCheck:
    """Check the share of decisions that were made and are missing from the log (F8).

    Args:
        made: as the numbering of the steps of each episode tells.
        kept: how many of them the log holds, at most ``made``.
    """
    if not 0 <= kept <= made:
        raise ValueError(f"kept: {kept} of {made} decisions; expected at most as many, and >= 0")
    share = (made - kept) / made if made else 0.0
    sentence = f"{made - kept:,} of {made:,} decisions are missing from the log ({share:.1%})."
    if share > MAX_DROPPED:
        sentence += (
            " What is dropped is seldom dropped by chance. Find which requests were refused or "
            "lost (queues, time limits, a full disk), and begin a new trial."
        )
    return HealthCheck("drops", share <= MAX_DROPPED, share, MAX_DROPPED, sentence)


def late_feedback(late: int, feedback: int) -> HealthCheck:
    """Check the share of feedback that came after its window and its maturity (F7).

    Args:
        late: feedback rows that came after their subject could be judged.
        feedback: all feedback rows of these subjects, the late ones included.
    """
    share = late / feedback if feedback else 0.0
    sentence = f"{late:,} of {feedback:,} answers came too late to count ({share:.1%})."
    if share > MAX_LATE:
        sentence += (
            " They are read as no answer. Set gate.maturity longer, so that at most "
            f"{MAX_LATE:.0%} come after it, and begin a new trial."
        )
    return HealthCheck("late feedback", share <= MAX_LATE, share, MAX_LATE, sentence)


def several_versions(strangers: int, decisions: int) -> HealthCheck:
    """Check the share of a trial's decisions that another version made than the arm's (F13).

    Args:
        strangers: decisions by another version than their subject's arm.
        decisions: all decisions of the trial's time, these included.
    """
    share = strangers / decisions if decisions else 0.0
    sentence = (
        f"{strangers:,} of {decisions:,} decisions were made by another version than their "
        f"subject's; all of those subjects' are left out ({share:.1%})."
    )
    if share > MAX_STRANGERS:
        sentence += (
            " Those who remain may differ from them. See that every server follows the registry, "
            "restart those that do not, and begin a new trial."
        )
    return HealthCheck("one version", share <= MAX_STRANGERS, share, MAX_STRANGERS, sentence)


def effective_rows(weights: ArrayLike, what: str = "decisions") -> HealthCheck:
    """Check the effective sample size of importance weights [N]."""
    ess = effective_sample_size(weights)
    sentence = f"The data are worth {ess:.0f} {what} ({MIN_EFFECTIVE_ROWS:.0f} needed)."
    if ess < MIN_EFFECTIVE_ROWS:
        sentence += (
            " A handful of rows would decide. Collect more, or let the live policy explore more so "
            "that it shows what the candidate would choose."
        )
    passed = ess >= MIN_EFFECTIVE_ROWS
    return HealthCheck("effective sample size", passed, ess, MIN_EFFECTIVE_ROWS, sentence)


def zero_weights(weights: ArrayLike) -> HealthCheck:
    """Check the share of rows [N] whose choice the policy would never make."""
    w = vector("weights", weights)
    share = float((w == 0).mean()) if len(w) else 1.0
    sentence = f"{share:.1%} of the logged choices are ones that the candidate never makes."
    if share > MAX_ZERO_WEIGHTS:
        sentence += (
            " The log hardly shows what it would do. Give it a share of the subjects instead, or "
            "let the live policy explore more."
        )
    passed = share <= MAX_ZERO_WEIGHTS
    return HealthCheck("zero weights", passed, share, MAX_ZERO_WEIGHTS, sentence)


def mean_weight_is_one(weights: ArrayLike, name: str, advice: str) -> HealthCheck:
    """Check that a confidence sequence of the mean weight contains 1.

    The mean of pi/h over what h chose is 1 exactly where h supports pi and the logged
    probabilities are those that acted; the mean of 1{arm}/p is 1 where the arm was drawn with
    probability p. The confidence sequence is the asymptotic one with a Gaussian mixture,
    `heedful.evaluate.sequences.asymptotic`.

    Args:
        weights: [N].
        name: of the check.
        advice: what to do if it fails.
    """
    w = vector("weights", weights)
    n = len(w)
    if n == 0:
        return HealthCheck(name, False, 0.0, 1.0, "No rows yet, so there is no mean weight.")
    mean, width = float(w.mean()), float(w.std())
    width *= asymptotic(n, MEAN_WEIGHT_ALPHA, tightest_at=_TIGHTEST_AT)
    passed = abs(mean - 1) <= width + _ROUNDING
    sentence = (
        f"Weights average {mean:.3g} where 1 is expected "
        f"(between {max(0.0, mean - width):.3g} and {mean + width:.3g})."
    )
    return HealthCheck(name, passed, mean, 1.0, sentence if passed else f"{sentence} {advice}")
