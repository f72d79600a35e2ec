from itertools import islice

import numpy as np
import pytest

from benchmarks import boards
from heedful.domains.games.boards import Games
from heedful.domains.games.boards.opponents import draw


def lengths(board, n):
    """[n] the lengths of random games played by the core."""
    games, rng, found = Games(board, n), np.random.default_rng(1), np.zeros(n, dtype=int)
    while not games.over.all():
        going = ~games.over
        moves = np.zeros(n, dtype=np.int64)
        moves[going] = draw(games.legal()[going], rng)
        games.play(moves, going)
        found += going
    return found


@pytest.mark.parametrize("board", boards.BOARDS, ids=lambda board: board.name)
def test_the_plain_loop_plays_the_same_game(board):
    n = 4000
    loop, core = np.array(list(islice(boards.plain(board), n))), lengths(board, n)
    assert loop.min() >= 2 * board.in_a_row - 1
    assert loop.max() <= board.cells.size
    # Four standard errors of the difference of two means.
    error = np.sqrt((loop.var() + core.var()) / n)
    assert abs(loop.mean() - core.mean()) < 4 * error
    assert abs(loop.std() / core.std() - 1) < 0.1


def test_every_way_yields_the_moves_it_made():
    board = boards.TIC_TAC_TOE
    assert list(islice(boards.core(board, 7), 20)) == [7] * 20
    assert list(islice(boards.view(board, 7), 20)) == [7] * 20
