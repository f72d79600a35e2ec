"""What a comment is worth: a rating read from its words, learned from people who gave both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from heedful.record import ALL_UNITS, Kind
from heedful.reward.ensemble import agreement, resamples
from heedful.reward.folds import FOLDS, even_folds, fold_of
from heedful.reward.isotonic import Calibration
from heedful.reward.ngrams import Floats, Ints, Rows, words
from heedful.reward.rewards import RewardError
from heedful.reward.ridge import ridge
from heedful.store.snapshot import Snapshot

WHOLE = FOLDS
"""The place of the model that was trained on all folds, behind those that left one out."""

FEWEST_PAIRS = 30
FEWEST_BESIDE_A_FOLD = 20
PENALTIES = (4.0, 2.0, 1.0, 0.5, 0.25)
_INNER_FOLDS = 4
_KINDS = list(Kind)


@dataclass(frozen=True, slots=True, eq=False)
class Comments:
    """What people wrote about units, one row a unit and person.

    Attributes:
        texts: all that one person wrote about one unit, in the order of the log.
        units: int64 [n], the flat unit of the snapshot.
        people: int32 [n], codes of those who wrote.
    """

    texts: list[str]
    units: Ints
    people: npt.NDArray[np.int32]

    @classmethod
    def of(cls, snapshot: Snapshot, *, within: float | None = None) -> Self:
        """Return the comments of ``snapshot`` that were not taken back and say something.

        Args:
            snapshot: what happened.
            within: only comments that arrived at most this many seconds after their decision.
        """
        rows = _about_units(snapshot, Kind.COMMENT, within)
        written: dict[tuple[int, int], list[str]] = {}
        for row, unit in zip(rows.tolist(), _flat(snapshot, rows).tolist(), strict=True):
            text = snapshot.feedback.texts[row]
            if words(text):
                written.setdefault((unit, int(snapshot.feedback.by[row])), []).append(text)
        return cls(
            ["\n".join(texts) for texts in written.values()],
            np.array([unit for unit, _ in written], np.int64),
            np.array([person for _, person in written], np.int32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Comments whose rating is known.

    Attributes:
        texts: n of them.
        ratings: float64 [n].
        owners: n names; what one owner wrote is never read by a model that saw any of it.
    """

    texts: Sequence[str]
    ratings: Floats
    owners: Sequence[str]

    @classmethod
    def of(cls, snapshot: Snapshot, train: npt.NDArray[np.bool_] | None = None) -> Self:
        """Return the comments of ``snapshot`` with the rating the same person gave the same unit.

        Args:
            snapshot: what happened.
            train: bool [M], the units that may be learned from; all by default.
        """
        comments, rows = Comments.of(snapshot), _about_units(snapshot, Kind.RATING, None)
        by = snapshot.feedback.by[rows].tolist()
        values = snapshot.feedback.value[rows].tolist()
        rated = dict(zip(zip(_flat(snapshot, rows).tolist(), by, strict=True), values, strict=True))
        keys = list(zip(comments.units.tolist(), comments.people.tolist(), strict=True))
        kept = [
            i for i, key in enumerate(keys) if key in rated and (train is None or train[key[0]])
        ]
        return cls(
            [comments.texts[i] for i in kept],
            np.array([rated[keys[i]] for i in kept], np.float64),
            [snapshot.names.people[keys[i][1]] for i in kept],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Ratings read from n texts, on the scale they were learned on.

    Attributes:
        mean: float64 [n], the expected rating: a reward. NaN where a text says nothing.
        median: float64 [n], the rating that comes nearest on average.
        spread: float64 [n], standard deviation of the mean over the members.
    """

    mean: Floats
    median: Floats
    spread: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """One linear model on hashed n-grams, and the calibration of what it says.

    Attributes:
        places: int64 [P], columns with a coefficient; all others have 0.
        coefficients: float64 [P].
        calibration: from its score to a distribution over ratings.
        penalty: which of :data:`PENALTIES` predicted best.
    """

    places: Ints
    coefficients: Floats
    calibration: Calibration
    penalty: float

    def score(self, rows: Rows) -> Floats:
        """Return the score of rows [n, D], [n]."""
        everywhere = np.zeros(rows.width)
        everywhere[self.places] = self.coefficients
        return rows.times(everywhere)

    @classmethod
    def fit(cls, rows: Rows, ratings: Floats, weights: Floats, owners: Sequence[str]) -> Self:
        """Fit it to n rows; everything that is chosen is chosen on scores of rows left out.

        Ridge regression on the ratings, its penalty by squared error over inner folds of owners,
        and a calibration on the scores of those folds.

        Args:
            rows: [n, D].
            ratings: [n].
            weights: [n]; rows of weight 0 are not there.
            owners: [n] names; the inner folds keep the rows of one together.
        """
        there = np.flatnonzero(weights)
        rows, places = rows.take(there).compact()
        y, w = ratings[there], weights[there]
        centre = float(np.average(y, weights=w))
        folds = even_folds([owners[i] for i in there.tolist()], _INNER_FOLDS)
        scores = _left_out_scores(rows, y - centre, w, folds)
        errors = [float((w * (score - y + centre) ** 2).sum()) for score in scores]
        best = int(np.argmin(errors))
        calibration = Calibration.fit(scores[best] + centre, y, w)
        coefficients = ridge(rows, y - centre, w, PENALTIES[best])
        coefficients[-1] += centre
        return cls(places, coefficients, calibration, PENALTIES[best])


@dataclass(frozen=True, slots=True, eq=False)
class CommentReader:
    """Reads ratings from comments: K members, each of which left every owner out once.

    Attributes:
        members: K tuples of :data:`FOLDS` + 1 readers: number f has not seen the owners of fold f,
            the last one has seen all.
        pairs: how many pairs it was fitted to.
    """

    members: tuple[tuple[Reader, ...], ...]
    pairs: int

    @classmethod
    def fit(cls, pairs: Pairs, *, members: int = 1, seed: int = 0) -> Self:
        """Fit it to comments with known ratings.

        Args:
            pairs: at least :data:`FEWEST_PAIRS` that say something, of owners in several folds.
            members: K; above 1 each is fitted to another draw of the owners.
            seed: of the draws.

        Raises:
            RewardError: there are too few pairs, or too few owners.
        """
        kept = [i for i, text in enumerate(pairs.texts) if words(text)]
        owners = [pairs.owners[i] for i in kept]
        folds = fold_of(owners)
        _require(len(kept), folds)
        rows, ratings = Rows.of([pairs.texts[i] for i in kept]), pairs.ratings[kept]
        fitted = []
        for weights in resamples(np.array(owners), members, seed):
            left_out = [
                Reader.fit(rows, ratings, weights * (folds != fold), owners)
                for fold in range(FOLDS + 1)  # no owner is in the last fold, so it sees all
            ]
            fitted.append(tuple(left_out))
        return cls(tuple(fitted), len(kept))

    def read(self, texts: Sequence[str], owners: Sequence[str] | None = None) -> Readings:
        """Read the ratings of n texts.

        Args:
            texts: n of them.
            owners: n names; each is read by the models that have not seen that owner. ``None``:
                by those that have seen everybody, for texts that were not learned from.
        """
        rows = Rows.of(texts)
        folds = np.full(len(rows), WHOLE) if owners is None else fold_of(owners)
        means, medians = (np.full((len(self.members), len(rows)), np.nan) for _ in range(2))
        for number, readers in enumerate(self.members):
            for fold in np.unique(folds).tolist():
                here = np.flatnonzero(folds == fold)
                score = readers[fold].score(rows.take(here))
                means[number, here] = readers[fold].calibration.mean(score)
                medians[number, here] = readers[fold].calibration.median(score)
        silent = np.array([not words(text) for text in texts], bool)
        means[:, silent], medians[:, silent] = np.nan, np.nan
        mean, spread = agreement(means)
        return Readings(mean, np.median(medians, axis=0), spread)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return all its numbers by name, coefficients as float32."""
        readers = [reader for member in self.members for reader in member]
        found: dict[str, npt.NDArray[Any]] = {
            "pairs": np.array([self.pairs]),
            "penalties": np.array([reader.penalty for reader in readers]),
        }
        for number, reader in enumerate(readers):
            found[f"{number}.places"] = reader.places.astype(np.int32)
            found[f"{number}.coefficients"] = reader.coefficients.astype(np.float32)
            for name in Calibration.__slots__:
                found[f"{number}.{name}"] = getattr(reader.calibration, name)
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the reader whose numbers :meth:`tensors` gave.

        Raises:
            KeyError, ValueError: it is something else.
        """
        readers = []
        for number, penalty in enumerate(tensors["penalties"].tolist()):
            calibration = Calibration(*(tensors[f"{number}.{n}"] for n in Calibration.__slots__))
            places = tensors[f"{number}.places"].astype(np.int64)
            coefficients = tensors[f"{number}.coefficients"].astype(np.float64)
            readers.append(Reader(places, coefficients, calibration, penalty))
        size = FOLDS + 1
        members = [tuple(readers[i : i + size]) for i in range(0, len(readers), size)]
        if not members or len(members[-1]) != size:
            raise ValueError(f"{len(readers)} readers, expected a multiple of {size}")
        return cls(tuple(members), int(tensors["pairs"][0]))


def _require(n: int, folds: Ints) -> None:
    """Refuse what is too little to learn from.

    Raises:
        RewardError: says how many pairs there are and how many it takes.
    """
    if n < FEWEST_PAIRS:
        raise RewardError(
            f"{n} comments come with a rating by the same person for the same unit; reading "
            f"comments takes at least {FEWEST_PAIRS}. Collect more, or name a file of comments "
            "with ratings as reward.comments_file"
        )
    most = int(np.bincount(folds).max())
    if n - most < FEWEST_BESIDE_A_FOLD:
        raise RewardError(
            f"{most} of the {n} pairs of comment and rating come from people who have to be left "
            f"out together; at least {FEWEST_BESIDE_A_FOLD} must come from others. Collect more"
        )


def _left_out_scores(rows: Rows, y: Floats, w: Floats, folds: Ints) -> Floats:
    """Return the score of each row by a model that was not trained on it, [penalties, n]."""
    scores = np.zeros((len(PENALTIES), len(y)))
    for fold in np.unique(folds).tolist():
        seen, left = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        known, unknown, b = rows.take(seen), rows.take(left), None
        for number, penalty in enumerate(PENALTIES):
            b = ridge(known, y[seen], w[seen], penalty, start=b)
            scores[number, left] = unknown.times(b)
    return scores


def _about_units(snapshot: Snapshot, kind: Kind, within: float | None) -> Ints:
    """Return the rows of feedback of ``kind`` about units that stand."""
    decisions, feedback = snapshot.decisions, snapshot.feedback
    chosen = (feedback.kind == _KINDS.index(kind)) & ~feedback.retracted
    chosen &= (feedback.retracts < 0) & (feedback.decision >= 0)
    if within is not None:
        late = feedback.received_at - decisions.made_at[np.maximum(feedback.decision, 0)]
        chosen &= late <= within
    return np.flatnonzero(chosen)


def _flat(snapshot: Snapshot, rows: Ints) -> Ints:
    """Return the flat unit each row of feedback speaks of; of a whole decision, its last one."""
    offsets = snapshot.decisions.offsets
    decision, position = snapshot.feedback.decision[rows], snapshot.feedback.unit[rows]
    last = offsets[decision + 1] - 1
    flat: Ints = np.where(position == ALL_UNITS, last, offsets[decision] + position)
    return flat
