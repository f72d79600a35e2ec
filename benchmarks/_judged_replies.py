"""Replies that people compared, real ones, and what others say of them without a reward model."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks._data import real
from heedful.reward import Comparisons
from heedful.reward.exchanges import log_lengths
from heedful.reward.folds import even_folds

FOLDS = 5
TURN = "\n\nAssistant:"
ANNOTATORS = 3


@dataclass(frozen=True)
class Pairs:
    """Compared replies in folds of prompts.

    Attributes:
        name: of the set.
        judged: what is learned from, a row for each answer.
        pair: int64 [rows], which pair each row is of.
        outcomes: float64 [pairs], what most people said; NaN where they did not agree.
        fold: int64 [rows].
    """

    name: str
    judged: Comparisons
    pair: np.ndarray
    outcomes: np.ndarray
    fold: np.ndarray

    def first_rows(self) -> np.ndarray:
        """Return one row for each pair, int64 [pairs]."""
        return np.unique(self.pair, return_index=True)[1]


def harmless(most: int | None = None) -> Pairs:
    """Return hh-rlhf's harmless pairs; which side the chosen reply stands on is drawn."""
    with gzip.open(real("hh-harmless", "pairs.jsonl.gz"), "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream][:most]
    flipped = np.random.default_rng(0).random(len(rows)) < 0.5
    prompts, first, second = [], [], []
    for row, flip in zip(rows, flipped.tolist(), strict=True):
        parted = zip(row["chosen"], row["rejected"], strict=False)
        same = next((i for i, (a, b) in enumerate(parted) if a != b), len(row["chosen"]))
        cut = row["chosen"].rindex(TURN, 0, same) + len(TURN)
        sides = [row["chosen"][cut:].strip(), row["rejected"][cut:].strip()]
        prompts.append(row["chosen"][: cut - len(TURN)].strip())
        first.append(sides[flip])
        second.append(sides[not flip])
    outcomes = np.where(flipped, 0.0, 1.0)
    opening = [prompt.partition(TURN)[0] for prompt in prompts]
    judged = Comparisons.of(prompts, first, second, outcomes, groups=opening)
    fold = even_folds(opening, FOLDS)
    return Pairs("hh-harmless", judged, np.arange(len(rows)), outcomes, fold)


def pandalm() -> Pairs:
    """Return PandaLM's pairs, a row for each of three people's answers."""
    with gzip.open(real("pandalm", "testset-v1.json.gz"), "rt", encoding="utf-8") as stream:
        rows = json.load(stream)
    said = {0: 0.5, 1: 1.0, 2: 0.0}
    prompts, first, second, outcomes, most, pair = [], [], [], [], [], []
    for number, row in enumerate(rows):
        answers = [said[row[f"annotator{i + 1}"]] for i in range(ANNOTATORS)]
        [(winner, votes)] = Counter(answers).most_common(1)
        most.append(winner if votes > 1 else np.nan)
        for answer in answers:
            prompts.append(f"{row['instruction']}\n{row['input']}".strip())
            first.append(str(row["response1"]))
            second.append(str(row["response2"]))
            outcomes.append(answer)
            pair.append(number)
    weights = np.full(len(prompts), 1.0 / ANNOTATORS)
    judged = Comparisons.of(prompts, first, second, outcomes, weights=weights)
    return Pairs("PandaLM", judged, np.array(pair), np.array(most), even_folds(prompts, FOLDS))


def longer_leads(judged: Comparisons) -> np.ndarray:
    """Return by how many characters the first reply is longer, [n]."""
    pairs = zip(judged.first, judged.second, strict=True)
    return np.array([float(len(one) - len(two)) for one, two in pairs])


def peer_leads(pairs: Pairs, at: np.ndarray) -> np.ndarray | None:
    """Return the leads that scikit-learn's TF-IDF and logistic regression give, out of fold.

    The difference of two TF-IDF rows and of two logarithms of lengths, of the rows ``at``; ``None``
    where scikit-learn is not installed: it is no dependency of the project.
    """
    try:
        from scipy import sparse
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return None
    judged, found = pairs.judged, np.zeros(len(pairs.judged))
    longer = (log_lengths(judged.first) - log_lengths(judged.second))[:, None]
    for number in range(FOLDS):
        seen, left = (np.flatnonzero(mask) for mask in (pairs.fold != number, pairs.fold == number))
        told = seen[judged.outcomes[seen] != 0.5]
        tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        tfidf.fit([side[i] for side in (judged.first, judged.second) for i in seen.tolist()])
        rows = tfidf.transform(judged.first) - tfidf.transform(judged.second)
        rows = sparse.hstack([rows, sparse.csr_matrix(longer)]).tocsr()
        model = LogisticRegression(max_iter=300).fit(rows[told], judged.outcomes[told])
        found[left] = model.decision_function(rows[left])
    return found[at]


def bag_of_words(
    texts: list[str], labels: list[str], fresh: list[str], true: list[str]
) -> tuple[float, float] | None:
    """Return the accuracy and log-loss of scikit-learn's logistic regression on counts of words."""
    try:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return None
    counts = CountVectorizer(min_df=2)
    model = LogisticRegression(max_iter=300).fit(counts.fit_transform(texts), labels)
    found = model.predict_proba(counts.transform(fresh))
    truth = np.searchsorted(model.classes_, true)
    loss = -np.log(found[np.arange(len(truth)), truth]).mean()
    return float((found.argmax(1) == truth).mean()), float(loss)


def over_groups(values: np.ndarray, groups: Sequence[str]) -> tuple[float, float]:
    """Return a 95 % interval of the mean of ``values`` [n] by drawing ``groups`` anew."""
    _, which = np.unique(groups, return_inverse=True)
    totals, counts = np.bincount(which, weights=values), np.bincount(which)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), 2000)
    low, high = np.quantile((drawn @ totals) / (drawn @ counts), (0.025, 0.975))
    return float(low), float(high)


def right(leads: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Return 1 where the one that leads won, 1/2 where neither leads, else 0, [n]."""
    return np.where(leads == 0, 0.5, (leads > 0) == (outcomes == 1.0))


def sign_test(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Return the exact two-sided probability of so uneven a split of the pairs they differ on.

    McNemar's test: of n pairs that one of two gets right alone, how many each gets is binomial
    with probability 1/2 if they are equally good. Half rights are left out.

    >>> round(sign_test([1, 1, 1, 1, 0], [0, 0, 0, 0, 0]), 3)
    0.125
    """
    gap = np.asarray(a) - np.asarray(b)
    better, worse = int((gap == 1).sum()), int((gap == -1).sum())
    n, fewer = better + worse, min(better, worse)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    return min(1.0, 2 * tail) if n else 1.0
