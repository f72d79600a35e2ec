"""What a reply is worth, by its words: the reward model that needs no network.

Linear in n-grams of the reply, of the prompt and of what they share, and in the reply's length. It
is the floor that a network has to beat, and a member of an ensemble beside one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from heedful.reward.ensemble import agreement, resamples
from heedful.reward.exchanges import exchange_rows, length_correlation
from heedful.reward.folds import FOLDS, even_folds
from heedful.reward.judgements import Comparisons, Rated
from heedful.reward.likelihood import Compared, chances, most_likely
from heedful.reward.ngrams import Floats, Ints, Rows
from heedful.reward.rewards import RewardError
from heedful.reward.ridge import ridge
from heedful.reward.text import Moments, listed

PENALTIES = (8.0, 4.0, 2.0, 1.0, 0.5)
FEWEST = 20
"""Judgements it takes, of at least two groups."""

_INNER_FOLDS = 4
Source = Literal["comparisons", "thumbs", "ratings"]
SOURCES: tuple[Source, ...] = ("comparisons", "thumbs", "ratings")


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


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What n replies are worth: the mean over the members, and their standard deviation."""

    mean: Floats
    spread: Floats


@dataclass(frozen=True, slots=True, eq=False)
class NgramReward:
    """K linear models of what a reply is worth, fitted to draws of the prompts.

    Learned from comparisons, its number is a utility: the difference of two says which reply people
    prefer (:class:`~heedful.reward.likelihood.Compared`), and it has mean 0 and variance 1 over the
    replies it was learned from. Learned from thumbs, it is the probability of a thumb up; learned
    from ratings, a rating.

    Attributes:
        members: K of them.
        source: what it was learned from.
        penalty: which of :data:`PENALTIES` predicted prompts best that were left out.
        moments: of the scores of the replies that it was learned from.
        bounds: lowest and highest number it was learned from.
        length: correlation of its number with the logarithm of the replies' lengths.
        judgements: how many it was learned from.
        pessimism: by how many standard deviations of the members a number is lowered.
    """

    members: tuple[Member, ...]
    source: Source
    penalty: float
    moments: Moments
    bounds: tuple[float, float]
    length: float
    judgements: int
    pessimism: float = 0.0

    @classmethod
    def fit(cls, judged: Comparisons | Rated, *, members: int = 1, seed: int = 0) -> Self:
        """Fit it to what people said.

        The penalty is the one that predicts groups best that were left out; above one member, each
        is fitted to another draw of the groups.

        Args:
            judged: comparisons, ratings, or thumbs (numbers 0 and 1).
            members: K.
            seed: of the draws.

        Raises:
            RewardError: there are too few judgements, or all are alike.
        """
        problem = _Problem.of(judged)
        problem.require()
        compacted, places = problem.compact()
        penalty = _chosen(compacted, judged.groups)
        fitted = []
        for drawn in resamples(np.array(judged.groups), members, seed):
            b, tie = compacted.solve(judged.weights * drawn, penalty)
            fitted.append(Member(places, b, tie))
        made = cls(
            tuple(fitted), problem.source, penalty, Moments(), problem.bounds, np.nan, len(judged)
        )
        return made._on(*_replies(judged))

    def scores(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """Return the score of each reply by each member, [K, n]; no scale is promised."""
        rows = exchange_rows(prompts, completions)
        return np.array([member.score(rows) for member in self.members])

    def read(self, prompts: Sequence[str], completions: Sequence[str]) -> Worth:
        """Return what each reply is worth, on the scale of what it was learned from."""
        return Worth(*agreement(self._scaled(self.scores(prompts, completions))))

    def prefer(
        self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
    ) -> tuple[Floats, Floats, Floats]:
        """Return the probabilities that the first is preferred, neither, the second, [n] each.

        The mean over the members. Of a model that was not learned from comparisons it is how likely
        the first one's score is above the second's, if answers scatter as the logistic does.
        """
        lead = self.scores(prompts, first) - self.scores(prompts, second)
        told = [chances(row, m.tie) for row, m in zip(lead, self.members, strict=True)]
        means = np.array(told).mean(0)
        return means[0], means[1], means[2]

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return a number for each completion: a :class:`~heedful.reward.text.TextReward`."""
        worth = self.read(prompts, completions)
        return listed(worth.mean - self.pessimism * worth.spread)

    def doubting(self, pessimism: float) -> Self:
        """Return this reward, with its numbers lowered by what its members disagree on."""
        return replace(self, pessimism=pessimism)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return all its numbers by name, coefficients as float32."""
        found: dict[str, npt.NDArray[Any]] = {
            "source": np.array([SOURCES.index(self.source)]),
            "numbers": np.array(
                [
                    self.penalty,
                    self.moments.mean,
                    self.moments.deviation,
                    *self.bounds,
                    self.length,
                    self.judgements,
                    self.pessimism,
                ]
            ),
            "ties": np.array([member.tie for member in self.members]),
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
        penalty, mean, deviation, low, high, length, n, pessimism = tensors["numbers"].tolist()
        members = tuple(
            Member(
                tensors[f"{number}.places"].astype(np.int64),
                tensors[f"{number}.coefficients"].astype(np.float64),
                tie,
            )
            for number, tie in enumerate(tensors["ties"].tolist())
        )
        source = SOURCES[int(tensors["source"][0])]
        moments = Moments(mean, deviation)
        return cls(members, source, penalty, moments, (low, high), length, int(n), pessimism)

    def _on(self, prompts: Sequence[str], completions: Sequence[str]) -> Self:
        """Return this model with the moments and the length correlation on these replies."""
        scores = self.scores(prompts, completions).mean(0)
        moments = Moments.of(scores) if np.ptp(scores) > 1e-9 else Moments(float(scores.mean()))
        made = replace(self, moments=moments)
        number = made._scaled(scores[None])[0]
        return replace(made, length=length_correlation(number, completions))

    def _scaled(self, scores: Floats) -> Floats:
        """Return scores [K, n] on the scale of what was learned from."""
        match self.source:
            case "comparisons":
                return self.moments(scores)
            case "thumbs":
                return chances(scores)[0]
            case "ratings":
                return np.clip(scores, *self.bounds)


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
        part, places = problem.take(seen).compact()
        penalty = _chosen(part, [judged.groups[i] for i in seen.tolist()])
        b, tie = part.solve(part.weights, penalty)
        found[left] = Member(places, b, tie).score(problem.rows.take(left))
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
            return cls(rows, said, judged.outcomes, judged.weights, "comparisons")
        rows = exchange_rows(judged.prompts, judged.completions)
        if judged.thumbs:
            logistic = Compared(judged.numbers, np.zeros(len(judged)))
            return cls(rows, logistic, judged.numbers, judged.weights, "thumbs")
        return cls(rows, None, judged.numbers, judged.weights, "ratings")

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

    def compact(self) -> tuple[Self, Ints]:
        rows, places = self.rows.compact()
        return replace(self, rows=rows), places

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


def _replies(judged: Comparisons | Rated) -> tuple[list[str], list[str]]:
    """Return each distinct exchange once: its prompt and its reply."""
    if isinstance(judged, Comparisons):
        told = [*zip(judged.prompts, judged.first, strict=True)]
        told += zip(judged.prompts, judged.second, strict=True)
    else:
        told = [*zip(judged.prompts, judged.completions, strict=True)]
    distinct = list(dict.fromkeys(told))
    return [prompt for prompt, _ in distinct], [reply for _, reply in distinct]
