"""Is what a trial left in the log fit to judge by? The checks of `heedful.evaluate.health`, fed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import numpy as np

from heedful.evaluate import HealthCheck, duplicates, join_rate
from heedful.evaluate.arms import drift, feature_skew, missing_feedback, ranked
from heedful.evaluate.health import dropped, late_feedback, several_versions
from heedful.loop.cohort import Cohort
from heedful.record import Kind
from heedful.store.snapshot import Snapshot

FEATURES = 32
"""At most this many features of the context are compared, the most frequent ones."""

REFERENCE = 2000
"""Decisions that say what features were at training, evenly spread over it."""

_CLICK = list(Kind).index(Kind.CLICK)


def fitness(
    cohort: Cohort, *, watermark: int, trained_until: int, unjoined: int, versions: set[str]
) -> tuple[HealthCheck, ...]:
    """Return the checks of a trial's data.

    Args:
        cohort: its subjects.
        watermark: of the trial; decisions after it are its own.
        trained_until: the watermark of the candidate's training data; 0 where there are none.
        unjoined: feedback of the trial's time that has not found its decision.
        versions: the policy versions of the workspace. What others made was not decided here, such
            as an imported history, and says nothing about the servers.
    """
    snapshot = cohort.snapshot
    fresh = np.flatnonzero(snapshot.decisions.seq > watermark)
    fresh = fresh[_made_by(snapshot, fresh, versions)]
    joined = int(np.isin(snapshot.feedback.decision, fresh).sum())
    about = int(np.isin(snapshot.feedback.decision, cohort.counted).sum())
    known = np.flatnonzero(snapshot.decisions.seq <= trained_until)
    known = known[_made_by(snapshot, known, versions)]
    features, reference = context_features(snapshot, cohort.opening, known)
    return (
        join_rate(joined / (joined + unjoined) if joined + unjoined else 1.0),
        duplicates(cohort.subjects),
        dropped(*made_and_kept(snapshot, fresh)),
        late_feedback(cohort.late, cohort.late + about),
        several_versions(len(cohort.found.strange), len(fresh)),
        missing_feedback(
            silent_shares(cohort), cohort.arm, cohort.share, explicit=says_no(snapshot, fresh)
        ),
        feature_skew(features, cohort.arm, cohort.share),
        drift(features, reference),
    )


def made_and_kept(snapshot: Snapshot, rows: np.ndarray) -> tuple[int, int]:
    """Return how many decisions were made in the episodes of ``rows``, and how many are there.

    Steps count from 0 in each episode, so a gap between those that are there is a decision that is
    not. What is missing at an episode's end leaves no gap and is not seen.
    """
    if len(rows) == 0:
        return 0, 0
    decisions = snapshot.decisions
    episodes, place = np.unique(decisions.episode[rows], return_inverse=True)
    step = decisions.step[rows].astype(np.int64)
    first = np.full(len(episodes), np.iinfo(np.int64).max)
    last = np.full(len(episodes), -1)
    np.minimum.at(first, place, step)
    np.maximum.at(last, place, step)
    kept = np.unique(np.stack((place, step)), axis=1).shape[1]
    return int((last - first + 1).sum()), kept


def silent_shares(cohort: Cohort) -> np.ndarray:
    """Return each subject's share of decisions that nobody said anything about, [M]."""
    heard = np.ones(cohort.snapshot.decisions.n)
    feedback = cohort.snapshot.feedback
    heard[feedback.decision[feedback.decision >= 0]] = 0.0
    return cohort.means(heard)


def says_no(snapshot: Snapshot, rows: np.ndarray) -> bool:
    """Whether people also say no to the decisions at ``rows``: a click with the value 0."""
    feedback = snapshot.feedback
    noes = (feedback.kind == _CLICK) & (feedback.value == 0)
    return bool(np.isin(feedback.decision[noes], rows).any())


def context_features(
    snapshot: Snapshot, rows: np.ndarray, known: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return features of the contexts at ``rows`` [M] and their means at training.

    A number becomes its rank among the numbers at training, 1/2 where there is none; whatever a key
    holds, whether it is there is a feature, too. Without training data there is nothing to rank
    numbers by, and only what is there counts.

    Args:
        snapshot: what happened.
        rows: first decisions of subjects, in the order of maturity.
        known: decisions that the candidate was trained on, and that were made here.
    """
    opens = snapshot.decisions.step == 0
    if opens[rows].all() and opens[known].any():  # what is known later in an episode is another
        known = known[opens[known]]
    spread = np.linspace(0, len(known) - 1, min(REFERENCE, len(known))).astype(np.int64)
    before, now = _contexts(snapshot, known[spread]), _contexts(snapshot, rows)
    counts = Counter(key for context in (*before, *now) for key in context)
    features: dict[str, np.ndarray] = {}
    means: dict[str, float] = {}
    for key in sorted(key for key, _ in counts.most_common(FEATURES)):
        reference = _numbers(key, before)
        reference = reference[~np.isnan(reference)]
        if len(reference):
            numbers = _numbers(key, now)
            ranks = np.where(np.isnan(numbers), 0.5, ranked(np.nan_to_num(numbers), reference))
            features[key], means[key] = ranks, 0.5
        there = f"{key} is there"
        features[there] = np.array([float(key in context) for context in now])
        means[there] = (
            float(np.mean([key in context for context in before]))
            if before
            else float(np.mean(features[there]))
        )
    return features, means


def _contexts(snapshot: Snapshot, rows: Iterable[int]) -> list[dict[str, object]]:
    texts = (snapshot.decisions.contexts[int(row)] for row in rows)
    return [json.loads(text) if text else {} for text in texts]


def _numbers(key: str, contexts: list[dict[str, object]]) -> np.ndarray:
    """Return the number under ``key`` in each context, NaN where there is none."""
    found = (context.get(key) for context in contexts)
    return np.array([float(v) if isinstance(v, int | float) else np.nan for v in found])


def _made_by(snapshot: Snapshot, rows: np.ndarray, versions: set[str]) -> np.ndarray:
    known = np.array([name in versions for name in snapshot.names.policies], dtype=bool)
    made: np.ndarray = known[snapshot.decisions.policy[rows]]
    return made
