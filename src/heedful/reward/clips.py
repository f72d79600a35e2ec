"""What steps of play are worth, from comparisons of clips: reward models, three at a time.

A clip is worth the sum of what its steps are worth. Of a step the model sees a row of numbers, its
features (:mod:`heedful.reward.steps` makes them of records): never a score, nor whether an episode
ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from heedful.reward.ensemble import agreement, resamples
from heedful.reward.lapsing import Lapsing
from heedful.reward.rewards import RewardError
from heedful.reward.text import Moments
from heedful.reward.worth import Worth

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MEMBERS = 3
PRIOR = 0.1
"""Standard deviation of what a coefficient is pulled to: see :func:`fit_linear`."""

OVERFITTED = (1.1, 1.5)
"""Within which validation loss over training loss is to lie; Christiano et al., section 2.2.3."""

_PENALTIES = (2.0**-7, 2.0**7)
_FEWEST_LEFT_OUT = 5  # with fewer comparisons to validate on, the penalty stays as it is
_TRIALS = 8
_NEWTON_STEPS, _HALVINGS, _ENOUGH = 30, 20, 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ClipPairs:
    """n pairs of clips of T steps, and which was found better.

    Attributes:
        left: float64 [n, T, F], the features of each step.
        right: float64 [n, T, F].
        outcomes: float64 [n], 1 where the left clip is better, 0 where the right one is, 1/2 where
            they are equal. What nobody could tell is no row.

    Raises:
        RewardError: shapes that do not fit, or an outcome that is none of the three.
    """

    left: Floats
    right: Floats
    outcomes: Floats

    def __post_init__(self) -> None:
        """Refuse what is no comparison."""
        if self.left.ndim != 3 or self.left.shape != self.right.shape:
            raise RewardError(
                f"clips of shape {self.left.shape} stand against {self.right.shape}; give both "
                "sides as [pairs, steps, features]"
            )
        if self.outcomes.shape != self.left.shape[:1]:
            raise RewardError(f"{len(self.outcomes)} outcomes for {len(self.left)} pairs")
        if not np.isin(self.outcomes, (0.0, 0.5, 1.0)).all():
            raise RewardError("outcomes: 1 is left, 0 is right and 0.5 is equal, nothing else")

    def __len__(self) -> int:
        """Return n."""
        return len(self.outcomes)

    def take(self, rows: Ints) -> Self:
        """Return the pairs numbered in ``rows``."""
        return type(self)(self.left[rows], self.right[rows], self.outcomes[rows])


class Member(Protocol):
    """One model of what a step is worth."""

    def rewards(self, features: Floats) -> Floats:
        """Return a number for each row of features [..., F], [...]; no scale is promised."""
        ...

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return all its numbers by name."""
        ...


class Fitting(Protocol):
    """How a member is fitted to pairs."""

    def __call__(
        self,
        pairs: ClipPairs,
        counts: Floats,
        penalty: float,
        likelihood: Lapsing,
        *,
        seed: int,
    ) -> Member:
        """Return the member that fits best.

        Args:
            pairs: n of them.
            counts: float64 [n], how often each counts.
            penalty: on the squared size of its parameters, beside the summed losses.
            likelihood: of an answer.
            seed: of whatever it draws.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LinearSteps:
    """A step is worth b x: for indicators of cases, a table with a number for each case.

    Attributes:
        coefficients: b, float64 [F].
    """

    coefficients: Floats

    def rewards(self, features: Floats) -> Floats:
        """Return [...] of features [..., F]."""
        worth: Floats = features @ self.coefficients
        return worth

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return its coefficients."""
        return {"coefficients": self.coefficients}


