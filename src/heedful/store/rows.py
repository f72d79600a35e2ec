"""SQL rows to columns: ranges of the log by sequence number, and the streams of some subjects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from heedful.store.columns import ChoiceTable, NameTable, Texts
from heedful.store.parts import CODED, NAMED, Part, part_of
from heedful.store.statements import Statements
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
    sql = Statements(connection)

    def read(columns: str, table: str) -> Rows:
        query = f"SELECT {columns} FROM {table} WHERE seq BETWEEN ? AND ? ORDER BY seq"
        return sql.all(query, first, last)

    return _part(read)


def read_subjects(connection: Connection, subjects: Sequence[str]) -> Part:
    """Return what concerns ``subjects``, found by index, in the order of the log."""
    sql = Statements(connection)
    chosen = sql.all(
        "SELECT code FROM subjects WHERE name IN (SELECT value FROM json_each(?))",
        json.dumps(list(subjects)),
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
        return sql.all(query, *(codes,) * query.count("?"))

    return _part(read)


def read_names(connection: Connection, kind: str, first: int) -> Texts:
    """Return the names of ``kind`` (one of ``NAMED``) whose codes are ``first`` or higher."""
    return _names(Statements(connection), kind, "code >= ?", first)


def localise(connection: Connection, part: Part) -> tuple[Part, Names]:
    """Return ``part`` with its codes counted from 0, and the names of just those.

    The order of the log's own codes is kept, which is that of first appearance.
    """
    sql = Statements(connection)
    part = dict(part)
    names = {}
    for kind in NAMED:
        places = [place for place, named in CODED.items() if named == kind]
        used = np.unique(np.concatenate([part[place] for place in places]))
        if kind == "choice_sets":
            used = np.union1d(used, [0])
        for place in places:
            part[place] = np.searchsorted(used, part[place]).astype("<i4")
        where = "code IN (SELECT value FROM json_each(?))"
        names[kind] = _names(sql, kind, where, json.dumps(used.tolist()))
    return part, names_of(names)


def _names(sql: Statements, kind: str, where: str, value: object) -> Texts:
    column = "body" if kind == "choice_sets" else "name"
    rows = sql.all(f"SELECT {column} FROM {kind} WHERE {where} ORDER BY code", value)
    return Texts.of([name for (name,) in rows])


def names_of(texts: Mapping[str, Texts]) -> Names:
    """Return the tables of names, given one column of text for each of ``NAMED``."""
    tables = {kind: NameTable(texts[kind]) for kind in NAMED}
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
