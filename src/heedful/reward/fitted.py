"""What a reward has learned, to and from a folder: safetensors, never pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from heedful.config import Reward as RewardSection
from heedful.record import Kind
from heedful.reward.classes import TextClassifier
from heedful.reward.clips import ClipReward
from heedful.reward.comments import CommentReader, Comments
from heedful.reward.ensemble import pessimistic
from heedful.reward.replies import NgramReward
from heedful.reward.rewards import RewardError, said
from heedful.reward.subjects import SubjectScales
from heedful.store.snapshot import Snapshot

Floats = npt.NDArray[np.float64]
Part = TypeVar("Part")

COMMENTS, SUBJECTS, ANSWERS = "comments.safetensors", "subjects.safetensors", "answers"
REPLIES, CLASSES = "replies.safetensors", "classes.safetensors"
CLIPS = "clips.safetensors"
"""What stands in a folder of a fitted reward; ``answers`` is a folder, of the click model."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The parts of a fitted reward that need no network.

    Attributes:
        comments: reads ratings from words, ``None`` where comments are not read.
        scales: how each subject uses the rating scale, ``None`` where that is not looked at.
        replies: what replies are worth by their words, ``None`` where units are not words.
        classes: reads intents, emotions or other labels from messages, ``None`` where there are
            none to learn from.
        clips: what steps are worth, from comparisons of clips, ``None`` where nobody was asked.
    """

    comments: CommentReader | None = None
    scales: SubjectScales | None = None
    replies: NgramReward | None = None
    classes: TextClassifier | None = None
    clips: ClipReward | None = None

    def save(self, folder: Path) -> None:
        """Write its numbers into ``folder``."""
        parts = {
            COMMENTS: self.comments,
            SUBJECTS: self.scales,
            REPLIES: self.replies,
            CLASSES: self.classes,
            CLIPS: self.clips,
        }
        for name, part in parts.items():
            if part is not None:
                save_file(part.tensors(), folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            RewardError: a file is damaged or of another format.
        """
        return cls(
            _loaded(folder / COMMENTS, CommentReader.from_tensors),
            _loaded(folder / SUBJECTS, SubjectScales.from_tensors),
            _loaded(folder / REPLIES, NgramReward.from_tensors),
            _loaded(folder / CLASSES, TextClassifier.from_tensors),
            _loaded(folder / CLIPS, _clips),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReadRatings:
    """Ratings from 0 to 1: given; or read from a comment that came without one.

    Where scales are known, either is made comparable between subjects.

    Attributes:
        section: lowest and highest rating, maturity, pessimism.
        reader: of comments, if they are read.
        scales: of subjects, if ratings are normalised.
    """

    section: RewardSection
    reader: CommentReader | None = None
    scales: SubjectScales | None = None

    def __call__(self, snapshot: Snapshot) -> Floats:
        """Return [M]."""
        low, high = self.section.rating_min, self.section.rating_max
        within = self.section.maturity or None
        rating = said(snapshot, Kind.RATING, within=within)
        if self.reader is not None:
            rating = self._completed(rating, Comments.of(snapshot, within=within), snapshot)
        scaled = np.clip((rating - low) / (high - low), 0.0, 1.0)
        if self.scales is None:
            return scaled
        rated = np.flatnonzero(~np.isnan(scaled))
        codes = snapshot.decisions.subject[snapshot.decisions.of_unit[rated]].tolist()
        scaled[rated] = self.scales(scaled[rated], [snapshot.names.subjects[c] for c in codes])
        return scaled

    def _completed(self, rating: Floats, comments: Comments, snapshot: Snapshot) -> Floats:
        """Fill in what was written about and not rated; several people's readings are averaged."""
        assert self.reader is not None
        rows = np.flatnonzero(np.isnan(rating[comments.units]))
        if not len(rows):
            return rating
        texts = [comments.texts[row] for row in rows.tolist()]
        owners = [snapshot.names.people[code] for code in comments.people[rows].tolist()]
        found = self.reader.read(texts, owners)
        low = self.section.rating_min
        read = pessimistic(found.mean, found.spread, self.section.pessimism, low=low)
        units = comments.units[rows]
        counts = np.bincount(units, minlength=len(rating))
        totals = np.bincount(units, weights=read, minlength=len(rating))
        return np.where(counts > 0, totals / np.maximum(counts, 1), rating)


def _clips(tensors: Mapping[str, npt.NDArray[Any]]) -> ClipReward:
    if "0.coefficients" in tensors:
        return ClipReward.from_tensors(tensors)
    from heedful.reward.clip_network import NetworkSteps  # and with it torch

    return ClipReward.from_tensors(tensors, NetworkSteps)


def _loaded(file: Path, read: Callable[[Mapping[str, npt.NDArray[Any]]], Part]) -> Part | None:
    if not file.exists():
        return None
    try:
        return read(load_file(file))
    except (ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
        raise RewardError(
            f"{file} holds no fitted reward that can be read: {error}. Restore it from a copy, or "
            "fit anew: heedful reward"
        ) from error
