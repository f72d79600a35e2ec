"""Which clips to ask about: at random, or those about which the reward models disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heedful.domains.games.clips.features import Floats, StepFeatures
from heedful.domains.games.clips.trajectories import Plays, Trajectory
from heedful.record import Span
from heedful.reward.clips import ClipReward

Pair = tuple[Span, Span]

_DRAWS = 100


def spans(
    trajectories: Sequence[Trajectory],
    n: int,
    length: int,
    rng: np.random.Generator,
    *,
    standing: int = 0,
) -> list[Span]:
    """Return n clips of ``length`` steps, drawn uniformly from all that may be shown.

    Args:
        trajectories: to cut from.
        n: how many.
        length: T.
        rng: of the draws.
        standing: a clip begins at most so many steps after the game is over and stands still; with
            0 each begins in play, and may end when the game is over.

    Raises:
        ValueError: no episode is so long.
    """
    starts = np.array(
        [max(0, min(one.over + standing, len(one) - length + 1)) for one in trajectories]
    )
    if not starts.sum():
        raise ValueError(f"no episode has {length} steps: play longer ones, or cut shorter clips")
    ends = np.cumsum(starts)
    drawn = rng.integers(ends[-1], size=n)
    which = np.searchsorted(ends, drawn, side="right")
    first = drawn - (ends - starts)[which]
    return [
        Span(trajectories[row].episode, int(start), int(start) + length)
        for row, start in zip(which, first, strict=True)
    ]


def random_pairs(
    trajectories: Sequence[Trajectory],
    n: int,
    length: int,
    rng: np.random.Generator,
    *,
    standing: int = 0,
) -> list[Pair]:
    """Return n pairs of different clips; see :func:`spans`.

    Raises:
        ValueError: there are no two clips to compare.
    """
    found: list[Pair] = []
    for _ in range(_DRAWS):
        drawn = spans(trajectories, 2 * (n - len(found)), length, rng, standing=standing)
        found += [pair for pair in zip(drawn[::2], drawn[1::2], strict=True) if pair[0] != pair[1]]
        if len(found) == n:
            return found
    raise ValueError("there are no two clips to compare: play more")


def disputed_pairs(
    plays: Plays, candidates: Sequence[Pair], n: int, features: StepFeatures, reward: ClipReward
) -> list[Pair]:
    """Return the n of ``candidates`` on which the members disagree most, the worst first.

    Disagreement is the standard deviation over the members of p(left is better); Christiano et al.,
    arXiv 1706.03741, section 2.2.4. It asks about what is not known, and with few members about
    what is merely noisy as well, so random questions stay worth asking.
    """
    left = stacked(plays, [pair[0] for pair in candidates], features)
    right = stacked(plays, [pair[1] for pair in candidates], features)
    spread = reward.prefer(left, right).std(0)
    return [candidates[row] for row in np.argsort(-spread, kind="stable")[:n].tolist()]


def stacked(plays: Plays, clips: Sequence[Span], features: StepFeatures) -> Floats:
    """Return the features of clips of one length, [n, T, F]."""
    seen = [plays.clip(span) for span in clips]
    length = len(seen[0][1])
    rows = features(
        np.concatenate([observations for observations, _ in seen]),
        np.concatenate([moves for _, moves in seen]),
    )
    return rows.reshape(len(seen), length, features.width)
