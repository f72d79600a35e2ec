"""The boards' rules and core: legal moves, rows, ends, recorded games, exact values."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.domains.games.boards import (
    BOARDS,
    CONNECT_FOUR,
    OPPONENTS,
    TIC_TAC_TOE,
    Board,
    Games,
    minimax,
    one_ply,
    solve,
    uniform,
)
from heedful.domains.games.boards.games import NOBODY
from heedful.domains.games.boards.opponents import draw

SMALL = Board("three-by-four", rows=3, columns=4, in_a_row=3, drops=True)
ODD = Board("five-in-a-row", rows=5, columns=9, in_a_row=5, drops=False)
ALL = pytest.mark.parametrize("board", [*BOARDS.values(), SMALL, ODD], ids=lambda b: b.name)


class Slow:
    """One game as a grid of characters: an independent statement of the rules."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.grid = [["."] * board.columns for _ in range(board.rows)]
        self.sign, self.winner = "x", ""

    def legal(self) -> list[int]:
        if self.winner:
            return []
        if self.board.drops:
            return [c for c in range(self.board.columns) if self.grid[0][c] == "."]
        flat = [cell for row in self.grid for cell in row]
        return [move for move, cell in enumerate(flat) if cell == "."]

    def play(self, move: int) -> None:
        row, column = divmod(move, self.board.columns)
        if self.board.drops:
            column = move
            row = max(r for r in range(self.board.rows) if self.grid[r][column] == ".")
        self.grid[row][column] = self.sign
        if self._longest(row, column) >= self.board.in_a_row:
            self.winner = self.sign
        self.sign = "o" if self.sign == "x" else "x"

    def _longest(self, row: int, column: int) -> int:
        """The longest line of one sign through a cell."""
        sign, longest = self.grid[row][column], 0
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            length = 1
            for way in (1, -1):
                r, c = row + way * down, column + way * right
                while 0 <= r < self.board.rows and 0 <= c < self.board.columns:
                    if self.grid[r][c] != sign:
                        break
                    length, r, c = length + 1, r + way * down, c + way * right
            longest = max(longest, length)
        return longest

    def text(self) -> str:
        return "\n".join(" ".join(row) for row in self.grid)


