"""SQL rows to columns: ranges of the log by sequence number, and the streams of some subjects."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from heedful.store.columns import ChoiceTable, NameTable
from heedful.store.parts import CODED, NAMED, Part, part_of
from heedful.store.tables import Names

DECISION = (
    "seq, episode, step, subject, choices, policy, vocabulary, made_at, units, logps, context"
)
FEEDBACK = 'seq, coalesce(decision, -1), unit, kind, value, "by", given_at, received_at, '
FEEDBACK += "coalesce(retracts, -1), said"
END = "seq, episode, terminated, ended_at, context"

Rows = Sequence[Sequence[Any]]


def read_range(connection: Connection, first: int, last: int) -> Part:
    """Return the rows whose sequence numbers are ``first`` to ``last``, both included."""

    def read(columns: str, table: str) -> Rows:
        query = f"SELECT {columns} FROM {table} WHERE seq BETWEEN ? AND ? ORDER BY seq"
        return connection.exec_driver_sql(query, (first, last)).fetchall()

    return _part(read)


def read_subjects(connection: Connection, subjects: Sequence[str]) -> Part:
    """Return what concerns ``subjects``, found by index, in the order of the log."""
    chosen = connection.exec_driver_sql(
        "SELECT code FROM subjects WHERE name IN (SELECT value FROM json_each(?))",
        (json.dumps(list(subjects)),),
    )
    codes = json.dumps([code for (code,) in chosen])
    mine = "SELECT {} FROM decisions WHERE subject IN (SELECT value FROM json_each(?))"
    where = {
        "decisions": "subject IN (SELECT value FROM json_each(?))",
        "feedback": f"decision IN ({mine.format('seq')}) OR episode IN ({mine.format('episode')})",
        "ends": f"episode IN ({mine.format('episode')})",
    }

    def read(columns: str, table: str) -> Rows:
        query = f"SELECT {columns} FROM {table} WHERE {where[table]} ORDER BY seq"
        return connection.exec_driver_sql(query, (codes,) * query.count("?")).fetchall()

    return _part(read)


def read_names(connection: Connection) -> Names:
    """Return all names of the log."""
    tables = {kind: _names(connection, kind, "", ()) for kind in NAMED}
    return _as_names(tables)


def localise(connection: Connection, part: Part) -> tuple[Part, Names]:
    """Return ``part`` with its codes counted from 0, and the names of just those.

    The order of the log's own codes is kept, which is that of first appearance.
    """
    part = dict(part)
    tables = {}
    for kind in NAMED:
        places = [place for place, named in CODED.items() if named == kind]
        used = np.unique(np.concatenate([part[place] for place in places]))
        if kind == "choice_sets":
            used = np.union1d(used, [0])
        for place in places:
            part[place] = np.searchsorted(used, part[place]).astype("<i4")
        where = "WHERE code IN (SELECT value FROM json_each(?))"
        tables[kind] = _names(connection, kind, where, (json.dumps(used.tolist()),))
    return part, _as_names(tables)


def _names(connection: Connection, kind: str, where: str, values: tuple[str, ...]) -> NameTable:
    column = "body" if kind == "choice_sets" else "name"
    query = f"SELECT {column} FROM {kind} {where} ORDER BY code"
    return NameTable.of([name for (name,) in connection.exec_driver_sql(query, values)])


def _as_names(tables: dict[str, NameTable]) -> Names:
    choices = ChoiceTable(tables.pop("choice_sets"))
    return Names(**tables, choice_sets=choices)


def _part(read: Callable[[str, str], Rows]) -> Part:
    return (
        _decisions(read(DECISION, "decisions"))
        | _feedback(read(FEEDBACK, "feedback"))
        | _ends(read(END, "ends"))
    )


def _decisions(rows: Rows) -> Part:
    plain = ("seq", "episode", "step", "subject", "choices", "policy", "vocabulary", "made_at")
    columns = _transposed(rows, 11)
    units, logps = columns[8], columns[9]
    lengths = [len(blob) // 4 for blob in units]
    unknown = np.full(max(lengths, default=0), np.nan).tobytes()
    known = [
        unknown[: 8 * length] if blob is None else blob
        for blob, length in zip(logps, lengths, strict=True)
    ]
    part = part_of({f"decisions/{name}": columns[i] for i, name in enumerate(plain)})
    part |= part_of({"decisions/lengths": lengths, "decisions/text": columns[10]})
    part["decisions/units"] = np.frombuffer(b"".join(units), dtype="<i4")
    part["decisions/logps"] = np.frombuffer(b"".join(known), dtype="<f8")
    return part


def _feedback(rows: Rows) -> Part:
    numbers = ("seq", "decision", "unit", "kind", "value", "by", "given_at", "received_at")
    names = (*numbers, "retracts", "text")
    columns = _transposed(rows, len(names))
    return part_of({f"feedback/{name}": columns[i] for i, name in enumerate(names)})


def _ends(rows: Rows) -> Part:
    names = ("seq", "episode", "terminated", "ended_at", "text")
    columns = _transposed(rows, len(names))
    return part_of({f"ends/{name}": columns[i] for i, name in enumerate(names)})


def _transposed(rows: Rows, width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
