"""Any Gymnasium vector environment as rows of numbers, its faults told by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv

from heedful.contract import Answer
from heedful.domains.games.spaces import Flags, Moves, Observations, Rows

MASK = "action_mask"


class GameError(ValueError):
    """An environment broke; the message names it, says when and what, and what to do."""


class Game:
    """A vector environment whose observations are rows of numbers: what is seen, what is legal.

    A row has the W numbers of :class:`~heedful.domains.games.Observations`, and behind them
    a 1 for every move that is legal and a 0 for every other, in the order of
    :class:`~heedful.domains.games.Moves`: what may be done next is part of what a player is
    told. Legal moves are read from ``info["action_mask"]``, for the last observation of an episode
    from ``info["final_info"]["action_mask"]``; without one all are. Where an episode is over
    nothing is chosen: if no move stands as legal there, all of them do.

    It resets as the environment inside does; see ``metadata["autoreset_mode"]``.

    Attributes:
        num_envs: n.
        metadata: of the environment inside.
        observations: how its observations are read.
        moves: how its actions are.
    """

    def __init__(
        self,
        inner: VectorEnv[Any, Any, Any],
        name: str,
        observations: Observations,
        moves: Moves,
        *,
        bounded: bool = True,
        wishes: int = 0,
    ) -> None:
        """Stand around ``inner``.

        Args:
            inner: any vector environment with the spaces that are read.
            name: what it is called in messages.
            observations: how its observations are read.
            moves: how its actions are.
            bounded: refuse observations outside their space; NaN and infinities are in any case.
            wishes: numbers of a context beside those observed, for what is asked for; in play
                nobody asks, and they are 0.
        """
        self.num_envs: int = inner.num_envs
        self.metadata: dict[str, Any] = inner.metadata
        self.observations, self.moves = observations, moves
        self._inner, self._name, self._bounded = inner, name, bounded
        self._wishes = np.zeros((inner.num_envs, wishes), np.float32)
        mode = inner.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._same_step = AutoresetMode(mode) is AutoresetMode.SAME_STEP
        self._all_legal = np.ones((self.num_envs, len(moves.units)), np.float32)
        self._over = np.zeros(self.num_envs, np.bool_)
        self._steps = 0

    @property
    def places(self) -> list[slice]:
        """The units of each factor of a move: a decision takes them in this order."""
        return self.moves.factors

    def read(self, observation: Rows) -> tuple[Rows, Flags]:
        """Return what a policy reads of rows, [n, F], and which moves are legal, bool [n, V]."""
        seen = self.observations.numbers
        read = self.observations.read(observation[:, :seen])
        if self._wishes.shape[1]:
            read = np.concatenate([read, self._wishes[: len(read)]], axis=1)
        return read, observation[:, seen:] > 0

    def actions(self, units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return values [n, length] of unit numbers in the order of the factors."""
        return self.moves.numbered(units)

    def contest(self, answer: Answer, which: Flags) -> None:
        """Let ``answer`` move for the other side; see :class:`heedful.contract.Contested`.

        The environment inside has to have a method ``contest`` as the boards have it
        (:class:`~heedful.domains.games.boards.BoardVectorEnv`).

        Raises:
            GameError: it has none.
        """
        inner = getattr(self._inner.unwrapped, "contest", None)
        if inner is None:
            raise GameError(
                f"{self._name} has no second side that a policy could play: choose one of the "
                "boards, or an environment with a method contest"
            )

        def rival(observed: Any, legal: Any, games: npt.NDArray[np.int64]) -> Any:
            rows = self.observations.rows(observed, len(games))
            mask = self.moves.mask(legal, len(games)).astype(np.float32)
            return self.moves.native(answer(np.concatenate([rows, mask], axis=1), games))

        inner(rival, which)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Rows, dict[str, Any]]:
        """Start all games anew, or those of ``options["reset_mask"]``: rows [n, W + V], and info.

        Raises:
            GameError: the environment broke.
        """
        again = (options or {}).get("reset_mask")
        try:
            observed, info = self._inner.reset(seed=seed, options=options)
        except Exception as error:
            self._broke("reset", error)
        if again is None:
            self._over[:] = False
            self._steps = 0
        else:
            self._over &= ~again
        return self._rows(observed, info), info

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[Rows, npt.NDArray[Any], Flags, Flags, dict[str, Any]]:
        """Move in every game.

        Args:
            actions: values of the factors, [n, length].

        Returns:
            rows [n, W + V], rewards, terminated, truncated, and info, in which ``final_obs`` are
            rows, too.

        Raises:
            GameError: the environment raised, a reward or an observation is no finite number, an
                observation lies outside its space, or no move is legal.
        """
        self._steps += 1
        try:
            observed, rewards, terminated, truncated, info = self._inner.step(
                self.moves.native(actions)
            )
        except Exception as error:
            self._broke(f"step {self._steps} with the moves {_shown(actions)}", error)
        rewards = np.asarray(rewards, np.float64)
        if not np.isfinite(rewards).all():
            row = int(np.flatnonzero(~np.isfinite(rewards))[0])
            self._wrong(row, f"gave a reward of {rewards[row]}: rewards must be finite numbers")
        over: Flags = np.asarray(terminated | truncated, np.bool_)
        self._over = np.zeros_like(over) if self._same_step else over
        if "final_obs" in info:
            info = {**info, "final_obs": self._final(info, over)}
        return self._rows(observed, info), rewards, terminated, truncated, info

    def close(self) -> None:
        """Close the environment."""
        self._inner.close()

    def _rows(self, observed: Any, info: Mapping[str, Any]) -> Rows:
        numbers = self._checked(self.observations.rows(observed, self.num_envs))
        return np.concatenate([numbers, self._legal(info)], axis=1)

    def _legal(self, info: Mapping[str, Any]) -> Rows:
        given = info.get(MASK)
        if given is None:
            return self._all_legal
        try:
            legal = self.moves.mask(given, self.num_envs)
        except ValueError as error:
            raise GameError(f"{self._name}: {error}") from error
        told = info.get(f"_{MASK}")
        free: Flags = self._over & ~np.asarray(legal.any(axis=1))
        if told is not None:
            free |= ~np.asarray(told, np.bool_)
        legal = legal | free[:, None]
        for factor in self.moves.factors:
            none = ~legal[:, factor].any(axis=1)
            if none.any():
                self._wrong(
                    int(np.flatnonzero(none)[0]),
                    "allows no move, though its game is not over: it has to terminate there, or "
                    f'allow a move in info["{MASK}"]',
                )
        return legal.astype(np.float32)

    def _final(self, info: Mapping[str, Any], over: Flags) -> Rows:
        """Return the last observations of games that are over as rows, zeros elsewhere."""
        found = np.zeros((self.num_envs, self.observations.numbers), np.float32)
        for row in np.flatnonzero(over):
            found[row] = self.observations.row(info["final_obs"][row])
        self._checked(found[over], np.flatnonzero(over))
        given = info.get("final_info", {}).get(MASK)
        if given is None:
            return np.concatenate([found, self._all_legal], axis=1)
        legal = self.moves.mask(given, self.num_envs)
        legal = legal | ~np.asarray(legal.any(axis=1))[:, None]
        return np.concatenate([found, legal.astype(np.float32)], axis=1)

    def _checked(self, numbers: Rows, which: npt.NDArray[np.int64] | None = None) -> Rows:
        outside = self.observations.outside(numbers)
        if not outside.any():
            return numbers
        finite: Flags = np.asarray(np.isfinite(numbers).all(axis=1))
        wrong: Flags = outside if self._bounded else ~finite
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            row = at if which is None else int(which[at])
            seen = self.observations
            place = int(
                np.flatnonzero(~((numbers[at] >= seen.low) & (numbers[at] <= seen.high)))[0]
            )
            said = f"observed {numbers[at, place]:g} as number {place} of an observation"
            if not finite[at]:
                self._wrong(row, f"{said}: observations must be finite numbers")
            self._wrong(
                row,
                f"{said}, outside its space {seen.low[place]:g} to {seen.high[place]:g}: mend the "
                "space or the environment; where it does no harm, set bounded = false under "
                "[domain]",
            )
        return numbers

    def _wrong(self, row: int, what: str) -> NoReturn:
        raise GameError(f"{self._name}, game {row} of {self.num_envs}, step {self._steps}: {what}")

    def _broke(self, when: str, error: Exception) -> NoReturn:
        raise GameError(
            f"{self._name} raised {type(error).__name__} at {when}: {error}. Nothing of this "
            "rollout is kept; mend the environment, and training goes on from its last state"
        ) from error


def _shown(actions: npt.NDArray[np.int64]) -> str:
    some = actions[:4].tolist()
    return f"{some}" if len(actions) <= 4 else f"{some[:-1]}, ... of {len(actions)} games"
