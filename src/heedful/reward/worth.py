"""What reward models of replies share: members, a scale, doubt, and a number for each reply."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from heedful.reward.ensemble import agreement
from heedful.reward.exchanges import length_correlation
from heedful.reward.judgements import Comparisons, Rated
from heedful.reward.likelihood import chances
from heedful.reward.ngrams import Floats
from heedful.reward.text import Moments, listed

Source = Literal["comparisons", "thumbs", "ratings"]
SOURCES: tuple[Source, ...] = ("comparisons", "thumbs", "ratings")


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What n replies are worth: the mean over the members, and their standard deviation."""

    mean: Floats
    spread: Floats


@dataclass(frozen=True, slots=True)
class Scale:
    """What scores mean.

    Learned from comparisons they are a utility, of which differences alone are known; it has mean
    0 and variance 1 over the replies it was learned from. Learned from thumbs they are the log-odds
    of a thumb up, learned from ratings they are ratings.

    Attributes:
        source: what was learned from.
        bounds: lowest and highest number that was said.
        moments: of the scores of the replies that were learned from.
    """

    source: Source
    bounds: tuple[float, float]
    moments: Moments = field(default_factory=Moments)

    def __call__(self, scores: Floats) -> Floats:
        """Return scores of any shape as utilities, probabilities or ratings."""
        match self.source:
            case "comparisons":
                return self.moments(scores)
            case "thumbs":
                return chances(scores)[0]
            case "ratings":
                return np.clip(scores, *self.bounds)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReplyReward(ABC):
    """A model of what a reply to a prompt is worth, and a text reward.

    Attributes:
        scale: what its scores mean.
        judgements: how many it was learned from.
        length: correlation of its number with the logarithm of the replies' lengths.
        pessimism: by how many standard deviations of the members a number is lowered.
    """

    scale: Scale
    judgements: int
    length: float = float("nan")
    pessimism: float = 0.0

    @abstractmethod
    def scores(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """Return the score of each of n replies by each of K members, [K, n]."""

    @property
    def ties(self) -> list[float]:
        """How likely each member finds ties, nu of :class:`~heedful.reward.Compared`, [K]."""
        return []

    def read(self, prompts: Sequence[str], completions: Sequence[str]) -> Worth:
        """Return what each reply is worth: a utility, a probability or a rating."""
        return Worth(*agreement(self.scale(self.scores(prompts, completions))))

    def prefer(
        self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
    ) -> tuple[Floats, Floats, Floats]:
        """Return the probabilities that the first is preferred, neither, the second, [n] each.

        The mean over the members. Of a model that was not learned from comparisons it is how likely
        the first one's score is above the second's, if answers scatter as the logistic does.
        """
        lead = self.scores(prompts, first) - self.scores(prompts, second)
        ties = self.ties or [0.0] * len(lead)
        told = [chances(row, tie) for row, tie in zip(lead, ties, strict=True)]
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

    def measured_on(self, prompts: Sequence[str], completions: Sequence[str]) -> Self:
        """Return this model with its moments and its correlation with length on these replies."""
        scores = self.scores(prompts, completions).mean(0)
        moments = Moments.of(scores) if np.ptp(scores) > 1e-9 else Moments(float(scores.mean()))
        made = replace(self, scale=replace(self.scale, moments=moments))
        return replace(made, length=length_correlation(made.scale(scores), completions))


def source_of(judged: Comparisons | Rated) -> Source:
    """Return what sort of judgements these are."""
    if isinstance(judged, Comparisons):
        return "comparisons"
    return "thumbs" if judged.thumbs else "ratings"


def exchanges_of(judged: Comparisons | Rated) -> tuple[list[str], list[str]]:
    """Return each distinct exchange that was judged once: prompts and replies."""
    if isinstance(judged, Comparisons):
        told = [*zip(judged.prompts, judged.first, strict=True)]
        told += zip(judged.prompts, judged.second, strict=True)
    else:
        told = [*zip(judged.prompts, judged.completions, strict=True)]
    distinct = list(dict.fromkeys(told))
    return [prompt for prompt, _ in distinct], [reply for _, reply in distinct]
