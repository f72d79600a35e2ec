"""Tic-tac-toe and Connect Four, many games at once, with masks of the legal moves.

`Games` is both players' core. `BoardEnv` and `BoardVectorEnv` are one player's view of it, against
a given opponent: `heedful/TicTacToe-v0` and `heedful/ConnectFour-v0`, once `register` was called.
`aec_env` is the same games for PettingZoo (`pip install 'heedful[games]'`).
"""

from heedful.domains.games.boards.aec import aec_env
from heedful.domains.games.boards.games import Games
from heedful.domains.games.boards.match import BoardMatch
from heedful.domains.games.boards.minimax import Solution, solve
from heedful.domains.games.boards.opponents import OPPONENTS, Opponent, minimax, one_ply, uniform
from heedful.domains.games.boards.players import Learned, Outcomes, worst_case
from heedful.domains.games.boards.rules import BOARDS, CONNECT_FOUR, TIC_TAC_TOE, Board
from heedful.domains.games.boards.single import (
    CONNECT_FOUR_ID,
    TIC_TAC_TOE_ID,
    BoardEnv,
    board_within,
    register,
)
from heedful.domains.games.boards.vector import BoardVectorEnv

__all__ = [
    "BOARDS",
    "CONNECT_FOUR",
    "CONNECT_FOUR_ID",
    "OPPONENTS",
    "TIC_TAC_TOE",
    "TIC_TAC_TOE_ID",
    "Board",
    "BoardEnv",
    "BoardMatch",
    "BoardVectorEnv",
    "Games",
    "Learned",
    "Opponent",
    "Outcomes",
    "Solution",
    "aec_env",
    "board_within",
    "minimax",
    "one_ply",
    "register",
    "solve",
    "uniform",
    "worst_case",
]
