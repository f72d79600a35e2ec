"""What is known of units and subjects, as a snapshot shows it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from heedful.record import Described
from heedful.store.columns import Ints, Texts, frozen
from heedful.store.growth import Growing, GrowingTexts
from heedful.store.statements import Statements

KINDS = tuple(Described)
COLUMNS = "seq, kind, name, facts"


@dataclass(frozen=True, eq=False)
class Descriptions:
    """Descriptions in the order of the log, older ones of the same name included.

    Attributes:
        seq: ``int64 [D]``, ascending; shared with decisions, feedback and ends.
        kind: ``int8 [D]``, the position in ``list(Described)``.
        names: ``D`` texts, unit ids or pseudonyms.
        facts: ``D`` texts of canonical JSON; ``{}`` where nothing is known any more.
    """

    seq: Ints
    kind: NDArray[np.int8]
    names: Texts
    facts: Texts

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, str, str]]) -> Descriptions:
        """Return the table of ``rows``: seq, kind, name, facts."""
        seq, kind, names, facts = tuple(zip(*rows, strict=True)) or ((), (), (), ())
        return cls(
            frozen(np.array(seq, np.int64)),
            frozen(np.array(kind, np.int8)),
            Texts.of(names),
            Texts.of(facts),
        )

    @property
    def n(self) -> int:
        """Return the number of descriptions."""
        return len(self.seq)

    def take(self, rows: Ints) -> Descriptions:
        """Return the descriptions at ``rows``, in that order."""
        return Descriptions(
            frozen(self.seq[rows]),
            frozen(self.kind[rows]),
            self.names.take(rows),
            self.facts.take(rows),
        )

    def rows(self, kind: Described) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield the sequence number, name and facts of each description of one kind."""
        for row in np.flatnonzero(self.kind == KINDS.index(kind)).tolist():
            yield int(self.seq[row]), self.names[row], json.loads(self.facts[row])

    def latest(self, kind: Described) -> Mapping[str, dict[str, Any]]:
        """Return what is known now: facts by name, in the order of first appearance.

        Who was described once and of whom nothing is known any more is left out.
        """
        known = {name: facts for _, name, facts in self.rows(kind)}
        return {name: facts for name, facts in known.items() if facts}


NOTHING = Descriptions.of(())


class GrowingDescriptions:
    """The descriptions of a log as far as they have been read."""

    def __init__(self) -> None:
        self._seq, self._kind = Growing("<i8"), Growing("|i1")
        self._names, self._facts = GrowingTexts(), GrowingTexts()

    @property
    def nbytes(self) -> int:
        """Return how much memory they take, in bytes."""
        columns = (self._seq, self._kind, self._names, self._facts)
        return sum(column.nbytes for column in columns)

    @property
    def table(self) -> Descriptions:
        """Return what has been read; it stays as it is when more is read."""
        return Descriptions(self._seq.rows, self._kind.rows, self._names.rows, self._facts.rows)

    def read_on(self, connection: Connection, first: int, last: int) -> None:
        """Read the rows from number ``first`` to ``last``, both included."""
        where = "seq BETWEEN ? AND ?"
        new = _read(connection, where, first, last)
        if not new.n:
            return
        self._seq.extend(new.seq)
        self._kind.extend(new.kind)
        for texts, more in ((self._names, new.names), (self._facts, new.facts)):
            texts.extend(np.diff(more.offsets), more.data)


def read_descriptions(connection: Connection, subjects: Iterable[str]) -> Descriptions:
    """Return the descriptions of ``subjects``, found by index."""
    where = "kind = ? AND name IN (SELECT value FROM json_each(?))"
    return _read(connection, where, KINDS.index(Described.SUBJECT), json.dumps(list(subjects)))


def read_known(connection: Connection, of: Described) -> Descriptions:
    """Return all descriptions of one kind."""
    return _read(connection, "kind = ?", KINDS.index(of))


def newest_description(connection: Connection) -> int:
    """Return the sequence number of the newest description of all, 0 where there is none."""
    newest: int = Statements(connection).value("SELECT coalesce(max(seq), 0) FROM descriptions")
    return newest


def _read(connection: Connection, where: str, *values: object) -> Descriptions:
    query = f"SELECT {COLUMNS} FROM descriptions WHERE {where} ORDER BY seq"
    rows: Any = Statements(connection).all(query, *values)
    return Descriptions.of(rows) if rows else NOTHING
