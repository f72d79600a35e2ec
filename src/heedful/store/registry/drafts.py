"""From a draft to a numbered version, and what is put right after a process was killed in between.

The order that makes it safe: the files are on the disk, then card and manifest, then the folder
gets its name, then the row is committed. Before the name it is an abandoned draft, and removed;
with the name but without the row it is whole, and adopted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from heedful.store.registry import folders, ledger
from heedful.store.registry.audit import Reason
from heedful.store.registry.card import Card
from heedful.store.registry.database import Database
from heedful.store.registry.errors import RegistryError
from heedful.store.registry.version import Version, name_of


class Draft:
    """A version that is being saved.

    Attributes:
        folder: save the policy's files into it; links and special files are refused.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version: Version | None = None

    @property
    def version(self) -> Version:
        """The version it became, once the ``with`` block ended well.

        Raises:
            RegistryError: it has not ended, or not well.
        """
        if self._version is None:
            raise RegistryError(f"{self.folder}: not registered; leave the with block first")
        return self._version

    def became(self, version: Version) -> None:
        """Note which version it became."""
        self.folder = self.folder.parent / version.name
        self._version = version


@contextmanager
def drafted(policies: Path, database: Database) -> Iterator[Draft]:
    """Make a draft, and remove it in the end if it did not become a version."""
    with ExitStack() as held:
        with database.transaction():
            folder = folders.make_draft(policies)
            held.enter_context(folders.hold(folder))
        try:
            yield Draft(folder)
        finally:
            if folder.exists():
                shutil.rmtree(folder)


def register(folder: Path, card: Card, database: Database, reason: Reason) -> Version:
    """Make the draft in ``folder`` the next version, a candidate.

    The large files are hashed and synced before the transaction, which stays short.
    """
    entries = folders.measure(folder)
    with database.transaction() as connection:
        registered = (version.number for version in ledger.versions(connection))
        number = max((0, *registered, *folders.numbers(folder.parent))) + 1
        digest = folders.seal(folder, entries, replace(card, number=number))
        ledger.add(connection, number, digest, "created", reason)
        return ledger.find(connection, number)


def recover(policies: Path, database: Database) -> None:
    """Remove abandoned drafts and adopt whole versions that lack only their row.

    Folders with the name of a version that are neither stay untouched and unregistered, and no
    version gets their number: they are somebody's data.
    """
    with database.transaction():
        folders.remove_abandoned(policies)
    known = {version.number for version in database.read(ledger.versions)}
    reason = Reason(by="heedful", why="found whole but without its row", evidence={})
    for number in sorted(set(folders.numbers(policies)) - known):
        try:
            digest = folders.orphan(policies / name_of(number))
        except RegistryError:
            continue
        with database.transaction() as connection:
            if not ledger.exists(connection, number):
                ledger.add(connection, number, digest, "adopted", reason)
