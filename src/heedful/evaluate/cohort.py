"""From decisions to subjects: the unit that random assignment tosses its coin for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.evaluate.checked import FloatArray, refuse, unit_interval, vector


@dataclass(frozen=True)
class SubjectRewards:
    """One matured reward per subject, in the order of maturity.

    Attributes:
        subjects: [M], the codes as they were given.
        rewards: [M], mean scaled reward over the subject's window.
        decisions: [M], decisions in that window.
        matured_at: [M], when the subject could first be judged.
        waiting: subjects whose window has not closed yet.
    """

    subjects: NDArray[np.generic]
    rewards: FloatArray
    decisions: NDArray[np.int64]
    matured_at: FloatArray
    waiting: int


def per_subject(
    subjects: ArrayLike,
    rewards: ArrayLike,
    times: ArrayLike,
    *,
    window: float,
    maturity: float,
    now: float,
) -> SubjectRewards:
    """Reduce decisions to one mean reward per subject, for subjects whose window has matured.

    A subject's window opens with its first decision in the trial, at s, and holds the decisions
    made before s + window. It is judged from s + window + maturity on, when the feedback to its
    last decision has had its time. Later decisions of the subject never change it.

    Args:
        subjects: [N], any codes.
        rewards: [N], scaled reward of each decision; NaN while it has not matured.
        times: [N], when each decision was made, in the unit of the three below, for example
            seconds.
        window: length of the window, above 0.
        maturity: how long feedback to a decision may take, at least 0.
        now: the time up to which the log is known.

    Returns:
        Subjects by time of maturity, those of one time by the row of their first decision.

    Raises:
        ValueError: if a reward lies outside [0, 1], or is still NaN within a closed window.
    """
    when = vector("times", times)
    reward = np.asarray(rewards, dtype=np.float64)
    unit_interval("rewards", np.nan_to_num(reward), length=len(when))
    if np.shape(subjects) != when.shape:
        raise ValueError(f"subjects: shape {np.shape(subjects)}, but times have {when.shape}")
    if not (window > 0 and maturity >= 0):
        raise ValueError(f"window, maturity: {window}, {maturity}; expected > 0 and >= 0")
    codes, who = np.unique(np.asarray(subjects), return_inverse=True)
    opened = np.full(len(codes), np.inf)
    np.minimum.at(opened, who, when)
    first = np.full(len(codes), len(when))  # the row that opened the window
    opening = np.flatnonzero(when == opened[who])
    np.minimum.at(first, who[opening], opening)
    matured_at = opened + window + maturity
    closed = matured_at <= now
    counted = closed[who] & (when < opened[who] + window)
    refuse(
        "rewards",
        counted & np.isnan(reward),
        "is still unknown (NaN) although its subject's window has closed: after maturity, a reward "
        "that has not come is 0",
    )
    count = np.bincount(who[counted], minlength=len(codes))
    total = np.bincount(who[counted], weights=reward[counted], minlength=len(codes))
    order = np.lexsort((first, matured_at))
    order = order[closed[order]]
    return SubjectRewards(
        subjects=codes[order],
        rewards=np.clip(total[order] / count[order], 0.0, 1.0),
        decisions=count[order],
        matured_at=matured_at[order],
        waiting=int((~closed).sum()),
    )
