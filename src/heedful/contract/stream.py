"""One stream, one record at a time: what a server keeps.

The same rule for a whole snapshot is :mod:`heedful.contract.encode`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from heedful.contract.conversation import Conversation
from heedful.contract.description import subject_numbers
from heedful.contract.domain import Reader
from heedful.contract.streams import window_start
from heedful.policy import EventKind, Events, Vocabulary
from heedful.record import ALL_UNITS, Context, Decision, Description, End, Feedback, Kind, Span

_Event = tuple[int, int, int, float, np.ndarray | None, float]


class Stream:
    """The events of one subject, or of one conversation, appended in the order of the log.

    Attributes:
        seen: indexes of all units of its decisions so far.
    """

    def __init__(self, reader: Reader, vocabulary: Vocabulary) -> None:
        """Begin with no event."""
        self._reader, self._vocabulary = reader, vocabulary
        self._events: list[_Event] = []
        self._decisions: dict[str, list[int]] = {}
        self._feedback: dict[str, Feedback] = {}
        self._channels = {c.kind: (i, c) for i, c in enumerate(reader.channels, start=1)}
        self._open: tuple[str, int] | None = None
        self.seen: set[int] = set()

    def __len__(self) -> int:
        """Return how many events there are, START not counted."""
        return len(self._events)

    def append(self, record: Decision | Description | Feedback | End) -> None:
        """Append what happened next to this subject, or what is known of it from here on."""
        match record:
            case Decision():
                self._decision(record)
            case Feedback():
                self._answer(record)
            case Description():
                self._portray(record)
            case End():
                self._observe(record.context, record.ended_at)
                self._add(EventKind.END, at=record.ended_at)

    def start(self, window: int) -> int:
        """Return the first event that a decision made now may see."""
        return window_start(len(self), window)

    def context(self, context: Context, at: float = math.nan) -> list[_Event]:
        """Return the events ``context`` is read as, without appending them; none if it is empty.

        Args:
            context: what is known.
            at: when, seconds since the epoch; NaN unknown.
        """
        if not context:
            return []
        units, numbers = self._reader.observe(context, self._vocabulary)
        return [
            (int(EventKind.CONTEXT), int(unit), 0, 0.0, row, at)
            for unit, row in zip(units, numbers, strict=True)
        ]

    def since(self, first: int) -> list[_Event]:
        """Return the events from number ``first`` on."""
        return self._events[first:]

    def _decision(self, decision: Decision) -> None:
        self._observe(decision.context, decision.made_at)
        units = self._vocabulary.indexes(decision.units).tolist()
        for unit in units:
            self._add(EventKind.UNIT, unit, at=decision.made_at)
        self._decisions[decision.id] = units
        self.seen.update(unit for unit in units if unit >= 0)
        self._open = (decision.id, len(units) - 1)

    def _answer(self, feedback: Feedback) -> None:
        self._feedback[feedback.id] = feedback
        said = feedback
        if feedback.retracts is not None:
            said = self._feedback[feedback.retracts]
        if isinstance(said.about, Span) or said.kind.value not in self._channels:
            return
        number, channel = self._channels[said.kind.value]
        if feedback.retracts is not None:
            self._add(EventKind.RETRACTION, self._meant(said), number, at=feedback.given_at)
            return
        if said.kind is Kind.COMMENT and isinstance(self._reader, Conversation):
            for word in self._reader.words(str(said.value), self._vocabulary).tolist():
                self._add(EventKind.FEEDBACK, word, number, at=feedback.given_at)
            return
        value = _number(feedback.value)
        scaled = 0.0 if math.isnan(value) else channel.scale(value)
        if (
            self._open is not None
            and self._open[0] == said.about
            and said.unit
            in (
                ALL_UNITS,
                self._open[1],
            )
        ):
            kind, unit, _, _, numbers, at = self._events[-1]
            self._events[-1] = (kind, unit, number, scaled, numbers, at)
            self._open = None
            return
        self._add(EventKind.FEEDBACK, self._meant(said), number, scaled, at=feedback.given_at)

    def _meant(self, feedback: Feedback) -> int:
        assert isinstance(feedback.about, str)
        return -1 if feedback.unit == ALL_UNITS else self._decisions[feedback.about][feedback.unit]

    def _portray(self, description: Description) -> None:
        if self._vocabulary.of_subjects is None:
            return
        numbers = subject_numbers(self._reader, self._vocabulary, description.facts)
        self._events.append((int(EventKind.CONTEXT), -1, 0, 0.0, numbers, math.nan))
        self._open = None

    def _observe(self, context: Context, at: float) -> None:
        for event in self.context(context, at):
            self._events.append(event)
            self._open = None

    def _add(
        self, kind: EventKind, unit: int = -1, channel: int = 0, value: float = 0.0, *, at: float
    ) -> None:
        self._events.append((int(kind), unit, channel, value, None, at))
        self._open = None


def _number(value: object) -> float:
    return float(value) if isinstance(value, bool | int | float) else math.nan


def pad(rows: Sequence[Sequence[_Event]], features: int) -> Events:
    """Return ragged rows of events as one block, padded on the right."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    shape = (len(rows), int(lengths.max(initial=0)))
    kind, channel = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    unit, value = np.full(shape, -1, np.int64), np.zeros(shape, np.float32)
    numbers, time = np.zeros((*shape, features), np.float32), np.full(shape, np.nan)
    for i, row in enumerate(rows):
        for j, (of_kind, of_unit, of_channel, of_value, vector, at) in enumerate(row):
            kind[i, j], unit[i, j], channel[i, j] = of_kind, of_unit, of_channel
            value[i, j], time[i, j] = of_value, at
            if vector is not None:
                numbers[i, j, : len(vector)] = vector  # a context of its own has nobody's facts
    columns = (kind, unit, channel, value, numbers, time, lengths)
    return Events(*(torch.from_numpy(column) for column in columns))
