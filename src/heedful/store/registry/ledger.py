"""What the database says of versions, and the steps of a change inside its transaction."""

from __future__ import annotations

import time
from sqlite3 import Connection

from heedful.store.registry.audit import Action, Reason, record
from heedful.store.registry.errors import RegistryError
from heedful.store.registry.version import State, Version, name_of

COLUMNS = "SELECT number, state, created_at FROM versions"


def versions(connection: Connection) -> list[Version]:
    """Return all versions in the order of their numbers."""
    rows = connection.execute(f"{COLUMNS} ORDER BY number")
    return [Version(number=number, state=state, created_at=at) for number, state, at in rows]


def live(connection: Connection) -> Version | None:
    """Return the live version."""
    row = connection.execute(f"{COLUMNS} WHERE state = 'live'").fetchone()
    return Version(number=row[0], state=row[1], created_at=row[2]) if row else None


def find(connection: Connection, number: int) -> Version:
    """Return one version.

    Raises:
        RegistryError: there is none of this number; says which there are.
    """
    row = connection.execute(f"{COLUMNS} WHERE number = ?", (number,)).fetchone()
    if row:
        return Version(number=row[0], state=row[1], created_at=row[2])
    last = connection.execute("SELECT max(number) FROM versions").fetchone()[0]
    known = "none is registered yet" if last is None else f"the newest is {name_of(last)}"
    raise RegistryError(f"there is no policy version {name_of(number)}; {known}")


def exists(connection: Connection, number: int) -> bool:
    """Return whether a version of this number is registered."""
    query = "SELECT 1 FROM versions WHERE number = ?"
    return connection.execute(query, (number,)).fetchone() is not None


def manifest_of(connection: Connection, number: int) -> str:
    """Return the SHA-256 of the manifest of a version that exists."""
    query = "SELECT manifest FROM versions WHERE number = ?"
    digest: str = connection.execute(query, (number,)).fetchone()[0]
    return digest


def add(connection: Connection, number: int, digest: str, action: Action, reason: Reason) -> None:
    """Add a version as a candidate."""
    connection.execute(
        "INSERT INTO versions (number, state, manifest, created_at) VALUES (?, 'candidate', ?, ?)",
        (number, digest, time.time()),
    )
    record(connection, action, number, reason)


def set_state(connection: Connection, number: int, state: State) -> None:
    """Change the state of a version."""
    connection.execute("UPDATE versions SET state = ? WHERE number = ?", (state, number))


def require(connection: Connection, number: int, *states: State) -> None:
    """Check that a version is in one of ``states``.

    Raises:
        RegistryError: it is not; says what it is.
    """
    state = find(connection, number).state
    if state not in states:
        raise RegistryError(
            f"policy version {name_of(number)} is in the state {state!r}; "
            f"this takes one that is {' or '.join(states)}"
        )


def refuse(connection: Connection, number: int, reason: Reason) -> None:
    """Refuse a version for good."""
    set_state(connection, number, "refused")
    record(connection, "refused", number, reason)


def go_live(connection: Connection, number: int, reason: Reason) -> None:
    """Make a version the live one, and remember which it took over from."""
    previous = _retire(connection)
    set_state(connection, number, "live")
    connection.execute("INSERT INTO trail (version) VALUES (?)", (number,))
    record(connection, "promoted", number, reason, previous)


def last_two(connection: Connection) -> tuple[int, int]:
    """Return the version that was live before, and the live one.

    Refused versions are passed over: what was stopped is never served again.

    Raises:
        RegistryError: none was live before.
    """
    query = (
        "SELECT trail.version, live.number FROM trail JOIN versions ON versions.number = version"
        " JOIN versions AS live ON live.state = 'live' WHERE versions.state = 'retired'"
        " ORDER BY position DESC LIMIT 1"
    )
    row = connection.execute(query).fetchone()
    if row is None:
        raise RegistryError("no version was live before; promote another one instead")
    return row[0], row[1]


def step_back(connection: Connection, number: int, reason: Reason) -> None:
    """Retire the live version and make ``number``, the one before it on the trail, live again."""
    previous = _retire(connection)
    set_state(connection, number, "live")
    connection.execute(
        "DELETE FROM trail WHERE position > (SELECT max(position) FROM trail WHERE version = ?)",
        (number,),
    )
    record(connection, "rolled back", number, reason, previous)


def stop(connection: Connection, number: int, reason: Reason) -> None:
    """Refuse a version for good, whatever it was, on somebody's word."""
    set_state(connection, number, "refused")
    record(connection, "stopped", number, reason)


def _retire(connection: Connection) -> int | None:
    """Retire the live version, if there is one, and return its number."""
    version = live(connection)
    if version is None:
        return None
    set_state(connection, version.number, "retired")
    return version.number
