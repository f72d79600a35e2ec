"""What a match shall come to, as numbers; and what it came to, read as if that had been asked for.

A policy that reads the outcome beside the history, p(move | history, outcome), is asked for the
outcome one wants (return-conditioned supervised learning: Chen et al., Decision Transformer, arXiv
2106.01345; Emmons et al., RvS, arXiv 2112.10751). Here the outcome is that of the whole match.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from heedful.contract import Streams
from heedful.record import Kind
from heedful.store.snapshot import Snapshot

NUMBERS = 2
"""Whether something is asked for, and what: from 0, the worst outcome, to 1."""

OUTCOME = "outcome"
"""The key of the context of an end that says what the match came to."""

REWARD = list(Kind).index(Kind.REWARD)


def wish(outcomes: npt.NDArray[np.float64], bounds: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return what is asked for as numbers, [n, 2]; an outcome that is NaN is not asked for.

    >>> wish(np.array([-1.0, 0.0, np.nan]), (-1.0, 1.0)).tolist()
    [[1.0, 0.0], [1.0, 0.5], [0.0, 0.0]]
    """
    low, high = bounds
    known = ~np.isnan(outcomes)
    scaled = np.clip((np.nan_to_num(outcomes) - low) / (high - low), 0.0, 1.0)
    return np.stack([known, np.where(known, scaled, 0.0)], axis=1).astype(np.float32)


def outcomes(snapshot: Snapshot) -> npt.NDArray[np.float64]:
    """Return what each episode came to, [episodes]; NaN while it goes on.

    That is the outcome in the context of its end where that is a number, else the sum of its
    rewards that stand. Whoever ends an episode over HTTP may write anything there, and a log is
    for ever.
    """
    decisions, feedback, ends = snapshot.decisions, snapshot.feedback, snapshot.ends
    told = (feedback.kind == REWARD) & ~feedback.retracted & (feedback.retracts < 0)
    told &= feedback.decision >= 0
    earned = np.bincount(
        decisions.episode[feedback.decision[told]],
        weights=feedback.value[told],
        minlength=len(snapshot.names.episodes),
    )
    found = np.full(len(earned), np.nan)
    found[ends.episode] = earned[ends.episode]
    for row in np.flatnonzero(np.diff(ends.contexts.offsets)).tolist():
        said = json.loads(ends.contexts[row]).get(OUTCOME)
        if isinstance(said, int | float) and not isinstance(said, bool):
            # No double holds all integers of JSON; beyond these an outcome is as good as its bound.
            found[ends.episode[row]] = max(-sys.float_info.max, min(said, sys.float_info.max))
    return found


def in_hindsight(
    streams: Streams,
    snapshot: Snapshot,
    columns: slice,
    bounds: tuple[float, float],
    share: float,
    rng: np.random.Generator,
) -> Streams:
    """Return streams as if the outcome had been asked for in a ``share`` of the episodes.

    Args:
        streams: of ``snapshot``.
        snapshot: what happened.
        columns: where the numbers of :func:`wish` stand among those of a context.
        bounds: the outcomes that are read as 0 and as 1.
        share: of the episodes that have ended; the others stay as they were recorded.
        rng: draws which.
    """
    came_to = outcomes(snapshot)
    came_to[rng.random(len(came_to)) >= share] = np.nan
    slots, events = streams.slots, streams.events
    first = slots.position == 0
    at = streams.offsets[slots.stream[first]] + slots.event[first] - 1  # what was seen just before
    own = slots.event[first] > slots.start[first]
    features = events.features.copy()
    at, decision = at[own], slots.decision[first][own]
    silent = features[at, columns.start] == 0
    told = wish(came_to[snapshot.decisions.episode[decision[silent]]], bounds)
    features[at[silent], columns] = told
    return replace(streams, events=replace(events, features=features))
