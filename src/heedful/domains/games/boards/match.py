"""One game on a board as people play it: keys for moves, and a picture of signs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from heedful.domains.games.boards.games import Games
from heedful.domains.games.boards.rules import Board
from heedful.record import Context

__all__ = ["BoardMatch"]

SIGNS = "xo"
"""Of who began, and of who answered."""


class BoardMatch:
    """A game of a person and a policy; see :class:`heedful.contract.playing.Match`.

    A key is the number of a column, or of a cell, from 1.

    Args:
        board: what is played on.
        context: makes a context of a row: what is observed, then a 1 for every legal move.

    >>> from heedful.domains.games.boards.rules import TIC_TAC_TOE
    >>> match = BoardMatch(TIC_TAC_TOE, lambda row: {"observation": row.tolist()})
    >>> match.play(match.legal()["5"])
    >>> print(match.show())
    1 2 3
    4 x 6
    7 8 9
    """

    def __init__(self, board: Board, context: Callable[[NDArray[np.float32]], Context]) -> None:
        self._board, self._context = board, context
        self._games = Games(board, 1)

    @property
    def turn(self) -> int:
        """Whose move it is: 0 began."""
        return int(self._games.turn[0])

    @property
    def over(self) -> bool:
        """Whether somebody has a row, or the board is full."""
        return bool(self._games.over[0])

    def legal(self) -> Mapping[str, str]:
        """Return the moves that have room, by key."""
        return {str(move + 1): str(move) for move in np.flatnonzero(self._games.legal()[0])}

    def play(self, unit: str) -> None:
        """Set a stone for whoever's turn it is.

        Raises:
            ValueError: there is no room, or the game is over.
        """
        if unit not in self.legal().values():
            raise ValueError(f"{unit!r} is no move here: give one of {[*self.legal().values()]}")
        self._games.play(np.array([int(unit)]))

    def context(self, seat: int) -> Context:
        """Return what is observed by who sits there: its own stones, then the other's."""
        seen = self._games.planes(np.array([seat]))[0].ravel()
        # Where the game is over nothing is chosen, and all moves stand as legal.
        legal = self._games.legal()[0] | self.over
        return self._context(np.concatenate([seen, legal.astype(np.float32)]))

    def reward(self, seat: int) -> float:
        """Return 1 if who sits there has won, -1 if the other has, else 0."""
        return float(self._games.returns[0, seat])

    def sign(self, seat: int) -> str:
        """Return whose stones are whose: "x" of who began."""
        return SIGNS[seat]

    def show(self) -> str:
        """Return the board, the top row first; free cells, or columns, bear their keys."""
        board = self._board
        stones = np.select(list(self._games.board.planes(self._games.stones[0])), list(SIGNS), "")
        if board.drops:
            keys = [str(column + 1) for column in range(board.columns)]
            rows = [[sign or "." for sign in row] for row in stones.tolist()]
            rows.append(keys)
        else:
            signs = stones.ravel().tolist()
            cells = [sign or str(cell + 1) for cell, sign in enumerate(signs)]
            rows = [cells[at : at + board.columns] for at in range(0, len(cells), board.columns)]
        width = len(str(board.moves))
        return "\n".join(" ".join(f"{cell:>{width}}" for cell in row) for row in rows)