@ALL
@given(seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
def test_many_games_at_once_are_as_one_by_one_under_a_slow_rule(board, seeds):
    luck = [np.random.default_rng(seed) for seed in seeds]
    games, slow = Games(board, len(seeds)), [Slow(board) for _ in seeds]
    single = [Games(board, 1) for _ in seeds]
    while not games.over.all():
        legal = [game.legal() for game in slow]
        assert [np.flatnonzero(row).tolist() for row in games.legal()] == legal
        going = np.array([bool(moves) for moves in legal])
        assert (going == ~games.over).all()
        moves = [int(rng.choice(row)) if row else -1 for row, rng in zip(legal, luck, strict=True)]
        ended = games.play(moves, going)
        for row in np.flatnonzero(going):
            slow[row].play(moves[row])
            assert single[row].play([moves[row]])[0] == ended[row] == (not slow[row].legal())
    for row, game in enumerate(slow):
        assert games.text(row) == single[row].text(0) == game.text()
        assert games.winner[row] == {"x": 0, "o": 1, "": NOBODY}[game.winner]
        assert games.returns[row].tolist() == single[row].returns[0].tolist()
    assert (games.returns.sum(axis=1) == 0).all()
    assert not np.signbit(games.returns[games.winner == NOBODY]).any()


def lines(board: Board) -> list[list[tuple[int, int]]]:
    """All rows that win, as cells."""
    found = []
    for row in range(board.rows):
        for column in range(board.columns):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                cells = [(row + i * down, column + i * right) for i in range(board.in_a_row)]
                last = cells[-1]
                if 0 <= last[0] < board.rows and 0 <= last[1] < board.columns:
                    found.append(cells)
    return found


@pytest.mark.parametrize(("board", "count"), [(TIC_TAC_TOE, 8), (CONNECT_FOUR, 69), (ODD, 44)])
def test_a_row_is_found_in_every_direction_and_place_and_not_without_any_of_its_stones(
    board, count
):
    rows = lines(board)
    assert len(rows) == count
    stones = np.array([sum(int(board.cells[cell]) for cell in row) for row in rows], np.uint64)
    assert board.won(stones).all()
    for position in range(board.in_a_row):
        gone = np.array([board.cells[row[position]] for row in rows], np.uint64)
        assert not board.won(stones & ~gone).any()


@ALL
@given(data=st.data())
def test_stones_anywhere_win_exactly_where_they_hold_one_of_the_lines(board, data):
    grid = data.draw(st.lists(st.booleans(), min_size=board.cells.size, max_size=board.cells.size))
    stones = np.array([sum(int(b) for b, on in zip(board.cells.flat, grid, strict=True) if on)])
    held = np.array(grid).reshape(board.rows, board.columns)
    expected = any(all(held[cell] for cell in row) for row in lines(board))
    assert board.won(stones.astype(np.uint64)).tolist() == [expected]
    assert (board.planes(stones.astype(np.uint64))[0] == held).all()


def test_no_move_after_the_end_and_a_refused_step_moves_nothing():
    games = Games("tic-tac-toe", 2)
    for moves in ([0, 0], [3, 1], [1, 4], [4, 2]):
        games.play(moves)
    assert games.play([2, 3]).tolist() == [True, False]
    before = games.stones.copy()
    with pytest.raises(ValueError, match="game 0 is over: restart it"):
        games.play([8, 5])
    with pytest.raises(ValueError, match=r"move 4 is illegal in game 1 .* one of \[5, 6, 7, 8\]"):
        games.play([0, 4], np.array([False, True]))
    with pytest.raises(ValueError, match=r"move -1 is illegal in game 1"):
        games.play([0, -1], np.array([False, True]))
    with pytest.raises(ValueError, match=r"float64 \(2,\): give integers \(2,\)"):
        games.play([0.0, 1.0])
    assert (games.stones == before).all()
    games.restart(np.array([True, False]))
    assert games.over.tolist() == [False, False]
    assert games.play([8, 5]).tolist() == [False, False]
    assert games.play([0, 8]).tolist() == [False, True]
    assert games.winner.tolist() == [NOBODY, 0]


def test_a_full_column_takes_no_stone():
    games = Games("connect-four", 1)
    for _ in range(6):
        games.play([3])
    assert np.flatnonzero(games.legal()[0]).tolist() == [0, 1, 2, 4, 5, 6]
    with pytest.raises(ValueError, match="move 3 is illegal in game 0 of connect-four"):
        games.play([3])


def test_boards_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"9 x 9: give .* within 64"):
        Board("go", rows=9, columns=9, in_a_row=5, drops=False)
    with pytest.raises(ValueError, match="wants 4 in a row on 3 x 3"):
        Board("none", rows=3, columns=3, in_a_row=4, drops=False)
    with pytest.raises(ValueError, match=r"wants 1 in a row .* give 2\.\.3"):
        Board("none", rows=3, columns=3, in_a_row=1, drops=False)
    with pytest.raises(ValueError, match=r"no board is called 'chess'.*connect-four"):
        Games("chess", 1)
    with pytest.raises(ValueError, match="n is 0"):
        Games("tic-tac-toe", 0)


def playthrough(file: Path) -> tuple[list[int], dict[int, list[int]], dict[int, list[float]]]:
    """Moves, and by state the legal moves and returns that the record states."""
    moves, legal, returns, state = [], {}, {}, -1
    for line in file.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"# State (\d+)", line):
            state = int(found[1])
        elif found := re.fullmatch(r"action: (\d+)", line):
            moves.append(int(found[1]))
        elif found := re.fullmatch(r"LegalActions\(\) = \[(.*)\]", line):
            legal[state] = [int(move) for move in found[1].split(",")]
        elif found := re.fullmatch(r"Returns\(\) = \[(.*)\]", line):
            returns[state] = [float(value) for value in found[1].split(",")]
    return moves, legal, returns


@pytest.mark.data
@pytest.mark.parametrize(("board", "length"), [(TIC_TAC_TOE, 7), (CONNECT_FOUR, 17)])
def test_openspiel_s_playthrough_has_these_legal_moves_and_returns(board, length, data):
    file = data / "openspiel-playthroughs" / f"{board.name.replace('-', '_')}.txt"
    moves, legal, returns = playthrough(file)
    assert len(moves) == length
    assert len(legal) >= 6
    assert returns[length] == [1, -1]
    games = Games(board, 1)
    for state in range(length + 1):
        if state in legal:
            assert np.flatnonzero(games.legal()[0]).tolist() == legal[state]
        if state in returns:
            assert games.returns[0].tolist() == returns[state]
        assert bool(games.over[0]) == (state == length)
        if state < length:
            games.play([moves[state]])
    final = re.findall(r"# State \d+\n((?:# [.xo]+\n)+)", file.read_text(encoding="utf-8"))[-1]
    assert games.text(0).replace(" ", "") == final.replace("# ", "").strip()


