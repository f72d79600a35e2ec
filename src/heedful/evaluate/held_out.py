"""How a policy ranks, or expects, units it was not trained on, and which units those are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heedful.contract import Streams, Window
from heedful.evaluate.checked import FloatArray
from heedful.evaluate.ranking import ndcg, ranks
from heedful.policy import Batch, Policy

LOGITS, LOGPS = frozenset({"logits"}), frozenset({"logps"})
_SLOTS = 4096  # whose logits are in memory at once

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """What is trained on, what chooses among what was trained, and what is looked at last.

    Attributes:
        train: bool [U].
        validation, test: int64, slot numbers, ascending.
    """

    train: npt.NDArray[np.bool_]
    validation: Ints
    test: Ints


def leave_one_out(streams: Streams) -> Split:
    """Hold out the last unit of every stream for the test, the one before for validation.

    Streams of fewer than three units are trained on whole.
    """
    counts = np.diff(streams.slot_offsets)
    last = streams.slot_offsets[1:][counts >= 3] - 1
    train = np.ones(len(streams.slots.unit), dtype=bool)
    train[last] = False
    train[last - 1] = False
    return Split(train, last - 1, last)


def by_time(streams: Streams, made_at: FloatArray, share: float = 0.1) -> Split:
    """Hold out what was chosen after a moment in time, the same moment for all subjects.

    Leave-one-out trains on what others did after a subject's test unit; a policy that goes live
    cannot. Here the latest ``share`` of all units is for the test, the ``share`` before it for
    validation, and only what comes before both is trained on. A held-out unit is predicted from
    all that its own subject did before it, also after the cut, as a server would do; so subjects
    who came after the cut count, and start from nothing. Units of one moment are never parted.

    An event counts as late as the latest that stands before it in its stream: old history that
    was imported after newer one is not trained on with the newer one in view. Answers belong to
    the decision they answer, whenever they came.

    Args:
        streams: what was encoded.
        made_at: [N], seconds, of every decision of the snapshot that was encoded.
        share: of the units, for each of the two; within (0, 0.5).

    Raises:
        ValueError: the rows carry no times that are comparable between subjects, or too few
            moments to cut at.
    """
    slots, n = streams.slots, len(streams.slots.unit)
    moments, moment = np.unique(made_at[slots.decision], return_inverse=True)
    _refuse_running_numbers(streams, moments[moment])
    stream = slots.stream * np.int64(len(moments) + 1)
    moment = np.maximum.accumulate(stream + moment) - stream
    held_out = min(max(1, round(share * n)), (n - 1) // 2)
    ordered = np.sort(moment)
    if n < 3 or not ordered[0] < ordered[n - 2 * held_out] < ordered[n - held_out]:
        raise ValueError(
            f"{n} units at {len(moments)} different times cannot be split by time at "
            f"{1 - 2 * share:.0%} and {1 - share:.0%}: import more, or set pretrain.split = "
            '"leave-one-out"'
        )
    first, second = ordered[n - 2 * held_out], ordered[n - held_out]
    train = moment < first
    return Split(
        train, np.flatnonzero(~train & (moment < second)), np.flatnonzero(moment >= second)
    )


def by_episode(streams: Streams, place: FloatArray, share: float = 0.1) -> Split:
    """Hold out whole episodes: a ``share`` for the test, and as many for validation.

    An episode is held out or not by its own number alone, so that it stays on its side as the log
    grows, and a version that is trained further has never seen what it is judged on.

    Args:
        streams: what was encoded.
        place: [N], within [0, 1), alike for all decisions that belong together: those below
            ``share`` are for the test, those between it and twice ``share`` for validation.
        share: within (0, 0.5).
    """
    at = place[streams.slots.decision]
    return Split(
        at >= 2 * share,
        np.flatnonzero((at >= share) & (at < 2 * share)),
        np.flatnonzero(at < share),
    )


def _refuse_running_numbers(streams: Streams, at: FloatArray) -> None:
    """Refuse "times" that count the rows of each subject: 0, 1, 2, ..., or the lines of a file."""
    counts = np.diff(streams.slot_offsets)
    place = np.arange(len(at)) - np.repeat(streams.slot_offsets[:-1], counts)
    begin = np.repeat(at[streams.slot_offsets[:-1][counts > 0]], counts[counts > 0])
    counted = at - begin == place
    if len(np.unique(at)) < len(at):
        counted &= (begin >= 0) & (begin <= 1)
    later = place > 0
    if np.count_nonzero(counts) > 1 and later.any() and counted[later].mean() > 0.5:
        raise ValueError(
            "the log has no times that are comparable between subjects: its rows are numbered "
            "within each subject. Import with a column of times, or set "
            'pretrain.split = "leave-one-out"'
        )


def subject_means(streams: Streams, slots: Ints, values: FloatArray) -> FloatArray:
    """Return the mean of ``values`` [n] over the slots of each stream that has any, [S'].

    So that a subject counts once, however many of its units are held out: what was measured on
    one person is not independent, and :func:`heedful.evaluate.bootstrap` draws persons.
    """
    _, place, counts = np.unique(
        streams.slots.stream[slots], return_inverse=True, return_counts=True
    )
    means: FloatArray = np.bincount(place, weights=values) / counts
    return means


def fresh_targets(streams: Streams, slots: Ints) -> Ints:
    """Return those of ``slots`` whose unit its subject had not seen before."""
    keys = streams.slots.stream * np.int64(streams.schema.size) + streams.slots.unit
    order = np.argsort(keys, kind="stable")
    first = np.zeros(len(keys), dtype=bool)
    first[order] = np.diff(keys[order], prepend=-1) != 0
    fresh: Ints = slots[first[slots]]
    return fresh


@torch.no_grad()
def scored(
    policy: Policy,
    streams: Streams,
    slots: Ints,
    *,
    window: int,
    seen: bool,
    batch: int = 256,
) -> Iterator[tuple[Ints, Tensor]]:
    """Yield slot numbers and the logits at them, [n, V], minus infinity where seen ones are out.

    Args:
        policy: in evaluation mode.
        streams: what was encoded.
        slots: int64, slot numbers.
        window: events a stream is long.
        seen: False filters what the subject has had before out of the ranking.
        batch: rows at a time.
    """
    for decided, part in decisions(streams, slots, window=window, seen=seen, batch=batch):
        logits = policy.forward(part, LOGITS).logits
        assert logits is not None
        yield decided, logits


def decisions(
    streams: Streams, slots: Ints, *, window: int, seen: bool | None, batch: int = 256
) -> Iterator[tuple[Ints, Batch]]:
    """Yield slot numbers and batches in which just these are asked for; see :func:`scored`.

    With ``seen=None`` each is chosen from what was possible there when it was decided.
    """
    wanted = np.zeros(len(streams.slots.unit), dtype=bool)
    wanted[slots] = True
    for group in _groups(streams.stretches(np.flatnonzero(wanted), window), batch):
        decided = np.concatenate([np.array(row.slots) for row in group])
        kept = wanted[decided]
        part = streams.batch(group, seen=seen)
        asked = part.mask.clone()
        asked[part.mask] = torch.from_numpy(kept)
        yield decided[kept], part.filled(mask=asked)


def _groups(rows: list[Window], batch: int) -> Iterator[list[Window]]:
    """Yield rows of like length together, at most ``batch`` of them and about ``_SLOTS`` slots."""
    group: list[Window] = []
    for row in sorted(rows, key=lambda row: row.last):
        if group and (
            len(group) == batch or sum(len(r.slots) for r in group) + len(row.slots) > _SLOTS
        ):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def held_out_ranks(
    policy: Policy, streams: Streams, slots: Ints, *, window: int, seen: bool = False
) -> FloatArray:
    """Return the rank of the unit that was chosen in each of ``slots``, from 1, ties half, [n].

    The ranking is over the full vocabulary, never a sample of it.
    """
    found = np.empty(len(streams.slots.unit))
    for rows, logits in scored(policy, streams, slots, window=window, seen=seen):
        found[rows] = ranks(logits.numpy(), streams.slots.unit[rows])
    wanted: FloatArray = found[slots]
    return wanted


def held_out_ndcg(
    policy: Policy, streams: Streams, slots: Ints, *, window: int, seen: bool = False, k: int = 10
) -> float:
    """Return the mean NDCG@k of ``slots``, of which there is at least one; subjects count alike."""
    found = held_out_ranks(policy, streams, slots, window=window, seen=seen)
    return float(subject_means(streams, slots, ndcg(found, k)).mean())


@torch.no_grad()
def held_out_nll(
    policy: Policy, streams: Streams, slots: Ints, *, window: int, batch: int = 32
) -> FloatArray:
    """Return - log p of the unit that was chosen in each of ``slots``, in nats, [n].

    Given what the server would have shown its policy, of what was possible when it was chosen.

    Args:
        policy: in evaluation mode.
        streams: what was encoded.
        slots: int64, slot numbers.
        window: events a stream is long.
        batch: rows at a time.
    """
    found = np.zeros(len(streams.slots.unit))
    for decided, part in decisions(streams, slots, window=window, seen=None, batch=batch):
        logps = policy.forward(part, LOGPS).logps
        assert logps is not None
        found[decided] = -logps[part.mask].double().numpy()
    wanted: FloatArray = found[slots]
    return wanted
