"""What a reply is worth, by its words: the reward model that needs no network.

Linear in n-grams of the reply, of the prompt and of what they share, and in the reply's length. It
is the floor that a network has to beat, and a member of an ensemble beside one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from heedful.reward.ensemble import resamples
from heedful.reward.exchanges import LENGTH, SHARED, exchange_rows
from heedful.reward.folds import FOLDS, even_folds
from heedful.reward.judgements import Comparisons, Rated
from heedful.reward.likelihood import Compared, most_likely
from heedful.reward.ngrams import Floats, Ints, Rows
from heedful.reward.rewards import RewardError
from heedful.reward.ridge import ridge
from heedful.reward.text import Moments
from heedful.reward.worth import (
    SOURCES,
    ReplyReward,
    Scale,
    Source,
    exchanges_of,
    source_of,
)

PENALTIES = (8.0, 4.0, 2.0, 1.0, 0.5)
RARITY = 0.5
"""Power of the weight of rare n-grams, see :meth:`~heedful.reward.ngrams.Rows.rarity`."""

FEWEST = 20
"""Judgements it takes, of at least two groups."""

_INNER_FOLDS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One linear score.

    Attributes:
        places: int64 [P], columns with a coefficient; all others have 0.
        coefficients: float64 [P].
        tie: nu of :class:`~heedful.reward.likelihood.Compared`.
    """

    places: Ints
    coefficients: Floats
    tie: float = 0.0

    def score(self, rows: Rows) -> Floats:
        """Return the score of rows [n, D], [n]."""
        everywhere = np.zeros(rows.width)
        everywhere[self.places] = self.coefficients
        return rows.times(everywhere)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NgramReward(ReplyReward):
    """K linear models of what a reply is worth, each of which weighs the prompts anew.

    Attributes:
        members: K of them.
        penalty: of the squared coefficients.
    """

    members: tuple[Member, ...]
    penalty: float

    @classmethod
    def fit(
        cls,
        judged: Comparisons | Rated,
        *,
        members: int = 1,
        seed: int = 0,
        penalty: float | None = None,
    ) -> Self:
        """Fit it to what people said; above one member, each weighs the groups anew.

        Args:
            judged: comparisons, ratings, or thumbs (numbers 0 and 1).
            members: K.
            seed: of the draws.
            penalty: of the squared coefficients; by default the one of :data:`PENALTIES` that
                predicts groups best that were left out.

        Raises:
            RewardError: there are too few judgements, or all are alike.
        """
        problem = _Problem.of(judged)
        problem.require()
        compacted, places, weight = problem.compact()
        penalty = penalty or _chosen(compacted, judged.groups)
        fitted = []
        for drawn in resamples(np.array(judged.groups), members, seed, smooth=True):
            b, tie = compacted.solve(judged.weights * drawn, penalty)
            fitted.append(Member(places, b * weight, tie))
        made = cls(
            scale=Scale(problem.source, problem.bounds),
            judgements=len(judged),
            members=tuple(fitted),
            penalty=penalty,
        )
        return made.measured_on(*exchanges_of(judged))

    def scores(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """Return the score of each reply by each member, [K, n]."""
        rows = exchange_rows(prompts, completions)
        return np.array([member.score(rows) for member in self.members])

    @property
    def ties(self) -> list[float]:
        """How likely each member finds ties, [K]."""
        return [member.tie for member in self.members]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return all its numbers by name, coefficients as float32."""
        moments = self.scale.moments
        found: dict[str, npt.NDArray[Any]] = {
            "source": np.array([SOURCES.index(self.scale.source)]),
            "scale": np.array([*self.scale.bounds, moments.mean, moments.deviation]),
            "numbers": np.array([self.judgements, self.length, self.pessimism, self.penalty]),
            "ties": np.array(self.ties),
        }
        for number, member in enumerate(self.members):
            found[f"{number}.places"] = member.places.astype(np.int32)
            found[f"{number}.coefficients"] = member.coefficients.astype(np.float32)
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the model whose numbers :meth:`tensors` gave.

        Raises:
            KeyError, ValueError, IndexError: it is something else.
        """
        low, high, mean, deviation = tensors["scale"].tolist()
        judgements, length, pessimism, penalty = tensors["numbers"].tolist()
        members = tuple(
            Member(
                tensors[f"{number}.places"].astype(np.int64),
                tensors[f"{number}.coefficients"].astype(np.float64),
                tie,
            )
            for number, tie in enumerate(tensors["ties"].tolist())
        )
        source = SOURCES[int(tensors["source"][0])]
        return cls(
            scale=Scale(source, (low, high), Moments(mean, deviation)),
            judgements=int(judgements),
            length=length,
            pessimism=pessimism,
            members=members,
            penalty=penalty,
        )


def left_out_scores(judged: Comparisons | Rated, *, folds: int = FOLDS) -> Floats:
    """Return what models say of judgements whose group they have not seen, [n].

    Of comparisons the lead of the first over the second, of replies the score: a logit for thumbs.
    All choices are made within what is seen.

    Raises:
        RewardError: there are too few judgements.
    """
    problem = _Problem.of(judged)
    problem.require()
    fold = even_folds(judged.groups, folds)
    found = np.zeros(len(judged))
    for number in range(folds):
        seen, left = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        part, places, weight = problem.take(seen).compact()
        penalty = _chosen(part, [judged.groups[i] for i in seen.tolist()])
        b, tie = part.solve(part.weights, penalty)
        found[left] = Member(places, b * weight, tie).score(problem.rows.take(left))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """What is fitted: rows, what was said of them, and how a coefficient is judged.

    Attributes:
        rows: [n, D]; of comparisons the differences.
        said: of comparisons and thumbs; ``None`` for ratings.
        targets: float64 [n].
        weights: float64 [n].
        source: of what.
    """

    rows: Rows
    said: Compared | None
    targets: Floats
    weights: Floats
    source: Source

    @classmethod
    def of(cls, judged: Comparisons | Rated) -> Self:
        if isinstance(judged, Comparisons):
            first = exchange_rows(judged.prompts, judged.first)
            rows = first.minus(exchange_rows(judged.prompts, judged.second))
            tie = 1.0 if (judged.outcomes == 0.5).any() else 0.0
            said = Compared(judged.outcomes, judged.signed_margins(), tie)
            return cls(rows, said, judged.outcomes, judged.weights, source_of(judged))
        rows = exchange_rows(judged.prompts, judged.completions)
        if judged.thumbs:
            logistic = Compared(judged.numbers, np.zeros(len(judged)))
            return cls(rows, logistic, judged.numbers, judged.weights, source_of(judged))
        return cls(rows, None, judged.numbers, judged.weights, source_of(judged))

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest number."""
        return float(self.targets.min()), float(self.targets.max())

    def require(self) -> None:
        """Refuse what is too little to learn from."""
        n = int((self.weights > 0).sum())
        if n < FEWEST:
            raise RewardError(
                f"{n} {self.source}; a reward of replies takes at least {FEWEST}. Collect more"
            )
        if self.source != "comparisons" and self.bounds[0] == self.bounds[1]:
            raise RewardError(
                f"all {n} {self.source} are the same, {self.bounds[0]:g}: there is nothing to tell "
                "apart. Collect different ones"
            )

    def take(self, rows: Ints) -> Self:
        said = self.said
        if said is not None:
            said = replace(said, outcomes=said.outcomes[rows], offsets=said.offsets[rows])
        return replace(
            self,
            rows=self.rows.take(rows),
            said=said,
            targets=self.targets[rows],
            weights=self.weights[rows],
        )

    def compact(self) -> tuple[Self, Ints, Floats]:
        """Return this without unused columns and with rare ones weighing more.

        Returns:
            It, the columns kept, and what each was multiplied with: so are its coefficients.
        """
        rows, places = self.rows.compact()
        numbers = np.flatnonzero(np.isin(places, (LENGTH, SHARED, self.rows.width - 1)))
        weight = rows.rarity(RARITY, numbers)
        return replace(self, rows=rows.scaled(weight)), places, weight

    def solve(
        self, weights: Floats, penalty: float, start: Floats | None = None
    ) -> tuple[Floats, float]:
        """Return coefficients [D] and nu."""
        if self.said is not None:
            b, said = most_likely(self.rows, self.said, weights, penalty, start)
            return b, said.tie
        centre = float(np.average(self.targets, weights=weights))
        begin = None if start is None else np.append(start[:-1], start[-1] - centre)
        b = ridge(self.rows, self.targets - centre, weights, penalty, begin)
        b[-1] += centre
        return b, 0.0

    def losses(self, scores: Floats, tie: float) -> Floats:
        """Return how wrong scores [n] are, [n]: in nats, or squared."""
        if self.said is not None:
            return replace(self.said, tie=tie).losses(scores)
        squared: Floats = (scores - self.targets) ** 2
        return squared


def _chosen(problem: _Problem, groups: Sequence[str]) -> float:
    """Return the penalty under which groups that were left out are predicted best."""
    fold = even_folds(groups, _INNER_FOLDS)
    lost = np.zeros(len(PENALTIES))
    for number in range(_INNER_FOLDS):
        seen = problem.take(np.flatnonzero(fold != number))
        left = problem.take(np.flatnonzero(fold == number))
        b = None
        for place, penalty in enumerate(PENALTIES):
            b, tie = seen.solve(seen.weights, penalty, b)
            lost[place] += float(left.weights @ left.losses(left.rows.times(b), tie))
    return PENALTIES[int(np.argmin(lost))]
