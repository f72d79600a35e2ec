"""The registry's SQLite file: opening, migrating, and short transactions."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from heedful.store.registry.errors import RegistryBusyError, RegistryError

BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

Answer = TypeVar("Answer")


class Database:
    """One connection, shared by the threads of a process.

    The rollback journal lets several processes write in turn, which the log's write-ahead journal
    does not; a row of audit a day needs no more. ``EXTRA`` is ``FULL`` plus a sync of the folder
    after the journal is deleted, so that a commit that returned survives a power cut as well.
    """

    def __init__(self, file: Path, *, timeout: float) -> None:
        """Open or make the file and bring it to the newest schema.

        Raises:
            RegistryError: it cannot be opened, is damaged, or newer than this code.
        """
        self.file = file
        self._lock = threading.RLock()
        with self._explained():
            self._connection = sqlite3.connect(
                file, timeout=timeout, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._connection.execute("PRAGMA journal_mode = DELETE")
                self._connection.execute("PRAGMA synchronous = EXTRA")
            self._migrate()  # before references are watched: it may make a table anew
            with self._explained():
                self._connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            self._connection.close()
            raise

    def read(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Return what ``question`` finds; one SELECT sees one state of the registry."""
        with self._lock, self._explained():
            return question(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the only right to write, and commit at the end, durably, all of it or nothing.

        Raises:
            RegistryBusyError: another process held it for longer than the timeout.
        """
        with self._lock, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        with self._lock:
            self._connection.close()

    def _migrate(self) -> None:
        if self.read(_schema) == len(_migrations()):
            return
        with self.transaction() as connection:
            reached = _schema(connection)
            if reached > len(_migrations()):
                raise RegistryError(
                    f"{self.file}: schema {reached} is newer than this heedful, which knows "
                    f"{len(_migrations())}; upgrade heedful"
                )
            for number, script in enumerate(_migrations()[reached:], start=reached + 1):
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code in BUSY:
                raise RegistryBusyError(
                    f"{self.file}: another process is changing the registry; try again"
                ) from error
            remedy = "look at the disk and at who may write there"
            if code in DAMAGED:
                remedy = (
                    "restore it from a backup, or move it away: the policies are found again as "
                    "candidates, without their history"
                )
            raise RegistryError(f"{self.file}: {error}; {remedy}") from error


def integrity(connection: sqlite3.Connection) -> list[str]:
    """Return what SQLite finds wrong with the file; nothing, if all is well."""
    found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    lost = [
        f"{table}: row {row} names something in {other} that is not there"
        for table, row, other, _ in connection.execute("PRAGMA foreign_key_check")
    ]
    return ([] if found == ["ok"] else found) + lost


def _schema(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def _migrations() -> list[str]:
    """Return the numbered scripts in order."""
    folder = files("heedful.store.registry") / "migrations"
    found = (item for item in folder.iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", item.name))
    scripts = sorted(found, key=lambda item: item.name)
    return [script.read_text(encoding="utf-8") for script in scripts]


def _statements(script: str) -> Iterator[str]:
    """Split a script; sqlite3's own executescript would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
