"""From a snapshot's columns back to the records, in the order of the log."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from heedful.record import UNKNOWN, Decision, End, Feedback, Kind, Outcome, Preference, Span, Value
from heedful.store import Record, Snapshot

_KINDS = list(Kind)


def records_of(snapshot: Snapshot) -> list[tuple[int, Record]]:
    """Return (sequence number, record) of all that happened; ids are made of sequence numbers.

    Feedback about spans is left out: it is no part of any history.
    """
    found = [(int(seq), _decision(snapshot, row)) for row, seq in enumerate(snapshot.decisions.seq)]
    rows: list[tuple[int, Record]] = list(found)
    about = np.flatnonzero(snapshot.feedback.decision >= 0)
    rows += [(int(snapshot.feedback.seq[row]), _feedback(snapshot, int(row))) for row in about]
    rows += [(int(seq), _end(snapshot, row)) for row, seq in enumerate(snapshot.ends.seq)]
    return sorted(rows, key=lambda row: row[0])


def place_of(snapshot: Snapshot, record: Record) -> tuple[str, str] | None:
    """Return the subject and the episode of ``record``; ``None`` where no decision was made in it.

    It is whose stream the record belongs to, or in which conversation's.
    """
    decisions, names = snapshot.decisions, snapshot.names
    match record:
        case Decision():
            return record.subject, record.episode
        case Feedback():
            row = int(np.searchsorted(decisions.seq, int(str(record.about))))
        case End():
            rows = np.flatnonzero(decisions.episode == names.episodes.code(record.episode))
            if not len(rows):
                return None
            row = int(rows[0])
    return names.subjects[int(decisions.subject[row])], names.episodes[int(decisions.episode[row])]


def _decision(snapshot: Snapshot, row: int) -> Decision:
    table, names = snapshot.decisions, snapshot.names
    low, high = int(table.offsets[row]), int(table.offsets[row + 1])
    logps = table.logps[low:high]
    return Decision(
        id=str(int(table.seq[row])),
        episode=names.episodes[int(table.episode[row])],
        step=int(table.step[row]),
        subject=names.subjects[int(table.subject[row])],
        units=tuple(names.units[int(code)] for code in table.units[low:high]),
        logps=UNKNOWN if np.isnan(logps).any() else tuple(logps.tolist()),
        policy=names.policies[int(table.policy[row])],
        made_at=float(table.made_at[row]),
        context=json.loads(table.contexts[row] or "{}"),
        choices=names.choice_sets[int(table.choices[row])].digest(),
        vocabulary=names.vocabularies[int(table.vocabulary[row])],
    )


def _feedback(snapshot: Snapshot, row: int) -> Feedback:
    table = snapshot.feedback
    retracts = int(table.retracts[row])
    return Feedback(
        id=str(int(table.seq[row])),
        by=snapshot.names.people[int(table.by[row])],
        about=str(int(snapshot.decisions.seq[table.decision[row]])),
        unit=int(table.unit[row]),
        kind=_KINDS[table.kind[row]],
        value=_value(snapshot, row) if retracts < 0 else None,
        given_at=float(table.given_at[row]),
        received_at=float(table.received_at[row]),
        retracts=str(int(table.seq[retracts])) if retracts >= 0 else None,
    )


def _value(snapshot: Snapshot, row: int) -> Value:
    number, text = float(snapshot.feedback.value[row]), snapshot.feedback.texts[row]
    match _KINDS[snapshot.feedback.kind[row]]:
        case Kind.CLICK:
            return number == 1.0
        case Kind.RATING | Kind.REWARD:
            return number
        case Kind.PREFERENCE:
            return _preference(json.loads(text))
        case Kind.DEMONSTRATION:
            return tuple(json.loads(text))
        case _:
            return text


def _preference(said: dict[str, Any]) -> Preference:
    over = said["over"]
    return Preference(
        Outcome(said["outcome"]), Span(*over) if isinstance(over, list) else str(over)
    )


def _end(snapshot: Snapshot, row: int) -> End:
    table = snapshot.ends
    return End(
        id=str(int(table.seq[row])),
        episode=snapshot.names.episodes[int(table.episode[row])],
        terminated=bool(table.terminated[row]),
        ended_at=float(table.ended_at[row]),
        context=json.loads(table.contexts[row] or "{}"),
    )
