"""n games of one player against a given opponent, as a Gymnasium vector environment."""

from collections.abc import Callable
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from heedful.domains.games.boards.games import Games
from heedful.domains.games.boards.opponents import Opponent, draw, opponent_of
from heedful.domains.games.boards.rules import Board, Flags, Moves, board_of

__all__ = ["BoardVectorEnv"]

Floats = NDArray[np.float64]
Observations = NDArray[np.float32]
Infos = dict[str, Any]
Rival = Callable[[Observations, NDArray[np.int8], Moves], Moves]
"""Who answers by what it observes, [m, 2, rows, columns], by the masks of legal moves [m, A], and
by which games these are [m]: moves [m]."""

_SEATS = (0, 1, None)


class BoardVectorEnv(VectorEnv[Observations, Moves, NDArray[Any]]):
    """n games at once; a step is the learner's move and the opponent's answer to it.

    Where the learner sits second, the opponent has moved before the first observation.

    Actions: int [n], moves of :class:`Board`. Observations: float32 [n, 2, rows, columns] of 0 and
    1: the learner's stones, then the opponent's. Reward: 1 won, -1 lost, 0 otherwise, at the step
    that ends the game. `infos["action_mask"]`: int8 [n, A], 1 where a move is legal, as Gymnasium's
    `Discrete.sample` takes it; all 0 in a game that has
    terminated.

    What happens after an episode ended, by `autoreset_mode` (Gymnasium's three):

    - `SAME_STEP`: the step that ends one returns the first observation of the next; the last one
      is in `infos["final_obs"]`, its mask in `infos["final_info"]`.
    - `NEXT_STEP`: the step after it ignores its action, returns the next game's first observation
      and reward 0, and is no decision of anybody's. The mask before it allows every move, so
      that whoever draws from masks can go on drawing.
    - `DISABLED`: `reset(options={"reset_mask": ended})` starts anew; a step before it is an error.

    Args:
        num_envs: how many games.
        board: the board or its name.
        opponent: who answers, or one of the names "uniform", "one-ply" and "minimax" (which needs a
            board of at most 12 cells).
        seat: 0 begins, 1 answers; None draws it anew for every episode.
        illegal: "lose": an illegal move ends the episode as lost (for learners that know no mask),
            with `infos["illegal"]` telling it apart; "raise": it is an error.
        max_moves: moves of the learner after which an episode is cut off (truncated) if it has not
            ended (terminated); None for never.
        openings: a game begins with 0 to so many moves by chance, of either side in turn, before
            anybody is asked: so that learner and opponent meet positions that neither seeks.
        autoreset_mode: one of Gymnasium's three.

    Raises:
        ValueError: an argument is out of its range.

    >>> env = BoardVectorEnv(2, "tic-tac-toe", opponent="minimax")
    >>> observations, infos = env.reset(seed=1)
    >>> observations.shape, infos["action_mask"].shape
    ((2, 2, 3, 3), (2, 9))
    """

    def __init__(
        self,
        num_envs: int = 1,
        board: Board | str = "tic-tac-toe",
        opponent: Opponent | str = "uniform",
        *,
        seat: int | None = 0,
        illegal: Literal["lose", "raise"] = "lose",
        max_moves: int | None = None,
        openings: int = 0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}: give at least one game")
        if seat not in _SEATS:
            raise ValueError(f"seat is {seat}: give 0 (begins), 1 (answers) or None (drawn)")
        if illegal not in ("lose", "raise"):
            raise ValueError(f"illegal is {illegal!r}: give 'lose' or 'raise'")
        if max_moves is not None and max_moves < 1:
            raise ValueError(f"max_moves is {max_moves}: give at least 1, or None for no limit")
        self.num_envs = num_envs
        self.board = board_of(board)
        most = 2 * (self.board.in_a_row - 1)  # nobody can have a row by then
        if not 0 <= openings <= most:
            raise ValueError(f"openings is {openings}: give 0 to {most} moves on {self.board.name}")
        self._openings = openings
        self.opponent = opponent_of(opponent)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.single_action_space = spaces.Discrete(self.board.moves)
        shape = (2, self.board.rows, self.board.columns)
        self.single_observation_space = spaces.Box(0.0, 1.0, shape, np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._seat, self._illegal, self._max_moves = seat, illegal, max_moves
        self._games = Games(self.board, num_envs)
        self._seats = np.zeros(num_envs, dtype=np.int64)
        self._length = np.zeros(num_envs, dtype=np.int64)  # the learner's moves in this episode
        self._done = np.ones(num_envs, dtype=np.bool_)  # ended, or never begun
        self._lost = np.zeros(num_envs, dtype=np.bool_)  # ended by an illegal move
        self._begun = False
        self._rival: Rival | None = None
        self._contested = np.zeros(num_envs, dtype=np.bool_)

    def contest(self, rival: Rival, which: Flags) -> None:
        """Let ``rival`` answer in the opponent's place, and draw the seats of every episode.

        Args:
            rival: observes as the learner does, its own stones first.
            which: bool [n], in which games; in the others the opponent goes on.
        """
        self._rival, self._contested, self._seat = rival, which.copy(), None

    @property
    def games(self) -> Games:
        """The games as they stand; read them, and move through `step` only."""
        return self._games

    @property
    def seats(self) -> Moves:
        """[n] where the learner sits (0 began, 1 answered)."""
        return self._seats.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Start every game, or those of `options["reset_mask"]` [n].

        Args:
            seed: of the opponent and of the seats drawn.
            options: "reset_mask", a bool array; no other is known.

        Returns:
            Observations [n, 2, rows, columns], and infos with the masks.

        Raises:
            ValueError: the mask is not [n] of bool, or chooses none.
        """
        super().reset(seed=seed, options=options)
        which = (options or {}).get("reset_mask")
        if which is None:
            which = np.ones(self.num_envs, dtype=np.bool_)
        elif not self._is_mask(which):
            raise ValueError(f"reset_mask is {which!r}: give bool [{self.num_envs}], one True")
        self._start(which)
        self._begun = True
        return self._observe(), self._infos()

    def step(self, actions: Moves) -> tuple[Observations, Floats, Flags, Flags, Infos]:
        """Move in every game, and let the opponent answer.

        Args:
            actions: [n] moves; where `NEXT_STEP` restarts a game its action is not read.

        Returns:
            Observations, rewards [n], terminated [n] (won, lost, drawn, or an illegal move),
            truncated [n] (cut off at `max_moves`), and infos.

        Raises:
            gymnasium.error.ResetNeeded: before `reset`, or where a game has ended and nobody
                resets it.
            ValueError: an action outside the action space, or an illegal one with
                `illegal="raise"`; no game has moved then. Or the opponent's move is illegal.
        """
        live = self._live()
        offence = self._offence(actions, live)
        # First what may be refused: a step that is an error leaves every game as it was.
        self._games.play(actions, live & ~offence)
        self._answer(live & ~offence)
        self._start(~live)
        self._length += live
        terminated = live & (self._games.over | offence)
        truncated = live & ~terminated & self._overlong()
        rewards = self._rewards(offence)  # 0 in a game that this step began
        self._done, self._lost = terminated | truncated, offence
        observations, infos = self._settle(offence)
        return observations, rewards, terminated, truncated, infos

    def _is_mask(self, which: Any) -> bool:
        is_flags = isinstance(which, np.ndarray) and which.dtype == np.bool_
        return is_flags and which.shape == (self.num_envs,) and bool(which.any())

    def _live(self) -> Flags:
        """[n] the games that this step plays on; the others it restarts."""
        if not self._begun:
            raise gymnasium.error.ResetNeeded("no game has begun: call reset() before step()")
        if self._done.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            raise gymnasium.error.ResetNeeded(
                f"games {np.flatnonzero(self._done).tolist()} have ended: call "
                "reset(options={'reset_mask': ended}) before step()"
            )
        return ~self._done

    def _offence(self, actions: Moves, live: Flags) -> Flags:
        """[n] the live games whose action is illegal, if an illegal move loses."""
        if not self.action_space.contains(np.where(live, actions, 0)):
            raise ValueError(
                f"actions are {actions!r}: give integers within 0..{self.board.moves - 1} "
                f"of shape ({self.num_envs},)"
            )
        legal = self._games.legal()[np.arange(self.num_envs), np.where(live, actions, 0)]
        if self._illegal == "raise":
            return np.zeros(self.num_envs, dtype=np.bool_)  # the core refuses it by name
        return live & ~legal

    def _start(self, which: Flags) -> None:
        """Empty boards, seats taken, and the opponent's first move where it begins."""
        if not which.any():
            return
        self._games.restart(which)
        self._length[which] = 0
        self._done[which] = self._lost[which] = False
        seats: Any = self._seat
        if seats is None:
            seats = (self._chances() * 2).astype(np.int64)
        self._seats = np.where(which, seats, self._seats)
        if self._openings:
            self._open(which)
        self._answer(which)

    def _open(self, which: Flags) -> None:
        """Move by chance for both sides in the games of `which` [n], each its number of times."""
        left = (self._chances() * (self._openings + 1)).astype(np.int64) * which
        while left.any():
            going = left > 0
            moves = draw(self._games.legal() | ~going[:, None], self.np_random)
            self._games.play(np.where(going, moves, 0), going)
            left[going] -= 1

    def _answer(self, which: Flags) -> None:
        """The opponent moves where it is its turn, in the games of `which` [n]."""
        asked = which & ~self._games.over & (self._games.turn != self._seats)
        if not asked.any():
            return
        moves = np.zeros(self.num_envs, dtype=np.int64)
        self._fill(moves, asked)
        try:
            self._games.play(moves, asked)
        except ValueError as error:
            raise ValueError(f"the opponent broke the rules: {error}") from error

    def _fill(self, moves: Moves, asked: Flags) -> None:
        """Write what the opponent, or the rival in its place, plays in the games of `asked`."""
        rivals = asked & self._contested
        if self._rival is not None and rivals.any():
            planes = self._games.planes(1 - self._seats)[rivals]
            legal = self._games.legal()[rivals].astype(np.int8)
            moves[rivals] = self._rival(planes, legal, np.flatnonzero(rivals))
        others = asked & ~self._contested
        if others.any():
            theirs, mine = (np.where(others, side, 0) for side in self._games.sides(self._seats))
            answers = self.opponent(self.board, mine, theirs, self.np_random)
            moves[others] = answers[others]

    def _chances(self) -> Floats:
        """A number of [0, 1) for each game, [n].

        Luck is always drawn for all games, of those that go on and those that do not: the numbers
        of one column of the stream are one game's, however the others go. Two policies that play
        from the same seed share luck in the same game and in no other, as pairs of games need.
        """
        return self.np_random.random(self.num_envs)

    def _overlong(self) -> Flags:
        if self._max_moves is None:
            return np.zeros(self.num_envs, dtype=np.bool_)
        overlong: Flags = self._length >= self._max_moves
        return overlong

    def _rewards(self, offence: Flags) -> Floats:
        mine = self._games.returns[np.arange(self.num_envs), self._seats]
        return np.where(offence, -1.0, mine)

    def _settle(self, offence: Flags) -> tuple[Observations, Infos]:
        """What the step shows, after `SAME_STEP` has started the next games."""
        told = {"illegal": offence, "_illegal": offence.copy()} if offence.any() else {}
        if self.autoreset_mode is not AutoresetMode.SAME_STEP or not self._done.any():
            return self._observe(), self._infos() | told
        ended = self._done.copy()
        told |= _final(self._observe(), self._mask(), ended)
        self._start(ended)
        return self._observe(), self._infos() | told

    def _observe(self) -> Observations:
        return self._games.planes(self._seats)

    def _mask(self) -> NDArray[np.int8]:
        """[n, A] legal moves; none after an illegal one, which the core has not seen."""
        return (self._games.legal() & ~self._lost[:, None]).astype(np.int8)

    def _infos(self) -> Infos:
        mask = self._mask()
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            mask[self._done] = 1
        return {"action_mask": mask, "_action_mask": np.ones(self.num_envs, dtype=np.bool_)}


def _final(observations: Observations, mask: NDArray[np.int8], ended: Flags) -> Infos:
    """The infos of `SAME_STEP`, as Gymnasium's own vector environments write them."""
    last = np.full(len(ended), None, dtype=np.object_)
    last[ended] = np.fromiter(observations[ended], dtype=np.object_, count=int(ended.sum()))
    final = {"action_mask": np.where(ended[:, None], mask, 0).astype(np.int8)}
    return {
        "final_obs": last,
        "_final_obs": ended.copy(),
        "final_info": final | {"_action_mask": ended.copy()},
        "_final_info": ended.copy(),
    }
