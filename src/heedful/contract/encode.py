"""From a snapshot's columns to streams of events, whole columns at a time.

The same rule, one record at a time, is :mod:`heedful.contract.stream`; a property test holds the
two together, so that training sees what serving saw.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.contract.conversation import Conversation
from heedful.contract.description import portraits, schema_of, subject_numbers
from heedful.contract.domain import Reader
from heedful.contract.streams import EventColumns, Floats, Ints, Rule, SlotColumns, Streams
from heedful.policy import EventKind, Quota, Quotas, Vocabulary
from heedful.record import ALL_UNITS, ChoiceSet, Kind, is_reviewed
from heedful.store.columns import Texts
from heedful.store.snapshot import Snapshot

KINDS = [kind.value for kind in Kind]


def encode(
    reader: Reader,
    snapshot: Snapshot,
    vocabulary: Vocabulary,
    *,
    rewards: Floats | None = None,
    matured: npt.NDArray[np.bool_] | None = None,
    gamma: float = 0.0,
) -> Streams:
    """Encode ``snapshot``; the arguments are those of :meth:`heedful.contract.Domain.encode`.

    Events stand in the order of the log. Feedback that directly follows its unit in the subject's
    stream is fused into the unit's event; any other is an event of its own, so late feedback never
    changes what an earlier decision saw. A :class:`~heedful.contract.Conversation` has a stream for
    each episode, any other reader one for each subject.
    """
    schema = schema_of(reader, vocabulary)
    units = vocabulary.indexes(snapshot.names.units)[snapshot.decisions.units].astype(np.int64)
    rows = _rows(reader, snapshot, vocabulary, units)
    by_episode = isinstance(reader, Conversation)
    rows = _sorted(_fused(_sorted(rows, by_episode=by_episode), snapshot), by_episode=by_episode)
    offsets = _offsets(rows.episode if by_episode else rows.subject)
    subjects = rows.subject[offsets[:-1]]
    slots = _slots(rows, offsets, snapshot, units, rewards, gamma)
    slots = _answered(slots, reader, snapshot, matured)
    n_streams = len(subjects)
    slot_offsets = np.searchsorted(slots.stream, np.arange(n_streams + 1))
    return Streams(
        schema=schema,
        events=EventColumns(
            rows.kind.astype(np.int8),
            rows.unit.astype(np.int32),
            rows.channel.astype(np.int8),
            rows.value.astype(np.float32),
            rows.features,
            rows.time,
        ),
        offsets=offsets,
        subjects=subjects,
        slots=slots,
        slot_offsets=slot_offsets,
        rules=tuple(as_rule(choices, vocabulary) for choices in snapshot.names.choice_sets),
        by_episode=by_episode,
    )


def as_rule(choices: ChoiceSet, vocabulary: Vocabulary) -> Rule:
    """Return ``choices`` in the numbers of ``vocabulary``; unknown units drop out.

    Raises:
        ValueError: units are required of a decision of no stated length.
    """

    def known(units: tuple[str, ...]) -> Ints:
        found = vocabulary.indexes(units).astype(np.int64)
        return np.unique(found[found >= 0])

    end = -1 if choices.end is None else int(vocabulary.indexes([choices.end])[0])
    quotas = [
        Quota(known(group.units), group.least, group.most, group.penalty, group.name)
        for group in choices.groups
        if group.binds and group.most != 0
    ]
    return Rule(
        allowed=None if choices.allowed is None else known(choices.allowed),
        forbidden=known(choices.out),
        seen=choices.seen,
        repeat=choices.repeat,
        end=end,
        quotas=Quotas(
            quotas, len(vocabulary), places=choices.places, repeat=choices.repeat, end=end
        )
        if quotas
        else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Events before they are cut into streams.

    ``source`` is the flat unit of the snapshot for a UNIT event, else -1; ``decision`` the decision
    an event belongs to or speaks of, -1 where there is none; ``position`` the place in it.
    """

    subject: Ints
    seq: Ints
    minor: Ints
    kind: Ints
    unit: Ints
    channel: Ints
    value: Floats
    features: npt.NDArray[np.float32]
    time: Floats
    decision: Ints
    position: Ints
    source: Ints
    episode: Ints

    def take(self, index: npt.NDArray[np.generic]) -> _Rows:
        return _Rows(*(getattr(self, name)[index] for name in self.__slots__))


def _rows(reader: Reader, snapshot: Snapshot, vocabulary: Vocabulary, units: Ints) -> _Rows:
    parts = [
        _unit_rows(snapshot, units, reader.features),
        *_feedback_rows(reader, snapshot, vocabulary, units),
        *_context_rows(reader, snapshot, vocabulary),
    ]
    if vocabulary.of_subjects is not None:
        parts = [*map(_room_for(vocabulary.of_subjects.width), parts)]
        parts.append(_portrait_rows(reader, snapshot, vocabulary))
    return _Rows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in _Rows.__slots__)
    )


