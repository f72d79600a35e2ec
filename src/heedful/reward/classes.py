"""What somebody wants or feels, read from what they say: intents, emotions, any labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from heedful.reward.exchanges import exchange_rows
from heedful.reward.folds import even_folds
from heedful.reward.likelihood import Compared, most_likely
from heedful.reward.ngrams import Floats, Ints, Rows
from heedful.reward.rewards import RewardError

PENALTIES = (4.0, 1.0, 0.25)
FEWEST = 20
MOST_LABELS = 100

_ROUNDS = 12
_ENOUGH = 1e-3
_LEFT_OUT = 4  # one of so many folds chooses the penalty


@dataclass(frozen=True, slots=True, eq=False)
class TextClassifier:
    """Multinomial logistic regression on n-grams of a message and of what was said before it.

        p(label = c | x) = e^{x b_c} / sum_k e^{x b_k}

    under a squared penalty, which is chosen on owners that are left out. Fitted one class after the
    other until nothing moves: given the other scores, the likelihood of one is that of a logistic
    regression with an offset, so each step is exact and the whole is concave.

    Attributes:
        labels: C names, in order.
        places: int64 [P], columns with coefficients; all others have 0.
        coefficients: float64 [C, P].
        penalty: which of :data:`PENALTIES` predicted best.
    """

    labels: tuple[str, ...]
    places: Ints
    coefficients: Floats
    penalty: float

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        before: Sequence[str] | None = None,
        owners: Sequence[str] | None = None,
    ) -> Self:
        """Fit it to n labelled messages.

        Args:
            texts: n messages.
            labels: n names.
            before: n texts, what was said before each; nothing by default.
            owners: n names, of conversations say; what one owner said is left out together. Equal
                texts have one owner by default.

        Raises:
            RewardError: there are too few messages, or labels, or too many labels.
        """
        known = sorted(set(labels))
        _require(len(texts), known)
        rows, places = exchange_rows(_before(before, texts), texts).compact()
        truth = np.searchsorted(np.array(known), np.array(labels))
        fold = even_folds(texts if owners is None else owners, _LEFT_OUT)
        seen, left = np.flatnonzero(fold > 0), np.flatnonzero(fold == 0)
        part, lost, b = rows.take(seen), [], np.zeros((len(known), rows.width))
        for penalty in PENALTIES:
            b = _fitted(part, truth[seen], penalty, b)
            scores = _scores(rows.take(left), b)
            lost.append(
                float((_log_total(scores) - scores[truth[left], np.arange(len(left))]).sum())
            )
        penalty = PENALTIES[int(np.argmin(lost))]
        return cls(tuple(known), places, _fitted(rows, truth, penalty, b), penalty)

    def probabilities(self, texts: Sequence[str], before: Sequence[str] | None = None) -> Floats:
        """Return the probability of each label, [n, C], for n messages.

        Args:
            texts: n of them; one that says nothing has what the constant says.
            before: n texts, what was said before each; nothing by default.
        """
        rows = exchange_rows(_before(before, texts), texts)
        everywhere = np.zeros((len(self.labels), rows.width))
        everywhere[:, self.places] = self.coefficients
        scores = _scores(rows, everywhere)
        found: Floats = np.exp(scores - _log_total(scores)).T
        return found

    def facts(
        self, name: str, texts: Sequence[str], before: Sequence[str] | None = None
    ) -> list[dict[str, str | float]]:
        """Return for each message its likeliest label and how likely: for a decision's context.

        >>> texts = ["where is it", "where are we", "what is it", "thanks", "thank you", "thanks!"]
        >>> said = ["question"] * 3 + ["thanks"] * 3
        >>> reader = TextClassifier.fit(texts * 4, said * 4)
        >>> reader.facts("intent", ["thanks a lot"])[0]["intent"]
        'thanks'
        """
        found = self.probabilities(texts, before)
        best = found.argmax(1)
        return [
            {name: self.labels[label], f"{name}_probability": round(float(row[label]), 4)}
            for row, label in zip(found, best.tolist(), strict=True)
        ]

    def columns(
        self, name: str, texts: Sequence[str], before: Sequence[str] | None = None
    ) -> dict[str, list[Any]]:
        """Return columns for a :class:`~heedful.reward.text.TextReward`.

        ``name`` holds the likeliest label of each message, ``name.LABEL`` how likely each label is.
        """
        found = self.probabilities(texts, before)
        columns: dict[str, list[Any]] = {name: [self.labels[i] for i in found.argmax(1).tolist()]}
        for number, label in enumerate(self.labels):
            columns[f"{name}.{label}"] = found[:, number].tolist()
        return columns

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return all it knows by name; the labels as UTF-8, coefficients as float32."""
        text = json.dumps(self.labels).encode()
        return {
            "labels": np.frombuffer(text, np.uint8),
            "places": self.places.astype(np.int32),
            "coefficients": self.coefficients.astype(np.float32),
            "penalty": np.array([self.penalty]),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the classifier whose tensors :meth:`tensors` gave.

        Raises:
            KeyError, ValueError: it is something else.
        """
        return cls(
            tuple(json.loads(tensors["labels"].tobytes())),
            tensors["places"].astype(np.int64),
            tensors["coefficients"].astype(np.float64),
            float(tensors["penalty"][0]),
        )


def _require(n: int, labels: Sequence[str]) -> None:
    if n < FEWEST:
        raise RewardError(f"{n} labelled messages; it takes at least {FEWEST}. Label more")
    if not 2 <= len(labels) <= MOST_LABELS:
        raise RewardError(
            f"{n} messages have {len(labels)} different labels; give them 2 to {MOST_LABELS}"
        )


def _before(before: Sequence[str] | None, texts: Sequence[str]) -> Sequence[str]:
    return [""] * len(texts) if before is None else before


def _fitted(rows: Rows, truth: Ints, penalty: float, start: Floats) -> Floats:
    """Return the coefficients [C, D], beginning at ``start``."""
    b, weights = start.copy(), np.ones(len(rows))
    scores = _scores(rows, b)
    for _ in range(_ROUNDS):
        before = scores.copy()
        for label in range(len(b)):
            others = np.delete(scores, label, axis=0)
            said = Compared((truth == label) * 1.0, _log_total(others))
            b[label], _ = most_likely(rows, said, weights, penalty, b[label], 1e-2, most_steps=2)
            scores[label] = rows.times(b[label])
        b -= b.mean(0)  # the same probabilities under a smaller penalty
        scores -= scores.mean(0)
        if np.abs(scores - before).mean() < _ENOUGH * max(1.0, float(np.abs(scores).mean())):
            break
    return b


def _scores(rows: Rows, b: Floats) -> Floats:
    """Return the score of each class for each row, [C, n]."""
    return np.array([rows.times(one) for one in b])


def _log_total(scores: Floats) -> Floats:
    """Return log sum_c e^{s_c} of scores [C, n], [n]."""
    highest = scores.max(0)
    total: Floats = highest + np.log(np.exp(scores - highest).sum(0))
    return total
