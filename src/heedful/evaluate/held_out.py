"""How a policy ranks units that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heedful.contract import Streams
from heedful.evaluate.checked import FloatArray
from heedful.evaluate.ranking import ranks
from heedful.policy import Policy

LOGITS = frozenset({"logits"})

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Leave-one-out: the last unit of every stream is for testing, the one before for validation.

    Streams of fewer than three units are trained on whole. Arrays hold slot numbers.

    Attributes:
        train: bool [U].
        validation, test: int64, one a stream.
    """

    train: npt.NDArray[np.bool_]
    validation: Ints
    test: Ints


def leave_one_out(streams: Streams) -> Split:
    """Return who is trained on, validated on and tested on."""
    counts = np.diff(streams.slot_offsets)
    last = streams.slot_offsets[1:][counts >= 3] - 1
    train = np.ones(len(streams.slots.unit), dtype=bool)
    train[last] = False
    train[last - 1] = False
    return Split(train, last - 1, last)


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
    order = slots[np.argsort(streams.slots.event[slots], kind="stable")]
    for low in range(0, len(order), batch):
        rows = order[low : low + batch]
        block = streams.batch([streams.single(int(slot), window) for slot in rows], seen=seen)
        logits = policy.forward(block, LOGITS).logits
        assert logits is not None
        yield rows, logits


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
