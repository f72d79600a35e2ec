"""Moves per CPU-second on the boards: many games at once against a plain loop over games.

Everybody plays legal moves uniformly at random, and a game that ended starts anew. The plain loop
plays one game after another with the same layout of bits, in Python's own integers.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import Table
from heedful.domains.games.boards import CONNECT_FOUR, TIC_TAC_TOE, Board, BoardVectorEnv, Games
from heedful.domains.games.boards.opponents import draw

BOARDS = (TIC_TAC_TOE, CONNECT_FOUR)
SIZES = (1, 64, 1024, 16_384)
ROUNDS = 5
SECONDS = 1.0
"""CPU-seconds that each round takes at least."""


def run(quick: bool) -> list[Table]:
    """Measure the plain loop, the core by the number of games, and the view against an opponent."""
    rounds, seconds = (1, 0.05) if quick else (ROUNDS, SECONDS)

    def rate(played: Iterator[int]) -> float:
        return statistics.median(_rate(played, seconds) for _ in range(rounds))

    loops = {board: rate(plain(board)) for board in BOARDS}
    rows = [("plain loop over games", "1", *_cells(loops, loops))]
    ways: dict[str, Callable[[Board, int], Iterator[int]]] = {
        "`Games`": core,
        "`BoardVectorEnv`": view,
    }
    for name, way in ways.items():
        for size in SIZES:
            rates = {board: rate(way(board, size)) for board in BOARDS}
            rows.append((name, f"{size:,}", *_cells(rates, loops)))
    columns = ("what plays", "games at once")
    columns += tuple(cell for board in BOARDS for cell in (board.name, "against the loop"))
    note = (
        f"Moves per CPU-second on one thread, median of {rounds} rounds of "
        f"{seconds:g} CPU-seconds, choosing the moves included. `Games` gives the masks and takes "
        "both players' moves; `BoardVectorEnv` also makes the learner's observations and the "
        "uniform opponent's moves, and its steps count once, as the learner's moves."
    )
    return [Table("Moves per CPU-second", columns, tuple(rows), note)]


def plain(board: Board) -> Iterator[int]:
    """Play one game after another; yields the moves made in each."""
    luck = random.Random(0)
    cells = [int(bit) for bit in board.cells.ravel()]
    steps, full = (1, board.rows + 1, board.rows, board.rows + 2), sum(cells)
    columns = [cells[column :: board.columns] for column in range(board.columns)]
    drops = [(column[0], sum(column), column[-1]) for column in columns]
    while True:
        mine = theirs = moves = 0
        while True:
            occupied = mine | theirs
            if board.drops:
                _, column, lowest = luck.choice([drop for drop in drops if not occupied & drop[0]])
                stone = (occupied & column) + lowest
            else:
                stone = luck.choice([cell for cell in cells if not occupied & cell])
            mine, moves = mine | stone, moves + 1
            if _won(mine, steps, board.in_a_row) or mine | theirs == full:
                break
            mine, theirs = theirs, mine
        yield moves


def _won(stones: int, steps: tuple[int, ...], in_a_row: int) -> bool:
    for step in steps:
        row = stones
        for far in range(1, in_a_row):
            row &= stones >> far * step
        if row:
            return True
    return False


def core(board: Board, n: int) -> Iterator[int]:
    """Play n games at once; yields n at each move."""
    games, luck = Games(board, n), np.random.default_rng(0)
    while True:
        ended = games.play(draw(games.legal(), luck))
        games.restart(ended)
        yield n


def view(board: Board, n: int) -> Iterator[int]:
    """Play n games at once against the uniform opponent; yields n at each step."""
    env, luck = BoardVectorEnv(n, board), np.random.default_rng(0)
    _, infos = env.reset(seed=0)
    while True:
        infos = env.step(draw(infos["action_mask"] > 0, luck))[-1]
        yield n


def _rate(played: Iterator[int], seconds: float) -> float:
    """Moves per CPU-second over at least so many seconds."""
    next(played)  # what is built at the first step is not counted
    moves, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        moves += next(played)
    return moves / spent


def _cells(rates: dict[Board, float], loops: dict[Board, float]) -> tuple[str, ...]:
    return tuple(
        cell
        for board, rate in rates.items()
        for cell in (f"{rate:,.0f}", f"{rate / loops[board]:.2g}x")
    )
