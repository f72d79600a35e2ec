"""What the transformer and the recurrent network share: how events are read, and three heads."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from heedful.policy.batch import (
    Batch,
    EventKind,
    Events,
    Outputs,
    Schema,
    outputs_from_logits,
    scatter,
)
from heedful.policy.choices import IMPOSSIBLE, Choices
from heedful.policy.growth import enlarged
from heedful.policy.likelihood import log_likelihood
from heedful.policy.timing import TimeGaps, last_known, since_last
from heedful.policy.units import DescribedUnits, units_table

DECAYS = (1.0, 0.97)
UNANSWERED = 0.0


class EventEmbedding(nn.Module):
    """Reads an event as the sum of what it is, what it speaks of, what was answered, and when."""

    def __init__(self, schema: Schema, width: int, *, timed: bool = True) -> None:
        """Make tables for ``schema``; the unit table is also the output layer (tied weights).

        Args:
            schema: what the events look like.
            width: D.
            timed: whether to read how long ago the event before was.
        """
        super().__init__()
        n_channels = len(schema.channels) + 1
        self.kind = nn.Embedding(len(EventKind), width)
        self.unit = units_table(schema.size, width, schema.unit_features)
        self.channel = nn.Embedding(n_channels, width)
        self.value = nn.Embedding(n_channels, width)
        self.features = nn.Linear(schema.features, width, bias=False) if schema.features else None
        self.gap = TimeGaps(width) if timed else None
        for table in (self.kind, self.unit, self.channel, self.value):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, events: Events, gaps: Tensor | None) -> Tensor:
        """Return [B, L, D]; ``gaps`` [B, L] are the seconds since the event before, NaN unknown.

        They are ``None`` where time is not read.
        """
        unknown = self.unit.num_embeddings - 1
        of_unit = (events.kind == EventKind.UNIT) | (events.unit >= 0)
        unit = self.unit(torch.where(events.unit >= 0, events.unit, unknown))
        x = self.kind(events.kind) + unit * of_unit[..., None]
        value = events.value.to(unit.dtype)[..., None] * self.value(events.channel)
        x = x + self.channel(events.channel) + value
        if self.features is not None:
            x = x + self.features(events.features.to(unit.dtype))
        return torch.as_tensor(x if self.gap is None else x + self.gap(gaps))

    def units(self) -> Tensor:
        """Return the vectors of all units, [V, D]: the weight of the output layer, tied."""
        return self.unit.vectors()


class Memory(nn.Module):
    """Sums what each unit of the history says about the next, fading at several speeds.

        m_t = decay * m_{t-1} + (answer[channel_t] + value_t * slope[channel_t]) * key[unit_t]

    An item-to-item factor model over the whole history (Kabbur et al., FISM, KDD 2013) with the
    fading of linear recurrences (Orvieto et al., arXiv 2303.06349). What two units have to do with
    each other is learned here from few clicks; the network behind it learns the rest. How much a
    unit counts depends on the answer to it and on its value, dimension by dimension.
    """

    def __init__(self, schema: Schema, width: int) -> None:
        """Make D = ``width`` sums, an equal share of them at each speed."""
        super().__init__()
        self.key = nn.Embedding(schema.size + 1, width)
        self.answer = nn.Embedding(len(schema.channels) + 1, width)
        self.slope = nn.Embedding(len(schema.channels) + 1, width)
        nn.init.normal_(self.key.weight, std=0.02)
        nn.init.zeros_(self.slope.weight)
        nn.init.ones_(self.answer.weight)
        # A unit that was answered says more about its subject than one that was merely shown.
        nn.init.constant_(self.answer.weight[0], UNANSWERED)
        self.speed_of = torch.arange(width) * len(DECAYS) // width

    def forward(self, events: Events) -> Tensor:
        """Return the sums after each event, [B, L, D]."""
        told = self._told(events)
        length = told.shape[1]
        gap = torch.arange(length, device=told.device)
        gap = (gap[:, None] - gap).to(told.dtype)  # [L, L]
        sums = []
        for number, speed in enumerate(DECAYS):
            columns = told[..., self.speed_of == number]
            fading = torch.where(gap >= 0, speed ** gap.clamp(min=0), 0.0)
            sums.append(torch.einsum("lm,bmd->bld", fading, columns))
        return torch.cat(sums, dim=-1)

    def extend(self, sums: Tensor, events: Events) -> Tensor:
        """Return ``sums`` [B, D] after each row's events."""
        told = self._told(events)
        decay = torch.tensor(DECAYS, dtype=told.dtype, device=told.device)[self.speed_of]
        for index in range(told.shape[1]):
            real = (index < events.lengths)[:, None]
            sums = torch.where(real, sums * decay + told[:, index], sums)
        return sums

    def _told(self, events: Events) -> Tensor:
        unknown = self.key.num_embeddings - 1
        of_unit = (events.kind == EventKind.UNIT) | (events.unit >= 0)
        key = self.key(torch.where(events.unit >= 0, events.unit, unknown))
        value = events.value.to(key.dtype)[..., None]
        counts = self.answer(events.channel) + value * self.slope(events.channel)
        return torch.as_tensor(key * counts * of_unit[..., None])


