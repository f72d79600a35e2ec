"""What a trial's contexts are compared with."""

from dataclasses import replace

import numpy as np

from heedful.loop.fitness import context_features
from heedful.store import Snapshot
from tests.reward.logs import decision


def log(n: int) -> Snapshot:
    """Return ``n`` episodes of three decisions each, whose context counts them."""
    rows = [
        replace(
            decision(3 * person + step, f"s{person}", ["a"]),
            episode=f"e{person}",
            step=step,
            context={"turn": step},
        )
        for person in range(n)
        for step in range(3)
    ]
    return Snapshot.of(rows)


def test_what_opens_an_episode_is_compared_with_what_opened_one() -> None:
    snapshot = log(20)
    known, openings = np.arange(30), np.arange(30, 60, 3)
    features, means = context_features(snapshot, openings, known)
    assert means["turn"] == 0.5
    assert features["turn"].tolist() == [0.5] * len(openings)


def test_what_comes_later_in_an_episode_is_compared_with_everything() -> None:
    snapshot = log(20)
    features, _ = context_features(snapshot, np.arange(32, 60, 3), np.arange(30))
    assert np.all(features["turn"] > 0.7)  # the third of three