def fit_linear(
    pairs: ClipPairs, counts: Floats, penalty: float, likelihood: Lapsing, *, seed: int
) -> LinearSteps:
    """Return the most likely linear model under a squared penalty.

        b = argmin_b  sum_i c_i loss(d_i, y_i) + penalty / 2 |b - b_0|^2,   d_i = b (x_i - x'_i)

    with x the sum of a clip's features, and b_0 drawn around 0: of what no answer speaks, every
    member then thinks something else, and disagreement asks about it (Osband et al., Randomized
    Prior Functions for Deep Reinforcement Learning, arXiv 1806.03335). Fisher scoring, halving each
    step until it gains.
    """
    x = pairs.left.sum(1) - pairs.right.sum(1)
    kept = np.flatnonzero((x != 0).any(0))  # the others stay as they were drawn
    rows = np.flatnonzero(counts > 0)
    x, y, c = x[np.ix_(rows, kept)], pairs.outcomes[rows], counts[rows]
    everywhere = PRIOR * np.random.default_rng(seed).standard_normal(pairs.left.shape[2:])
    prior = everywhere[kept]

    def objective(b: Floats) -> float:
        return float(c @ likelihood.losses(x @ b, y) + penalty / 2 * np.sum((b - prior) ** 2))

    b = prior.copy()
    value = objective(b)
    for _ in range(_NEWTON_STEPS):
        slope, bend = likelihood.slopes(x @ b, y)
        step = _solved(x, c * bend, penalty, x.T @ (c * slope) + penalty * (b - prior))
        for _ in range(_HALVINGS):
            ahead = objective(b - step)
            if ahead <= value:
                break
            step = step / 2
        else:
            break
        b, gained, value = b - step, value - ahead, ahead
        if gained <= _ENOUGH * abs(value):
            break
    everywhere[kept] = b
    return LinearSteps(everywhere)


def _solved(x: Floats, weights: Floats, penalty: float, aim: Floats) -> Floats:
    """Return (x' W x + penalty I)^-1 aim, by the smaller of both systems."""
    n, width = x.shape
    if width <= n:
        return _solve(x.T @ (weights[:, None] * x) + penalty * np.eye(width), aim)
    root = np.sqrt(weights)[:, None] * x  # Woodbury
    inner = _solve(root @ root.T + penalty * np.eye(n), root @ aim)
    return (aim - root.T @ inner) / penalty