def _room_for(width: int) -> Callable[[_Rows], _Rows]:
    """Return what adds ``width`` numbers of value 0 behind those of a context."""
    return lambda rows: replace(rows, features=np.pad(rows.features, ((0, 0), (0, width))))


def _portrait_rows(reader: Reader, snapshot: Snapshot, vocabulary: Vocabulary) -> _Rows:
    """Descriptions of subjects as contexts that belong to no decision and no episode."""
    code_of = {name: code for code, name in enumerate(snapshot.names.subjects)}
    found = [row for row in portraits(snapshot) if row[1] in code_of]
    seq = np.array([seq for seq, _, _ in found], np.int64)
    subject = np.array([code_of[name] for _, name, _ in found], np.int64)
    numbers = [subject_numbers(reader, vocabulary, facts) for _, _, facts in found]
    rows = _make(
        len(found),
        0,
        subject=subject,
        seq=seq,
        kind=np.full(len(found), int(EventKind.CONTEXT)),
        time=np.full(len(found), np.nan),  # it was so before somebody wrote it down
    )
    width = schema_of(reader, vocabulary).features
    return replace(rows, features=np.array(numbers, np.float32).reshape(len(found), width))


def _make(n: int, width: int, **columns: npt.NDArray[Any]) -> _Rows:
    """Return ``n`` rows; columns that are not given hold "nothing" (-1, or 0)."""
    nothing = {"minor": 0, "channel": 0, "value": 0.0}
    full: dict[str, npt.NDArray[Any]] = {
        name: np.full(n, nothing.get(name, -1)) for name in _Rows.__slots__ if name not in columns
    }
    full["features"] = np.zeros((n, width), np.float32)
    return _Rows(**{**full, **columns})


def _unit_rows(snapshot: Snapshot, units: Ints, features: int) -> _Rows:
    decisions = snapshot.decisions
    owner = decisions.of_unit
    position = np.arange(len(units)) - decisions.offsets[owner]
    return _make(
        len(units),
        features,
        subject=decisions.subject[owner].astype(np.int64),
        seq=decisions.seq[owner],
        minor=position + 1,
        kind=np.full(len(units), int(EventKind.UNIT)),
        unit=units,
        time=decisions.made_at[owner],
        decision=owner,
        position=position,
        source=np.arange(len(units)),
        episode=decisions.episode[owner].astype(np.int64),
    )


def _feedback_rows(
    reader: Reader, snapshot: Snapshot, vocabulary: Vocabulary, units: Ints
) -> list[_Rows]:
    """Feedback as events. A retraction speaks of the channel of what it takes back."""
    feedback, decisions = snapshot.feedback, snapshot.decisions
    channel_of = np.zeros(len(KINDS), dtype=np.int64)
    for number, known in enumerate(reader.channels, start=1):
        channel_of[KINDS.index(known.kind)] = number
    takes_back = feedback.retracts >= 0
    original = np.where(takes_back, feedback.retracts, np.arange(len(feedback.seq)))
    channel = channel_of[feedback.kind[original]] if len(original) else original
    kept = np.flatnonzero((channel > 0) & (feedback.decision >= 0))
    decision, position = feedback.decision[kept], feedback.unit[original][kept].astype(np.int64)
    flat = decisions.offsets[decision] + np.maximum(position, 0)
    value = scaled(reader, feedback.value[kept], channel[kept])
    rows = _make(
        len(kept),
        reader.features,
        subject=decisions.subject[decision].astype(np.int64),
        seq=feedback.seq[kept],
        kind=np.where(takes_back[kept], int(EventKind.RETRACTION), int(EventKind.FEEDBACK)),
        unit=np.where(position == ALL_UNITS, -1, units[flat] if len(units) else -1),
        channel=channel[kept],
        value=np.where(takes_back[kept], 0.0, value),
        time=feedback.given_at[kept],
        decision=decision,
        position=position,
        episode=decisions.episode[decision].astype(np.int64),
    )
    if not isinstance(reader, Conversation):
        return [rows]
    spoken = (feedback.kind[kept] == KINDS.index(Kind.COMMENT)) & ~takes_back[kept]
    words = [reader.words(feedback.texts[int(row)], vocabulary) for row in kept[spoken]]
    return [rows.take(~spoken), _spoken_rows(rows.take(spoken), words)]


def _spoken_rows(comments: _Rows, words: list[Ints]) -> _Rows:
    """Comments word by word: each is an event of its own, and none is fused into a unit's."""
    rows = comments.take(np.repeat(np.arange(len(words)), [len(said) for said in words]))
    unit = np.concatenate([np.empty(0, np.int64), *words])
    return replace(rows, unit=unit, decision=np.full(len(unit), -1))


