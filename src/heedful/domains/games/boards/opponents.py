"""Whom to play against: a rule that answers n positions at once."""

from typing import Protocol

import numpy as np
from numpy.random import Generator

from heedful.domains.games.boards.minimax import solve
from heedful.domains.games.boards.rules import Bits, Board, Flags, Moves

__all__ = ["OPPONENTS", "Opponent", "draw", "one_ply", "opponent_of", "uniform"]


class Opponent(Protocol):
    """Answers positions, none of which is over."""

    def __call__(self, board: Board, mine: Bits, theirs: Bits, rng: Generator) -> Moves:
        """Choose legal moves [n] where its own stones are `mine` [n] and it is its turn.

        All that is random in it comes from `rng`, as many numbers for each position, whichever it
        is: an environment asks about all its games at once, with an empty board where it is not
        its turn, so that no game has another one's luck.
        """


def draw(allowed: Flags, rng: Generator) -> Moves:
    """[n] one of the moves that each row of `allowed` bool [n, A] allows, uniformly.

    Raises:
        ValueError: a row allows none.
    """
    # The k-th allowed move, k uniform, is where the running count first passes k. Bytes: a board
    # has fewer than 64 moves, and sums over the short axis cost most of a random game.
    running = np.cumsum(allowed, axis=1, dtype=np.int8)
    counts = running[:, -1]
    if not counts.all():
        row = int(np.argmin(counts))
        raise ValueError(f"position {row} allows no move: it is over, or its mask is empty")
    nth = (rng.random(len(counts)) * counts).astype(np.int8)
    chosen: Moves = np.argmax(running > nth[:, None], axis=1)
    return chosen


def uniform(board: Board, mine: Bits, theirs: Bits, rng: Generator) -> Moves:
    """Any legal move, each as likely as the next."""
    return draw(board.legal(mine | theirs), rng)


def one_ply(board: Board, mine: Bits, theirs: Bits, rng: Generator) -> Moves:
    """Win at once if a move does, else block a move that would lose at once, else any."""
    occupied = mine | theirs
    legal = board.legal(occupied)
    wins, blocks = np.zeros_like(legal), np.zeros_like(legal)
    for move in range(board.moves):
        # Where the move has no room its stone is nonsense, and masked.
        stone = board.stone(occupied, np.full(len(mine), move))
        wins[:, move] = legal[:, move] & board.won(mine | stone)
        blocks[:, move] = legal[:, move] & board.won(theirs | stone)
    allowed = np.where(blocks.any(axis=1, keepdims=True), blocks, legal)
    return draw(np.where(wins.any(axis=1, keepdims=True), wins, allowed), rng)


def minimax(board: Board, mine: Bits, theirs: Bits, rng: Generator) -> Moves:
    """Any of the moves that keep the position's exact value, so it never loses a drawn game.

    Raises:
        ValueError: the board is too large to solve.
    """
    return draw(solve(board).best(mine, theirs), rng)


OPPONENTS: dict[str, Opponent] = {"uniform": uniform, "one-ply": one_ply, "minimax": minimax}


def opponent_of(opponent: Opponent | str) -> Opponent:
    """The opponent of that name, or the opponent itself.

    Raises:
        ValueError: no opponent is called so.
    """
    if not isinstance(opponent, str):
        return opponent
    if opponent not in OPPONENTS:
        raise ValueError(
            f"no opponent is called {opponent!r}: give a function, or one of {sorted(OPPONENTS)}"
        )
    return OPPONENTS[opponent]
