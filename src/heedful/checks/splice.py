"""Cutting and joining events, so that one stream can be read in many ways."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from heedful.policy import Batch, Choices, EventKind, Events, Schema

_NOTHING = {
    "kind": int(EventKind.PAD),
    "unit": -1,
    "channel": 0,
    "value": 0.0,
    "features": 0.0,
    "time": math.nan,
}


def cut(events: Events, first: Tensor, last: Tensor) -> Events:
    """Return columns ``first`` to ``last`` (exclusive; both int64 [B]) of each row, moved left."""
    lengths = (last - first).clamp(min=0)
    offset = torch.arange(int(lengths.max()))
    row, place = torch.nonzero(offset < lengths[:, None], as_tuple=True)
    columns = {}
    for name, nothing in _NOTHING.items():
        column = getattr(events, name)
        columns[name] = column.new_full((len(events), len(offset), *column.shape[2:]), nothing)
        columns[name][row, place] = column[row, first[row] + place]
    return Events(**columns, lengths=lengths)


def joined(events: Events, more: Events) -> Events:
    """Return each row of ``events`` followed by the same row of ``more``."""
    lengths = events.lengths + more.lengths
    width = int(lengths.max())
    columns = {}
    for name, nothing in _NOTHING.items():
        shape = getattr(events, name).shape[2:]
        columns[name] = getattr(events, name).new_full((len(events), width, *shape), nothing)
        for part, shift in ((events, torch.zeros_like(lengths)), (more, events.lengths)):
            real = torch.arange(part.kind.shape[1]) < part.lengths[:, None]
            row, place = torch.nonzero(real, as_tuple=True)
            columns[name][row, shift[row] + place] = getattr(part, name)[row, place]
    return Events(**columns, lengths=lengths)


def after_start(events: Events) -> Events:
    """Return the rows without their START: what ``step`` is given after ``start``."""
    return cut(events, torch.ones_like(events.lengths), events.lengths)


def only(possible: Tensor, now: Tensor | None = None) -> Choices:
    """Return choices for a sampler that allow exactly ``possible``, bool [B, V].

    ``now`` [B, 1] is the moment of asking.
    """
    row, unit = torch.nonzero(~possible, as_tuple=True)
    lines = torch.stack([row, unit, torch.zeros_like(row), torch.ones_like(row)], dim=1)
    return Choices(size=possible.shape[1], shape=(len(possible), 1), forbidden=lines, now=now)


def blank(
    schema: Schema,
    events: Events,
    positions: Tensor,
    units: Tensor,
    choices: Choices,
    *,
    mask: Tensor,
    bootstrap: Tensor,
) -> Batch:
    """Return a batch in which nothing was earned or answered, and each slot is a decision."""
    shape = tuple(mask.shape)
    numbers = torch.zeros(shape)
    decisions = torch.cumsum(mask.flatten(), 0).view(shape) - 1
    return Batch(
        events=events,
        positions=positions,
        units=units,
        decisions=torch.where(mask, decisions, -1),
        mask=mask,
        bootstrap=bootstrap,
        choices=choices,
        behaviour_logps=numbers.double(),
        rewards=numbers,
        discounts=numbers,
        weights=mask.float(),
        feedback=torch.full((*shape, len(schema.channels)), torch.nan),
    )
