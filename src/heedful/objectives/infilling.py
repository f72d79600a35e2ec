"""Hiding units of a batch, and asking for them where both of their sides have been read."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from heedful.policy import Batch, Choices, EventKind, Events

READ_AGAIN = 2
"""Events a gap is asked for with: what stands on its right, then what stands on its left."""


def infill(
    batch: Batch, share: float, rng: np.random.Generator, *, keep: bool, in_place: bool = False
) -> Batch:
    """Return a batch that hides a share of its units and asks for each with both sides in view.

    The masked unit of BERT, for policies that read from left to right. As in causal masking
    (Aghajanyan et al., CM3, arXiv 2201.07520) and filling in the middle (Bavarian et al., arXiv
    2207.14255), the window is read first, with unknown units in the gaps, and the gaps are asked
    for behind it:

        START x_1 ? x_3 x_4 | START(x_3) x_1 -> x_2

    A second START, which speaks of the unit on the gap's right, and the unit on its left say which
    gap is meant; the answer is what comes next, from the one head there is. So a gap costs two
    events, any network can fill it, and no parameter serves pre-training alone.

    What is hidden is the unit, its answer, and the name of the unit in later events; the choice
    set of a gap is its slot's ``allowed`` list alone, because units that were forbidden *after* it
    would give it away.

    Args:
        batch: rows that end where something is learned: what stands behind is read by the gaps.
        share: of the units with a weight, hidden, from 0 to 1.
        rng: decides which.
        keep: also ask for every next unit, hidden or not, as before; else only for the last one of
            a row, which has no right side (as Sun et al., BERT4Rec, arXiv 1904.06690, section 3.6).
        in_place: ask at the gap itself, with a body that reads both ways (``batch.both_ways``).
    """
    own = (batch.positions + 1).clamp(max=batch.events.kind.shape[1] - 1)
    within = batch.positions + 1 < batch.events.lengths[:, None]
    learned = batch.mask & (batch.weights > 0)
    hidden = learned & within & (batch.events.kind.gather(1, own) == EventKind.UNIT)
    hidden &= torch.from_numpy(rng.random(tuple(batch.units.shape)) < share)
    gaps = _Gaps.of(batch, hidden, own)
    read = _without_answers(batch.events, gaps)
    if in_place:
        events, positions = read, gaps.event
    else:
        events, positions = _read_again(read, gaps)
    asked = learned if keep else _last_of(learned)
    return _asking(batch, asked, gaps, events, positions, both_ways=in_place)


@dataclass(frozen=True, slots=True, eq=False)
class _Gaps:
    """The gaps of each row from left to right, G columns.

    Attributes:
        real: bool [B, G].
        slot: int64 [B, G], the column of the slot that is hidden.
        event: int64 [B, G], where its own event stands.
    """

    real: Tensor
    slot: Tensor
    event: Tensor

    @classmethod
    def of(cls, batch: Batch, hidden: Tensor, own: Tensor) -> _Gaps:
        """Return the gaps where ``hidden`` [B, T] is True, given the place of each slot's event."""
        counts = hidden.sum(1)
        slot = torch.argsort(hidden.int(), dim=1, descending=True, stable=True)
        slot = slot[:, : int(counts.max()) if len(counts) else 0]
        real = torch.arange(slot.shape[1]) < counts[:, None]
        return cls(real, slot, own.gather(1, slot))


def _without_answers(events: Events, gaps: _Gaps) -> Events:
    """Return events in which nothing says what stood in the gaps."""
    hidden = torch.zeros_like(events.kind, dtype=torch.bool)
    rows = torch.nonzero(gaps.real)[:, 0]
    hidden[rows, gaps.event[gaps.real]] = True
    return replace(
        events.hide(hidden),
        channel=events.channel.masked_fill(hidden, 0),
        value=events.value.masked_fill(hidden, 0.0),
    )


def _read_again(events: Events, gaps: _Gaps) -> tuple[Events, Tensor]:
    """Return events with each gap's neighbours read again behind the row, and where to ask."""
    left, right = _neighbours(events, gaps)
    around = torch.stack([right, left], dim=2).flatten(1)  # [B, 2 G]
    lengths = events.lengths + READ_AGAIN * gaps.real.sum(1)
    place = torch.arange(int(lengths.max()) if len(lengths) else 0).expand(len(events), -1)
    behind = place - events.lengths[:, None]
    again = (behind >= 0) & (place < lengths[:, None])
    source = torch.where(again, _at(around, behind), place)
    known = (source >= 0) & (again | (behind < 0))
    columns = {
        f.name: _gather(getattr(events, f.name), source, known, _empty(f.name))
        for f in fields(Events)
        if f.name != "lengths"
    }
    opens = again & (behind % READ_AGAIN == 0)
    columns["kind"] = torch.where(again, int(EventKind.UNIT), columns["kind"])
    columns["kind"] = columns["kind"].masked_fill(opens, int(EventKind.START))
    asked = events.lengths[:, None] + READ_AGAIN * torch.arange(gaps.real.shape[1]) + 1
    return Events(**columns, lengths=lengths), torch.where(gaps.real, asked, 0)


