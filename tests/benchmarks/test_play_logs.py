"""What the benchmark of players' logs is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import _overcooked, _pgn
from benchmarks._asked import spearman
from benchmarks._clones import snapshot_of
from benchmarks._mixed import shuffled, silent
from benchmarks._people import OVERCOOKED
from benchmarks._skills import OPTIONS, World, best_moves
from heedful.domains.games import Games

PGN = """[Event "A"]
[White "ann"]
[Black "bob"]
[Result "1-0"]

{A {comment} 1. e4 e5 (1... c5 2. Nf3 (2. c3) d6) 2. Nf3 $1 Nc6!? 3. Bb5+ ; Spanish
a6 1-0

[Event "B"]
[White "bob"]
[Black "cid"]
[Result "1/2-1/2"]

1/2-1/2
"""


def test_chess_is_read_without_what_was_said_of_it(tmp_path: Path) -> None:
    file = tmp_path / "games.pgn"
    file.write_bytes(PGN.replace("{A {comment}", "{A comment}").replace("\n", "\r\n").encode())
    rows = list(_pgn.rows(file))
    assert [row["move"] for row in rows] == ["e4", "e5", "Nf3", "Nc6", "Bb5", "a6"]
    assert [row["player"] for row in rows[:2]] == ["ann", "bob"]
    assert [row["outcome"] for row in rows[:2]] == [1.0, 0.0]


def test_counts_back_off() -> None:
    model = _pgn.Backoff(3, orders=(1,), plies=False)
    model.fit([[0, 1, 0, 1, 0, 2]], [[True] * 5 + [False]])
    # alike 1/3; of 5 moves 0 came 3 times and 1 twice; after 0 came 1, twice
    overall = (np.array([3, 2, 0]) + 2 / 3) / 7
    np.testing.assert_allclose(model.chances([0, 1], 0), overall)
    np.testing.assert_allclose(model.chances([0, 1], 1), (np.array([0, 2, 0]) + overall) / 3)
    np.testing.assert_allclose(model.chances([2, 1], 1), overall)  # 2 was never counted


def test_rank_correlation() -> None:
    assert spearman([0, 0.5, 1], [0.2, 0.1, 0.9]) == 0.5
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == -1.0


def test_players_make_the_moves_they_say() -> None:
    world = World(0, 40, 4)
    rows, chances = world.played()
    assert len({(row["player"], row["match"]) for row in rows}) == 3 * 40 * 4
    best = best_moves()
    good = np.array([int(row["move"]) == best[row["observation"]] for row in rows])
    likely = chances > 0.25
    assert (good == likely)[chances != 0.25].all()
    share = {}
    for skill in ("low", "middle", "high"):
        of = np.array([world.skills[row["player"]] == skill for row in rows])
        share[skill] = good[of].mean()
    assert 0.25 < share["low"] < 0.5 < share["middle"] < 0.75 < share["high"]
    again, _ = world.played()
    assert again == rows


def test_rewards_are_shuffled_among_matches_or_unknown() -> None:
    rows, _ = World(0, 10, 4).played()
    games = Games(OPTIONS)
    snapshot = snapshot_of(games, rows)
    streams = games.encode(snapshot, games.vocabulary(snapshot))
    other = shuffled(streams, np.random.default_rng(0))
    told = streams.events.channel > 0
    assert told.sum() == len(rows)
    assert sorted(other.events.value) == sorted(streams.events.value)
    assert (other.events.value != streams.events.value).any()
    assert (other.events.channel == streams.events.channel).all()
    assert not silent(streams).events.channel.any()


def state() -> dict[str, Any]:
    soup = {"name": "soup", "position": (2, 0), "state": ("onion", 3, 10)}
    return {
        "players": [
            {"position": (1, 1), "orientation": (0, -1), "held_object": {"name": "dish"}},
            {"position": (3, 1), "orientation": (-1, 0)},
        ],
        "objects": {(2, 0): soup},
    }


def test_what_a_cook_sees() -> None:
    grid = ("XXPXX", "O   S", "XXDXX")
    mine, theirs = (_overcooked.seen(state(), grid, "cramped_room", seat) for seat in (0, 1))
    assert len(mine) == len(theirs) == 62
    assert mine[:5] == [0, 0, 1, 0, 0]
    assert mine[7:9] == pytest.approx([0.2, 0.0])  # where the other is
    assert theirs[7:9] == pytest.approx([-0.2, 0.0])
    assert mine[51:54] == [1.0, 0.5, 0.0]  # the pot: three onions, half cooked, not done


def test_baselines_do_not_see_what_is_held_out() -> None:
    rows = [
        {"match": f"{pair}/cramped_room", "player": f"{pair}/0", "move": move}
        for pair, moves in enumerate(("aabb", "bbbb", "cccc"))
        for move in moves
    ]
    units = np.array(["abc".index(row["move"]) for row in rows])
    learned, test = np.arange(12) < 8, np.arange(8, 12)
    found = OVERCOOKED.baselines(rows, units, learned, 3, test)
    frequent, again, counted = found.values()
    assert frequent.argmax(axis=1).tolist() == [1] * 4  # "c" was never learned
    assert again.argmax(axis=1).tolist() == [1, 2, 2, 2]
    np.testing.assert_allclose(counted.sum(axis=1), 1.0)
