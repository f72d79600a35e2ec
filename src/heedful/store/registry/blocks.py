"""Units that an operator has forbidden for all decisions, until somebody takes that back."""

from __future__ import annotations

from sqlite3 import Connection

from heedful.record.errors import check_id
from heedful.store.registry.audit import Reason, record
from heedful.store.registry.errors import RegistryError


def units(connection: Connection) -> frozenset[str]:
    """Return the units that are blocked."""
    return frozenset(unit for (unit,) in connection.execute("SELECT unit FROM blocked"))


def block(connection: Connection, unit: str, reason: Reason) -> None:
    """Forbid a unit.

    Raises:
        RecordError: it is no id of a unit.
        RegistryError: it is blocked already.
    """
    check_id("unit", unit)
    if unit in units(connection):
        raise RegistryError(f"unit {unit!r} is blocked already")
    connection.execute("INSERT INTO blocked (unit) VALUES (?)", (unit,))
    record(connection, "blocked", None, reason, unit=unit)


def unblock(connection: Connection, unit: str, reason: Reason) -> None:
    """Allow a unit again.

    Raises:
        RegistryError: it is not blocked; says which are.
    """
    known = units(connection)
    if unit not in known:
        listed = ", ".join(sorted(known)) or "none is"
        raise RegistryError(f"unit {unit!r} is not blocked; blocked: {listed}")
    connection.execute("DELETE FROM blocked WHERE unit = ?", (unit,))
    record(connection, "unblocked", None, reason, unit=unit)
