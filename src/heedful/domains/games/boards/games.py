"""n games at once, both players' moves given: the core under every view."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.domains.games.boards.rules import Bits, Board, Flags, Moves, board_of

__all__ = ["NOBODY", "Games"]

NOBODY = -1
"""The winner of a game that is drawn, or not over."""


class Games:
    """n games on one board. Player 0 begins, and a game that is over stays over until `restart`.

    Args:
        board: the board or its name.
        n: how many games.

    Attributes:
        stones: [n, 2] each player's stones, one bit each, as `Board.cells` says.
        turn: [n] whose move it is, 0 or 1; of an ended game, who would have been next.
        over: [n] whether the game has ended.
        winner: [n] 0, 1 or `NOBODY`.

    Raises:
        ValueError: `n` below 1, or no such board.

    >>> games = Games("tic-tac-toe", 2)
    >>> for moves in ([0, 0], [3, 1], [1, 4], [4, 2], [2, 8]):
    ...     ended = games.play(moves)
    >>> ended.tolist(), games.returns.tolist()
    ([True, True], [[1.0, -1.0], [1.0, -1.0]])
    >>> games.legal().any()
    np.False_
    """

    def __init__(self, board: Board | str, n: int) -> None:
        if n < 1:
            raise ValueError(f"n is {n}: give at least one game")
        self.board = board_of(board)
        self.n = n
        self.stones: Bits = np.zeros((n, 2), dtype=np.uint64)
        self.turn: Moves = np.zeros(n, dtype=np.int64)
        self.over: Flags = np.zeros(n, dtype=np.bool_)
        self.winner: Moves = np.full(n, NOBODY, dtype=np.int64)
        self._rows = np.arange(n)

    def restart(self, which: Flags | None = None) -> None:
        """Empty the boards of the games in the mask `which` [n], or all."""
        chosen: Any = slice(None) if which is None else which
        self.stones[chosen] = 0
        self.turn[chosen] = 0
        self.over[chosen] = False
        self.winner[chosen] = NOBODY

    @property
    def occupied(self) -> Bits:
        """[n] all stones on each board."""
        both: Bits = self.stones[:, 0] | self.stones[:, 1]
        return both

    @property
    def returns(self) -> NDArray[np.float64]:
        """[n, 2] what each player has of it (1 won, -1 lost, 0 drawn or not over)."""
        mine = np.where(self.winner == 0, 1.0, np.where(self.winner == 1, -1.0, 0.0))
        return np.stack((mine, 0.0 - mine), axis=1)  # 0 - 0 has no sign

    def legal(self) -> Flags:
        """[n, A] which moves are legal now; none in a game that is over."""
        allowed: Flags = self.board.legal(self.occupied) & ~self.over[:, None]
        return allowed

    def sides(self, players: Moves) -> tuple[Bits, Bits]:
        """[n] and [n]: the stones of `players` [n], and those of their opponents."""
        return self.stones[self._rows, players], self.stones[self._rows, 1 - players]

    def planes(self, players: Moves) -> NDArray[np.float32]:
        """[n, 2, rows, columns] of 0 and 1: the stones of `players` [n], then the opponents'."""
        return self.board.planes(np.stack(self.sides(players), axis=1)).astype(np.float32)

    def text(self, game: int) -> str:
        """The board of one game as text, the top row first: "x" for player 0, "o" for player 1."""
        first, second = self.board.planes(self.stones[game])
        signs = np.where(first, "x", np.where(second, "o", "."))
        return "\n".join(" ".join(row) for row in signs)

    def play(self, moves: ArrayLike, which: Flags | None = None) -> Flags:
        """Whose turn it is moves, in the games of the mask `which` [n], or in all.

        Args:
            moves: [n] integers; those outside `which` are not read.
            which: [n] the games that go on.

        Returns:
            [n] which games this move ended.

        Raises:
            ValueError: a move is illegal, or its game is over; no game has moved then.
        """
        chosen = np.ones(self.n, dtype=np.bool_) if which is None else which
        asked = self._checked(moves, chosen)
        stones = self.board.stone(self.occupied, asked)
        player = self.turn.copy()
        self.stones[self._rows, player] |= np.where(chosen, stones, np.uint64(0))
        won = chosen & self.board.won(self.stones[self._rows, player])
        ended: Flags = won | (chosen & self.board.full(self.occupied))
        self.winner[won] = player[won]
        self.over |= ended
        self.turn ^= chosen
        return ended

    def _checked(self, moves: ArrayLike, chosen: Flags) -> Moves:
        """The moves as integers [n], with a 0 wherever none was asked for."""
        asked = np.asarray(moves)
        if asked.shape != (self.n,) or not np.issubdtype(asked.dtype, np.integer):
            raise ValueError(f"moves are {asked.dtype} {asked.shape}: give integers ({self.n},)")
        asked = np.where(chosen, asked, 0).astype(np.int64)
        known = (asked >= 0) & (asked < self.board.moves)
        fits = known & self.legal()[self._rows, np.where(known, asked, 0)]
        if not fits[chosen].all():
            self._refuse(int(np.flatnonzero(chosen & ~fits)[0]), asked)
        return asked

    def _refuse(self, game: int, moves: Moves) -> None:
        if self.over[game]:
            raise ValueError(f"game {game} is over: restart it before its next move")
        legal = np.flatnonzero(self.legal()[game]).tolist()
        raise ValueError(
            f"move {moves[game]} is illegal in game {game} of {self.board.name}: "
            f"give one of {legal}"
        )
