"""The world: items in genres, how appealing each is, and how people's tastes are spread."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from heedful.domains.recommendation.shop.parameters import ShopParameters

__all__ = ["Catalogue"]

_SECOND_FAVOURITE = 0.5  # weight of the second favourite genre beside the first
# Keeps the world's stream apart from people's: NumPy reads the seeds s and [s, 0] as the same.
_STREAM = 1


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items of one world, hidden from policies; a pure function of the parameters.

    Attributes:
        genre: [V] the cluster of each item.
        vectors: [V, D] unit vectors, near the centre of their genre.
        appeal: [V] what makes an item click with everybody, in logits.
        centres: [genres, D] orthonormal centres of the genres.
        shares: [genres] how many people have each genre as their favourite.
    """

    genre: NDArray[np.int64]
    vectors: NDArray[np.float64]
    appeal: NDArray[np.float64]
    centres: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def draw(cls, parameters: ShopParameters) -> Self:
        """Draw the catalogue of `parameters.world_seed`."""
        p = parameters
        rng = np.random.default_rng([p.world_seed, _STREAM])
        frame, _ = np.linalg.qr(rng.standard_normal((p.dimension, p.dimension)))
        centres = frame[: p.genres]
        genre = rng.permutation(np.arange(p.items) % p.genres)
        own = rng.standard_normal((p.items, p.dimension)) / np.sqrt(p.dimension)
        # Quantiles instead of draws: every world has the same skew, in another order.
        quantiles = -np.log((np.arange(p.items) + 0.5) / p.items)
        weights = (np.arange(p.genres) + 1.0) ** -p.genre_skew
        return cls(
            genre=genre,
            vectors=_unit(centres[genre] + p.item_spread * own),
            appeal=rng.permutation(p.popularity_skew * (quantiles - quantiles.mean())),
            centres=centres,
            shares=rng.permutation(weights / weights.sum()),
        )

    def tastes(
        self, people: int, parameters: ShopParameters, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Draw the tastes of `people` persons: unit vectors [people, D].

        Each has a favourite genre, a second one at half its weight (it may be the same), and
        something of their own.
        """
        first, second = rng.choice(len(self.shares), size=(2, people), p=self.shares)
        own = rng.standard_normal((people, self.centres.shape[1])) / np.sqrt(self.centres.shape[1])
        genres = self.centres[first] + _SECOND_FAVOURITE * self.centres[second]
        return _unit(genres + parameters.taste_spread * own)

    def turned(self, tastes: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        """Turn `tastes` [n, D] towards the next genre by `share` in 0..1; unit vectors [n, D].

        At 1, who liked genre g likes genre g + 1 as much, the last one's friends the first: in the
        frame of the centres a taste's components move on by one, and what is its own stays.
        """
        components = tastes @ self.centres.T
        moved = tastes + (np.roll(components, 1, axis=1) - components) @ self.centres
        return _unit((1.0 - share) * tastes + share * moved)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / lengths
