"""The rules: which moves are legal, where a stone lands, who has a row.

A player's stones are the bits of one unsigned integer, column by column from the bottom up, with
one empty bit above each column so that no row runs round an edge (J. Tromp's layout for Connect
Four, https://tromp.github.io/c4/c4.html). Every function takes an array of them: n games at once.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOARDS", "CONNECT_FOUR", "TIC_TAC_TOE", "Bits", "Board", "Flags", "Moves", "board_of"]

Bits = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Moves = NDArray[np.int64]

_WORD = 64  # bits of a position's integer


@dataclass(frozen=True)
class Board:
    """A board on which two players set stones in turn until one has a row, or it is full.

    Attributes:
        name: what people call it.
        rows: height in cells.
        columns: width in cells.
        in_a_row: how many of a player's stones in line win: across, up or on either diagonal.
        drops: a move names a column, from the left, and the stone falls to its lowest empty cell;
            otherwise it names a cell, row by row from the top left.

    Raises:
        ValueError: it has no cell, does not fit into 64 bits, or nobody could win on it.

    >>> CONNECT_FOUR.moves, TIC_TAC_TOE.moves
    (7, 9)
    """

    name: str
    rows: int
    columns: int
    in_a_row: int
    drops: bool

    def __post_init__(self) -> None:
        """Refuse what is no board."""
        if min(self.rows, self.columns) < 1 or (self.rows + 1) * self.columns > _WORD:
            raise ValueError(
                f"Board {self.name!r} is {self.rows} x {self.columns}: give at least one row and "
                f"column, and (rows + 1) x columns within {_WORD}"
            )
        # One stone would end a game before whoever sits second has moved.
        if not 2 <= self.in_a_row <= max(self.rows, self.columns):
            raise ValueError(
                f"Board {self.name!r} wants {self.in_a_row} in a row on {self.rows} x "
                f"{self.columns} cells: give 2..{max(self.rows, self.columns)}"
            )

    @property
    def moves(self) -> int:
        """How many moves there are, legal or not: A."""
        return self.columns if self.drops else self.rows * self.columns

    @cached_property
    def cells(self) -> Bits:
        """[rows, columns] the bit of each cell, the top row first."""
        height = np.arange(self.rows - 1, -1, -1, dtype=np.uint64)[:, None]
        column = np.arange(self.columns, dtype=np.uint64)[None, :]
        bits: Bits = np.uint64(1) << (column * np.uint64(self.rows + 1) + height)
        return bits

    @cached_property
    def _gates(self) -> Bits:
        """[A] the cell that has to be empty for each move to be legal."""
        return self.cells[0] if self.drops else self.cells.ravel()

    @cached_property
    def _all(self) -> np.uint64:
        return np.uint64(self.cells.sum())

    @cached_property
    def _steps(self) -> tuple[int, ...]:
        """From a cell to its neighbour: up, across, and on the two diagonals."""
        return (1, self.rows + 1, self.rows, self.rows + 2)

    def legal(self, occupied: Bits) -> Flags:
        """[n, A] which moves have room, by the cells that hold a stone [n]."""
        room: Flags = (occupied[:, None] & self._gates) == 0
        return room

    def stone(self, occupied: Bits, moves: Moves) -> Bits:
        """[n] the bit on which the stone of each legal move [n] comes to lie."""
        if not self.drops:
            return self._gates[moves]
        # Below the lowest empty cell a column is full: adding its lowest bit carries to that cell.
        column = self.cells[:, moves]
        lowest, whole = column[-1], column.sum(axis=0)
        landed: Bits = (occupied & whole) + lowest
        return landed

    def won(self, stones: Bits) -> Flags:
        """[n] whether the stones of one player [n] hold a row."""
        found = np.zeros(stones.shape, dtype=np.bool_)
        for step in self._steps:
            row = stones
            for far in range(1, self.in_a_row):
                row = row & (stones >> np.uint64(far * step))
            found |= row != 0
        return found

    def full(self, occupied: Bits) -> Flags:
        """[n] whether no cell is empty."""
        filled: Flags = occupied == self._all
        return filled

    def planes(self, stones: Bits) -> Flags:
        """[..., rows, columns] whether a stone lies on each cell, for stones [...]."""
        set_: Flags = (stones[..., None, None] & self.cells) != 0
        return set_


TIC_TAC_TOE = Board("tic-tac-toe", rows=3, columns=3, in_a_row=3, drops=False)
CONNECT_FOUR = Board("connect-four", rows=6, columns=7, in_a_row=4, drops=True)
BOARDS = {board.name: board for board in (TIC_TAC_TOE, CONNECT_FOUR)}


def board_of(board: Board | str) -> Board:
    """The board of that name, or the board itself.

    Raises:
        ValueError: no board is called so.
    """
    if isinstance(board, Board):
        return board
    if board not in BOARDS:
        raise ValueError(f"no board is called {board!r}: give a Board, or one of {sorted(BOARDS)}")
    return BOARDS[board]
