"""Clips of logged episodes: played again, drawn, or in words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from heedful.contract.clips import Showing, Step, scenes
from heedful.domains.games import Games

LAKE, FOUR = "FrozenLake-v1", "heedful/ConnectFour-v0"


def played(game: str, moves: list[int], *, seed: int | None, **options: Any) -> list[Step]:
    """Return an episode as the log has it."""
    games = Games({"game": game, "options": options})
    environment, steps = games._one(None), []
    observed, _ = environment.reset(seed=seed)
    for move in moves:
        row = games.observations.row(observed)
        context = games.context(np.concatenate([row, np.ones(len(games.moves.units))]))
        told = {"seed": seed} if seed is not None and not steps else {}
        steps.append(Step({**context, **told}, (str(move),)))
        observed = environment.step(move)[0]
    return steps


def test_what_has_a_seed_is_played_again() -> None:
    steps = played(LAKE, [2, 2, 1], seed=3)
    found = scenes(Games({"game": LAKE}), steps, 1, text=True)
    assert len(found) == 3  # before each of two moves, and after
    plain = [re.sub(r"\x1b\[\d+m", "", str(one)) for one in found]
    assert all("SFFF\nFHFH\nFFFH\nHFFG" in one for one in plain)
    assert all(str(one).count("\x1b[41m") == 1 for one in found)  # where one stands


def test_what_goes_another_way_is_not_shown_as_if_it_did_not() -> None:
    steps = played(LAKE, [2, 2, 1], seed=3)
    other = next(seed for seed in range(9) if played(LAKE, [2, 2, 1], seed=seed)[1:] != steps[1:])
    wrong = [Step({**steps[0].context, "seed": other}, steps[0].units), *steps[1:]]
    found = scenes(Games({"game": LAKE}), wrong, 1, text=True)
    assert found == [
        f"observation {one.context['observation']}: {one.units[0]}" for one in steps[1:]
    ]


@pytest.mark.parametrize("seat", [0, 1])
def test_a_board_without_a_seed_is_drawn_from_what_was_observed(seat: int) -> None:
    games = Games({"game": FOUR, "options": {"seat": seat, "opponent": "one-ply"}})
    steps = played(FOUR, [3, 3], seed=None, seat=seat, opponent="one-ply")
    first, second = scenes(games, steps, 0, text=True)
    assert isinstance(first, str)
    assert isinstance(second, str)
    assert first.endswith("\nmove 3")
    before, after = (one.rpartition("\n")[0] for one in (first, second))
    assert (before.count("x"), before.count("o")) == (seat, 0)
    assert (after.count("x"), after.count("o")) == (1 + seat, 1)
    assert after.split("\n")[-1].split()[3] in "xo"  # the column that was chosen


def test_what_a_terminal_cannot_show_is_said_in_words_and_seen_as_frames() -> None:
    games, steps = Games({"game": "CartPole-v1"}), played("CartPole-v1", [0, 1, 1], seed=4)
    assert isinstance(games, Showing)
    words = scenes(games, steps, 1, text=True)
    assert [str(one)[:12] for one in words] == ["observation "] * 2
    assert [str(one)[-3:] for one in words] == [": 1", ": 1"]
    pytest.importorskip("pygame")
    frames = scenes(games, steps, 1, text=False)
    assert [np.asarray(one).dtype for one in frames] == [np.uint8] * 3
