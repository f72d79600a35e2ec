"""A small shop with numbered situations: for whoever learns with a table."""

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.domains.recommendation.shop.env import ShopEnv
from heedful.domains.recommendation.shop.headroom import clicks_of
from heedful.domains.recommendation.shop.parameters import ShopParameters

__all__ = ["LastClickShop"]

Numbers = NDArray[np.int64]


class LastClickShop(VectorEnv[Numbers, Numbers, NDArray[Any]]):
    """`heedful/Shop-v0` that shows one item at a time, and remembers two things of each person.

    The observation numbers the genre that the person clicked last (0: none yet) and the item that
    was shown last (0: none yet): `clicked * (items + 1) + shown`. Both stay with the person from
    one visit to the next; `reset` forgets them. The action is an item, the reward 1 for a click.
    Everything else, the autoreset mode too, is the shop's.

    Args:
        num_envs: how many people.
        parameters: the shop; its slate must be 1.

    Raises:
        ValueError: the shop shows more than one item at a time.

    >>> shop = LastClickShop(2, ShopParameters(items=12, genres=4, slate=1))
    >>> shop.reset(seed=0)[0]
    array([0, 0])
    >>> shop.single_observation_space, shop.single_action_space
    (Discrete(65), Discrete(12))
    """

    single_observation_space: Discrete[np.int64]
    single_action_space: Discrete[np.int64]

    def __init__(self, num_envs: int, parameters: ShopParameters) -> None:
        if parameters.slate != 1:
            raise ValueError(
                f"the shop shows {parameters.slate} items at a time: a table needs ShopParameters("
                "slate=1), or it would have a column for every slate"
            )
        self.shop = ShopEnv(num_envs, parameters)
        self.num_envs, self.metadata = num_envs, self.shop.metadata
        self._genre = Catalogue.draw(parameters).genre
        self._shown_numbers = parameters.items + 1
        states = (parameters.genres + 1) * self._shown_numbers
        self.single_observation_space = Discrete(states)
        self.single_action_space = Discrete(parameters.items)
        self.observation_space = MultiDiscrete(np.full(num_envs, states))
        self.action_space = MultiDiscrete(np.full(num_envs, parameters.items))
        self._clicked = np.zeros(num_envs, np.int64)
        self._shown = np.zeros(num_envs, np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Numbers, dict[str, Any]]:
        """Everybody starts a visit, and what they clicked is forgotten; as the shop's `reset`."""
        _, infos = self.shop.reset(seed=seed, options=options)
        self._clicked[:] = self._shown[:] = 0
        return self._observe(), infos

    def step(
        self, actions: Numbers
    ) -> tuple[Numbers, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Show everybody an item; as the shop's `step`, with items [n]."""
        items = np.asarray(actions)
        _, rewards, terminated, truncated, infos = self.shop.step(items[:, None])
        clicked = clicks_of(infos, (self.num_envs, 1))[:, 0]
        self._clicked[clicked] = self._genre[items[clicked]] + 1
        self._shown[:] = items + 1
        observed = self._observe()
        if "final_obs" in infos:  # the next visit begins where this one ended
            final = np.full(self.num_envs, None, dtype=np.object_)
            for person in np.flatnonzero(terminated | truncated):
                final[person] = observed[person]
            infos["final_obs"] = final
        return observed, rewards, terminated, truncated, infos

    def _observe(self) -> Numbers:
        return self._clicked * self._shown_numbers + self._shown
