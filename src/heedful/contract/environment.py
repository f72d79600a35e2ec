"""Where units meet their consequences without people: Gymnasium's vector environments."""

from __future__ import annotations

from typing import Any, Protocol

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
