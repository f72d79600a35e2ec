"""What people did before the shop had a policy: a file of ratings to begin with."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from gymnasium.utils import seeding

from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.domains.recommendation.shop.parameters import ShopParameters
from heedful.domains.recommendation.shop.people import People, opinions

__all__ = ["Interaction", "visits"]

_FOCUS = 0.5  # people browse less pointedly than they click: share of the logits that counts
_OPENING = 1_700_000_000  # Unix time of the first day, seconds
_PAUSE = 86_400.0  # mean seconds between two choices of one person


class Interaction(NamedTuple):
    """One row of the file: person, item, rating 1..5, Unix time in whole seconds."""

    user: int
    item: int
    rating: int
    time: int


def visits(
    parameters: ShopParameters, people: int, per_person: int, seed: int
) -> Iterator[Interaction]:
    """What the people of `ShopEnv(people, parameters).reset(seed=seed)` chose by themselves.

    Each chooses `per_person` different items one after another, in proportion to
    exp(half the logits of a click), and rates them. Nobody is bored yet and tastes are at rest.

    Args:
        parameters: the shop.
        people: how many persons; `user` is the index of the sub-environment.
        per_person: how many items each has chosen, at most all.
        seed: the seed that `reset` gets.

    Yields:
        Interactions in the order of time.

    Raises:
        ValueError: `people` below 1, or `per_person` not within 0..items.

    >>> rows = list(visits(ShopParameters(), people=2, per_person=3, seed=0))
    >>> len(rows), rows[0]._fields
    (6, ('user', 'item', 'rating', 'time'))
    """
    if people < 1 or not 0 <= per_person <= parameters.items:
        raise ValueError(
            f"people is {people} and per_person {per_person}: give at least one person "
            f"and 0..{parameters.items} items"
        )
    rng, _ = seeding.np_random(seed)
    crowd = People.draw(Catalogue.draw(parameters), parameters, people, rng)
    luck = rng.gumbel(size=(people, parameters.items))
    # Gumbel top-k: the order of these sums is a draw without replacement, one softmax each.
    chosen = np.argsort(-(_FOCUS * crowd.logits() + luck), axis=1)[:, :per_person]
    affinity = np.take_along_axis(crowd.affinity(), chosen, axis=1)
    ratings = opinions(affinity, rng.standard_normal(chosen.shape), parameters)
    pauses = rng.exponential(_PAUSE, chosen.shape)
    times = _OPENING + np.cumsum(pauses, axis=1).astype(np.int64)
    for place in np.argsort(times, axis=None, kind="stable").tolist():
        user, turn = divmod(place, per_person)
        yield Interaction(
            user, int(chosen[user, turn]), int(ratings[user, turn]), int(times[user, turn])
        )