def scaled(reader: Reader, values: Floats, channels: Ints) -> Floats:
    """Return feedback values on the scale from 0 to 1 of their channels; text counts as 0."""
    low = np.array([0.0, *(channel.low for channel in reader.channels)])
    high = np.array([1.0, *(channel.high for channel in reader.channels)])
    value = (np.nan_to_num(values) - low[channels]) / (high - low)[channels]
    return np.where(np.isnan(values), 0.0, np.clip(value, 0.0, 1.0))


def _context_rows(reader: Reader, snapshot: Snapshot, vocabulary: Vocabulary) -> list[_Rows]:
    """Contexts of decisions, and the final observation and END of episodes."""
    decisions, ends = snapshot.decisions, snapshot.ends
    at, unit, numbers = _observe(reader, decisions.contexts, vocabulary)
    rows = [
        _make(
            len(at),
            reader.features,
            subject=decisions.subject[at].astype(np.int64),
            seq=decisions.seq[at],
            minor=np.zeros(len(at), np.int64),
            kind=np.full(len(at), int(EventKind.CONTEXT)),
            unit=unit,
            features=numbers,
            time=decisions.made_at[at],
            decision=at,
            episode=decisions.episode[at].astype(np.int64),
        )
    ]
    if not len(ends.seq):
        return rows
    owner = np.full(len(snapshot.names.episodes), -1, dtype=np.int64)
    owner[decisions.episode] = decisions.subject
    at, unit, numbers = _observe(reader, ends.contexts, vocabulary)
    episode = ends.episode.astype(np.int64)
    final = _make(
        len(at),
        reader.features,
        subject=owner[episode[at]],
        seq=ends.seq[at],
        kind=np.full(len(at), int(EventKind.CONTEXT)),
        unit=unit,
        features=numbers,
        time=ends.ended_at[at],
        episode=episode[at],
    )
    end = _make(
        len(episode),
        reader.features,
        subject=owner[episode],
        seq=ends.seq,
        minor=np.ones(len(episode), np.int64),
        kind=np.full(len(episode), int(EventKind.END)),
        time=ends.ended_at,
        episode=episode,
    )
    return [*rows, *(part.take(part.subject >= 0) for part in (final, end))]


def _observe(
    reader: Reader, contexts: Texts, vocabulary: Vocabulary
) -> tuple[Ints, Ints, npt.NDArray[np.float32]]:
    """Return which context each event comes from, its unit and its numbers."""
    rows = np.flatnonzero(np.diff(contexts.offsets))
    seen = [reader.observe(json.loads(contexts[int(row)]), vocabulary) for row in rows]
    at = np.repeat(rows, [len(unit) for unit, _ in seen])
    unit = np.concatenate([np.empty(0, np.int64), *(unit for unit, _ in seen)])
    empty = np.empty((0, reader.features), np.float32)
    numbers = np.concatenate([empty, *(numbers for _, numbers in seen)])
    return at.astype(np.int64), unit.astype(np.int64), numbers.astype(np.float32)


def _sorted(rows: _Rows, *, by_episode: bool) -> _Rows:
    """Return the rows by stream, then in the order of the log."""
    stream = rows.episode if by_episode else rows.subject
    return rows.take(np.lexsort((rows.minor, rows.seq, stream)))


def _fused(rows: _Rows, snapshot: Snapshot) -> _Rows:
    """Fuse feedback into the event of its unit where nothing stands between them."""
    if len(rows.kind) < 2:
        return rows
    lengths = np.diff(snapshot.decisions.offsets)
    here, before = slice(1, None), slice(None, -1)
    of_unit = rows.position[here] == rows.position[before]
    of_all = (rows.position[here] == ALL_UNITS) & (
        rows.position[before] == lengths[rows.decision[before]] - 1
    )
    fused = np.zeros(len(rows.kind), dtype=bool)
    fused[here] = (
        (rows.kind[here] == EventKind.FEEDBACK)
        & (rows.kind[before] == EventKind.UNIT)
        & (rows.decision[here] == rows.decision[before])
        & (of_unit | of_all)
    )
    into = np.flatnonzero(fused) - 1
    rows.channel[into] = rows.channel[into + 1]
    rows.value[into] = rows.value[into + 1]
    return rows.take(~fused)


def _offsets(stream: Ints) -> Ints:
    """Return where each stream begins, and where the last one ends."""
    starts = np.flatnonzero(np.diff(stream, prepend=-1))
    return np.append(starts, len(stream)).astype(np.int64)


