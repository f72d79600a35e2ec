"""A snapshot: everything in the log up to a watermark, as read-only columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from heedful.record import ChoiceSet, Described
from heedful.store.assembly import Assembly
from heedful.store.columns import ChoiceTable, Ints, Texts
from heedful.store.descriptions import KINDS, NOTHING, Descriptions
from heedful.store.errors import StoreError
from heedful.store.memory import Record, collect
from heedful.store.parts import CODED, NAMED
from heedful.store.tables import Decisions, Ends, Feedbacks, Flags, Names


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything up to ``watermark``, the one thing that training and judging read.

    Attributes:
        watermark: the highest sequence number that may be in here; 0 for an empty log.
        decisions: ``N`` rows.
        feedback: ``F`` rows.
        ends: ``E`` rows.
        names: what the codes stand for; only names that appear up to the watermark.
        descriptions: ``D`` rows, what is known of units and subjects.
    """

    watermark: int
    decisions: Decisions
    feedback: Feedbacks
    ends: Ends
    names: Names
    descriptions: Descriptions = NOTHING

    @classmethod
    def of(cls, records: Iterable[Record], *, choice_sets: Iterable[ChoiceSet] = ()) -> Snapshot:
        """Return the snapshot of a log to which just these records were appended in this order.

        For rollouts in environments, which are never logged. What a log would park, refuse or
        ignore as a duplicate is an error here: a rollout has no such thing.

        Raises:
            StoreError: a repeated id, feedback before its decision, a choice set that is not given.
        """
        part, names, watermark = collect(records, choice_sets)
        return cls.assemble(Assembly.of(part), names, watermark)

    @classmethod
    def assemble(
        cls,
        assembly: Assembly,
        names: Names,
        watermark: int,
        descriptions: Descriptions = NOTHING,
    ) -> Snapshot:
        """Return the snapshot of the rows that have been added to ``assembly``."""
        return cls(watermark, *assembly.tables(), names, descriptions)._only_names_in_use()

    def until(self, watermark: int) -> Snapshot:
        """Return this snapshot as it stood at an earlier watermark.

        Raises:
            StoreError: the watermark is later than this snapshot's, which does not know so much.
        """
        if watermark > self.watermark:
            raise StoreError(
                f"a snapshot up to {self.watermark} cannot show {watermark}; take a new one"
            )
        kept = _before(self.decisions.seq, watermark)
        cut = Snapshot(
            watermark,
            self.decisions.take(kept),
            self.feedback.take(_before(self.feedback.seq, watermark), kept),
            self.ends.take(_before(self.ends.seq, watermark)),
            self.names,
            self.descriptions.take(_before(self.descriptions.seq, watermark)),
        )
        return cut._only_names_in_use()

    def of_subjects(self, mask: Flags) -> Snapshot:
        """Return what concerns the subjects where ``mask`` is true; codes and names stay.

        Feedback follows the decision or episode it is about, whoever gave it. What is known of
        units stays.

        Args:
            mask: ``bool [len(names.subjects)]``, by code.
        """
        if len(mask) != len(self.names.subjects):
            raise ValueError(
                f"the mask has {len(mask)} entries for {len(self.names.subjects)} subjects"
            )
        kept = mask[self.decisions.subject]
        episodes = np.zeros(len(self.names.episodes), dtype=np.bool_)
        episodes[self.decisions.episode[kept]] = True
        rows = np.flatnonzero(kept)
        return Snapshot(
            self.watermark,
            self.decisions.take(rows),
            self.feedback.take(np.flatnonzero(self._feedback_about(kept, episodes)), rows),
            self.ends.take(np.flatnonzero(episodes[self.ends.episode])),
            self.names,
            self._descriptions_of(mask),
        )

    def digest(self) -> str:
        """Return 32 hexadecimal digits that equal content always gets, whatever its codes.

        Sequence numbers count by their order alone: gaps in them do not matter.
        """
        hasher = hashlib.sha256()
        tables = (self.decisions, self.feedback, self.ends, self.descriptions)
        everything = np.sort(np.concatenate([table.seq for table in tables]))
        recoded = {kind: self._recode(kind, hasher) for kind in NAMED}
        for table_name in ("decisions", "feedback", "ends"):
            table = getattr(self, table_name)
            for field in fields(table):
                column = getattr(table, field.name)
                if field.name == "seq":
                    column = np.searchsorted(everything, column)
                kind = CODED.get(f"{table_name}/{field.name}")
                column = column if kind is None else recoded[kind][column]
                _hash(hasher, f"{table_name}/{field.name}", column)
        if self.descriptions.n:  # logs without any keep the digest they always had
            rows = self.descriptions
            _hash(hasher, "descriptions/seq", np.searchsorted(everything, rows.seq))
            for name in ("kind", "names", "facts"):
                _hash(hasher, f"descriptions/{name}", getattr(rows, name))
        return hasher.hexdigest()[:32]

    def _descriptions_of(self, mask: Flags) -> Descriptions:
        chosen = {self.names.subjects[code] for code in np.flatnonzero(mask).tolist()}
        of_subjects = self.descriptions.kind == KINDS.index(Described.SUBJECT)
        kept = ~of_subjects
        for row in np.flatnonzero(of_subjects).tolist():
            kept[row] = self.descriptions.names[row] in chosen
        return self.descriptions.take(np.flatnonzero(kept))

    def _feedback_about(self, decisions: Flags, episodes: Flags) -> Flags:
        about = np.zeros(self.feedback.n, dtype=np.bool_)
        known = self.feedback.decision >= 0
        about[known] = decisions[self.feedback.decision[known]]
        for row in np.flatnonzero(~known).tolist():
            episode = json.loads(self.feedback.texts[row])["span"][0]
            about[row] = episodes[self.names.episodes.code(episode)]
        return about

    def _coded(self, kind: str) -> list[NDArray[np.int32]]:
        """Return every column that holds codes of one kind of name."""
        columns = []
        for place in (place for place, named in CODED.items() if named == kind):
            table, column = place.split("/")
            columns.append(getattr(getattr(self, table), column))
        return columns

    def _recode(self, kind: str, hasher: hashlib._Hash) -> NDArray[np.int32]:
        """Hash the names in use by first appearance; return their new codes by the old ones."""
        codes = np.concatenate(self._coded(kind))
        table = getattr(self.names, kind)
        first = np.full(len(table), len(codes), dtype=np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last write wins: the first place
        order = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(codes))]
        texts = table.bodies.texts if isinstance(table, ChoiceTable) else table.texts
        _hash(hasher, kind, texts.take(order))
        recoded = np.full(len(table), -1, dtype=np.int32)
        recoded[order] = np.arange(len(order), dtype=np.int32)
        return recoded

    def _only_names_in_use(self) -> Snapshot:
        """Cut off the names of the future: codes count in the order of first appearance."""
        tables = {}
        for kind in NAMED:
            highest = max((int(codes.max(initial=-1)) for codes in self._coded(kind)), default=-1)
            at_least = 1 if kind == "choice_sets" else 0
            tables[kind] = getattr(self.names, kind).head(max(highest + 1, at_least))
        names = Names(**tables)
        return replace(self, names=names)


def _before(seq: Ints, watermark: int) -> Ints:
    return np.arange(np.searchsorted(seq, watermark, side="right"))


def _hash(hasher: hashlib._Hash, name: str, column: NDArray[np.generic] | Texts) -> None:
    if isinstance(column, Texts):
        _hash(hasher, f"{name}/offsets", column.offsets)
        _hash(hasher, f"{name}/data", column.data)
        return
    hasher.update(f"{name}:{column.dtype.str}:{column.shape}:".encode())
    hasher.update(np.ascontiguousarray(column).data)
