"""What a clone of players of three skills makes of history, of feedback, and of what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks._asked import Achieved, achieved
from benchmarks._clones import Held, snapshot_of, spread
from benchmarks._skills import OPTIONS, World, asking
from heedful.config import Pretrain
from heedful.contract import Streams
from heedful.domains.games import Games
from heedful.policy import EventKind, Policy, Vocabulary

WINDOW = 256
HELD_OUT = 0.2
TARGETS = (0.0, 0.25, 0.5, 0.75, 1.0)
HINDSIGHT = 0.5
NETWORK: Mapping[str, Any] = {"width": 64, "dropout": 0.1}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What one world showed; numbers are those of the moves of its test players, [n].

    Attributes:
        nll: -log p of each move, in nats, by what the policy knows.
        player, match: whose each move is, and in which of the player's matches from 0.
        achieved: what was asked for and achieved.
    """

    nll: dict[str, np.ndarray]
    player: np.ndarray
    match: np.ndarray
    achieved: Achieved


FULL, MATCH, MOVE, SHUFFLED, SILENT = (
    "all of the player's matches",
    "this match alone",
    "this move alone",
    "all, past rewards shuffled",
    "all, past rewards unknown",
)
TRUTH = "the player's own probabilities"


def measured(world: World, section: Pretrain, *, games: int, decisions: int) -> Found:
    """Simulate a world, train three clones that know more or less, and ask for outcomes."""
    rows, chances = world.played()
    knows = {FULL: rows, MATCH: [_stranger(row) for row in rows], MOVE: _alone(rows)}
    nll: dict[str, np.ndarray] = {}
    player = np.array([row["player"] for row in rows])
    place = spread(player, np.arange(len(world.skills)), world.seed)
    for name, known in knows.items():
        games_of = Games(OPTIONS)
        snapshot = snapshot_of(games_of, known)
        vocabulary = games_of.vocabulary(snapshot)
        held = Held.of(games_of, snapshot, vocabulary, place, share=HELD_OUT, window=WINDOW)
        streams_of = len(held.streams) / len(world.skills)  # as many moves a step for each
        policy = held.trained(
            "transformer",
            section.model_copy(update={"batch": round(section.batch * streams_of)}),
            seed=world.seed,
            reread=lambda streams, rng, g=games_of, s=snapshot: g.in_hindsight(
                streams, s, HINDSIGHT, rng
            ),
            **NETWORK,
        )
        test = held.streams.slots.decision[held.split.test]
        nll[name] = _in_order(held.nll(policy), test)
        if name == FULL:
            rng = np.random.default_rng(world.seed)
            for other, streams in (
                (SHUFFLED, shuffled(held.streams, rng)),
                (SILENT, silent(held.streams)),
            ):
                nll[other] = _in_order(held.nll(policy, streams), test)
            asked = _asked(policy, vocabulary, world, games, decisions)
    rows_of = np.sort(test)
    nll[TRUTH] = -np.log(chances[rows_of])
    match = np.array([int(row["match"].partition("/")[2]) for row in rows])[rows_of]
    return Found(nll, player[rows_of], match, asked)


def _asked(
    policy: Policy, vocabulary: Vocabulary, world: World, games: int, decisions: int
) -> Achieved:
    return achieved(
        policy,
        asking,
        vocabulary,
        TARGETS,
        games=games,
        decisions=decisions,
        window=WINDOW,
        seed=world.seed,
    )


def _in_order(values: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Return values in the order of the rows of the file."""
    return values[np.argsort(decisions, kind="stable")]


def _stranger(row: Row) -> Row:
    """Return a row whose player is never met again."""
    return {**row, "player": f"of {row['match']}"}


def _alone(rows: list[Row]) -> list[Row]:
    """Return rows each of which is a match and a player of its own, and earned nothing."""
    return [
        {**row, "match": n, "player": n, "reward": 0.0} | {"end": "cut off"}
        for n, row in enumerate(rows)
    ]


def shuffled(streams: Streams, rng: np.random.Generator) -> Streams:
    """Return streams in which the rewards that ended matches are those of others.

    They are what is not the reward of a move that ends nothing: which moves ended a match stays
    known, and how does not.
    """
    told = _rewarded(streams)
    at = np.flatnonzero(told & _last(streams))
    value = streams.events.value.copy()
    value[at] = value[rng.permutation(at)]
    return replace(streams, events=replace(streams.events, value=value))


def silent(streams: Streams) -> Streams:
    """Return streams in which nobody knows what any move earned."""
    channel = np.where(_rewarded(streams), 0, streams.events.channel).astype(np.int8)
    value = np.where(_rewarded(streams), 0.0, streams.events.value).astype(np.float32)
    return replace(streams, events=replace(streams.events, channel=channel, value=value))


def _rewarded(streams: Streams) -> np.ndarray:
    return (streams.events.kind == EventKind.UNIT) & (streams.events.channel > 0)


def _last(streams: Streams) -> np.ndarray:
    """Return which events are followed by the end of a match."""
    return np.append(streams.events.kind[1:] == EventKind.END, False)