def _slots(
    rows: _Rows,
    offsets: Ints,
    snapshot: Snapshot,
    units: Ints,
    rewards: Floats | None,
    gamma: float,
) -> SlotColumns:
    """Return a slot for every known unit whose reward does not wait."""
    stream = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    local = np.arange(len(rows.kind)) - offsets[stream]
    decisions = snapshot.decisions
    lengths = np.diff(decisions.offsets)
    start = np.full(len(lengths), len(rows.kind))
    own = (rows.kind == EventKind.UNIT) | (rows.kind == EventKind.CONTEXT)
    own &= rows.decision >= 0
    np.minimum.at(start, rows.decision[own], local[own])
    at = np.flatnonzero(rows.kind == EventKind.UNIT)
    decision, position = rows.decision[at], rows.position[at]
    earned = np.zeros(len(units)) if rewards is None else rewards
    waits = np.zeros(len(lengths), dtype=bool)
    np.logical_or.at(waits, decisions.of_unit, np.isnan(earned))
    terminated = np.zeros(len(snapshot.names.episodes), dtype=bool)
    terminated[snapshot.ends.episode[snapshot.ends.terminated]] = True
    last_unit = position == lengths[decision] - 1
    episode = rows.episode[at]
    more = np.append((episode[1:] == episode[:-1]) & (stream[at][1:] == stream[at][:-1]), False)
    discount = np.where(last_unit, gamma, 1.0)
    discount[~more & terminated[episode]] = 0.0
    after = np.where(more, np.append(local[at][1:], 0) - 1, _episode_end(rows, offsets, stream)[at])
    kept = np.flatnonzero((rows.unit[at] >= 0) & ~waits[decision])
    linked = more[kept] & (np.append(kept[1:], -1) == kept + 1)
    source = rows.source[at][kept]
    reviewed = np.array([is_reviewed(name) for name in snapshot.names.policies], dtype=bool)
    return SlotColumns(
        stream=stream[at][kept],
        event=local[at][kept],
        start=start[decision[kept]],
        decision=decision[kept],
        unit=rows.unit[at][kept],
        position=position[kept],
        rule=decisions.choices[decision[kept]].astype(np.int64),
        seq=decisions.seq[decision[kept]],
        behaviour_logp=decisions.logps[source],
        reward=earned[source],
        discount=discount[kept],
        weight=np.ones(len(kept)),
        after=after[kept],
        linked=linked,
        feedback=np.empty((len(kept), 0), np.float32),
        measured=np.empty((len(kept), 0)),
        reviewed=reviewed[decisions.policy[decision[kept]]],
    )


def _episode_end(rows: _Rows, offsets: Ints, stream: Ints) -> Ints:
    """Return, for every row, the local index of the last event of its episode.

    That is the event before its END, or the newest one while it goes on. What people say of an
    episode after its END comes too late for its value.
    """
    local = np.arange(len(rows.kind)) - offsets[stream]
    last = np.zeros(int(rows.episode.max(initial=-1)) + 1, dtype=np.int64)
    chosen = last.copy()
    inside = rows.episode >= 0  # what is known of a subject belongs to none
    np.maximum.at(last, rows.episode[inside], local[inside])
    unit, end = rows.kind == EventKind.UNIT, rows.kind == EventKind.END
    np.maximum.at(chosen, rows.episode[unit], local[unit])
    last[rows.episode[end]] = np.maximum(local[end] - 1, chosen[rows.episode[end]])
    return last[rows.episode]


def _answered(
    slots: SlotColumns, reader: Reader, snapshot: Snapshot, matured: npt.NDArray[np.bool_] | None
) -> SlotColumns:
    """Fill in what people answered to each unit, and what silence is taken to mean."""
    decisions, feedback = snapshot.decisions, snapshot.feedback
    answers = np.full((len(decisions.units), len(reader.channels)), np.nan, np.float32)
    last_unit = decisions.offsets[1:] - 1
    for number, channel in enumerate(reader.channels):
        told = (feedback.kind == KINDS.index(channel.kind)) & ~feedback.retracted
        told &= (feedback.retracts < 0) & (feedback.decision >= 0) & ~np.isnan(feedback.value)
        decision, position = feedback.decision[told], feedback.unit[told]
        flat = np.where(
            position == ALL_UNITS, last_unit[decision], decisions.offsets[decision] + position
        )
        numbers = np.full(int(told.sum()), number + 1)
        answers[flat, number] = scaled(reader, feedback.value[told], numbers)
        if channel.silence is not None and matured is not None:
            silent = matured[decisions.of_unit] & ~np.isnan(decisions.logps)
            silent &= np.isnan(answers[:, number])
            answers[silent, number] = channel.scale(channel.silence)
    flat = decisions.offsets[slots.decision] + slots.position
    values = {name: getattr(slots, name) for name in SlotColumns.__slots__}
    return SlotColumns(**{**values, "feedback": answers[flat]})
