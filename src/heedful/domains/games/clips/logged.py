"""Trajectories as records of the log, so that people can be asked about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heedful.domains.games.clips.rendering import SEED
from heedful.domains.games.clips.trajectories import Trajectory
from heedful.record import ALL, UNKNOWN, Context, Decision, End, content_id


def records(
    trajectory: Trajectory,
    context: Callable[[Any], Context],
    units: Callable[[Any], tuple[str, ...]],
    *,
    subject: str,
    policy: str,
    vocabulary: str,
    at: float,
) -> list[Decision | End]:
    """Return an episode as decisions, a second apart, and its end.

    The seed stands in the context of the first one, so that the episode can be played again from
    what the log holds. Rewards are not among the records: who compares clips shall not see them.
    Probabilities are ``UNKNOWN``: this play is to be looked at, no evidence.

    Args:
        trajectory: the episode.
        context: what was observed, as a context.
        units: a move, as units.
        subject: whose episode it is, a pseudonym.
        policy: who played.
        vocabulary: the digest of the units.
        at: when it began, in seconds since the epoch.
    """
    made: list[Decision | End] = []
    for step, (observation, move) in enumerate(
        zip(trajectory.observations, trajectory.moves, strict=True)
    ):
        told = dict(context(observation))
        if step == 0:
            told[SEED] = trajectory.seed
        made.append(
            Decision(
                id=content_id("clip", trajectory.episode, step, at=at + step),
                episode=trajectory.episode,
                step=step,
                subject=subject,
                units=units(move),
                logps=UNKNOWN,
                policy=policy,
                made_at=at + step,
                context=told,
                choices=ALL,
                vocabulary=vocabulary,
            )
        )
    ended = at + len(trajectory)
    made.append(
        End(
            id=content_id("end", trajectory.episode, at=ended),
            episode=trajectory.episode,
            terminated=False,
            ended_at=ended,
            context={},
        )
    )
    return made
