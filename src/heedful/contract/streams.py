"""Encoded streams, and the one place that cuts batches out of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from heedful.policy import Batch, Bounds, Choices, EventKind, Events, Quotas, Schema, Tally

ANY = -2
"""Stands where every unit of earlier decisions may be chosen again."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def window_start(count: int, window: int) -> int:
    """Return the first event a decision sees that comes after ``count`` events of its stream.

    Streams are cut in blocks of half a window counted from the log, so that training and serving
    forget the same events at the same moment, and a cache is rebuilt once a block, not once a step:
    a decision sees its own block and the one before.

    >>> [window_start(n, 8) for n in (0, 7, 8, 11, 12)]
    [0, 0, 4, 4, 8]
    """
    half = window // 2
    return max(0, count // half - 1) * half


@dataclass(frozen=True, slots=True)
class Rule:
    """A choice set in the numbers of a vocabulary.

    Attributes:
        allowed: indexes, or ``None`` for all.
        forbidden: indexes.
        seen: whether units of the subject's earlier decisions may be chosen; the end unit may.
        repeat: whether a unit may stand twice in the decision.
        end: index of the unit that closes it, or -1.
        quotas: what a decision may hold of groups of units, ``None`` where nothing is said.
    """

    allowed: Ints | None
    forbidden: Ints
    seen: bool
    repeat: bool
    end: int
    quotas: Quotas | None = None

    def possible(self, size: int, seen: Ints) -> npt.NDArray[np.bool_]:
        """Return which units may be chosen when a decision begins, bool [V].

        Args:
            size: V.
            seen: what the subject had in earlier decisions.
        """
        found = np.full(size, self.allowed is None)
        if self.allowed is not None:
            found[self.allowed] = True
        if not self.seen:
            found[seen[seen != self.end]] = False
        found[self.forbidden] = False
        return found

    def n_possible(self, size: int, seen: Collection[int]) -> int:
        """Return how many units may be chosen when a decision begins; see :meth:`possible`."""
        seen = () if self.seen else seen
        if self.allowed is None and not len(self.forbidden):
            return size - len(seen)
        out = set(self.forbidden.tolist()).union(seen)
        return size - len(out) if self.allowed is None else len(set(self.allowed.tolist()) - out)

    def within(self, places: int) -> Rule:
        """Return the same for a decision of at most ``places`` units."""
        return self if self.quotas is None else replace(self, quotas=self.quotas.within(places))

    def refusal(self, size: int, seen: Collection[int]) -> str | None:
        """Say why no decision keeps what is said of groups, ``None`` if one does."""
        if self.quotas is None:
            return None
        return self.quotas.refusal(self.possible(size, np.fromiter(seen, np.int64)))


@dataclass(frozen=True, slots=True, eq=False)
class EventColumns:
    """Events one after the other, E of them; see :class:`heedful.policy.Events` for each column."""

    kind: npt.NDArray[np.int8]
    unit: npt.NDArray[np.int32]
    channel: npt.NDArray[np.int8]
    value: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    time: Floats


@dataclass(frozen=True, slots=True, eq=False)
class SlotColumns:
    """The units that were chosen, U of them in the order of their streams.

    Attributes:
        stream: which stream.
        event: the place of the unit's own event in its stream; it was decided after ``event - 1``.
        start: events in the stream before its decision began (its context not counted).
        decision: row of the decision in the snapshot.
        unit: index in the vocabulary, never -1: units that are not known are not learned.
        position: place within the decision.
        rule: index into :attr:`Streams.rules`.
        seq: the decision's sequence number in the log.
        behaviour_logp: NaN where unknown.
        reward, discount, weight: see :class:`heedful.policy.Batch`.
        after: the event whose value follows the slot when the next slot is not its continuation.
        linked: the next slot continues this one's episode.
        feedback: [U, C] scaled answers, NaN where unknown.
        measured: [U, M], see :class:`heedful.policy.Batch`; a domain leaves it empty.
        reviewed: shown because a person let it through: neither a policy's doing nor the subject's.
    """

    stream: Ints
    event: Ints
    start: Ints
    decision: Ints
    unit: Ints
    position: Ints
    rule: Ints
    seq: Ints
    behaviour_logp: Floats
    reward: Floats
    discount: Floats
    weight: Floats
    after: Ints
    linked: npt.NDArray[np.bool_]
    feedback: npt.NDArray[np.float32]
    measured: Floats
    reviewed: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """One row of a batch: a stretch of a stream, and what is decided in it.

    Events run from ``first`` to ``last`` (exclusive); ``slots`` are rows of :class:`SlotColumns`.
    """

    stream: int
    first: int
    last: int
    slots: range


@dataclass(frozen=True, slots=True, eq=False)
class Streams:
    """All subjects' streams, encoded.

    Attributes:
        schema: what the events look like.
        events: E events; stream s owns ``offsets[s]`` to ``offsets[s + 1]``.
        offsets: int64 [S + 1].
        subjects: int64 [S], the subject's code in the snapshot.
        slots: U slots; stream s owns ``slot_offsets[s]`` to ``slot_offsets[s + 1]``.
        slot_offsets: int64 [S + 1].
        rules: the distinct choice sets.
        by_episode: whether each episode is a stream of its own; else streams are subjects'.
    """

    schema: Schema
    events: EventColumns
    offsets: Ints
    subjects: Ints
    slots: SlotColumns
    slot_offsets: Ints
    rules: tuple[Rule, ...]
    by_episode: bool = False

    def __len__(self) -> int:
        """Return S."""
        return len(self.offsets) - 1

    @property
    def asked_at(self) -> Floats:
        """Return when each slot was decided, float64 [U]: the time of its unit's own event."""
        asked: Floats = self.events.time[self.offsets[self.slots.stream] + self.slots.event]
        return asked

    def windows(self, window: int, slots: npt.NDArray[np.bool_] | None = None) -> list[Window]:
        """Return rows in which every slot sees exactly what the server would show its policy.

        Args:
            window: events a stream is long; even.
            slots: bool [U], only windows that hold one of these; all by default.
        """
        half = window // 2
        columns = self.slots
        n_blocks = int(columns.start.max(initial=0)) // half + 1
        block = columns.stream * n_blocks + columns.start // half
        edges = np.flatnonzero(np.diff(block, prepend=-1))
        wanted: Iterable[int] = range(len(edges))
        if slots is not None and len(edges):
            wanted = np.flatnonzero(np.add.reduceat(slots, edges)).tolist()
        ends = np.append(edges[1:], len(block))
        return [self._window(range(int(edges[i]), int(ends[i])), window) for i in wanted]

    def chunks(self, length: int, rng: np.random.Generator | None = None) -> list[Window]:
        """Return rows of at most ``length`` events with every slot once, cut at a random phase.

        For pre-training: half the cost of :meth:`windows`, and each epoch sees other cuts; slots at
        the head of a row see less than the server would show.
        """
        columns = self.slots
        phase = np.zeros(len(self), dtype=np.int64)
        if rng is not None:
            long = np.diff(self.offsets) > length
            phase[long] = rng.integers(0, length, size=int(long.sum()))
        at = columns.event + phase[columns.stream]
        n_blocks = int(at.max(initial=0)) // length + 1
        block = columns.stream * n_blocks + at // length
        edges = np.flatnonzero(np.diff(block, prepend=-1))
        ends = np.append(edges[1:], len(block))[: len(edges)]
        rows = []
        for low, high in zip(edges.tolist(), ends.tolist(), strict=True):
            stream = int(columns.stream[low])
            first = max(0, int(at[low]) // length * length - int(phase[stream]))
            rows.append(self._row(stream, first, range(low, high)))
        return rows

    def part(self, row: Window, slots: range, *, from_first: bool = False) -> Window:
        """Return the part of ``row`` in which only ``slots`` are decided.

        Args:
            row: one of these streams' rows.
            slots: some of its slots, one after the other.
            from_first: leave out the events of ``row`` before the decision of the first of them.
        """
        first = max(row.first, int(self.slots.start[slots.start])) if from_first else row.first
        return self._row(row.stream, first, slots)

    def single(self, slot: int, window: int) -> Window:
        """Return the row in which ``slot`` alone is decided, as the server would have seen it."""
        return self._window(range(slot, slot + 1), window)

    def stretches(self, slots: Ints, window: int) -> list[Window]:
        """Return the shortest rows in which the server would have seen each slot the same.

        Slots of a stream that see the same events share a row, with the slots between them.

        Args:
            slots: int64, slot numbers, ascending.
            window: events a stream is long; even.
        """
        half, columns = window // 2, self.slots
        n_blocks = int(columns.start.max(initial=0)) // half + 1
        block = columns.stream[slots] * n_blocks + columns.start[slots] // half
        edges = np.flatnonzero(np.diff(block, prepend=-1))
        lasts = np.append(edges[1:], len(slots))[: len(edges)] - 1
        return [
            self._window(range(int(slots[i]), int(slots[j]) + 1), window)
            for i, j in zip(edges, lasts, strict=True)
        ]

    def batch(self, windows: Sequence[Window], *, seen: bool | None = None) -> Batch:
        """Cut the rows ``windows`` out and pad them.

        Args:
            windows: B rows of these streams.
            seen: overrules every choice set: False forbids units of earlier decisions.
        """
        lengths = np.array([row.last - row.first + 1 for row in windows])
        base = np.array([self.offsets[row.stream] + row.first for row in windows])
        plan = _plan(self.slots, windows)
        return Batch(
            events=self._events(base, lengths),
            positions=torch.from_numpy(plan.position),
            units=torch.from_numpy(np.where(plan.mask, self._slot(plan, self.slots.unit), 0)),
            decisions=torch.from_numpy(
                np.where(plan.mask, self._slot(plan, self.slots.decision), -1)
            ),
            mask=torch.from_numpy(plan.mask),
            bootstrap=torch.from_numpy(plan.bootstrap),
            choices=self._choices(windows, plan, seen),
            behaviour_logps=torch.from_numpy(
                np.where(plan.mask, self._slot(plan, self.slots.behaviour_logp), 0.0)
            ),
            rewards=self._numbers(plan, self.slots.reward),
            discounts=self._numbers(plan, self.slots.discount),
            weights=self._numbers(plan, self.slots.weight),
            feedback=torch.from_numpy(
                np.where(plan.mask[..., None], self._slot(plan, self.slots.feedback), np.nan)
            ).float(),
            measured=torch.from_numpy(
                np.where(plan.mask[..., None], self._slot(plan, self.slots.measured), np.nan)
            )
            if self.slots.measured.shape[1]
            else None,
        )

    def _window(self, slots: range, window: int) -> Window:
        stream = int(self.slots.stream[slots.start])
        first = window_start(int(self.slots.start[slots.start]), window)
        return self._row(stream, first, slots)

    def _row(self, stream: int, first: int, slots: range) -> Window:
        """Return a row that ends with its last slot, or with the event its value is read at."""
        last = int(self.slots.event[slots.stop - 1])
        open_end = self.slots.discount[slots.start : slots.stop] > 0
        after = self.slots.after[slots.start : slots.stop][open_end]
        return Window(stream, first, max(last, int(after.max(initial=-1)) + 1), slots)

    def _events(self, base: Ints, lengths: Ints) -> Events:
        """Gather rows of events, a START before each; ``lengths`` count it."""
        place = np.arange(lengths.max(initial=1))
        real = (place >= 1) & (place < lengths[:, None])
        at = np.where(real, base[:, None] + place - 1, 0)
        columns = self.events
        empty = not len(columns.kind)

        def gather(column: npt.NDArray[np.generic], fill: float) -> torch.Tensor:
            found = np.full(at.shape, fill, column.dtype) if empty else column[at]
            return torch.from_numpy(np.where(real, found, fill))

        kind = gather(columns.kind, int(EventKind.PAD)).long()
        kind[:, 0] = int(EventKind.START)
        features = np.zeros((*at.shape, columns.features.shape[1]), np.float32)
        if not empty:
            features = np.where(real[..., None], columns.features[at], np.float32(0))
        return Events(
            kind,
            gather(columns.unit, -1).long(),
            gather(columns.channel, 0).long(),
            gather(columns.value, 0),
            torch.from_numpy(features),
            gather(columns.time, np.nan),
            torch.from_numpy(lengths),
        )

    def _slot(self, plan: _Plan, column: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        if not len(column):
            return np.zeros((*plan.slot.shape, *column.shape[1:]), column.dtype)
        return column[plan.slot]

    def _numbers(self, plan: _Plan, column: Floats) -> torch.Tensor:
        return torch.from_numpy(np.where(plan.mask, self._slot(plan, column), 0.0)).float()

    def _choices(self, windows: Sequence[Window], plan: _Plan, seen: bool | None) -> Choices:
        lines = _Lines()
        for row, window in enumerate(windows):
            self._choices_of_row(row, window, plan.column_of[row], seen, lines)
        restricted = np.zeros(plan.mask.shape, dtype=bool)
        for row, column in lines.restricted:
            restricted[row, column] = True
        return Choices(
            size=self.schema.size,
            shape=(plan.mask.shape[0], plan.mask.shape[1]),
            allowed=_stack(lines.allowed),
            forbidden=_stack(lines.forbidden),
            restricted=torch.from_numpy(restricted) if lines.restricted else None,
            bounds=Bounds.of(lines.tallies) if lines.tallies else None,
            now=torch.from_numpy(np.where(plan.mask, self._slot(plan, self.asked_at), np.nan)),
        )

    def _choices_of_row(
        self, row: int, window: Window, column: Ints, seen: bool | None, lines: _Lines
    ) -> None:
        low, high = window.slots.start, window.slots.stop
        rule, decision = self.slots.rule[low:high], self.slots.decision[low:high]
        last_of = np.flatnonzero(np.append(decision[1:] != decision[:-1], True))
        after = column[last_of][np.searchsorted(last_of, np.arange(high - low))] + 1
        self._forbid_drawn(row, window, column, after, lines)
        rules = [self.rules[r] for r in rule]
        spared = [ANY if (r.seen if seen is None else seen) else r.end for r in rules]
        if any(unit != ANY for unit in spared):
            self._forbid_seen(row, window, column, np.array(spared), lines)
        codes = np.unique(rule)
        for code in codes:
            if self.rules[code].allowed is None and not len(self.rules[code].forbidden):
                continue
            run = np.flatnonzero(np.diff(rule == code, prepend=False, append=False))
            for begin, stop in run.reshape(-1, 2):
                lines.restrict(row, column[begin:stop], self.rules[code])
        if any(self.rules[code].quotas is not None for code in codes):
            self._count(row, window, column, seen, lines)

    def _count(
        self, row: int, window: Window, column: Ints, seen: bool | None, lines: _Lines
    ) -> None:
        """Say how far each decision with rules about groups had come at each of its slots."""
        low, high = window.slots.start, window.slots.stop
        begun = self._begun(window)
        decision = self.slots.decision[begun:high]
        edges = np.flatnonzero(np.diff(decision, prepend=-1)) + begun
        for first, stop in zip(edges.tolist(), [*edges[1:].tolist(), high], strict=True):
            tally = self._tally(window.stream, first, seen)
            if tally is None:
                continue
            drawn = 0
            for slot in range(first, stop):
                for _ in range(drawn, int(self.slots.position[slot])):
                    tally = tally.after(-1)  # a unit that the vocabulary does not know
                if slot >= low:
                    lines.tallies.append((row, int(column[slot - low]), tally))
                tally = tally.after(int(self.slots.unit[slot]))
                drawn = int(self.slots.position[slot]) + 1

    def _tally(self, stream: int, slot: int, seen: bool | None) -> Tally | None:
        """Return the tally at the beginning of the decision of ``slot``."""
        rule = self.rules[self.slots.rule[slot]]
        quotas: Quotas | None = rule.quotas
        if quotas is None:
            return None
        if not quotas.requires:
            return quotas.start(())
        if seen is not None:
            rule = replace(rule, seen=seen)
        base = int(self.offsets[stream])
        shown = slice(base, base + int(self.slots.start[slot]))
        unit = self.events.unit[shown][self.events.kind[shown] == EventKind.UNIT]
        possible = rule.possible(self.schema.size, unit[unit >= 0].astype(np.int64))
        # Where another vocabulary, or what counts as seen, rules out all ways: nothing is required.
        return quotas.start(quotas.plan(possible) or ())

    def _begun(self, window: Window) -> int:
        """Return the first slot of the window's first decision, which may lie before it."""
        low = window.slots.start
        begun = int(self.slot_offsets[window.stream])
        return begun + int(np.searchsorted(self.slots.event[begun:low], self.slots.start[low]))

    def _forbid_drawn(
        self, row: int, window: Window, column: Ints, after: Ints, lines: _Lines
    ) -> None:
        """Forbid the units drawn earlier in the same decision, where its rule says so.

        The first decision of a row may have begun before the row.
        """
        low, high = window.slots.start, window.slots.stop
        begun = self._begun(window)
        head = low - begun
        first = np.concatenate([np.zeros(head, np.int64), column + 1])
        after = np.concatenate([np.full(head, after[0]), after])
        repeat = np.array([self.rules[r].repeat for r in self.slots.rule[begun:high]])
        once = ~repeat & (first < after)
        lines.forbid(row, self.slots.unit[begun:high][once], first[once], after[once])

    def _forbid_seen(
        self,
        row: int,
        window: Window,
        column: Ints,
        spared: Ints,
        lines: _Lines,
    ) -> None:
        """Forbid what the subject saw in earlier decisions, in the slots whose rule says so.

        Every unit of the stream counts, also of decisions that wait and hence have no slot.
        ``spared`` is the end unit (or -1) of each slot, ``ANY`` where nothing is forbidden.
        """
        low, high = window.slots.start, window.slots.stop
        base = int(self.offsets[window.stream])
        shown = slice(base, base + int(self.slots.start[high - 1]))
        event = np.flatnonzero(self.events.kind[shown] == EventKind.UNIT)
        unit, first_seen = np.unique(self.events.unit[shown][event], return_index=True)
        known = unit >= 0
        unit = unit[known].astype(np.int64)
        # A unit counts as seen from the first decision that starts after it.
        slot = np.searchsorted(self.slots.start[low:high], event[first_seen[known]], side="right")
        edges = np.flatnonzero(np.diff(spared, prepend=ANY) != 0)
        for edge, stop in zip(edges, [*edges[1:], high - low], strict=True):
            if spared[edge] == ANY:
                continue
            bound = (slot < stop) & (unit != spared[edge])
            first = column[np.maximum(slot[bound], edge)]
            after = np.full(len(first), column[stop - 1] + 1, dtype=np.int64)
            lines.forbid(row, unit[bound], first, after)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Where each slot of a batch comes from; T columns, of which some only bootstrap."""

    slot: Ints
    position: Ints
    mask: npt.NDArray[np.bool_]
    bootstrap: npt.NDArray[np.bool_]
    column_of: list[Ints]


def _plan(slots: SlotColumns, windows: Sequence[Window]) -> _Plan:
    """Give every slot its column, with room for a bootstrap after slots that are cut off."""
    columns, cuts = [], []
    for row in windows:
        low, high = row.slots.start, row.slots.stop
        linked = slots.linked[low:high].copy()
        if len(linked):
            linked[-1] = False
        cut = ~linked & (slots.discount[low:high] > 0)
        columns.append(np.arange(high - low) + np.cumsum(cut) - cut)
        cuts.append(cut)
    widths = [
        int(c[-1] + 1 + cut[-1]) if len(c) else 0 for c, cut in zip(columns, cuts, strict=True)
    ]
    shape = (len(windows), max(widths, default=0))
    slot, position = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    mask, bootstrap = np.zeros(shape, bool), np.zeros(shape, bool)
    for i, (row, column, cut) in enumerate(zip(windows, columns, cuts, strict=True)):
        low, high = row.slots.start, row.slots.stop
        slot[i, column] = np.arange(low, high)
        mask[i, column] = True
        # The START stands at 0, so event e of the stream is read at e - first + 1, and a unit is
        # decided after the event before it.
        position[i, column] = slots.event[low:high] - row.first
        bootstrap[i, column[cut] + 1] = True
        position[i, column[cut] + 1] = slots.after[low:high][cut] - row.first + 1
    return _Plan(slot, position, mask, bootstrap, columns)


class _Lines:
    """Spans for :class:`heedful.policy.Choices`, gathered row by row."""

    def __init__(self) -> None:
        self.allowed: list[Ints] = []
        self.forbidden: list[Ints] = []
        self.restricted: list[tuple[int, int]] = []
        self.tallies: list[tuple[int, int, Tally]] = []

    def forbid(self, row: int, unit: Ints, first: Ints, after: Ints) -> None:
        self.forbidden.append(np.stack([np.full(len(unit), row), unit, first, after], axis=1))

    def restrict(self, row: int, columns: Ints, rule: Rule) -> None:
        """Bind slots one after the other, at ``columns`` [n], to ``rule``."""
        first, after = int(columns[0]), int(columns[-1]) + 1
        if rule.allowed is not None:
            self.restricted += [(row, column) for column in columns.tolist()]
            self.allowed.append(_span(row, rule.allowed, first, after))
        if len(rule.forbidden):
            self.forbidden.append(_span(row, rule.forbidden, first, after))


def _span(row: int, units: Ints, first: int, after: int) -> Ints:
    n = len(units)
    return np.stack([np.full(n, row), units, np.full(n, first), np.full(n, after)], axis=1)


def _stack(lines: list[Ints]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([np.empty((0, 4), np.int64), *lines]).astype(np.int64))
