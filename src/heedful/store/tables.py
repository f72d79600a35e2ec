"""The tables of a snapshot: decisions, feedback, ends of episodes, and the names behind the codes.

Shapes: ``N`` decisions, ``M`` units of all decisions together, ``F`` feedback rows, ``E`` ends.
Everything is read-only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from heedful.store.columns import ChoiceTable, Ints, NameTable, Texts, frozen, gather

Codes = NDArray[np.int32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Table = TypeVar("Table", "Decisions", "Feedbacks", "Ends")


@dataclass(frozen=True, eq=False)
class Decisions:
    """What was chosen, in the order of the log.

    Attributes:
        seq: ``int64 [N]``, ascending; shared with feedback and ends.
        episode: ``int32 [N]``, code in :class:`Names`; so are the five after ``step``.
        step: ``int32 [N]``, number within the episode.
        subject: ``int32 [N]``.
        choices: ``int32 [N]``; 0 forbids nothing.
        policy: ``int32 [N]``.
        vocabulary: ``int32 [N]``.
        made_at: ``float64 [N]``, seconds since the epoch.
        offsets: ``int64 [N + 1]``; decision ``d`` chose ``units[offsets[d]:offsets[d + 1]]``.
        units: ``int32 [M]``.
        logps: ``float64 [M]``, natural-log probabilities; NaN where they are ``UNKNOWN``.
        contexts: ``N`` texts of canonical JSON; ``""`` means ``{}``.
    """

    seq: Ints
    episode: Codes
    step: Codes
    subject: Codes
    choices: Codes
    policy: Codes
    vocabulary: Codes
    made_at: Floats
    offsets: Ints
    units: Codes
    logps: Floats
    contexts: Texts

    @property
    def n(self) -> int:
        """Return the number of decisions."""
        return len(self.seq)

    @property
    def of_unit(self) -> Ints:
        """Return the decision row of each unit: ``int64 [M]``."""
        return np.repeat(np.arange(self.n), np.diff(self.offsets))

    def take(self, rows: Ints) -> Decisions:
        """Return the decisions at ``rows``, in that order."""
        positions, offsets = gather(self.offsets, rows)
        ragged = {
            "offsets": frozen(offsets),
            "units": frozen(self.units[positions]),
            "logps": frozen(self.logps[positions]),
        }
        return _take(self, rows, ragged)


@dataclass(frozen=True, eq=False)
class Feedbacks:
    """How people answered, in the order of the log.

    Attributes:
        seq: ``int64 [F]``, ascending.
        decision: ``int64 [F]``, the row in :class:`Decisions`; -1 where a span is meant.
        unit: ``int32 [F]``, the position in the decision; -1 for all of it.
        kind: ``int8 [F]``, the position in ``list(Kind)``.
        value: ``float64 [F]``: a click's 1 or 0, a rating, a reward; else NaN.
        by: ``int32 [F]``, the giver's code in ``Names.people``.
        given_at: ``float64 [F]``, event time, seconds since the epoch.
        received_at: ``float64 [F]``, time of arrival, seconds since the epoch.
        retracts: ``int64 [F]``, the row here that this one takes back; -1 for none.
        retracted: ``bool [F]``, taken back by a row up to the watermark.
        texts: ``F`` texts. A comment and a flag are plain text; a preference is
            ``{"outcome": "chosen", "over": SEQ or [episode, start, stop]}``, a demonstration is
            ``["unit", ...]``; feedback about a span is ``{"span": [episode, start, stop]}`` with
            the former under ``"value"``; everything else is ``""``.
    """

    seq: Ints
    decision: Ints
    unit: Codes
    kind: NDArray[np.int8]
    value: Floats
    by: Codes
    given_at: Floats
    received_at: Floats
    retracts: Ints
    retracted: Flags
    texts: Texts

    @property
    def n(self) -> int:
        """Return the number of feedback rows, retractions included."""
        return len(self.seq)

    def take(self, rows: Ints, decision_rows: Ints) -> Feedbacks:
        """Return the feedback at ascending ``rows``, what it refers to renumbered.

        Args:
            rows: ``int64 [F']``.
            decision_rows: the ascending rows of the decisions that are kept, ``int64 [N']``.
        """
        retracts = position(rows, self.retracts[rows])
        references = {
            "decision": frozen(position(decision_rows, self.decision[rows])),
            "retracts": frozen(retracts),
            "retracted": frozen(taken_back(retracts)),
        }
        return _take(self, rows, references)


@dataclass(frozen=True, eq=False)
class Ends:
    """How episodes ended, in the order of the log.

    Attributes:
        seq: ``int64 [E]``, ascending.
        episode: ``int32 [E]``, code in :class:`Names`.
        terminated: ``bool [E]``; False where the episode was cut off.
        ended_at: ``float64 [E]``, seconds since the epoch.
        contexts: ``E`` texts of canonical JSON, the final observations; ``""`` means none.
    """

    seq: Ints
    episode: Codes
    terminated: Flags
    ended_at: Floats
    contexts: Texts

    @property
    def n(self) -> int:
        """Return the number of ended episodes."""
        return len(self.seq)

    def take(self, rows: Ints) -> Ends:
        """Return the ends at ``rows``, in that order."""
        return _take(self, rows, {})


@dataclass(frozen=True, eq=False)
class Names:
    """What the codes stand for; codes count from 0 in the order of first appearance in the log.

    Attributes:
        subjects: pseudonyms of those the decisions were made for.
        episodes: sessions, conversations, matches.
        units: items, tokens, moves.
        policies: the versions that acted.
        vocabularies: digests.
        people: pseudonyms of those who gave feedback.
        choice_sets: what could be chosen; code 0 is the set that forbids nothing.
    """

    subjects: NameTable
    episodes: NameTable
    units: NameTable
    policies: NameTable
    vocabularies: NameTable
    people: NameTable
    choice_sets: ChoiceTable


def position(sorted_values: Ints, wanted: Ints) -> Ints:
    """Return where each wanted value stands in an ascending array, or -1 where it does not.

    >>> position(np.array([3, 5, 9]), np.array([9, 4, -1, 3])).tolist()
    [2, -1, -1, 0]
    """
    if not len(sorted_values):
        return np.full(len(wanted), -1, dtype=np.int64)
    found = np.searchsorted(sorted_values, wanted)
    found[found == len(sorted_values)] = 0
    return np.where(sorted_values[found] == wanted, found, -1)


def taken_back(retracts: Ints) -> Flags:
    """Return which rows some row takes back: ``int64 [F] -> bool [F]``."""
    retracted = np.zeros(len(retracts), dtype=np.bool_)
    retracted[retracts[retracts >= 0]] = True
    return retracted


def _take(table: Table, rows: Ints, given: dict[str, Any]) -> Table:
    taken = dict(given)
    for field in fields(table):
        column = getattr(table, field.name)
        if field.name in given:
            continue
        taken[field.name] = column.take(rows) if isinstance(column, Texts) else frozen(column[rows])
    return replace(table, **taken)
