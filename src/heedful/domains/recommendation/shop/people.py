"""The people: what they like, what bores them, how likely they click, what they would say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.domains.recommendation.shop.parameters import ShopParameters

__all__ = ["People", "examination", "opinions", "sigmoid"]

_PEAK_HOUR = 20.0  # when the daily mood is best
_DAY = 24.0  # hours; also the mean pause between two visits


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function; logits here are small, so that nothing overflows."""
    probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logits))
    return probabilities


def opinions(
    affinity: NDArray[np.float64], noise: NDArray[np.float64], parameters: ShopParameters
) -> NDArray[np.int64]:
    """Ratings 1..5 of clicked items: the mean rises with affinity; `noise` is standard normal."""
    p = parameters
    exact = p.rating_base + p.rating_slope * affinity + p.rating_noise * noise
    return np.clip(np.rint(exact), 1, 5).astype(np.int64)


@dataclass(slots=True)
class People:
    """The state of n persons, one row each; no policy may read it.

    Every draw has a shape that does not depend on what was shown: two policies on the same seed
    meet the same people with the same luck (common random numbers).

    Attributes:
        home: [n, D] tastes at home.
        wander: [n, D] how far tastes have drifted from home.
        shown: [n, V] recent exposures of each item, decayed.
        genre_shown: [n, genres] recent exposures of each genre in whole slates, decayed.
        hour: [n] hour of day of the visit.
        decisions: how many slates everybody has seen.
    """

    catalogue: Catalogue
    parameters: ShopParameters
    home: NDArray[np.float64]
    wander: NDArray[np.float64]
    shown: NDArray[np.float64]
    genre_shown: NDArray[np.float64]
    hour: NDArray[np.float64]
    decisions: int = 0

    @classmethod
    def draw(
        cls, catalogue: Catalogue, parameters: ShopParameters, n: int, rng: np.random.Generator
    ) -> "People":
        """Draw n persons who have not been in the shop yet."""
        home = catalogue.tastes(n, parameters, rng)
        people = cls(
            catalogue=catalogue,
            parameters=parameters,
            home=home,
            wander=np.zeros_like(home),
            shown=np.zeros((n, parameters.items)),
            genre_shown=np.zeros((n, parameters.genres)),
            hour=rng.uniform(0.0, _DAY, n),
        )
        people.wander = parameters.drift * people._gusts(rng)
        return people

    def affinity(self) -> NDArray[np.float64]:
        """[n, V] inner product of today's taste and the item."""
        home = self.home
        if self.turned > 0:
            home = self.catalogue.turned(home, self.turned)
        return (home + self.wander) @ self.catalogue.vectors.T

    @property
    def turned(self) -> float:
        """How far everybody's tastes have turned to the next genre, 0 to 1."""
        p = self.parameters
        if p.turn_at is None:
            return 0.0
        return float(np.clip((self.decisions - p.turn_at + 1) / p.turn_over, 0.0, 1.0))

    def logits(self) -> NDArray[np.float64]:
        """[n, V] logit of a click on each item if it is looked at now."""
        p = self.parameters
        mood = p.bias + p.evening * np.cos(2 * np.pi * (self.hour - _PEAK_HOUR) / _DAY)
        boredom = p.item_boredom * self.shown
        boredom += (p.genre_boredom * self.genre_shown)[:, self.catalogue.genre]
        return self.catalogue.appeal + p.strength * self.affinity() + mood[:, None] - boredom

    def click_probability(self, slates: NDArray[np.int64]) -> NDArray[np.float64]:
        """[n, K] probability of a click on each position: it is looked at, and it is liked."""
        liked = sigmoid(np.take_along_axis(self.logits(), slates, axis=1))
        return examination(self.parameters) * liked

    def live_on(self, slates: NDArray[np.int64], rng: np.random.Generator) -> None:
        """One decision later: what was shown bores a little more, tastes wander or switch."""
        p = self.parameters
        rows = np.arange(len(slates))[:, None]
        self.shown *= p.boredom_memory
        self.shown[rows, slates] += 1.0
        self.genre_shown *= p.boredom_memory
        # A genre may stand in a slate several times: add.at counts each of them.
        np.add.at(self.genre_shown, (rows, self.catalogue.genre[slates]), 1.0 / p.slate)
        self.decisions += 1
        if p.drift > 0:
            fresh = p.drift * np.sqrt(1.0 - p.drift_memory**2)
            self.wander = p.drift_memory * self.wander + fresh * self._gusts(rng)
        if self.decisions == p.switch_at:
            self._switch(rng)

    def come_back(self, who: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """A new visit of the persons in the mask `who` [n]: rested, at another hour."""
        pause = rng.exponential(_DAY, len(who))
        self.hour = np.where(who, (self.hour + pause) % _DAY, self.hour)
        rest = np.where(who, self.parameters.boredom_rest, 1.0)[:, None]
        self.shown *= rest
        self.genre_shown *= rest

    def _gusts(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """[n, D] standard normal noise whose expected squared length is 1."""
        gusts = rng.standard_normal(self.home.shape) / np.sqrt(self.home.shape[1])
        return np.asarray(gusts, dtype=np.float64)

    def _switch(self, rng: np.random.Generator) -> None:
        self.home = self.catalogue.tastes(len(self.home), self.parameters, rng)


def examination(parameters: ShopParameters) -> NDArray[np.float64]:
    """[K] probability that each position of a slate is looked at."""
    positions = np.arange(parameters.slate)
    return np.power(parameters.examination_decay, positions, dtype=np.float64)
