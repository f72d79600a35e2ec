"""Games between two players on a board, many at once, and how they ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heedful.domains.games.boards import Board, Opponent
from heedful.domains.games.boards import Games as Core


@dataclass(frozen=True)
class Record:
    """How the games of one player ended."""

    won: int
    drawn: int
    lost: int

    @property
    def games(self) -> int:
        """How many there were."""
        return self.won + self.drawn + self.lost

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the share won (Wilson 1927)."""
        n, z = self.games, 1.96
        p = self.won / n
        centre, wide = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - wide) / (1 + z * z / n), (centre + wide) / (1 + z * z / n)


def record_of(
    board: Board, player: Opponent, rival: Opponent, n: int, seat: int, *, seed: int
) -> Record:
    """Play ``n`` games to their ends; ``player`` sits at ``seat``."""
    games, rng = Core(board, n), np.random.default_rng([seed, seat])
    mover = 0
    while not games.over.all():
        going = ~games.over
        mine, theirs = games.sides(games.turn)
        who = player if mover == seat else rival
        moves = np.zeros(n, np.int64)
        moves[going] = who(board, mine[going], theirs[going], rng)
        games.play(moves, going)
        mover = 1 - mover
    ended = games.returns[:, seat]
    return Record(int((ended > 0).sum()), int((ended == 0).sum()), int((ended < 0).sum()))


def round_robin(
    board: Board, players: Sequence[Opponent], side: int, *, seed: int
) -> npt.NDArray[np.float64]:
    """Return what each player scored against each other in ``side`` games of each seat, [N, N]."""
    table = np.zeros((len(players), len(players)))
    for i in range(len(players)):
        for j in range(i):
            for seat in (0, 1):
                found = record_of(
                    board, players[i], players[j], side, seat, seed=seed + i * 1000 + j
                )
                scored = found.won + found.drawn / 2
                table[i, j] += scored
                table[j, i] += found.games - scored
    return table
