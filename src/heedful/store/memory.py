"""The columns of records that never were in a log: rollouts in environments."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from heedful.record import UNKNOWN, ChoiceSet, Decision, End, Feedback, Preference, Span
from heedful.store.codec import KIND_CODE, context_text, number_of, text_of
from heedful.store.columns import ChoiceTable, NameTable
from heedful.store.errors import StoreError
from heedful.store.parts import DTYPES, Part, part_of
from heedful.store.tables import Names

Record = Decision | Feedback | End


def collect(records: Iterable[Record], choice_sets: Iterable[ChoiceSet]) -> tuple[Part, Names, int]:
    """Return the part that ``records`` make, its names, and the last sequence number.

    Raises:
        StoreError: what :meth:`heedful.store.Snapshot.of` says.
    """
    writer = _Columns(choice_sets)
    seq = 0
    for seq, record in enumerate(records, start=1):
        if isinstance(record, Decision):
            writer.decision(seq, record)
        elif isinstance(record, Feedback):
            writer.feedback(seq, record)
        else:
            writer.end(seq, record)
    return part_of(writer.columns), writer.names(), seq


class _Codes(dict[str, int]):
    """Numbers names from 0 as they are first asked for."""

    def __missing__(self, name: str) -> int:
        self[name] = code = len(self)
        return code


class _Columns:
    """Lists that grow by one record at a time."""

    def __init__(self, choice_sets: Iterable[ChoiceSet]) -> None:
        texts = [name[: -len("_lengths")] for name in DTYPES if name.endswith("text_lengths")]
        plain = [name for name in DTYPES if "/text_" not in name]
        self.columns: dict[str, list[Any]] = {name: [] for name in (*plain, *texts)}
        self.codes: defaultdict[str, _Codes] = defaultdict(_Codes)
        self.sets = {ChoiceSet().digest(): ChoiceSet()}
        self.sets.update((choices.digest(), choices) for choices in choice_sets)
        self.choices = {digest: code for code, digest in enumerate(self.sets)}
        self.decisions: dict[str, tuple[int, int]] = {}
        self.feedbacks: dict[str, int] = {}

    def decision(self, seq: int, record: Decision) -> None:
        if record.id in self.decisions:
            raise StoreError(f"decision {record.id} stands twice in a rollout")
        if record.choices not in self.choices:
            raise StoreError(f"choice set {record.choices} is not among choice_sets")
        self.decisions[record.id] = (seq, len(record.units))
        units = self.codes["units"]
        self._add(
            "decisions",
            seq=seq,
            episode=self.codes["episodes"][record.episode],
            step=record.step,
            subject=self.codes["subjects"][record.subject],
            choices=self.choices[record.choices],
            policy=self.codes["policies"][record.policy],
            vocabulary=self.codes["vocabularies"][record.vocabulary],
            made_at=record.made_at,
            lengths=len(record.units),
            text=context_text(record.context),
        )
        self.columns["decisions/units"].extend([units[unit] for unit in record.units])
        unknown = record.logps is UNKNOWN
        logps = [math.nan] * len(record.units) if unknown else record.logps
        self.columns["decisions/logps"].extend(logps)  # type: ignore[arg-type]

    def feedback(self, seq: int, record: Feedback) -> None:
        if record.id in self.feedbacks:
            raise StoreError(f"feedback {record.id} stands twice in a rollout")
        self.feedbacks[record.id] = seq
        self._add(
            "feedback",
            seq=seq,
            decision=self._about(record),
            unit=record.unit,
            kind=KIND_CODE[record.kind],
            value=number_of(record),
            by=self.codes["people"][record.by],
            given_at=record.given_at,
            received_at=record.received_at,
            retracts=-1 if record.retracts is None else self._retracts(record.retracts),
            text=text_of(record, lambda decision: self._known(decision)[0]),
        )

    def end(self, seq: int, record: End) -> None:
        self._add(
            "ends",
            seq=seq,
            episode=self.codes["episodes"][record.episode],
            terminated=record.terminated,
            ended_at=record.ended_at,
            text=context_text(record.context),
        )

    def names(self) -> Names:
        kinds = ("subjects", "episodes", "units", "policies", "vocabularies", "people")
        tables = {kind: NameTable.of(self.codes[kind]) for kind in kinds}
        return Names(**tables, choice_sets=ChoiceTable.of(self.sets.values()))

    def _about(self, record: Feedback) -> int:
        if isinstance(record.value, Preference) and isinstance(record.value.over, str):
            self._known(record.value.over)
        if isinstance(record.about, Span):
            if record.about.episode not in self.codes["episodes"]:
                raise StoreError(f"feedback {record.id} is about an episode that has not begun")
            return -1
        seq, length = self._known(record.about)
        if record.unit >= length:
            raise StoreError(f"feedback {record.id} is about unit {record.unit} of {length}")
        return seq

    def _known(self, decision: str) -> tuple[int, int]:
        if decision not in self.decisions:
            raise StoreError(f"decision {decision} must stand before feedback that names it")
        return self.decisions[decision]

    def _retracts(self, feedback: str) -> int:
        if feedback not in self.feedbacks:
            raise StoreError(f"feedback {feedback} must stand before its retraction")
        return self.feedbacks[feedback]

    def _add(self, table: str, **values: object) -> None:
        for name, value in values.items():
            self.columns[f"{table}/{name}"].append(value)
