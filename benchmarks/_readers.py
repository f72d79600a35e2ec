"""Simulated readers, whose clicks come from a click model that was fitted to people's and is fixed.

A reader is a person of the log. The model says, after all that the person rated, how likely a click
on each film is; with these chances the reader answers whatever is shown. A policy meets readers as
strangers: it learns of their taste what they answer within the session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from heedful.contract import Environment
from heedful.domains.recommendation import Recommendation
from heedful.policy import Vocabulary
from heedful.record import Context

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Readers(VectorEnv[npt.NDArray[np.float32], Ints, npt.NDArray[Any]]):
    """n readers side by side, each in a session of ``session`` slates.

    Actions: int [n, K], units by their index. Observations: nothing, float32 [n, 0]. Reward: the
    share of the slate that was clicked. ``infos["feedback"]``: for every unit shown whether it was
    clicked, an explicit no otherwise. Sessions end by ``SAME_STEP`` autoreset, and other readers
    follow: in the order of ``chances``, or drawn at random.

    Attributes:
        returns: expected clicks of each session that is over, in the order in which they ended.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self, chances: Floats, *, n: int, slate: int, session: int, at_random: bool = True
    ) -> None:
        """Let ``n`` of the readers in at once.

        Args:
            chances: [R, V], how likely each reader clicks on each unit; no slate changes them.
            n: how many side by side.
            slate: K.
            session: slates a session is long.
            at_random: whether readers are drawn, with replacement, or come one after the other.

        Raises:
            ValueError: a chance outside [0, 1], or no reader.
        """
        if not len(chances) or not ((chances >= 0) & (chances <= 1)).all():
            raise ValueError(
                f"chances of {len(chances)} readers: expected at least one, all within [0, 1]"
            )
        self.num_envs, self.session, self.returns = n, session, list[float]()
        self._chances, self._at_random = chances, at_random
        size = chances.shape[1]
        self.single_action_space = spaces.MultiDiscrete([size] * slate)
        self.action_space = batch_space(self.single_action_space, n)
        self.single_observation_space = spaces.Box(-1.0, 1.0, (0,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, n)
        self._next = 0
        self._readers: Ints = np.empty(0, np.int64)
        self._shown, self._expected = 0, np.zeros(n)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Let the first readers in."""
        super().reset(seed=seed, options=options)
        self._next = 0
        self._enter()
        return self._nothing(), {}

    def step(
        self, actions: Ints
    ) -> tuple[
        npt.NDArray[np.float32],
        Floats,
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Show every reader a slate, [n, K]."""
        if not len(self._readers):
            raise gymnasium.error.ResetNeeded("nobody reads: call reset() before step()")
        chance = self._chances[self._readers[:, None], actions]
        clicked = self.np_random.random(chance.shape) < chance
        self._expected += chance.sum(1)
        self._shown += 1
        over = np.full(self.num_envs, self._shown == self.session)
        said = np.empty(self.num_envs, dtype=np.object_)
        for reader, row in enumerate(clicked.tolist()):
            said[reader] = [
                {"kind": "click", "decision_age": 0, "unit": place, "value": yes}
                for place, yes in enumerate(row)
            ]
        infos: dict[str, Any] = {"feedback": said}
        if over.all():
            self.returns += self._expected.tolist()
            self._enter()
            last = np.empty(self.num_envs, dtype=np.object_)
            last[:] = list(self._nothing())
            infos["final_obs"] = last
        return self._nothing(), clicked.mean(1), np.zeros_like(over), over, infos

    def _enter(self) -> None:
        n = len(self._chances)
        if self._at_random:
            self._readers = self.np_random.integers(n, size=self.num_envs)
        else:
            self._readers = np.arange(self._next, self._next + self.num_envs) % n
            self._next += self.num_envs
        self._shown, self._expected = 0, np.zeros(self.num_envs)

    def _nothing(self) -> npt.NDArray[np.float32]:
        return np.zeros((self.num_envs, 0), np.float32)


class Readership(Recommendation):
    """Recommendation to simulated readers: they are observed by their answers alone."""

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Environment:
        """Return ``n`` readers; options are those of :class:`Readers`."""
        return Readers(**{"slate": self.options.slate, **options}, n=n)

    def context(self, observation: npt.NDArray[Any]) -> Context:
        """Return an empty context."""
        return {}

    def action(self, units: Sequence[str], vocabulary: Vocabulary) -> Ints:
        """Return the units' indexes."""
        return vocabulary.indexes(units).astype(np.int64)


def return_of_list(chances: Floats, order: Ints, shown: int) -> Floats:
    """Return the expected clicks of each reader, [R], on the first ``shown`` units of ``order``."""
    return np.asarray(chances[:, order[:shown]].sum(1))


def highest_return(chances: Floats, shown: int) -> Floats:
    """Return what nobody can exceed, [R]: the units that each reader likes best."""
    return np.asarray(np.partition(chances, -shown, axis=1)[:, -shown:].sum(1))
