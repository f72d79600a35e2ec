"""What a policy reads and what it says about it: Events, Batch, Outputs."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from heedful.policy.choices import Choices


class EventKind(enum.IntEnum):
    """What an event in a stream is."""

    PAD = 0
    START = 1
    CONTEXT = 2
    UNIT = 3
    FEEDBACK = 4
    RETRACTION = 5
    END = 6


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of feedback as a policy reads and predicts it.

    Attributes:
        kind: the record's kind, e.g. ``"click"``.
        binary: a yes or no (predicted as a logit), else a number (predicted as its mean).
        low: the value that is read as 0.
        high: the value that is read as 1.
        silence: what no answer by the end of the maturity window is taken to mean when learning
            (0 for a click that never came), or ``None`` where silence says nothing. In histories
            an answer that has not come stays unknown, whatever this says.
    """

    kind: str
    binary: bool
    low: float = 0.0
    high: float = 1.0
    silence: float | None = None

    def scale(self, value: float) -> float:
        """Return ``value`` on the scale from 0 to 1, cut off at both ends."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


@dataclass(frozen=True, slots=True)
class Schema:
    """What the events of a domain look like: all that a network must know to be built.

    Attributes:
        size: V, the number of units.
        channels: the kinds of feedback, channel c of an event being ``channels[c - 1]``.
        features: F, the width of the numbers in a context.
        unit_features: the width of a unit's description; 0 where units are not described.
    """

    size: int
    channels: tuple[Channel, ...] = ()
    features: int = 0
    unit_features: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return JSON that :meth:`from_dict` reads."""
        channels = [{f.name: getattr(c, f.name) for f in fields(c)} for c in self.channels]
        data = {"size": self.size, "channels": channels, "features": self.features}
        return {**data, "unit_features": self.unit_features} if self.unit_features else data

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> Schema:
        """Read what :meth:`to_dict` wrote."""
        channels, size = data["channels"], data["size"]
        features, described = data["features"], data.get("unit_features", 0)
        if not (
            isinstance(channels, list)
            and isinstance(size, int)
            and isinstance(features, int)
            and isinstance(described, int)
        ):
            raise ValueError("schema: needs an integer size, a list of channels, integer features")
        known = tuple(Channel(**channel) for channel in channels)
        return cls(size, known, features, described)


