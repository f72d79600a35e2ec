"""The names in the log and their numbers, as the writer knows them."""

from __future__ import annotations

import json
from itertools import count

from heedful.store.statements import Statements

FORGET_AFTER = 200_000


class Interner:
    """Gives each name its code; codes count from 0 in the order of first appearance.

    It remembers what it has looked up and what it gave, so it must be told when a transaction was
    undone.
    """

    def __init__(self) -> None:
        self._codes: dict[str, dict[str, int]] = {}
        self._next: dict[str, int] = {}

    def forget(self) -> None:
        """Forget everything: the transaction that added names may not have happened."""
        self._codes.clear()
        self._next.clear()

    def find(self, sql: Statements, kind: str, name: str) -> int:
        """Return the code of ``name`` among ``kind``, or -1 where it has none."""
        code = self._codes.setdefault(kind, {}).get(name)
        if code is None:
            code = sql.value(f"SELECT code FROM {kind} WHERE name = ?", name)
            if code is None:
                return -1
            self._remember(kind, name, code)
        return code

    def intern(self, sql: Statements, kind: str, name: str) -> int:
        """Return the code of ``name`` among ``kind``, and give it one where it has none."""
        code = self.find(sql, kind, name)
        if code < 0:
            code = self.allot(sql, kind)
            sql.run(f"INSERT INTO {kind} VALUES (?, ?)", code, name)
            self._remember(kind, name, code)
        return code

    def intern_many(self, sql: Statements, kind: str, names: list[str]) -> list[int]:
        """Return the codes of different ``names``; new ones are numbered in their order."""
        query = f"SELECT name, code FROM {kind} WHERE name IN (SELECT value FROM json_each(?))"
        codes: dict[str, int] = dict(sql.all(query, json.dumps(names)))
        new = [name for name in names if name not in codes]
        codes.update(zip(new, count(self.allot(sql, kind, len(new))), strict=False))
        sql.run_many(f"INSERT INTO {kind} VALUES (?, ?)", [(codes[name], name) for name in new])
        return [codes[name] for name in names]

    def allot(self, sql: Statements, kind: str, n: int = 1) -> int:
        """Return the first of ``n`` codes for new names of ``kind``, which the caller inserts."""
        if kind not in self._next:
            self._next[kind] = sql.value(f"SELECT coalesce(max(code) + 1, 0) FROM {kind}")
        first = self._next[kind]
        self._next[kind] = first + n
        return first

    def _remember(self, kind: str, name: str, code: int) -> None:
        known = self._codes.setdefault(kind, {})
        if len(known) >= FORGET_AFTER:
            known.clear()
        known[name] = code
