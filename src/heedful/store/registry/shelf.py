"""Numbered folders with a card and a manifest each, and no state: fitted rewards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from heedful.store.registry import folders, manifest
from heedful.store.registry.card import Card
from heedful.store.registry.errors import RegistryBusyError, RegistryError
from heedful.store.registry.version import name_of, number_of


class Placed:
    """What is being put on a shelf.

    Attributes:
        folder: save the files into it.
        name: the name it got, once the ``with`` block ended well; ``""`` before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, ""


class Shelf:
    """What was fitted, oldest first: never changed, and looked up by name or as the newest.

    A folder gets its name once all its files are on the disk; a process that is killed before
    leaves a draft, which goes when the next one is put there.
    """

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which is made when something is put there."""
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names, oldest first."""
        if not self._folder.is_dir():
            return []
        return [name_of(number) for number in sorted(folders.numbers(self._folder))]

    def newest(self) -> str | None:
        """Return the newest name, ``None`` where the shelf is empty."""
        return next(reversed(self.names()), None)

    def folder(self, name: str) -> Path:
        """Return a folder, after all its files were found to be what was put there.

        Raises:
            RegistryError: there is none of this name, or it is damaged.
        """
        folder = self._folder / name_of(number_of(name))
        if not folder.is_dir():
            raise RegistryError(f"{folder}: there is no such folder; restore it from a backup")
        folders.orphan(folder)
        return folder

    def card(self, name: str) -> Card:
        """Return the card in a folder, after :meth:`folder`."""
        return folders.read_card(self.folder(name))

    @contextmanager
    def new(self, card: Card) -> Iterator[Placed]:
        """Put what is saved inside the ``with`` block on the shelf; an exception removes it.

        Raises:
            RegistryError: nothing was saved, or another process puts something there.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with self._alone():
                folders.remove_abandoned(self._folder)
                draft = folders.make_draft(self._folder)
                held.enter_context(folders.hold(draft))
            try:
                placed = Placed(draft)
                yield placed
                entries = folders.measure(draft)
                with self._alone():
                    number = max((0, *folders.numbers(self._folder))) + 1
                    folders.seal(draft, entries, replace(card, number=number))
                placed.name = name_of(number)
                placed.folder = self._folder / placed.name
            finally:
                if draft.exists():
                    shutil.rmtree(draft)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with folders.hold(self._folder) as free:
            if not free:
                raise RegistryBusyError(
                    f"{self._folder}: another process puts something there; try again"
                )
            yield


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file that something was made from."""
    return manifest.measure(file).sha256
