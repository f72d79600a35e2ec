"""The names in the log and their numbers, as the writer knows them."""

from __future__ import annotations

import json
from itertools import count

from sqlalchemy import Connection

FORGET_AFTER = 200_000


class Interner:
    """Gives each name its code; codes count from 0 in the order of first appearance.

    It remembers what it has looked up, so it must be told when a transaction was undone.
    """

    def __init__(self) -> None:
        self._codes: dict[str, dict[str, int]] = {}

    def forget(self) -> None:
        """Forget everything: the transaction that added names may not have happened."""
        self._codes.clear()

    def find(self, connection: Connection, kind: str, name: str) -> int:
        """Return the code of ``name`` among ``kind``, or -1 where it has none."""
        known = self._codes.setdefault(kind, {})
        if name not in known:
            query = f"SELECT code FROM {kind} WHERE name = ?"
            code = connection.exec_driver_sql(query, (name,)).scalar_one_or_none()
            if code is None:
                return -1
            self._remember(kind, name, code)
        return self._codes[kind][name]

    def intern(self, connection: Connection, kind: str, name: str) -> int:
        """Return the code of ``name`` among ``kind``, and give it one where it has none."""
        code = self.find(connection, kind, name)
        if code < 0:
            code = self.next_code(connection, kind)
            connection.exec_driver_sql(f"INSERT INTO {kind} VALUES (?, ?)", (code, name))
            self._remember(kind, name, code)
        return code

    def intern_many(self, connection: Connection, kind: str, names: list[str]) -> list[int]:
        """Return the codes of different ``names``; new ones are numbered in their order."""
        query = f"SELECT name, code FROM {kind} WHERE name IN (SELECT value FROM json_each(?))"
        codes = {row[0]: row[1] for row in connection.exec_driver_sql(query, (json.dumps(names),))}
        new = [name for name in names if name not in codes]
        codes.update(zip(new, count(self.next_code(connection, kind)), strict=False))
        if new:
            rows = [(codes[name], name) for name in new]
            connection.exec_driver_sql(f"INSERT INTO {kind} VALUES (?, ?)", rows)
        return [codes[name] for name in names]

    @staticmethod
    def next_code(connection: Connection, kind: str) -> int:
        """Return the code that the next new name of ``kind`` gets."""
        query = f"SELECT coalesce(max(code) + 1, 0) FROM {kind}"
        code: int = connection.exec_driver_sql(query).scalar_one()
        return code

    def _remember(self, kind: str, name: str, code: int) -> None:
        known = self._codes.setdefault(kind, {})
        if len(known) >= FORGET_AFTER:
            known.clear()
        known[name] = code
