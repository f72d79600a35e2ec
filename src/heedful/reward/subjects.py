"""Ratings of people who use the scale differently, made comparable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from heedful.reward.rewards import RewardError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SCALE_PRIOR = 10.0
"""So many ratings of nobody in particular stand behind the spread of each subject's own."""

FEWEST_RATINGS = 10


@dataclass(frozen=True, slots=True, eq=False)
class SubjectScales:
    """How each subject uses the scale, shrunk towards how people use it together.

    With n_s ratings of subject s, their mean r_s and their sum of squared deviations Q_s:

        m_s = (n_s r_s + kappa mu) / (n_s + kappa),      kappa = sigma_w^2 / sigma_b^2
        v_s = (Q_s + kappa_v sigma_w^2) / (n_s - 1 + kappa_v),      kappa_v = 10
        r'  = mu + sigma_w (r - m_s) / sqrt(v_s),      cut off at 0 and 1

    mu is the mean over subjects' ratings, sigma_w^2 and sigma_b^2 the variance within and between
    subjects by the one-way analysis of variance (Searle, Casella and McCulloch, Variance
    Components, 1992, chapter 3), so how much is shrunk is computed and no dial: where subjects do
    not differ, kappa is infinite and nothing is taken off. A subject without ratings is anybody:
    m_s = mu and v_s = sigma_w^2 leave a rating as it is.

    Attributes:
        mean: mu.
        within: sigma_w^2.
        between: sigma_b^2; 0 where subjects do not differ by more than chance.
        keys: int64 [S], digests of the subjects' names, ascending.
        means: float64 [S], m_s.
        scales: float64 [S], sqrt(v_s).
    """

    mean: float
    within: float
    between: float
    keys: Ints
    means: Floats
    scales: Floats

    @classmethod
    def fit(cls, ratings: Floats, subjects: Sequence[str]) -> Self:
        """Fit it to n ratings on the scale from 0 to 1, those that may be learned from alone.

        Raises:
            RewardError: there are too few.
        """
        if len(ratings) < FEWEST_RATINGS:
            raise RewardError(
                f'{len(ratings)} ratings; reward.normalise = "subject" takes at least '
                f'{FEWEST_RATINGS}. Collect more, or set reward.normalise = "none"'
            )
        keys, who, counts = np.unique(_keys(subjects), return_inverse=True, return_counts=True)
        n_of = counts.astype(np.float64)
        own: Floats = np.bincount(who, weights=ratings) / n_of
        spread: Floats = np.bincount(who, weights=(ratings - own[who]) ** 2).astype(np.float64)
        mean = float(ratings.mean())
        within, between = _components(n_of, own, spread, mean)
        kappa = within / between if between > 0 else np.inf
        trust = n_of / (n_of + kappa)
        variance = (spread + SCALE_PRIOR * within) / (n_of - 1 + SCALE_PRIOR)
        return cls(mean, within, between, keys, mean + trust * (own - mean), np.sqrt(variance))

    def __call__(self, ratings: Floats, subjects: Sequence[str]) -> Floats:
        """Return n ratings on the scale from 0 to 1, made comparable; NaN stays."""
        if not self.within or not len(ratings):
            return ratings
        wanted = _keys(subjects)
        at = np.minimum(np.searchsorted(self.keys, wanted), max(0, len(self.keys) - 1))
        known = self.keys[at] == wanted
        middle = np.where(known, self.means[at], self.mean)
        scale = np.where(known, self.scales[at], np.sqrt(self.within))
        z = (ratings - middle) / np.where(scale > 0, scale, 1.0)
        made: Floats = np.clip(self.mean + np.sqrt(self.within) * z, 0.0, 1.0)
        return made

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return all its numbers by name."""
        moments = np.array([self.mean, self.within, self.between])
        return {"moments": moments, "keys": self.keys, "means": self.means, "scales": self.scales}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return what :meth:`tensors` gave.

        Raises:
            KeyError, ValueError: it is something else.
        """
        mean, within, between = tensors["moments"].tolist()
        return cls(mean, within, between, *(tensors[k] for k in ("keys", "means", "scales")))


def _components(counts: Floats, own: Floats, spread: Floats, mean: float) -> tuple[float, float]:
    """Return the variance within and between subjects; by moments, and never below 0."""
    n, subjects = int(counts.sum()), len(counts)
    within = float(spread.sum() / max(1, n - subjects))
    if subjects < 2 or n == subjects:
        return within, 0.0
    square = float((counts * (own - mean) ** 2).sum() / (subjects - 1))
    size = (n - float((counts**2).sum()) / n) / (subjects - 1)
    return within, max(0.0, (square - within) / size)


def _keys(subjects: Sequence[str]) -> Ints:
    """Return 64 bits of each name's digest: a folder of numbers holds no names."""
    known: dict[str, int] = {}
    for name in subjects:
        if name not in known:
            digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
            known[name] = int.from_bytes(digest, "little", signed=True)
    return np.array([known[name] for name in subjects], np.int64)
