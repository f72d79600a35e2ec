"""A subject's rows in the log, read back as records, so that a stream can be built from them."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator
from typing import Any

from heedful.contract import portraits
from heedful.record import (
    UNKNOWN,
    Decision,
    Described,
    Description,
    End,
    Feedback,
    Kind,
    Outcome,
    Preference,
    Span,
    Value,
)
from heedful.store import Snapshot
from heedful.store.memory import Record

KINDS = tuple(Kind)
NUMBERS = frozenset({Kind.RATING, Kind.REWARD})


def records(snapshot: Snapshot) -> Iterator[tuple[str, Record | Description]]:
    """Yield the subject and the record of each row, in the order of the log.

    Descriptions of subjects stand where they count from; see :func:`heedful.contract.portraits`.

    Snapshots keep numbers, not ids: what stands here as an id is the sequence number. Feedback
    about clips is left out, as no stream shows it.
    """
    tables = (_descriptions, _decisions, _feedback, _ends)
    rows = heapq.merge(*(table(snapshot) for table in tables), key=_seq)
    return ((subject, record) for _, subject, record in rows)


_Row = tuple[int, str, Record | Description]


def _seq(row: _Row) -> int:
    return row[0]


def _descriptions(snapshot: Snapshot) -> Iterator[_Row]:
    for seq, name, facts in sorted(portraits(snapshot), key=lambda portrait: portrait[:2]):
        said = Description(of=Described.SUBJECT, name=name, facts=facts, given_at=0.0)
        yield seq, name, said


def _decisions(snapshot: Snapshot) -> Iterator[_Row]:
    table, names = snapshot.decisions, snapshot.names
    for row, seq in enumerate(table.seq.tolist()):
        low, high = int(table.offsets[row]), int(table.offsets[row + 1])
        logps = table.logps[low:high].tolist()
        context, choices = table.contexts[row], names.choice_sets[int(table.choices[row])]
        subject = names.subjects[int(table.subject[row])]
        decision = Decision(
            id=str(seq),
            episode=names.episodes[int(table.episode[row])],
            step=int(table.step[row]),
            subject=subject,
            units=tuple(names.units[code] for code in table.units[low:high].tolist()),
            logps=UNKNOWN if any(map(math.isnan, logps)) else tuple(logps),
            policy=names.policies[int(table.policy[row])],
            made_at=float(table.made_at[row]),
            context=json.loads(context) if context else {},
            choices=choices.digest(),
            vocabulary=names.vocabularies[int(table.vocabulary[row])],
        )
        yield seq, subject, decision


def _feedback(snapshot: Snapshot) -> Iterator[_Row]:
    table, names, decisions = snapshot.feedback, snapshot.names, snapshot.decisions
    for row, seq in enumerate(table.seq.tolist()):
        about = int(table.decision[row])
        if about < 0:
            continue
        kind, back = KINDS[int(table.kind[row])], int(table.retracts[row])
        value = None if back >= 0 else _value(snapshot, row, kind)
        said = Feedback(
            id=str(seq),
            by=names.people[int(table.by[row])],
            about=str(int(decisions.seq[about])),
            unit=int(table.unit[row]),
            kind=kind,
            value=value,
            given_at=float(table.given_at[row]),
            received_at=float(table.received_at[row]),
            retracts=str(int(table.seq[back])) if back >= 0 else None,
        )
        yield seq, names.subjects[int(decisions.subject[about])], said


def _ends(snapshot: Snapshot) -> Iterator[_Row]:
    table, names, decisions = snapshot.ends, snapshot.names, snapshot.decisions
    owner = dict(zip(decisions.episode.tolist(), decisions.subject.tolist(), strict=True))
    for row, seq in enumerate(table.seq.tolist()):
        episode = int(table.episode[row])
        context = table.contexts[row]
        end = End(
            id=str(seq),
            episode=names.episodes[episode],
            terminated=bool(table.terminated[row]),
            ended_at=float(table.ended_at[row]),
            context=json.loads(context) if context else {},
        )
        yield seq, names.subjects[owner[episode]], end


def _value(snapshot: Snapshot, row: int, kind: Kind) -> Value:
    number, text = float(snapshot.feedback.value[row]), snapshot.feedback.texts[row]
    if kind is Kind.CLICK:
        return number > 0
    if kind in NUMBERS:
        return number
    if kind is Kind.PREFERENCE:
        return _preference(json.loads(text))
    return tuple(json.loads(text)) if kind is Kind.DEMONSTRATION else text


def _preference(said: dict[str, Any]) -> Preference:
    over = said["over"]
    other = Span(*over) if isinstance(over, list) else str(over)
    return Preference(Outcome(said["outcome"]), other)
