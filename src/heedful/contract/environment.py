"""Where units meet their consequences without people: Gymnasium's vector environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


class Environment(Protocol):
    """The part of ``gymnasium.vector.VectorEnv`` that collecting experience uses.

    Feedback that is late, or richer than the reward, comes in ``info["feedback"]``: for each
    environment a list of ``{"kind", "decision_age", "unit", "value"}``, where the age counts that
    environment's decisions back from now (0: the one just made) and the unit is a position in it.
    """

    num_envs: int
    metadata: dict[str, Any]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Start all environments anew."""
        ...

    def step(
        self, actions: npt.NDArray[Any]
    ) -> tuple[
        npt.NDArray[Any],
        npt.NDArray[Any],
        npt.NDArray[Any],
        npt.NDArray[Any],
        dict[str, Any],
    ]:
        """Take one decision each: observations, rewards, terminated, truncated, info."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


@runtime_checkable
class NumericEnvironment(Environment, Protocol):
    """An environment that can be played without records: what it observes are rows of numbers.

    Offered beside :class:`Environment` where policies need to see no more than the last context.
    """

    @property
    def places(self) -> Sequence[slice]:
        """Which units of the vocabulary may stand at each place of a decision, one slice each."""
        ...

    def read(
        self, observation: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return the numbers of the context of each observation, [n, F], and what may be done.

        The numbers are those that ``Domain.observe`` reads of ``Domain.context``; what is possible
        is bool [n, V].
        """
        ...

    def actions(self, units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return what ``Domain.action`` returns, [n, K], of units by their place, int64 [n, K]."""
        ...


Answer = Callable[[npt.NDArray[np.float32], npt.NDArray[np.int64]], npt.NDArray[np.int64]]
"""Who moves for the other side: takes observations [m, ...] as that side sees them, and which
environments they are of, int64 [m]; returns actions [m, K]."""


@runtime_checkable
class Contested(NumericEnvironment, Protocol):
    """An environment in which somebody else acts as well, whose place another policy can take.

    To whoever learns in it the other side's actions are a part of the environment: one step is its
    own action and all that follows until it acts again.
    """

    def contest(self, answer: Answer, which: npt.NDArray[np.bool_]) -> None:
        """Let ``answer`` act for the other side from now on, and draw the sides anew each episode.

        Args:
            answer: who acts.
            which: bool [n], in which environments; in the others who always did.

        Raises:
            ValueError: nobody else acts in this environment.
        """
        ...