@cache
def negamax(board: Board, moves: tuple[int, ...]) -> int:
    """The value for whoever is to move after these moves, by plain search with the slow rule."""
    game = Slow(board)
    for move in moves:
        game.play(move)
    if game.winner:
        return -1
    return max((-negamax(board, (*moves, move)) for move in game.legal()), default=0)


@given(seed=st.integers(0, 2**32), left=st.integers(0, 5))
@pytest.mark.parametrize("board", [TIC_TAC_TOE, SMALL], ids=lambda board: board.name)
def test_values_are_those_of_a_plain_search(board, seed, left):
    rng, games, moves = np.random.default_rng(seed), Games(board, 1), []
    while not games.over[0] and len(moves) < board.rows * board.columns - left:
        moves.append(int(draw(games.legal(), rng)[0]))
        games.play(moves[-1:])
    mine, theirs = games.sides(games.turn)
    assert solve(board).values(mine, theirs)[0] == negamax(board, tuple(moves))
    best = np.flatnonzero(solve(board).best(mine, theirs)[0])
    if not games.over[0]:
        values = {int(m): -negamax(board, (*moves, int(m))) for m in np.flatnonzero(games.legal())}
        assert best.tolist() == [m for m, v in values.items() if v == max(values.values())]


def match(board, first, second, n, seed):
    """[n] what the first player gets."""
    games, rng = Games(board, n), np.random.default_rng(seed)
    while not games.over.all():
        going = ~games.over
        player = int(games.turn[going][0])
        mine, theirs = games.sides(np.full(n, player))
        moves = np.zeros(n, dtype=np.int64)
        moves[going] = (first, second)[player](games.board, mine[going], theirs[going], rng)
        games.play(moves, going)
    return games.returns[:, 0]


def test_tic_tac_toe_is_a_draw_and_minimax_never_loses_it_from_either_seat():
    nothing = np.zeros(1, dtype=np.uint64)
    assert solve(TIC_TAC_TOE).values(nothing, nothing).tolist() == [0]
    assert (solve(TIC_TAC_TOE).action_values(nothing, nothing) == 0).all()
    assert (match("tic-tac-toe", minimax, minimax, 200, 0) == 0).all()
    for other in (uniform, one_ply):
        assert match("tic-tac-toe", minimax, other, 200, 1).min() >= 0
        assert match("tic-tac-toe", other, minimax, 200, 2).max() <= 0
    # It is no draw by everybody's weakness: against random moves it mostly wins.
    assert match("tic-tac-toe", minimax, uniform, 200, 3).mean() > 0.8


def test_values_on_a_board_too_large_are_refused():
    with pytest.raises(ValueError, match="connect-four has 42 cells"):
        solve(CONNECT_FOUR)


def test_one_ply_wins_before_it_blocks_and_blocks_before_anything_else():
    rng = np.random.default_rng(0)
    games = Games("connect-four", 1)
    for move in (0, 6, 0, 6, 0, 6):
        games.play([move])
    mine, theirs = games.sides(games.turn)
    assert {int(one_ply(CONNECT_FOUR, mine, theirs, rng)[0]) for _ in range(20)} == {0}
    games.play([1])
    mine, theirs = games.sides(games.turn)
    assert {int(one_ply(CONNECT_FOUR, mine, theirs, rng)[0]) for _ in range(20)} == {6}
    games.restart()
    for move in (0, 6, 0, 6, 0):
        games.play([move])
    mine, theirs = games.sides(games.turn)
    assert {int(one_ply(CONNECT_FOUR, mine, theirs, rng)[0]) for _ in range(20)} == {0}
    assert match("connect-four", one_ply, uniform, 200, 1).mean() > 0.8


@given(mask=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6))
def test_a_draw_is_from_what_is_allowed(mask):
    allowed = np.array(mask)
    if not allowed.any(axis=1).all():
        with pytest.raises(ValueError, match="allows no move"):
            draw(allowed, np.random.default_rng(0))
        return
    assert allowed[np.arange(len(mask)), draw(allowed, np.random.default_rng(0))].all()


def test_a_draw_is_uniform():
    allowed = np.tile([True, False, True, True], (30_000, 1))
    counts = np.bincount(draw(allowed, np.random.default_rng(5)), minlength=4)
    assert counts[1] == 0
    # Three standard deviations of a count with p = 1/3.
    assert (abs(counts[[0, 2, 3]] - 10_000) < 3 * np.sqrt(30_000 * 2 / 9)).all()


def test_opponents_are_found_by_name():
    assert set(OPPONENTS) == {"uniform", "one-ply", "minimax"}
