"""Random streams of any schema, with everything that can stand in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from heedful.checks.splice import blank
from heedful.policy import Batch, Channel, Choices, EventKind, Events, Schema

EXAMPLE_SCHEMA = Schema(
    size=7,
    channels=(Channel("click", binary=True), Channel("rating", binary=False, low=1.0, high=5.0)),
    features=2,
)
"""Units, both sorts of feedback, and contexts with numbers."""


def random_batch(
    schema: Schema,
    *,
    seed: int = 0,
    rows: int = 4,
    length: int = 12,
    features: Tensor | None = None,
) -> Batch:
    """Return streams of random events in which every known unit is a slot.

    Rows are ragged; contexts, fused, late and retracted feedback, ends, unknown units, choices that
    allow or forbid, slots cut off (with a bootstrap) and slots that terminated all occur.

    Args:
        schema: what the events look like.
        seed: the same seed, the same batch.
        rows: B.
        length: events in the longest row, its START included; at least 4.
        features: [N, F], the numbers a context may carry; drawn from a normal distribution
            by default.
    """
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(max(4, length // 2), length + 1, (rows,), generator=rng)
    lengths[0] = length
    events = _events(schema, lengths, features, rng)
    slots = [_slots_of_row(events, row) for row in range(rows)]
    width = max(len(places) for places in slots) + 1
    batch = _batch(schema, events, slots, width, rng)
    return batch.filled(**_numbers(schema, batch, rng))


def _events(
    schema: Schema, lengths: Tensor, features: Tensor | None, rng: torch.Generator
) -> Events:
    shape = (len(lengths), int(lengths.max()))
    n_channels = len(schema.channels)
    menu = [EventKind.UNIT, EventKind.UNIT, EventKind.UNIT, EventKind.CONTEXT, EventKind.END]
    menu += [EventKind.FEEDBACK, EventKind.RETRACTION] if n_channels else []
    kind = torch.tensor([int(k) for k in menu])[_integers(len(menu), shape, rng)]
    kind[:, 0], kind[:, 1] = int(EventKind.START), int(EventKind.UNIT)
    real = torch.arange(shape[1]) < lengths[:, None]
    kind = torch.where(real, kind, int(EventKind.PAD))
    speaks = (kind == EventKind.FEEDBACK) | (kind == EventKind.RETRACTION)
    answered = speaks | ((kind == EventKind.UNIT) & (torch.rand(shape, generator=rng) < 0.4))
    about = (kind == EventKind.UNIT) | (kind == EventKind.CONTEXT) | speaks
    unit = torch.where(about, _integers(schema.size + 1, shape, rng) - 1, -1)
    unit[:, 1] = unit[:, 1].clamp(min=0)
    channel = torch.where(answered, 1 + _integers(max(1, n_channels), shape, rng), 0)
    channel = channel if n_channels else torch.zeros_like(channel)
    valued = (channel > 0) & (kind != EventKind.RETRACTION)
    return Events(
        kind=kind,
        unit=unit,
        channel=channel,
        value=torch.where(valued, torch.rand(shape, generator=rng), 0.0),
        features=_features(schema, kind, features, rng),
        time=_times(kind, torch.Generator().manual_seed(rng.initial_seed())),
        lengths=lengths,
    )


def _features(
    schema: Schema, kind: Tensor, features: Tensor | None, rng: torch.Generator
) -> Tensor:
    shape = (*kind.shape, schema.features)
    drawn = torch.randn(shape, generator=rng)
    if features is not None:
        drawn = features.float()[_integers(len(features), tuple(kind.shape), rng)]
    return torch.where((kind == EventKind.CONTEXT)[..., None], drawn, 0.0)


def _times(kind: Tensor, rng: torch.Generator) -> Tensor:
    """Return moments seconds to days apart, some of them unknown and some out of order."""
    gaps = 10.0 ** (6.0 * torch.rand(kind.shape, generator=rng, dtype=torch.float64))
    late = 1e5 * (torch.rand(kind.shape, generator=rng) < 0.1)
    time = 1.7e9 + torch.cumsum(gaps, dim=1) - late
    unknown = torch.rand(kind.shape, generator=rng) < 0.2
    unknown |= (kind == EventKind.START) | (kind == EventKind.PAD)
    return time.masked_fill(unknown, torch.nan)


def _integers(high: int, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randint(0, high, shape, generator=rng)


def _slots_of_row(events: Events, row: int) -> list[int]:
    """Return the places of the known units in a row."""
    known = (events.kind[row] == EventKind.UNIT) & (events.unit[row] >= 0)
    return [int(place) for place in torch.nonzero(known).flatten()]


@dataclass
class _Lines:
    """Spans of choices, gathered slot by slot."""

    allowed: list[tuple[int, int, int, int]] = field(default_factory=list)
    forbidden: list[tuple[int, int, int, int]] = field(default_factory=list)
    restricted: list[tuple[int, int]] = field(default_factory=list)

    def add(self, row: int, slot: int, unit: int, size: int, rng: torch.Generator) -> None:
        """Allow or forbid some units in a slot that holds ``unit``."""
        others = [int(u) for u in torch.randperm(size, generator=rng) if int(u) != unit]
        some = others[: size // 3]
        match int(torch.randint(0, 3, (), generator=rng)):
            case 0:
                self.forbidden += [(row, u, slot, slot + 1) for u in some]
            case 1:
                self.restricted.append((row, slot))
                self.allowed += [(row, u, slot, slot + 1) for u in [unit, *some]]

    def choices(self, size: int, shape: tuple[int, int]) -> Choices:
        restricted = torch.zeros(shape, dtype=torch.bool)
        for row, slot in self.restricted:
            restricted[row, slot] = True
        allowed, forbidden = (
            torch.tensor(lines, dtype=torch.int64).reshape(-1, 4)
            for lines in (self.allowed, self.forbidden)
        )
        return Choices(size, shape, allowed, forbidden, restricted)


def _batch(
    schema: Schema,
    events: Events,
    slots: Sequence[Sequence[int]],
    width: int,
    rng: torch.Generator,
) -> Batch:
    """Return a batch without numbers; every second row ends with a bootstrap."""
    shape = (len(slots), width)
    positions, units = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    mask, bootstrap = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    now = torch.full(shape, torch.nan, dtype=torch.float64)
    lines = _Lines()
    for row, places in enumerate(slots):
        for slot, place in enumerate(places):
            unit = int(events.unit[row, place])
            positions[row, slot], units[row, slot] = place - 1, unit
            now[row, slot] = events.time[row, place]
            lines.add(row, slot, unit, schema.size, rng)
        mask[row, : len(places)] = True
        if row % 2 == 0:
            bootstrap[row, len(places)] = True
            positions[row, len(places)] = events.lengths[row] - 1
    choices = replace(lines.choices(schema.size, shape), now=now)
    return blank(schema, events, positions, units, choices, mask=mask, bootstrap=bootstrap)


def _numbers(schema: Schema, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
    """Return what was earned and answered at the slots of ``batch``."""
    shape, mask = tuple(batch.mask.shape), batch.mask
    last = mask & ~torch.cat([mask[:, 1:], torch.zeros(shape[0], 1, dtype=torch.bool)], dim=1)
    terminated = last & ~batch.bootstrap.any(1, keepdim=True)
    inside = torch.where(torch.rand(shape, generator=rng) < 0.5, 1.0, 0.9)
    answers = torch.rand((*shape, len(schema.channels)), generator=rng)
    silent = torch.rand(answers.shape, generator=rng) < 0.4
    binary = torch.tensor([channel.binary for channel in schema.channels], dtype=torch.bool)
    answers = torch.where(binary, answers.round(), answers)
    return {
        "behaviour_logps": -3.0 * torch.rand(shape, generator=rng).double() * mask,
        "rewards": torch.randn(shape, generator=rng) * mask,
        "discounts": torch.where(mask & ~terminated, inside, 0.0),
        "weights": torch.where(mask, 0.5 + torch.rand(shape, generator=rng), 0.0),
        "feedback": torch.where(mask[..., None] & ~silent, answers, torch.nan),
    }
