"""How the log's file is opened: pragmas, transactions, numbered migrations.

SQLite in WAL mode with exactly one connection that writes and checkpoints. Every other connection
is opened read-only and therefore cannot do either: a second one that did could meet the WAL-reset
bug of SQLite 3.7.0 to 3.51.2.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from heedful.store.errors import StoreError

MINIMUM_SQLITE = (3, 37, 0)  # STRICT tables
BUSY_MS = 10_000


def writer_engine(path: Path) -> Engine:
    """Return an engine with the one connection that writes to ``path`` and checkpoints it."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False)
        for pragma in (
            f"busy_timeout = {BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "cache_size = -131072",
            "temp_store = MEMORY",
            "journal_size_limit = 67108864",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    return _engine(connect, poolclass=StaticPool)


def reader_engine(path: Path) -> Engine:
    """Return an engine with a few connections that can only read ``path``."""
    uri = f"{path.absolute().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    return _engine(connect, poolclass=QueuePool)


def _engine(connect: object, poolclass: type) -> Engine:
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise StoreError(f"SQLite is {sqlite3.sqlite_version}; the log needs {needed} or later")
    return create_engine(
        "sqlite+pysqlite://",
        creator=connect,
        poolclass=poolclass,
        isolation_level="AUTOCOMMIT",  # BEGIN is said below, and nowhere else
    )


@contextmanager
def transaction(engine: Engine, *, path: Path, write: bool) -> Iterator[Connection]:
    """Begin, and commit on a clean exit; everything is undone otherwise.

    Raises:
        StoreError: SQLite could not do it; says what it said, and what to do.
    """
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                _rollback(connection)
                raise
    except (DBAPIError, sqlite3.Error) as error:
        raise StoreError(explain(error, path)) from error


def _rollback(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    if driver is not None and driver.in_transaction:  # SQLite may have done it, on a full disk
        connection.exec_driver_sql("ROLLBACK")


def explain(error: Exception, path: Path) -> str:
    """Return what happened to the log at ``path`` in words, with a remedy."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    remedies = {
        "full": "free some space; nothing of this write was kept",
        "disk I/O": "check the disk and its free space; nothing of this write was kept",
        "locked": "another program holds the database; close it and try again",
        "not a database": "restore log.db from a backup",
        "malformed": "restore log.db from a backup",
        "unable to open": "check that the folder exists and may be written to",
        "readonly": "check the permissions of the file and its folder",
        "no such table": "this is no log, or an old one; open it with write=True once",
    }
    remedy = next((remedy for sign, remedy in remedies.items() if sign in said), "nothing was kept")
    return f"{path}: {said} ({remedy})"


def migrate(engine: Engine, path: Path) -> None:
    """Bring the schema up to date, each migration in a transaction with its own record.

    Raises:
        StoreError: the log was written by a newer version of heedful.
    """
    with transaction(engine, path=path, write=True) as connection:
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS migrations "
            "(number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at REAL NOT NULL) STRICT"
        )
    with transaction(engine, path=path, write=False) as connection:
        done = check_version(connection, path)
    for number, name, script in _migrations():
        if number <= done:
            continue
        with transaction(engine, path=path, write=True) as connection:
            for statement in _statements(script):
                connection.exec_driver_sql(statement)
            row = (number, name, time.time())
            connection.exec_driver_sql("INSERT INTO migrations VALUES (?, ?, ?)", row)


def check_version(connection: Connection, path: Path) -> int:
    """Return the number of the newest migration in a log.

    Raises:
        StoreError: it is newer than this code.
    """
    done: int = connection.exec_driver_sql(
        "SELECT coalesce(max(number), 0) FROM migrations"
    ).scalar_one()
    newest = max(number for number, _, _ in _migrations())
    if done > newest:
        raise StoreError(
            f"{path}: its schema is number {done}, and this heedful knows up to {newest}; "
            "install the version that wrote it, or a later one"
        )
    return done


def _migrations() -> list[tuple[int, str, str]]:
    folder = files(__package__) / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name[:4]), name, (folder / name).read_text("utf-8")) for name in names]


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
