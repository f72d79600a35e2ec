"""The window into people's heads: for references and reports, never for training."""

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.domains.recommendation.shop.env import ShopEnv
from heedful.domains.recommendation.shop.parameters import ShopParameters
from heedful.domains.recommendation.shop.people import People, sigmoid

__all__ = ["expected_clicks", "oracle", "popular", "popularity"]

_CENSUS = 4096  # people asked for an average over the population
_STREAM = 2  # of random numbers, beside the catalogue's 1


def oracle(env: VectorEnv[Any, Any, Any]) -> NDArray[np.int64]:
    """The slates [n, K] that are clicked most now, for who sees tastes and boredom.

    Positions only scale the probability of a click, and what is shown bores no sooner than at
    the next decision: the K likeliest items, likeliest first, maximise the expected clicks of
    this slate exactly. It looks no further than this slate.

    Raises:
        TypeError: `env` is no shop.
        gymnasium.error.ResetNeeded: before the first `reset`.
    """
    shop = _shop(env)
    ranked = np.argsort(-shop._present().logits(), axis=1, kind="stable")
    return ranked[:, : shop.parameters.slate]


def expected_clicks(
    env: VectorEnv[Any, Any, Any], slates: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The probability [n, K] of a click on each position if `slates` [n, K] were shown now.

    Its mean over positions is the expected reward of a `step` with these slates, without noise.

    Raises:
        TypeError: `env` is no shop.
        ValueError: a slate is not in the action space.
        gymnasium.error.ResetNeeded: before the first `reset`.
    """
    shop = _shop(env)
    return shop._present().click_probability(shop.action_space.checked(slates))


def popular(env: VectorEnv[Any, Any, Any]) -> NDArray[np.int64]:
    """All items [V], the most popular first: by average click probability over the population.

    Raises:
        TypeError: `env` is no shop.
    """
    return np.argsort(-popularity(_shop(env).parameters), kind="stable")


def popularity(parameters: ShopParameters) -> NDArray[np.float64]:
    """[V] average click probability of each item where it is looked at, on a first visit.

    The average is over a fixed sample of the world's population, not over the people of an
    environment, so that it says nothing of any of them.
    """
    rng = np.random.default_rng([parameters.world_seed, _STREAM])
    census = People.draw(Catalogue.draw(parameters), parameters, _CENSUS, rng)
    average: NDArray[np.float64] = sigmoid(census.logits()).mean(axis=0)
    return average


def _shop(env: VectorEnv[Any, Any, Any]) -> ShopEnv:
    shop = env.unwrapped
    if not isinstance(shop, ShopEnv):
        raise TypeError(f"{type(shop).__name__} is no ShopEnv: only a shop can be looked into")
    return shop
