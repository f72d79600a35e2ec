"""One game against a given opponent, as a Gymnasium environment; and both boards' names there."""

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from heedful.domains.games.boards.opponents import Opponent
from heedful.domains.games.boards.rules import CONNECT_FOUR, TIC_TAC_TOE, Board, board_of
from heedful.domains.games.boards.vector import BoardVectorEnv

__all__ = ["CONNECT_FOUR_ID", "TIC_TAC_TOE_ID", "BoardEnv", "board_within", "register"]

TIC_TAC_TOE_ID = "heedful/TicTacToe-v0"
CONNECT_FOUR_ID = "heedful/ConnectFour-v0"

_IDS = {TIC_TAC_TOE_ID: TIC_TAC_TOE, CONNECT_FOUR_ID: CONNECT_FOUR}


class BoardEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """The one row of a :class:`BoardVectorEnv` without autoreset; see there for what is observed.

    `info["action_mask"]`: int8 [A], what `action_space.sample` takes.

    Args:
        board: the board or its name.
        opponent: who answers, or its name.
        seat: 0 begins, 1 answers; None draws it anew for every episode.
        illegal: "lose" or "raise".
        max_moves: moves of the learner after which an episode is cut off; None for never.
        openings: moves by chance that a game begins with, at most.
        render_mode: "ansi" for text, or None.

    Raises:
        ValueError: an argument is out of its range.

    >>> env = BoardEnv("tic-tac-toe", render_mode="ansi")
    >>> observation, info = env.reset(seed=0)
    >>> print(env.render())
    . . .
    . . .
    . . .
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        board: Board | str = "tic-tac-toe",
        opponent: Opponent | str = "uniform",
        *,
        seat: int | None = 0,
        illegal: Literal["lose", "raise"] = "lose",
        max_moves: int | None = None,
        openings: int = 0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}: give 'ansi' or None")
        self.render_mode = render_mode
        self._row = BoardVectorEnv(
            1,
            board,
            opponent,
            seat=seat,
            illegal=illegal,
            max_moves=max_moves,
            openings=openings,
            autoreset_mode=AutoresetMode.DISABLED,
        )
        self.action_space = self._row.single_action_space
        self.observation_space = self._row.single_observation_space

    @property
    def seat(self) -> int:
        """Where the learner sits in this episode (0 began, 1 answered)."""
        return int(self._row.seats[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a game.

        Args:
            seed: of the opponent and of the seats drawn.
            options: none are known.

        Returns:
            The observation [2, rows, columns], and info with the mask.
        """
        super().reset(seed=seed)
        self._row.np_random = self.np_random  # one stream of luck, the one Gymnasium looks at
        observations, infos = self._row.reset()
        return observations[0], _of_one(infos)

    def step(
        self, action: np.int64 | int
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move, and let the opponent answer.

        Args:
            action: a move.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            gymnasium.error.ResetNeeded: before `reset`, or after the end.
            ValueError: an action outside the space, or an illegal one with `illegal="raise"`.
        """
        observations, rewards, terminated, truncated, infos = self._row.step(np.asarray([action]))
        done = bool(terminated[0]), bool(truncated[0])
        return observations[0], float(rewards[0]), *done, _of_one(infos)

    def render(self) -> str | None:
        """The board as text, the top row first, "x" for whoever began; None without a mode."""
        if self.render_mode is None:
            return None
        return self._row.games.text(0)

    def drawn(self, observation: NDArray[Any]) -> str:
        """The board as text of what the learner, who is to move, observes.

        Args:
            observation: 0 and 1, [2, rows, columns] or in a row.

        >>> env = BoardEnv("tic-tac-toe")
        >>> mine, theirs = [0, 1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0, 1]
        >>> print(env.drawn(np.array([mine, theirs])))
        . o .
        . x .
        . . x
        """
        mine, theirs = np.reshape(observation, self.observation_space.shape or ()) > 0
        first, second = (mine, theirs) if mine.sum() == theirs.sum() else (theirs, mine)
        signs = np.where(first, "x", np.where(second, "o", "."))
        return "\n".join(" ".join(row) for row in signs)


def _of_one(infos: dict[str, Any]) -> dict[str, Any]:
    """The infos of the one row, without the marks of which rows have any."""
    return {name: value[0] for name, value in infos.items() if not name.startswith("_")}


def register() -> None:
    """Make `gymnasium.make` and `make_vec` find both boards; repeating is harmless."""
    for name, board in _IDS.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point=f"{__name__}:BoardEnv",
                vector_entry_point=f"{BoardVectorEnv.__module__}:BoardVectorEnv",
                kwargs={"board": board.name},
            )


def board_within(name: str, options: Mapping[str, Any]) -> Board | None:
    """The board that the environment called `name` is played on, None where it has none.

    Args:
        name: its id, of ours or of anybody who registered a :class:`BoardEnv`.
        options: what it is made with.
    """
    spec = gymnasium.registry.get(name)
    if spec is None or spec.entry_point not in (f"{__name__}:BoardEnv", BoardEnv):
        return None
    return board_of({**spec.kwargs, **options}["board"])