def _solve(matrix: Floats, aim: Floats) -> Floats:
    found: Floats = np.linalg.solve(matrix, aim).astype(np.float64, copy=False)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class ClipReward:
    """K models of what a step is worth, each normalised before they are averaged.

    Each was fitted to another draw of the comparisons, with a penalty under which the comparisons
    that were not drawn are predicted a little worse than those that were. A version is frozen: its
    normalisation belongs to it, and a number from one version says nothing about one from another,
    so whoever keeps rewards computes them anew when the model changes.

    Attributes:
        members: K of them.
        moments: of each member's numbers on the reference steps.
        penalties: of each member, as it was adapted.
        likelihood: of an answer.
        pessimism: by how many standard deviations of the members a step is lowered.
    """

    members: tuple[Member, ...]
    moments: tuple[Moments, ...]
    penalties: tuple[float, ...]
    likelihood: Lapsing
    pessimism: float = 0.0

    @classmethod
    def fit(
        cls,
        pairs: ClipPairs,
        reference: Floats,
        *,
        members: int = MEMBERS,
        likelihood: Lapsing | None = None,
        fitting: Fitting = fit_linear,
        penalties: Sequence[float] = (),
        seed: int = 0,
    ) -> Self:
        """Fit members to bootstrap samples of ``pairs``.

        Args:
            pairs: n comparisons, at least one.
            reference: float64 [m, F], steps on which each member is brought to mean 0 and variance
                1: those of the play that is to be improved.
            members: K.
            likelihood: of an answer; a tenth of them random by default.
            fitting: how a member is fitted.
            penalties: to begin with, as an earlier version ended; 1 by default.
            seed: of the draws.

        Raises:
            RewardError: there is no comparison, or no reference step.
        """
        if not len(pairs) or not len(reference):
            raise RewardError(
                f"{len(pairs)} comparisons and {len(reference)} reference steps: a reward of clips "
                "takes at least one of each"
            )
        likelihood = likelihood or Lapsing()
        begin = tuple(penalties) or (1.0,) * members
        fitted, found = [], []
        # Answers are drawn one by one: the questions of one person are not told apart here.
        for number, counts in enumerate(resamples(np.arange(len(pairs)), members, seed)):
            member, penalty = _adapted(
                pairs, counts, likelihood, fitting, begin[number], seed * members + number
            )
            fitted.append(member)
            found.append(penalty)
        moments = tuple(_moments(member.rewards(reference)) for member in fitted)
        return cls(tuple(fitted), moments, tuple(found), likelihood)

    def read(self, features: Floats) -> Worth:
        """Return what steps [..., F] are worth, and how far the members differ, [...] each."""
        made = np.array(
            [m.rewards(features) for m in self.members], np.float64
        )  # [K, ...], each on its own scale
        scaled = np.array([moments(row) for moments, row in zip(self.moments, made, strict=True)])
        return Worth(*agreement(scaled))

    def __call__(self, features: Floats) -> Floats:
        """Return the reward of steps [..., F], [...], doubt subtracted."""
        worth = self.read(features)
        return worth.mean - self.pessimism * worth.spread

    def prefer(self, left: Floats, right: Floats) -> Floats:
        """Return p(left is better) by each member for clips [n, T, F], [K, n]."""
        leads = [m.rewards(left).sum(-1) - m.rewards(right).sum(-1) for m in self.members]
        return np.array([self.likelihood.chances(lead) for lead in leads])

    def doubting(self, pessimism: float) -> Self:
        """Return this reward, with its numbers lowered by what its members disagree on."""
        return replace(self, pessimism=pessimism)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return all its numbers by name, for safetensors."""
        found: dict[str, npt.NDArray[Any]] = {
            "moments": np.array([[one.mean, one.deviation] for one in self.moments]),
            "penalties": np.array(self.penalties),
            "numbers": np.array([self.likelihood.share, self.pessimism]),
        }
        for number, member in enumerate(self.members):
            found |= {f"{number}.{name}": value for name, value in member.tensors().items()}
        return found

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        member: Callable[..., Member] = LinearSteps,
    ) -> Self:
        """Return the model whose numbers :meth:`tensors` gave.

        Args:
            tensors: by name.
            member: the class of its members.

        Raises:
            KeyError, ValueError, TypeError: it is something else.
        """
        share, pessimism = tensors["numbers"].tolist()
        moments = tuple(Moments(*row) for row in tensors["moments"].tolist())
        members = tuple(
            member(**{n.partition(".")[2]: v for n, v in tensors.items() if n.startswith(f"{k}.")})
            for k in range(len(moments))
        )
        penalties = tuple(tensors["penalties"].tolist())
        return cls(members, moments, penalties, Lapsing(share), pessimism)


def agreed(chances: Floats, outcomes: Floats) -> Floats:
    """Return whether answers were foreseen, [n]: 1, 0; and 1/2 of a tie, which is no answer.

    Args:
        chances: p(left) by each member, [K, n].
        outcomes: [n].

    >>> agreed(np.array([[0.9, 0.4, 0.7]]), np.array([1.0, 1.0, 0.5])).tolist()
    [1.0, 0.0, 0.5]
    """
    side = np.where(chances.mean(0) > 0.5, 1.0, 0.0)
    return np.where(outcomes == 0.5, 0.5, (side == outcomes).astype(np.float64))


def _adapted(
    pairs: ClipPairs,
    counts: Floats,
    likelihood: Lapsing,
    fitting: Fitting,
    penalty: float,
    seed: int,
) -> tuple[Member, float]:
    """Return a member, and the penalty with which it is neither over- nor underfitted."""
    left_out = np.flatnonzero(counts == 0)
    lowest, highest = OVERFITTED
    member = fitting(pairs, counts, penalty, likelihood, seed=seed)
    before = 0
    for _ in range(_TRIALS if len(left_out) >= _FEWEST_LEFT_OUT else 0):
        losses = likelihood.losses(_leads(member, pairs), pairs.outcomes)
        ratio = losses[left_out].mean() / max(float(np.average(losses, weights=counts)), 1e-9)
        way = int(ratio > highest) - int(ratio < lowest)
        if not way or way == -before:  # within the bounds, or stepped over them
            break
        ahead = float(np.clip(penalty * 2.0**way, *_PENALTIES))
        if ahead == penalty:
            break
        before, penalty = way, ahead
        member = fitting(pairs, counts, penalty, likelihood, seed=seed)
    return member, penalty


def _leads(member: Member, pairs: ClipPairs) -> Floats:
    lead: Floats = member.rewards(pairs.left).sum(-1) - member.rewards(pairs.right).sum(-1)
    return lead


def _moments(numbers: Floats) -> Moments:
    """Return the moments of a member's numbers; of one that tells nothing apart, its mean alone."""
    tells = np.ptp(numbers) > 1e-9
    return Moments.of(numbers) if tells else Moments(float(numbers.mean()))
