"""SQL on the driver's own cursors, within a transaction that SQLAlchemy began.

A record costs a handful of statements of a few microseconds each. SQLAlchemy's execution context
and result around each of them cost four times as much as SQLite itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection


class Statements:
    """Runs statements on ``connection``, and is good for as long as its transaction."""

    def __init__(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        self._rows: sqlite3.Cursor = driver.cursor()
        self._named: sqlite3.Cursor = driver.cursor()
        self._named.row_factory = sqlite3.Row

    def find(self, query: str, *values: object) -> sqlite3.Row | None:
        """Return the one row that ``query`` finds, whose columns have names, or None."""
        row: sqlite3.Row | None = self._named.execute(query, values).fetchone()
        return row

    def value(self, query: str, *values: object) -> Any:
        """Return the first column of the row that ``query`` finds, or None without a row."""
        row = self._rows.execute(query, values).fetchone()
        return None if row is None else row[0]

    def all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return self._rows.execute(query, values).fetchall()

    def run(self, statement: str, *values: object) -> None:
        """Run one statement that returns nothing."""
        self._rows.execute(statement, values)

    def run_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement once for each of ``rows``."""
        self._rows.executemany(statement, rows)
