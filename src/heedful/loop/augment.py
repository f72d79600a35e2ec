"""Rows and batches of pre-training with something changed, so that none is learned by heart.

What is asked for stays as it was; only what is read before it changes. Cropping and masking are
those of Xie et al., CL4SRec (arXiv 2010.14395, section 3.3), substitution that of Liu et al.,
CoSeRec (arXiv 2108.06479, section 3.2), all without their contrastive loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heedful.contract import Streams, Window
from heedful.policy import Batch, EventKind

SHORTEST = 0.5
"""Share of its slots that a cropped row keeps at least."""
GAP = 10
"""Units this far apart in a sequence still count as seen together."""


def crop(
    streams: Streams, rows: Sequence[Window], share: float, rng: np.random.Generator
) -> list[Window]:
    """Return rows of which a ``share`` is cut to a random stretch, of half its slots or more.

    What stood before the stretch is not read, and what stood outside is not asked for in this pass.
    """
    chosen = rng.random(len(rows)) < share
    return [
        _stretch(streams, row, rng) if cut else row for row, cut in zip(rows, chosen, strict=True)
    ]


def _stretch(streams: Streams, row: Window, rng: np.random.Generator) -> Window:
    n = len(row.slots)
    kept = int(rng.integers(max(1, round(SHORTEST * n)), n + 1))
    low = row.slots.start + int(rng.integers(n - kept + 1))
    return streams.part(row, range(low, low + kept), from_first=True)


def mask(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """Return a batch in which a ``share`` of the units are read as unknown; targets stay."""
    if not share:
        return batch
    return replace(batch, events=batch.events.hide(_drawn(batch, share, rng)))


def hide_feedback(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """Return a batch in which a share of the feedback in the history is unknown.

    So that a policy is at home where nobody has answered yet. Targets stay.
    """
    if not share:
        return batch
    events = batch.events
    hidden = _drawn(batch, share, rng)
    return replace(
        batch,
        events=replace(
            events,
            channel=events.channel.masked_fill(hidden, 0),
            value=events.value.masked_fill(hidden, 0.0),
        ),
    )


def _drawn(batch: Batch, share: float, rng: np.random.Generator) -> Tensor:
    """Return bool [B, L]: a ``share`` of the events that are units."""
    drawn = torch.from_numpy(rng.random(tuple(batch.events.kind.shape)) < share)
    return drawn & (batch.events.kind == EventKind.UNIT)


@dataclass(frozen=True, slots=True, eq=False)
class Similar:
    """Which units stand near the same others in what is learned from.

    Attributes:
        nearest: int64 [V, k], the most similar units, the nearest first; -1 where there are fewer.
    """

    nearest: npt.NDArray[np.int64]

    @classmethod
    def fit(cls, sequences: Sequence[npt.NDArray[np.int64]], size: int, *, k: int = 10) -> Self:
        """Count who stands near whom.

            similarity(i, j) = sum over pairs at most 10 apart of 1 / distance, by sqrt(n_i n_j)

        Args:
            sequences: unit indexes, one array a subject.
            size: V.
            k: how many to keep of each.
        """
        flat = np.concatenate([np.empty(0, np.int64), *sequences])
        owner = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
        counts = np.bincount(flat, minlength=size)
        pairs, weight = _near(flat, owner, size)
        one, other = np.divmod(pairs, size)
        score = weight / np.sqrt(counts[one] * counts[other])
        order = np.lexsort((other, -score, one))
        one, other = one[order], other[order]
        place = np.arange(len(one)) - np.searchsorted(one, one)
        nearest = np.full((size, k), -1, dtype=np.int64)
        nearest[one[place < k], place[place < k]] = other[place < k]
        return cls(nearest)

    def substitute(self, batch: Batch, share: float, rng: np.random.Generator) -> Batch:
        """Return a batch in which a ``share`` of the units are read as similar ones; targets stay.

        Units that a later event of their row speaks of are left alone, and so are those that are
        similar to none.
        """
        if not share:
            return batch
        events = batch.events
        table = torch.from_numpy(self.nearest)
        candidates = table[events.unit.clamp(min=0)]  # [B, L, k]
        n = (candidates >= 0).sum(-1)
        pick = torch.from_numpy(rng.random(tuple(n.shape)))
        pick = (pick * n).long().clamp(max=table.shape[1] - 1)
        other = candidates.gather(-1, pick[..., None])[..., 0]
        spoken = torch.where(events.kind == EventKind.UNIT, -2, events.unit)
        free = ~(events.unit[:, :, None] == spoken[:, None, :]).any(-1)
        changed = _drawn(batch, share, rng) & free & (events.unit >= 0) & (n > 0)
        return replace(batch, events=replace(events, unit=torch.where(changed, other, events.unit)))


def _near(
    flat: npt.NDArray[np.int64], owner: npt.NDArray[np.int64], size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return pairs of different units as i * V + j, ascending, both ways round, and how near."""
    codes, weights = [np.empty(0, np.int64)], [np.empty(0)]
    for gap in range(1, GAP + 1):
        one, other = flat[:-gap], flat[gap:]
        together = (owner[:-gap] == owner[gap:]) & (one != other)
        found, times = np.unique(
            np.concatenate([(one * size + other)[together], (other * size + one)[together]]),
            return_counts=True,
        )
        codes.append(found)
        weights.append(times / gap)
    pairs, place = np.unique(np.concatenate(codes), return_inverse=True)
    near = np.bincount(place, weights=np.concatenate(weights), minlength=len(pairs))
    return pairs, near.astype(np.float64)
