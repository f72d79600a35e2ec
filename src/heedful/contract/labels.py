"""Labels: what should have been chosen at a moment of the log, and the streams it is learned in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.contract.streams import EventColumns, Ints, SlotColumns, Streams
from heedful.policy import EventKind, Vocabulary
from heedful.record import Kind
from heedful.store.snapshot import Snapshot

DEMONSTRATION = list(Kind).index(Kind.DEMONSTRATION)


@dataclass(frozen=True, slots=True)
class Label:
    """Units that should stand in a decision from ``place`` on.

    Attributes:
        decision: row of the decision in the snapshot.
        place: position of the first unit, from 0; what was shown before it stays.
        units: indexes in the vocabulary, none of them -1.
        weight: how much it counts; one of weight 0 is a moment to look at, not to learn.
    """

    decision: int
    place: int
    units: tuple[int, ...]
    weight: float = 1.0


def demonstrations(snapshot: Snapshot, vocabulary: Vocabulary) -> tuple[list[Label], list[str]]:
    """Return the demonstrations that stand, and the unit ids in others that nobody knows.

    One about a unit begins at its place, one about the whole decision at 0. It may be longer or
    shorter than what was chosen: a reply that was edited is. One with a unit that the vocabulary
    does not hold is left out whole.
    """
    feedback = snapshot.feedback
    standing = (feedback.kind == DEMONSTRATION) & ~feedback.retracted
    standing &= (feedback.retracts < 0) & (feedback.decision >= 0)
    labels: list[Label] = []
    unknown: list[str] = []
    for row in np.flatnonzero(standing).tolist():
        names = json.loads(feedback.texts[row])
        units = vocabulary.indexes(names).tolist()
        unknown += [name for name, unit in zip(names, units, strict=True) if unit < 0]
        if min(units) >= 0:
            place = max(0, int(feedback.unit[row]))
            labels.append(Label(int(feedback.decision[row]), place, tuple(units)))
    return labels, unknown


def as_shown(streams: Streams, decisions: Iterable[int]) -> list[Label]:
    """Return labels of weight 0 with what was shown in ``decisions``, as far as it is known."""
    places = _Places(streams)
    labels = []
    for decision in decisions:
        slots = places.slots_of(decision)
        position = streams.slots.position[slots]
        whole = slots[position == np.arange(len(slots))]  # up to the first unit nobody knows
        if len(whole):
            labels.append(Label(decision, 0, tuple(streams.slots.unit[whole].tolist()), 0.0))
    return labels


def labelled(streams: Streams, labels: Sequence[Label]) -> Streams:
    """Return streams in which each label is what was chosen: one for each, in their order.

    A stream is that of the decision's subject as it stood when the decision was asked for, then
    the units that were shown before the label's place, then the label. What came later is not in
    it, and no policy could have known it. The slots of units that were only shown weigh 0.

    Args:
        streams: the whole snapshot, encoded with no reward that waits.
        labels: of decisions with at least one known unit; others have no place in a stream.

    Raises:
        ValueError: a decision is in no stream.
    """
    places = _Places(streams)
    made = [_stream(streams, places, label, row) for row, label in enumerate(labels)]
    events = [events for events, _, _ in made]
    slots = [slots for _, slots, _ in made]
    columns = _joined(SlotColumns, slots, streams.slots)
    return Streams(
        schema=streams.schema,
        events=_joined(EventColumns, events, streams.events),
        offsets=np.cumsum([0, *(len(one.kind) for one in events)]),
        subjects=np.array([subject for _, _, subject in made], np.int64),
        slots=columns,
        slot_offsets=np.searchsorted(columns.stream, np.arange(len(made) + 1)),
        rules=streams.rules,
    )


class _Places:
    """Where the slots of each decision are."""

    def __init__(self, streams: Streams) -> None:
        self._order = np.argsort(streams.slots.decision, kind="stable")
        self._sorted = streams.slots.decision[self._order]

    def slots_of(self, decision: int) -> Ints:
        low, high = np.searchsorted(self._sorted, [decision, decision + 1])
        return self._order[low:high]


def _stream(
    streams: Streams, places: _Places, label: Label, row: int
) -> tuple[EventColumns, SlotColumns, int]:
    found = places.slots_of(label.decision)
    if not len(found):
        raise ValueError(f"decision {label.decision} of the snapshot is in no stream")
    slots, first = streams.slots, int(found[0])
    stream = int(slots.stream[first])
    begin = int(slots.event[first] - slots.position[first])  # the event of its first unit
    cut, base = begin + label.place, int(streams.offsets[stream])
    before = _taken(streams.events, slice(base, base + cut))
    kept = found[slots.position[found] < label.place]
    shown = replace(
        _taken(slots, kept),
        weight=np.zeros(len(kept)),
        discount=np.zeros(len(kept)),
    )
    added = _label_slots(streams, label, first, cut)
    columns = _joined(SlotColumns, [shown, added], slots)
    n = len(columns.unit)
    columns = replace(
        columns,
        stream=np.full(n, row),
        decision=np.full(n, row),
        linked=np.arange(n) < n - 1,
    )
    asked = streams.events.time[base + begin]
    events = _joined(EventColumns, [before, _label_events(streams, label, asked)], streams.events)
    return events, columns, int(streams.subjects[stream])


def _label_events(streams: Streams, label: Label, asked: float) -> EventColumns:
    n, width = len(label.units), streams.events.features.shape[1]
    return EventColumns(
        kind=np.full(n, int(EventKind.UNIT), np.int8),
        unit=np.array(label.units, np.int32),
        channel=np.zeros(n, np.int8),
        value=np.zeros(n, np.float32),
        features=np.zeros((n, width), np.float32),
        time=np.full(n, asked),
    )


def _label_slots(streams: Streams, label: Label, like: int, cut: int) -> SlotColumns:
    """Return the slots of a label's units; what they share with its decision is slot ``like``'s."""
    n, slots = len(label.units), streams.slots
    repeated: SlotColumns = _taken(slots, np.full(n, like))
    return replace(
        repeated,
        event=cut + np.arange(n),
        unit=np.array(label.units, np.int64),
        position=label.place + np.arange(n),
        behaviour_logp=np.full(n, np.nan),
        reward=np.zeros(n),
        discount=np.zeros(n),
        weight=np.full(n, label.weight),
        feedback=np.full((n, slots.feedback.shape[1]), np.nan, np.float32),
    )


def _taken(columns: Any, rows: slice | npt.NDArray[np.int64]) -> Any:
    return type(columns)(*(getattr(columns, name)[rows] for name in columns.__slots__))


def _joined(kind: Any, parts: Sequence[Any], empty: Any) -> Any:
    """Return columns one after the other; the types are those of ``empty``'s."""
    nothing = _taken(empty, slice(0, 0))
    return kind(
        *(np.concatenate([getattr(p, name) for p in (nothing, *parts)]) for name in kind.__slots__)
    )
