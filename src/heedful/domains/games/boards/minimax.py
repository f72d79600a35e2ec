"""Exact play on a small board, by backward induction over all its positions.

v(position) = -1 where the opponent has a row, 0 where the board is full, and otherwise the maximum
over legal moves of -v(the position the opponent then faces): von Neumann's minimax for a game of
perfect information. Positions that no game reaches have a number in the table too, without meaning.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from heedful.domains.games.boards.rules import Bits, Board, Flags, Moves

__all__ = ["Solution", "solve"]

_CELLS = 12  # 3^12 positions are half a million; memory and time triple with every cell
_ILLEGAL = -2  # below every value


class Solution:
    """The value of every position of one board; made by `solve`.

    Attributes:
        board: the board.
        table: [3^cells] int8, the value for whoever is to move, by `code`.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._cells = board.cells.ravel()
        self._powers = 3 ** np.arange(len(self._cells), dtype=np.int64)
        self.table = np.zeros(3 ** len(self._cells), dtype=np.int8)
        self._induce()

    def code(self, mine: Bits, theirs: Bits) -> Moves:
        """[n] the number of each position: a digit per cell, 1 for mine and 2 for theirs."""
        digits = ((mine[:, None] & self._cells) != 0) + 2 * ((theirs[:, None] & self._cells) != 0)
        numbers: Moves = digits @ self._powers
        return numbers

    def values(self, mine: Bits, theirs: Bits) -> NDArray[np.int8]:
        """[n] 1 won, 0 drawn, -1 lost for whoever is to move, if both play best from here."""
        return self.table[self.code(mine, theirs)]

    def action_values(self, mine: Bits, theirs: Bits) -> NDArray[np.int8]:
        """[n, A] the value of each move for whoever makes it; -2 where it is illegal."""
        occupied = mine | theirs
        legal = self.board.legal(occupied)
        found = np.full(legal.shape, _ILLEGAL, dtype=np.int8)
        for move in range(self.board.moves):
            fits = legal[:, move]
            stones = self.board.stone(occupied[fits], np.full(int(fits.sum()), move))
            found[fits, move] = -self.values(theirs[fits], mine[fits] | stones)
        return found

    def best(self, mine: Bits, theirs: Bits) -> Flags:
        """[n, A] the moves that keep the position's value."""
        values = self.action_values(mine, theirs)
        # Rows without a legal move are over: they have no best one.
        most = np.max(values, axis=1, keepdims=True)
        keeps: Flags = np.logical_and(values == most, values > _ILLEGAL)
        return keeps

    def _induce(self) -> None:
        """Fill the table, fullest boards first: a move leads to one with an empty cell fewer."""
        digits = np.arange(len(self.table))[:, None] // self._powers % 3
        mine = np.where(digits == 1, self._cells, np.uint64(0)).sum(axis=1, dtype=np.uint64)
        theirs = np.where(digits == 2, self._cells, np.uint64(0)).sum(axis=1, dtype=np.uint64)
        lost, empty = self.board.won(theirs), (digits == 0).sum(axis=1)
        self.table[lost] = -1
        goes_on = ~lost & ~self._floating(digits != 0)
        for left in range(1, len(self._cells) + 1):
            now = np.flatnonzero((empty == left) & goes_on)
            self.table[now] = self.action_values(mine[now], theirs[now]).max(axis=1)

    def _floating(self, filled: Flags) -> Flags:
        """[n] whether a stone that should have dropped hangs above an empty cell."""
        if not self.board.drops:
            return np.zeros(len(filled), dtype=np.bool_)
        rows = filled.reshape(-1, self.board.rows, self.board.columns)
        hangs = np.logical_and(rows[:, :-1], ~rows[:, 1:])
        return np.asarray(hangs.any(axis=(1, 2)))


@cache
def solve(board: Board) -> Solution:
    """All values of a board, computed once.

    Raises:
        ValueError: the board has more than 12 cells.
    """
    cells = board.rows * board.columns
    if cells > _CELLS:
        raise ValueError(
            f"{board.name} has {cells} cells, and minimax holds every position of at most "
            f"{_CELLS}: take another opponent"
        )
    return Solution(board)
