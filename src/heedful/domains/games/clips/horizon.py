"""Episodes that all last as long, so that their length tells nobody how they went."""

from __future__ import annotations

from typing import Any, Literal, SupportsFloat

import gymnasium
from gymnasium.utils import RecordConstructorArgs

After = Literal["hold", "restart"]
HELD = "held"


class FixedHorizon(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """An environment that never terminates and is cut off after ``horizon`` steps.

    When an episode ends says how well it went, in many games: whoever learns a reward where it
    shows has learned that, not what people prefer. Here nothing shows. What follows an end is
    either

    - ``"hold"``: the game stands still. Moves do nothing and earn 0, and the last observation is
      observed again; returns are those of the game itself. ``info["held"]`` says so.
    - ``"restart"``: the game begins anew within the episode; the observation after an end is the
      first one of the next game.

    Args:
        env: with a time limit of at least ``horizon`` steps, or none.
        horizon: T.
        after: what follows an end.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], horizon: int, *, after: After = "hold"
    ) -> None:
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}: an episode has at least 1 step")
        if after not in ("hold", "restart"):
            raise ValueError(f'after is {after!r}; known: "hold", "restart"')
        limit = None if env.spec is None else env.spec.max_episode_steps
        if limit is not None and limit < horizon:
            raise ValueError(
                f"{env.spec and env.spec.id} is cut off after {limit} steps, before the horizon of "
                f"{horizon}: give gymnasium.make a max_episode_steps of at least that"
            )
        RecordConstructorArgs.__init__(self, horizon=horizon, after=after)
        gymnasium.Wrapper.__init__(self, env)
        self.horizon, self.after = horizon, after
        self._steps, self._held, self._last = 0, False, None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self._steps, self._held = 0, False
        self._last, info = self.env.reset(seed=seed, options=options)
        return self._last, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Move, or stand still where the game is over.

        Returns:
            Observation, reward, False, whether the horizon is reached, info.
        """
        self._steps += 1
        cut = self._steps >= self.horizon
        if self._held:
            return self._last, 0.0, False, cut, {HELD: True}
        self._last, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            if self.after == "hold":
                self._held = True
            elif not cut:  # the horizon's last observation is the game's own
                self._last, info = self.env.reset()
        return self._last, reward, False, cut, {**info, HELD: self._held}