def _neighbours(events: Events, gaps: _Gaps) -> tuple[Tensor, Tensor]:
    """Return where the nearest units that were read stand, left and right, [B, G]; -1: nowhere."""
    read = (events.kind == EventKind.UNIT) & (events.unit >= 0)
    place = torch.arange(read.shape[1]).expand(read.shape)
    far = read.shape[1]
    before = torch.where(read, place, -1).cummax(1).values
    after = torch.where(read, place, far).flip(1).cummin(1).values.flip(1)
    left, right = before.gather(1, gaps.event), after.gather(1, gaps.event)
    return left, torch.where(right < far, right, -1)


def _at(around: Tensor, index: Tensor) -> Tensor:
    if not around.shape[1]:
        return torch.full_like(index, -1)
    return around.gather(1, index.clamp(min=0, max=around.shape[1] - 1))


def _gather(column: Tensor, source: Tensor, known: Tensor, empty: float) -> Tensor:
    """Return ``column`` [B, L, ...] at ``source`` [B, L'], and ``empty`` where it is not known."""
    rows = torch.arange(len(column))[:, None]
    found = column[rows, source.clamp(min=0, max=max(0, column.shape[1] - 1))]
    return found.masked_fill(~known.reshape(*known.shape, *[1] * (found.dim() - 2)), empty)


def _empty(name: str) -> float:
    return {"unit": -1, "time": torch.nan}.get(name, 0)


def _last_of(slots: Tensor) -> Tensor:
    """Return ``slots`` [B, T] with only the last True of each row left."""
    behind = slots.flip(1).cumsum(1).flip(1)
    return slots & (behind == 1)


def _asking(
    batch: Batch,
    asked: Tensor,
    gaps: _Gaps,
    events: Events,
    positions: Tensor,
    *,
    both_ways: bool,
) -> Batch:
    """Return ``batch`` over ``events`` with a slot for each gap behind those of ``asked``."""
    real, nothing = gaps.real, torch.zeros_like(gaps.slot, dtype=batch.weights.dtype)

    def beside(kept: Tensor, of_gap: Tensor) -> Tensor:
        return torch.cat([kept, of_gap.to(kept.dtype)], dim=1)

    def hidden(column: Tensor, otherwise: float) -> Tensor:
        return column.gather(1, gaps.slot).masked_fill(~real, otherwise)

    unanswered = batch.feedback.new_full((*real.shape, batch.feedback.shape[2]), torch.nan)
    unknown = torch.full_like(nothing, torch.nan).masked_fill(~real, 0.0)
    return replace(
        batch,
        events=events,
        positions=beside(batch.positions, positions),
        units=beside(batch.units.masked_fill(~asked, 0), hidden(batch.units, 0)),
        decisions=beside(batch.decisions.masked_fill(~asked, -1), hidden(batch.decisions, -1)),
        mask=beside(asked, real),
        bootstrap=beside(batch.bootstrap, torch.zeros_like(real)),
        choices=_choices(batch.choices, gaps),
        behaviour_logps=beside(batch.behaviour_logps, unknown),
        rewards=beside(batch.rewards, nothing),
        discounts=beside(batch.discounts, nothing),
        weights=beside(batch.weights * asked, hidden(batch.weights, 0.0)),
        feedback=torch.cat([batch.feedback, unanswered], dim=1),
        gaps=beside(torch.zeros_like(asked), real),
        both_ways=both_ways,
    )


def _choices(choices: Choices, gaps: _Gaps) -> Choices:
    """Return what is possible in the slots and in the gaps, which stand in columns behind them."""
    n_rows, n_slots = choices.shape
    shape = (n_rows, n_slots + gaps.slot.shape[1])
    now = choices.now
    if now is not None:
        asked_at = now.gather(1, gaps.slot).masked_fill(~gaps.real, torch.nan)
        now = torch.cat([now, asked_at], dim=1)
    if choices.restricted is None:
        return replace(choices, shape=shape, now=now)
    restricted = choices.restricted.gather(1, gaps.slot) & gaps.real
    return replace(
        choices,
        shape=shape,
        now=now,
        restricted=torch.cat([choices.restricted, restricted], dim=1),
        allowed=torch.cat([choices.allowed, *_allowed(choices.allowed, gaps, n_slots)]),
    )


def _allowed(lines: Tensor, gaps: _Gaps, n_slots: int) -> list[Tensor]:
    """Return the lines of ``allowed`` that cover a gap's slot, moved to the gap's column."""
    found = []
    for row, column in torch.nonzero(gaps.real).tolist():
        slot = gaps.slot[row, column]
        covers = (lines[:, 0] == row) & (lines[:, 2] <= slot) & (slot < lines[:, 3])
        moved = lines[covers].clone()
        moved[:, 2], moved[:, 3] = n_slots + column, n_slots + column + 1
        found.append(moved)
    return found
