"""A policy without memory as an opponent on a board, and the worst that can happen to one."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from heedful.domains.games.boards.opponents import Opponent
from heedful.domains.games.boards.rules import Bits, Board, Moves
from heedful.policy import Choices, EventKind, Events, Policy, draw

__all__ = ["Learned", "Outcomes", "worst_case"]


class Learned:
    """A policy as an :class:`Opponent`: it reads its own stones, then the other's.

    Args:
        policy: in evaluation mode, over the moves of the board in their order, without memory.
        greedy: play the likeliest move; else draw one.
    """

    def __init__(self, policy: Policy, *, greedy: bool = True) -> None:
        self._policy, self._greedy = policy, greedy

    @torch.no_grad()
    def __call__(self, board: Board, mine: Bits, theirs: Bits, rng: Generator) -> Moves:
        """Choose legal moves [n]; see :class:`Opponent`."""
        planes = board.planes(np.stack((mine, theirs), axis=1)).astype(np.float32)
        legal = board.legal(mine | theirs)
        n = len(mine)
        _, logits = self._policy.step(
            self._policy.start(n), _events(planes.reshape(n, -1)), _choices(legal)
        )
        luck = None
        if not self._greedy:
            luck = torch.Generator().manual_seed(int(rng.integers(2**63)))
        moves: Moves = draw(logits, luck)[0].numpy()
        return moves


def _events(seen: NDArray[np.float32]) -> Events:
    one = torch.ones(len(seen), 1, dtype=torch.int64)
    return Events(
        one * int(EventKind.CONTEXT),
        -one,
        0 * one,
        torch.zeros(len(seen), 1),
        torch.from_numpy(seen)[:, None],
        torch.full((len(seen), 1), torch.nan, dtype=torch.float64),
        one[:, 0],
    )


def _choices(legal: NDArray[np.bool_]) -> Choices:
    row, move = np.nonzero(legal)
    lines = np.stack([row, move, np.zeros_like(row), np.ones_like(row)], axis=1)
    return Choices(
        legal.shape[1],
        (len(legal), 1),
        allowed=torch.from_numpy(lines),
        restricted=torch.ones(len(legal), 1, dtype=torch.bool),
    )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How all games of one player end, whatever the other does.

    Attributes:
        won, drawn, lost: lines of play with that end; each legal answer of the other is one.
        positions: different positions in which the player was asked.
    """

    won: int
    drawn: int
    lost: int
    positions: int


def worst_case(board: Board, player: Opponent, seat: int) -> Outcomes:
    """Play every line that the other side can choose against a player that does not draw.

    Positions that several lines lead to are asked about once, and counted as often.

    Args:
        board: small: the positions the player can get into are all held at once.
        player: the same move in the same position, always.
        seat: where it sits, 0 or 1.
    """
    rng = np.random.default_rng(0)
    mine, theirs = (np.zeros(1, dtype=np.uint64) for _ in range(2))
    ways = np.ones(1, dtype=np.int64)
    won = drawn = lost = positions = 0
    its_turn = seat == 0
    while len(mine):
        if its_turn:
            positions += len(mine)
            moves = player(board, mine, theirs, rng)
            mine = mine | board.stone(mine | theirs, moves)
            over = board.won(mine)
            won += int(ways[over].sum())
        else:
            row, move = np.nonzero(board.legal(mine | theirs))
            mine, theirs, ways = mine[row], theirs[row], ways[row]
            theirs = theirs | board.stone(mine | theirs, cast(Moves, move))
            over = board.won(theirs)
            lost += int(ways[over].sum())
        full = board.full(mine | theirs) & ~over
        drawn += int(ways[full].sum())
        goes_on = ~over & ~full
        mine, theirs, ways = _merged(mine[goes_on], theirs[goes_on], ways[goes_on])
        its_turn = not its_turn
    return Outcomes(won, drawn, lost, positions)


def _merged(mine: Bits, theirs: Bits, ways: Moves) -> tuple[Bits, Bits, Moves]:
    """Each position once, with the number of lines that lead to it."""
    both, place = np.unique(np.stack((mine, theirs), axis=1), axis=0, return_inverse=True)
    counts = np.zeros(len(both), dtype=np.int64)
    np.add.at(counts, place.ravel(), ways)
    return both[:, 0], both[:, 1], counts
