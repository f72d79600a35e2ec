"""How much there is to learn: reference policies, from blind to all-seeing, on the same people."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.domains.recommendation.shop.env import ShopEnv
from heedful.domains.recommendation.shop.oracle import expected_clicks, oracle, popularity
from heedful.domains.recommendation.shop.parameters import ShopParameters
from heedful.domains.recommendation.shop.people import examination

__all__ = ["REFERENCES", "Memory", "clicks_of", "headroom", "table"]

_VISIT = 8  # decisions in each visit while measuring
_BEHIND = 5  # decisions behind a person before it counts
_PRIOR = 1.0  # pseudo-clicks that hold a genre's lift near 1
_FRESH = 0.7  # what one recent exposure leaves of an item's score
_FADE = 0.7  # share of an exposure that still counts one decision later


@dataclass(slots=True)
class Memory:
    """What a shop can know without looking into heads: its goods, what it showed, the clicks.

    Attributes:
        env: the shop, for its shape; only the oracle looks further.
        popularity: [V] average click probability.
        genre: [V] the cluster of each item.
        lately: [n, V] recent exposures, fading.
        clicks: [n, genres] clicks so far.
        expected: [n, genres] clicks that an average person would have made so far.
    """

    env: ShopEnv
    popularity: NDArray[np.float64]
    genre: NDArray[np.int64]
    lately: NDArray[np.float64]
    clicks: NDArray[np.float64]
    expected: NDArray[np.float64]

    @classmethod
    def of(cls, env: ShopEnv) -> Self:
        """An empty memory of the people in `env`."""
        genres = np.zeros((env.num_envs, env.parameters.genres))
        return cls(
            env=env,
            popularity=popularity(env.parameters),
            genre=Catalogue.draw(env.parameters).genre,
            lately=np.zeros((env.num_envs, env.parameters.items)),
            clicks=genres,
            expected=genres.copy(),
        )

    def see(self, slates: NDArray[np.int64], clicked: NDArray[np.bool_]) -> None:
        """Take in what was shown and clicked, both [n, K]."""
        rows, genres = np.arange(len(slates))[:, None], self.genre[slates]
        average = self.popularity[slates] * examination(self.env.parameters)
        np.add.at(self.clicks, (rows, genres), clicked)
        np.add.at(self.expected, (rows, genres), average)
        self.lately *= _FADE
        self.lately[rows, slates] += 1.0

    def best(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """The K items [n, K] of the highest `scores` [n, V], best first."""
        return np.argsort(-scores, axis=1, kind="stable")[:, : self.env.parameters.slate]


def _uniform(memory: Memory) -> NDArray[np.int64]:
    return memory.env.action_space.sample()


def _popular(memory: Memory) -> NDArray[np.int64]:
    return memory.best(np.tile(memory.popularity, (memory.env.num_envs, 1)))


def _popular_rested(memory: Memory) -> NDArray[np.int64]:
    """Popular items in turn, so that nobody is bored: about the best without knowing a person."""
    return memory.best(memory.popularity * _FRESH**memory.lately)


def _click_reader(memory: Memory) -> NDArray[np.int64]:
    """The same, times each genre's lift: clicks over expected clicks, shrunk towards 1.

    The lift is the posterior mean of a person's Poisson rate under a Gamma prior.
    """
    lift = (memory.clicks + _PRIOR) / (memory.expected + _PRIOR)
    return memory.best(memory.popularity * lift[:, memory.genre] * _FRESH**memory.lately)


def _oracle(memory: Memory) -> NDArray[np.int64]:
    return oracle(memory.env)


REFERENCES: dict[str, Callable[[Memory], NDArray[np.int64]]] = {
    "uniform": _uniform,
    "popular": _popular,
    "popular, rested": _popular_rested,
    "reads clicks": _click_reader,
    "oracle": _oracle,
}


def headroom(
    parameters: ShopParameters, *, people: int = 1000, visits: int = 3, seed: int = 0
) -> dict[str, float]:
    """Expected clicks per position of each reference, on people with five decisions behind them.

    Every visit has eight decisions, nobody leaves earlier; the expectation is exact given what
    happened before, so that only the people and their past are a sample.

    Args:
        parameters: the shop.
        people: how many persons.
        visits: how many visits of each.
        seed: of the people, the same for all references.

    Returns:
        Clicks per position, by the names in `REFERENCES`.
    """
    stay = replace(parameters, leave_pleased=0.0, leave_unmoved=0.0, max_visit=_VISIT)
    result = {}
    for name, choose in REFERENCES.items():
        env = ShopEnv(people, stay)
        env.reset(seed=seed)
        env.action_space.seed(seed)
        clicks = _play(Memory.of(env), choose, visits * _VISIT)
        result[name] = float(clicks[_BEHIND:].mean())
    return result


def _play(
    memory: Memory, choose: Callable[[Memory], NDArray[np.int64]], decisions: int
) -> NDArray[np.float64]:
    """Expected clicks per position at each decision: [decisions]."""
    clicks = np.empty(decisions)
    for decision in range(decisions):
        slates = choose(memory)
        clicks[decision] = expected_clicks(memory.env, slates).mean()
        infos = memory.env.step(slates)[-1]
        memory.see(slates, clicks_of(infos, slates.shape))
    return clicks


def clicks_of(infos: dict[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The clicks on the slates just shown, as a mask of `shape` (n, K)."""
    clicked = np.zeros(shape, dtype=np.bool_)
    for person, events in enumerate(infos["feedback"]):
        for event in events:
            if event["kind"] == "click":
                clicked[person, event["unit"]] = event["value"]
    return clicked


def table(world_seeds: tuple[int, ...] = (0, 1, 2), people: int = 1000) -> str:
    """The head-room of the default shop as text: a row per world, a column per reference.

    >>> len(table(world_seeds=(0,), people=20).splitlines())
    2
    """
    lines = [f"{'clicks per position':<19}" + "".join(f"{name:>16}" for name in REFERENCES)]
    for world in world_seeds:
        found = headroom(ShopParameters(world_seed=world), people=people)
        lines.append(f"world {world:<13}" + "".join(f"{found[name]:16.3f}" for name in REFERENCES))
    return "\n".join(lines)
