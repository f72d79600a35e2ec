"""What ``heedful doctor`` asks of a log."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from heedful.store import segments

WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was examined.

    Attributes:
        name: what.
        ok: whether it is as it should be; a ``warning`` is ok all the same.
        detail: what was found, and what to do.
        warning: worth knowing, though nothing is broken.
    """

    name: str
    ok: bool
    detail: str
    warning: bool = False


def examine(connection: Connection, folder: Path) -> list[Check]:
    """Return the state of the database, of what refers to what, of the segments, of SQLite."""
    return [
        _integrity(connection),
        _references(connection),
        _segments(connection, folder),
        sqlite_version(sqlite3.sqlite_version_info),
    ]


def sqlite_version(version: tuple[int, ...]) -> Check:
    """Return whether this SQLite has the WAL-reset bug, and why the log does not meet it.

    >>> sqlite_version((3, 40, 1)).warning, sqlite_version((3, 52, 0)).warning
    (True, False)
    """
    text = ".".join(map(str, version[:3]))
    first, last = WAL_RESET_BUG
    if not first <= version <= last:
        return Check("log sqlite", True, f"SQLite {text}")
    detail = (
        f"SQLite {text} can corrupt a WAL database that two connections write or checkpoint; this "
        "log has one that does. Do not write to log.db with other programs, or update SQLite"
    )
    return Check("log sqlite", True, detail, warning=True)


def _integrity(connection: Connection) -> Check:
    found = [text for (text,) in connection.exec_driver_sql("PRAGMA integrity_check(5)")]
    if found == ["ok"]:
        return Check("log integrity", True, "the database is sound")
    return Check("log integrity", False, f"{'; '.join(found)}: restore log.db from a backup")


def _references(connection: Connection) -> Check:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if not broken:
        return Check("log references", True, "every row refers to rows that exist")
    table, row = broken[0][0], broken[0][1]
    detail = f"{len(broken)} rows refer to nothing, the first is {table} {row}: restore a backup"
    return Check("log references", False, detail)


def _segments(connection: Connection, folder: Path) -> Check:
    known = segments.listed(connection, 2**62)
    bad = [segment.file for segment in known if segments.load(folder, segment) is None]
    if not bad:
        return Check("log segments", True, f"{len(known)} segments match their SHA-256")
    detail = f"{', '.join(bad)}: damaged or missing; the next snapshot by the writer rebuilds them"
    return Check("log segments", False, detail)
