"""Games between two players, as the benchmarks count them."""

import numpy as np
import pytest

from benchmarks._matches import Record, record_of, round_robin
from benchmarks.games_circle import Person
from heedful.domains.games.boards import TIC_TAC_TOE, minimax, one_ply, uniform


def test_who_is_perfect_never_loses_from_either_side():
    for seat in (0, 1):
        found = record_of(TIC_TAC_TOE, minimax, uniform, 200, seat, seed=0)
        assert found.games == 200
        assert found.lost == 0 < found.won
        mirrored = record_of(TIC_TAC_TOE, uniform, minimax, 200, 1 - seat, seed=0)
        assert mirrored.won == 0 < mirrored.lost


def test_the_interval_is_wilsons():
    # Newcombe, Statistics in Medicine 1998, table I: 81 of 263.
    low, high = Record(81, 0, 182).interval()
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert Record(0, 0, 20).interval()[0] == pytest.approx(0.0, abs=1e-12)


def test_a_round_robin_shares_out_every_game():
    table = round_robin(TIC_TAC_TOE, [uniform, one_ply, minimax], 20, seed=1)
    games = table + table.T
    assert (games[~np.eye(3, dtype=bool)] == 40).all()
    assert table[2, 0] > 30 > table[0, 2]


def test_a_person_reads_the_board_off_the_screen(monkeypatch):
    person = Person(np.random.default_rng(0))
    monkeypatch.setattr("benchmarks.games_circle.SKILL", 1.0)
    person.note("You are o and answer. Type your move and Enter; q quits.")
    person.show("x x 3\n4 o 6\n7 8 9")
    assert person.ask("your move") == "3"  # it blocks
    person.show("x x 3\no o 6\n7 8 9")
    assert person.ask("your move") == "6"  # it wins rather than blocks