@dataclass(frozen=True, slots=True)
class Events:
    """Ragged rows of events, padded on the right.

    Attributes:
        kind: int64 [B, L], an :class:`EventKind`.
        unit: int64 [B, L], index of the unit it is or speaks of; -1 for none, or one not known.
        channel: int64 [B, L], 1 + the feedback channel; 0 where feedback has not come.
        value: float [B, L], feedback scaled to [0, 1]; 0 where there is none.
        features: float [B, L, F], the numbers of a context.
        time: float64 [B, L], when it happened, in seconds since any one moment; NaN unknown, and in
            padding and START. A unit's time is that of its decision, the moment of asking.
        lengths: int64 [B], how many events each row really has.
    """

    kind: Tensor
    unit: Tensor
    channel: Tensor
    value: Tensor
    features: Tensor
    time: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths)

    def select(self, rows: Tensor) -> Events:
        """Return the rows numbered in ``rows``."""
        return Events(*(getattr(self, f.name)[rows] for f in fields(self)))

    def hide(self, hidden: Tensor) -> Events:
        """Return events in which some units are unknown, and whatever speaks of them says not whom.

        Args:
            hidden: bool [B, L], at events that are units.
        """
        unit = self.unit.masked_fill(hidden, -1)
        speaks = (self.kind != EventKind.UNIT) & (self.unit >= 0)
        if bool(speaks.any()):
            told = torch.where(hidden, self.unit, -1)
            same = (self.unit[:, :, None] == told[:, None, :]).any(-1)
            unit = unit.masked_fill(speaks & same, -1)
        return replace(self, unit=unit)

    def to(self, device: torch.device) -> Events:
        """Return these events on ``device``."""
        return Events(*(getattr(self, f.name).to(device) for f in fields(self)))

    @classmethod
    def none(cls, rows: int, features: int = 0) -> Events:
        """Return no new event for each of ``rows`` rows."""
        empty = torch.empty(rows, 0, dtype=torch.int64)
        return cls(
            empty,
            empty,
            empty,
            torch.empty(rows, 0),
            torch.empty(rows, 0, features),
            torch.empty(rows, 0, dtype=torch.float64),
            torch.zeros(rows, dtype=torch.int64),
        )

    @classmethod
    def starts(cls, rows: int, features: int = 0) -> Events:
        """Return the event that opens a stream, for each of ``rows`` rows."""
        return cls._one(EventKind.START, torch.full((rows,), -1), torch.ones(rows).long(), features)

    @classmethod
    def of_units(cls, units: Tensor, features: int = 0, time: Tensor | None = None) -> Events:
        """Return one unit a row with feedback unknown; none where ``units`` [B] is -1.

        Args:
            units: int64 [B].
            features: F.
            time: float64 [B], when they are chosen; ``None`` where that is not known.
        """
        return cls._one(EventKind.UNIT, units, (units >= 0).long(), features, time)

    @classmethod
    def _one(
        cls,
        kind: EventKind,
        units: Tensor,
        lengths: Tensor,
        features: int,
        time: Tensor | None = None,
    ) -> Events:
        rows = len(units)
        unknown = torch.full((rows,), torch.nan, dtype=torch.float64)
        time = unknown if time is None else torch.where(lengths > 0, time, unknown)
        return cls(
            torch.where(lengths > 0, int(kind), int(EventKind.PAD))[:, None],
            units[:, None],
            torch.zeros(rows, 1, dtype=torch.int64),
            torch.zeros(rows, 1),
            torch.zeros(rows, 1, features),
            time[:, None],
            lengths,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Streams with the units chosen in them: what every objective is computed from.

    A *slot* is a place where a unit was chosen, or, marked in ``bootstrap``, the place where an
    episode was cut off and only its value is wanted. Slots stand in the order of the stream, so
    the value after a slot is the value at the next one.

    Attributes:
        events: the streams, [B, L].
        positions: int64 [B, T], the event after which the slot was decided.
        units: int64 [B, T], what was chosen; 0 where ``mask`` is False.
        decisions: int64 [B, T], the number of the decision each slot belongs to, -1 for padding.
        mask: bool [B, T], a unit stands here.
        bootstrap: bool [B, T], only a value is wanted here.
        choices: what was possible in each slot.
        behaviour_logps: float64 [B, T], natural log-probability under whoever acted; NaN unknown.
        rewards: float [B, T], what the unit earned.
        discounts: float [B, T], 1 inside a decision, gamma at its end, 0 where it terminated.
        weights: float [B, T], how much the slot counts in a loss.
        feedback: float [B, T, C], what people answered to the unit, scaled to [0, 1]; NaN unknown.
        measured: float64 [B, T, M], what each unit has of whatever is to be kept within bounds; NaN
            unknown; ``None`` where nothing is.
        gaps: bool [B, T], the unit is hidden in the events and asked for with both of its sides in
            view; ``None`` where nothing is hidden, as outside of pre-training.
        pairs: int64 [B, T], the number of the pair that the slot's decision was compared in, -1 for
            none; ``None`` where nothing was compared. A decision stands in one pair; one that was
            compared twice is two rows.
        groups: int64 [B, T], the number of the group of decisions made for one and the same asking
            that the slot's decision belongs to, -1 for none; ``None`` where there is no group.
        both_ways: every event is read with those behind it in view, for gaps that are asked for in
            place; only networks whose body can.
        reference_logps, old_logps, old_values, advantages, returns: [B, T], filled in by
            :func:`heedful.objectives.prepare`.
    """

    events: Events
    positions: Tensor
    units: Tensor
    decisions: Tensor
    mask: Tensor
    bootstrap: Tensor
    choices: Choices
    behaviour_logps: Tensor
    rewards: Tensor
    discounts: Tensor
    weights: Tensor
    feedback: Tensor
    measured: Tensor | None = None
    gaps: Tensor | None = None
    pairs: Tensor | None = None
    groups: Tensor | None = None
    both_ways: bool = False
    reference_logps: Tensor | None = None
    old_logps: Tensor | None = None
    old_values: Tensor | None = None
    advantages: Tensor | None = None
    returns: Tensor | None = None

    def __len__(self) -> int:
        """Return B."""
        return len(self.positions)

    @property
    def slots(self) -> Tensor:
        """Bool [B, T]: everything but padding."""
        return self.mask | self.bootstrap

    def select(self, rows: Tensor) -> Batch:
        """Return the streams numbered in ``rows`` [B'], in that order."""
        return self._map(
            lambda tensor: tensor[rows], self.events.select(rows), self.choices.select(rows)
        )

    def split(self, n_rows: int) -> list[Batch]:
        """Return micro-batches of at most ``n_rows`` streams.

        Streams that hold the two decisions of a pair stay together, if need be in a micro-batch
        that is larger: a loss of pairs has to see both.
        """
        if self.pairs is None:
            return [self.select(rows) for rows in torch.split(torch.arange(len(self)), n_rows)]
        return [self.select(rows) for rows in _packed(self._tied(self.pairs), n_rows)]

    def _tied(self, pairs: Tensor) -> Tensor:
        """Return for each row the first of all rows that pairs tie it to, int64 [B]."""
        row, slot = torch.nonzero(self.mask & (pairs >= 0), as_tuple=True)
        known, pair = torch.unique(pairs[row, slot], return_inverse=True)
        first = torch.arange(len(self), device=pairs.device)
        while True:
            of_pair = torch.full_like(known, len(self))
            of_pair = of_pair.scatter_reduce(0, pair, first[row], "amin")
            nearer = first.scatter_reduce(0, row, of_pair[pair], "amin")
            if torch.equal(nearer, first):
                return first
            first = nearer

    def to(self, device: torch.device) -> Batch:
        """Return this batch on ``device``."""
        return self._map(
            lambda tensor: tensor.to(device), self.events.to(device), self.choices.to(device)
        )

    def filled(self, **tensors: Tensor) -> Batch:
        """Return a batch with these fields replaced."""
        changed: dict[str, Any] = {**tensors}
        return replace(self, **changed)

    def _map(self, change: Callable[[Tensor], Tensor], events: Events, choices: Choices) -> Batch:
        tensors: dict[str, Any] = {
            f.name: change(value)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **{**tensors, "events": events, "choices": choices})


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a policy says at the slots of a batch; ``None`` where it was not asked.

    Attributes:
        logps: [B, T], log-probability of the unit that was chosen; 0 where ``mask`` is False.
        entropy: [B, T], in nats, of the choice; 0 where ``mask`` is False.
        values: [B, T], expected return before the unit; 0 at padding.
        feedback: [B, T, C], predicted answer to the unit: a logit where binary, else a mean.
        logits: [N, V] at the N slots of ``mask`` in row-major order, minus infinity where a unit
            was impossible.
    """

    logps: Tensor | None = None
    entropy: Tensor | None = None
    values: Tensor | None = None
    feedback: Tensor | None = None
    logits: Tensor | None = None


def outputs_from_logits(
    logits: Tensor, batch: Batch, need: frozenset[str], given: Outputs | None = None
) -> Outputs:
    """Return what ``need`` asks of the choice itself; the rest is taken over from ``given``.

    Args:
        logits: [N, V] at the slots of ``batch.mask``.
        batch: the batch they belong to.
        need: any of "logps", "entropy", "logits".
        given: outputs with values and feedback predictions already in place.
    """
    outputs = given or Outputs()
    if "logits" in need:
        outputs = replace(outputs, logits=logits)
    if not need & {"logps", "entropy"}:
        return outputs
    log_p = torch.log_softmax(logits, dim=-1)
    if "logps" in need:
        chosen = log_p.gather(1, batch.units[batch.mask][:, None])[:, 0]
        outputs = replace(outputs, logps=scatter(chosen, batch.mask))
    if "entropy" in need:
        surprise = torch.where(torch.isfinite(log_p), -log_p, torch.zeros_like(log_p))
        outputs = replace(outputs, entropy=scatter((log_p.exp() * surprise).sum(-1), batch.mask))
    return outputs


def _packed(first: Tensor, n_rows: int) -> list[Tensor]:
    """Return the numbers of rows in lots of about ``n_rows``; rows of one ``first`` share a lot."""
    order = torch.argsort(first, stable=True)
    _, sizes = torch.unique_consecutive(first[order], return_counts=True)
    lots: list[int] = []
    for size in sizes.tolist():
        if lots and lots[-1] + size <= n_rows:
            lots[-1] += size
        else:
            lots.append(size)
    return list(torch.split(order, lots))


def scatter(values: Tensor, mask: Tensor) -> Tensor:
    """Return [B, T, ...] with ``values`` [N, ...] at the True places of ``mask``, 0 elsewhere."""
    if len(values) == mask.numel():  # nothing elsewhere: a view costs no kernel, nor its gradient
        return values.reshape(*mask.shape, *values.shape[1:])
    empty = values.new_zeros((*mask.shape, *values.shape[1:]))
    return empty.masked_scatter(mask.reshape(*mask.shape, *[1] * (values.dim() - 1)), values)