class CheapDropout(nn.Dropout):
    """Dropout that draws a byte for each number: p is rounded to a 256th, and what stays scaled so.

    Where a network is small the draw of ``nn.Dropout`` is a tenth of a step on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with a share of its numbers 0, in training."""
        threshold = min(255, round(256 * self.p))
        if not self.training or not threshold:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        drawn = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        return x * (drawn >= threshold).to(x.dtype).mul_(256.0 / (256 - threshold))


@dataclass(frozen=True, slots=True, eq=False)
class NetworkState:
    """What a network remembers of B streams.

    Attributes:
        body: what its body remembers.
        sums: [B, D], of its memory; [B, 0] where it has none.
        at: float64 [B], when something last happened, NaN where no time is known.
    """

    body: Any
    sums: Tensor
    at: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.sums)

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams."""
        return type(self)(self.body.select(rows), self.sums[rows], self.at[rows])

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states."""
        body = self.body.stack([other.body for other in others])
        states = [self, *others]
        return type(self)(
            body, torch.cat([s.sums for s in states]), torch.cat([s.at for s in states])
        )


class Network(nn.Module, ABC):
    """An autoregressive network over events with heads for the next unit, feedback and value.

    The next-unit head is a distribution over units; the feedback head says how people would answer
    a given unit. They are two heads with two names: a click probability is not a policy. Beside
    the body (attention or recurrence) stands a linear memory, wide beside deep.

    A *plain* network is what a language needs, and no more: no memory, no sense of time, no bias
    of each unit. Its language part can be exported (:mod:`heedful.policy.language`).

    Subclasses give ``_read`` (a full causal pass), ``_extend`` (the same, incrementally) and
    ``_empty`` (the state before any event).
    """

    kind: str

    bias: Tensor

    def __init__(self, schema: Schema, *, width: int, dropout: float, plain: bool = False) -> None:
        """Make the parts all networks share; D is ``width``."""
        super().__init__()
        self.schema = schema
        self.width, self.plain = width, plain
        self.embed = EventEmbedding(schema, width, timed=not plain)
        self.memory = None if plain else Memory(schema, width)
        self.asked = None if plain else TimeGaps(width)
        self.dropout = CheapDropout(dropout) if plain else nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        if plain:
            self.register_buffer("bias", torch.zeros(schema.size), persistent=False)
        else:
            self.bias = nn.Parameter(torch.zeros(schema.size))
        self.value_head = nn.Linear(width, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self.feedback_head = FeedbackHead(schema, width) if schema.channels else None

    @abstractmethod
    def _read(self, x: Tensor, at: Tensor, lengths: Tensor) -> Tensor:
        """Return what is known after each event, [B, L, D].

        Args:
            x: embedded events, [B, L, D].
            at: float64 [B, L], the last known time at each, NaN where there is none.
            lengths: int64 [B].
        """

    def _read_both_ways(self, x: Tensor, at: Tensor, lengths: Tensor) -> Tensor:
        """Do as ``_read``, with the events behind each one in view, where a body can."""
        raise ValueError(
            f"a {self.kind} network reads from left to right only: set pretrain.bidirectional = "
            'false, or policy.kind = "transformer"'
        )

    @abstractmethod
    def _extend(self, state: Any, x: Tensor, at: Tensor, lengths: Tensor) -> tuple[Any, Tensor]:
        """Return the body's new state and what is known after each row's last event, [B, D]."""

    @abstractmethod
    def _empty(self, n: int) -> Any:
        """Return the body's state of ``n`` streams before their START."""

    @abstractmethod
    def _last_block(self) -> list[nn.Parameter]:
        """Return the parameters of the body's last block."""

    def parameters_of(self, scope: str) -> list[nn.Parameter]:
        """Return the parameters that fine-tuning within ``scope`` may change.

        "heads" are what comes after the body: the norm in front of the output layer, the units'
        biases, the value head and the feedback head. The output layer's own weight is the table
        of units, which is read on input too, and belongs to "all" alone, as does the memory.
        "last_block" adds the body's last block.
        """
        if scope == "all":
            return list(self.parameters())
        heads = [self.norm, self.value_head, self.feedback_head]
        chosen = [p for head in heads if head is not None for p in head.parameters()]
        if isinstance(self.bias, nn.Parameter):
            chosen.insert(0, self.bias)
        return chosen if scope == "heads" else chosen + self._last_block()

    @abstractmethod
    def spec(self) -> dict[str, object]:
        """Return the arguments this network was made with."""

    def grown(self, schema: Schema) -> Self:
        """Return a copy over more units; see :class:`heedful.policy.Policy`.

        New rows are zero, new biases the mean of the old ones: with no opinion on it, the network
        takes a new unit for an average one.
        """
        options = {k: v for k, v in self.spec().items() if k not in ("kind", "schema")}
        with torch.random.fork_rng(devices=[]):
            larger = type(self)(schema, **options).to(self.bias)  # type: ignore[arg-type]
        larger.load_state_dict(enlarged(self.state_dict(), larger.state_dict(), self.schema.size))
        return larger.train(self.training)

    @torch.no_grad()
    def describe(self, features: Tensor, chosen: Tensor, dropout: float = 0.0) -> None:
        """Take in what is known of the units; see :meth:`heedful.policy.units.DescribedUnits`."""
        if not isinstance(self.embed.unit, DescribedUnits):
            return
        mean = self.embed.unit.mean(self.bias)
        warmed = self.embed.unit.describe(features, chosen, dropout)
        self.bias[warmed] = mean  # it goes on from where it was scored
        if self.memory is not None:
            self.memory.key.weight[self.embed.unit.cold] = 0.0

    def start(self, n: int) -> NetworkState:
        """Return ``n`` streams that have seen their START."""
        starts = Events.starts(n, self.schema.features).to(self.bias.device)
        nowhere = torch.full((n,), torch.nan, dtype=torch.float64, device=self.bias.device)
        n_sums = 0 if self.memory is None else self.width
        empty = NetworkState(self._empty(n), self.bias.new_zeros(n, n_sums), nowhere)
        return self._append(empty, starts)[0]

    def step(
        self, state: NetworkState, events: Events, choices: Choices
    ) -> tuple[NetworkState, Tensor]:
        """Append events and score the next unit; see :class:`heedful.policy.Policy`."""
        state, known = self._append(state, events)
        now = None if choices.now is None else choices.now[:, 0]
        return state, choices.apply(self._score(self._asked(known, state.at, now)))

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need`` at the slots of ``batch``, with gradient.

        Logits are computed at the slots only, not at every event: most events choose nothing.
        """
        known, rows, at_units = self._known(batch)
        outputs = Outputs()
        if "values" in need:
            slots = batch.slots
            value = self.value_head(known[rows[slots], batch.positions[slots]])[:, 0]
            outputs = Outputs(values=scatter(value, slots))
        if "feedback" in need:
            predicted = self._feedback(at_units, batch.units[batch.mask])
            outputs = Outputs(values=outputs.values, feedback=scatter(predicted, batch.mask))
        if not need & {"logps", "entropy", "logits"}:
            return outputs
        out = None if need & {"entropy", "logits"} else batch.choices.always_out(batch.mask)
        if out is not None:
            weight, bias = self.embed.units(), self.embed.unit.biases(self.bias)
            bias = bias.index_fill(0, out, IMPOSSIBLE) if len(out) else bias
            chosen = log_likelihood(at_units, weight, bias, batch.units[batch.mask])
            return replace(outputs, logps=scatter(chosen, batch.mask))
        logits = batch.choices.apply(self._score(at_units), batch.mask)
        return outputs_from_logits(logits, batch, need, outputs)

    def answers(self, batch: Batch, units: Tensor) -> Tensor:
        """Return how people would answer each of ``units`` [K] in the N slots, [N, K, C].

        Slots in row-major order; binary channels as logits. The streams are read once.
        """
        _, _, at_units = self._known(batch)
        n, k = len(at_units), len(units)
        said = self._feedback(at_units.repeat_interleave(k, 0), units.repeat(n))
        return said.reshape(n, k, -1)

    def _known(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is known after each event, the row of each slot, and what is known at units.

        [B, L, D], [B, T] and, when each of the N units was asked for, [N, D].
        """
        events = batch.events
        at = last_known(events.time)
        embedded = self.dropout(self.embed(events, self._gaps(events, at)))
        read = self._read_both_ways if batch.both_ways else self._read
        known = read(embedded, at, events.lengths)
        if self.memory is not None:
            known = known + self.dropout(self.memory(events))
        rows = torch.arange(len(batch), device=known.device)[:, None].expand_as(batch.positions)
        place = (rows[batch.mask], batch.positions[batch.mask])
        now = None if batch.choices.now is None else batch.choices.now[batch.mask]
        return known, rows, self._asked(known[place], at[place], now)

    def _append(self, state: NetworkState, events: Events) -> tuple[NetworkState, Tensor]:
        at = last_known(events.time, state.at)
        embedded = self.dropout(self.embed(events, self._gaps(events, at, state.at)))
        body, known = self._extend(state.body, embedded, at, events.lengths)
        last = at[:, -1] if at.shape[1] else state.at
        if self.memory is None:
            return NetworkState(body, state.sums, last), known
        sums = self.memory.extend(state.sums, events)
        return NetworkState(body, sums, last), known + self.dropout(sums)

    def _gaps(self, events: Events, at: Tensor, before: Tensor | None = None) -> Tensor | None:
        return None if self.plain else since_last(events.time, at, before)

    def _asked(self, known: Tensor, at: Tensor, now: Tensor | None) -> Tensor:
        """Return ``known`` [N, D] at the moment of asking: how long nothing has happened."""
        if now is None or self.asked is None:
            return known
        return torch.as_tensor(known + self.asked(now - at))

    def _feedback(self, known: Tensor, units: Tensor) -> Tensor:
        if self.feedback_head is None:
            return known[:, :0]
        return torch.as_tensor(self.feedback_head(known, self.embed.unit(units), units))

    def _score(self, known: Tensor) -> Tensor:
        """Return logits [N, V], in full precision: their log-softmax is taken next."""
        with torch.autocast(known.device.type, enabled=False):
            return functional.linear(known, self.embed.units(), self.embed.unit.biases(self.bias))


class FeedbackHead(nn.Module):
    """How people would answer a unit, given what is known before it: bilinear, and a small MLP."""

    def __init__(self, schema: Schema, width: int) -> None:
        """Make one output a channel; the units' own biases start at zero."""
        super().__init__()
        n_channels = len(schema.channels)
        self.bias = nn.Embedding(schema.size + 1, n_channels)
        nn.init.zeros_(self.bias.weight)
        self.match = nn.Linear(width, n_channels)
        self.mlp = nn.Sequential(
            nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, n_channels)
        )

    def forward(self, known: Tensor, unit: Tensor, units: Tensor) -> Tensor:
        """Return [N, C] from ``known`` [N, D], the units' embeddings [N, D] and indexes [N]."""
        scale = math.sqrt(unit.shape[-1])
        deep = self.mlp(torch.cat([known, unit * scale], dim=-1))
        return torch.as_tensor(self.match(known * unit * scale) + deep + self.bias(units))
