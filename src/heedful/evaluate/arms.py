"""Do the arms differ in what no policy can change? Two-sample checks valid under peeking.

Subjects are assigned at random, so whatever is fixed before the first decision, and how feedback
travels, is alike in both arms but for chance. A difference means that an arm is recorded otherwise
than its neighbour, and then its rewards may be, too. Each check is the gate's own bet on the
difference of two means (`assignment_differences`), in both directions at once, so that one may look
after every subject; all checks of one kind share `SKEW_ALPHA` evenly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from heedful.evaluate.checked import FloatArray
from heedful.evaluate.evidence import assignment_differences
from heedful.evaluate.gate import ASSIGNMENT_FRACTIONS, log_evidence
from heedful.evaluate.guarded import GUARD_FRACTIONS
from heedful.evaluate.health import HealthCheck

SKEW_ALPHA = 0.01
"""Error rate of all checks of features together, however often one looks."""

MAX_DRIFT = 0.2
"""How far a feature's mean rank may lie from that at training, of the way from lowest to highest.
A fifth is far more than a season; it is a feature that is computed otherwise or gone."""


def differ(values: FloatArray, arm: NDArray[np.bool_], share: float | FloatArray) -> float:
    """Log of the largest evidence that two arms' means differ, in either direction.

    Args:
        values: [N], within [0, 1], one per subject in the order of maturity.
        arm: bool [N], True for the candidate.
        share: probability of the candidate, a number or [N].
    """
    more = log_evidence(*assignment_differences(values, arm, share), ASSIGNMENT_FRACTIONS)
    less = log_evidence(*assignment_differences(values, ~arm, 1 - share), ASSIGNMENT_FRACTIONS)
    return float((np.logaddexp(more, less) - math.log(2)).max(initial=0.0))


def missing_feedback(
    silent: FloatArray, arm: NDArray[np.bool_], share: float | FloatArray, *, explicit: bool
) -> HealthCheck:
    """Check the share of decisions without any feedback, and whether the arms differ in it (F11).

    Where silence means no, as with clicks alone, a better candidate has less of it: a difference is
    what the trial is about, and only an arm in which nobody ever answers fails. Where people also
    say no (``explicit``), silence is feedback that is missing, and arms must not differ in it.

    Args:
        silent: [N], each subject's share of decisions without feedback.
        arm: bool [N], True for the candidate.
        share: probability of the candidate, a number or [N].
        explicit: the log holds explicit noes.
    """
    rates = [float(silent[side].mean()) if side.any() else 1.0 for side in (arm, ~arm)]
    overall = float(silent.mean()) if len(silent) else 1.0
    sentence = (
        f"{overall:.1%} of the decisions got no feedback ({rates[0]:.1%} of the candidate's, "
        f"{rates[1]:.1%} of the live policy's)."
    )
    uneven = explicit and differ(silent, arm, share) >= math.log(1 / SKEW_ALPHA)
    passed = max(rates) < 1 and not uneven
    if uneven:
        sentence += (
            " People also say no here, so silence is feedback that got lost, and more of it in one "
            "arm. Find where, in the page that shows it or on the way, and begin a new trial."
        )
    elif not passed:
        sentence += (
            " From one arm nothing was heard at all. Wait, or find out whether its feedback is "
            "sent."
        )
    return HealthCheck("missing feedback", passed, overall, 1.0, sentence)


def feature_skew(
    features: Mapping[str, FloatArray], arm: NDArray[np.bool_], share: float | FloatArray
) -> HealthCheck:
    """Check that what was known before the first decision is alike in both arms (F14).

    Args:
        features: by name, [N] within [0, 1]; see `ranked`.
        arm: bool [N], True for the candidate.
        share: probability of the candidate, a number or [N].
    """
    needed = math.log(max(len(features), 1) / SKEW_ALPHA)
    apart = [name for name, z in features.items() if differ(z, arm, share) >= needed]
    sentence = f"{len(apart)} of {len(features)} features of the context differ between the arms."
    if apart:
        sentence += (
            f" {_named(apart)}: known before the first decision, so chance alone may make a "
            "difference. See who fills the context of each arm, and begin a new trial."
        )
    return HealthCheck("features of the arms", not apart, float(len(apart)), 0.0, sentence)


def drift(features: Mapping[str, FloatArray], reference: Mapping[str, float]) -> HealthCheck:
    """Check that features are what they were when the candidate was trained (F14).

    Bets on "the mean lies more than `MAX_DRIFT` above (below) the one at training" for every
    feature. It holds no promotion back: both arms are compared on today's features.

    Args:
        features: by name, [N] within [0, 1], in the order of maturity; see `ranked`.
        reference: the mean of each at training.
    """
    needed = math.log(2 * max(len(features), 1) / SKEW_ALPHA)
    moved = []
    for name, z in features.items():
        sides = ((z, reference[name]), (1 - z, 1 - reference[name]))
        if any(_above(values, mean + MAX_DRIFT) >= needed for values, mean in sides):
            moved.append(name)
    sentence = f"{len(moved)} of {len(features)} features have moved since training."
    if moved:
        sentence += (
            f" {_named(moved)}: by more than {MAX_DRIFT:.0%} of the range. The candidate learned "
            "from others; see that they are computed as they were, or train anew."
        )
    name = "features since training"
    return HealthCheck(name, not moved, float(len(moved)), 0.0, sentence, holds=False)


def ranked(values: FloatArray, reference: FloatArray) -> FloatArray:
    """Share of ``reference`` [R] below each of ``values`` [N], ties counting half; within [0, 1].

    >>> ranked(np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    array([0.   , 0.375, 1.   ])
    """
    ordered = np.sort(reference)
    below = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    share: FloatArray = (below + upto) / (2 * len(ordered))
    return share


def _above(values: FloatArray, bound: float) -> float:
    """Log of the largest evidence that the mean lies above ``bound``."""
    if bound >= 1:
        return 0.0
    path = log_evidence(values - bound, -bound, GUARD_FRACTIONS)
    return float(path.max(initial=0.0))


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
