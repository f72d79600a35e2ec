"""The folder ``policies/``: one numbered folder per version, and drafts that are being written."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heedful.store.registry import manifest
from heedful.store.registry.card import Card
from heedful.store.registry.errors import Fault, RegistryError
from heedful.store.registry.version import name_of, number_of

CARD = "card.json"
DRAFT = ".new-"


def numbers(policies: Path) -> Iterator[int]:
    """Yield the numbers of the folders that look like versions, in no order."""
    for path in policies.iterdir():
        with suppress(RegistryError):
            yield number_of(path.name)


@contextmanager
def hold(folder: Path) -> Iterator[bool]:
    """Say whether nobody else holds ``folder``, and hold it meanwhile if so.

    The operating system lets go of the lock when its process ends, however it ends: that is how a
    draft that is being written differs from one left behind.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def make_draft(policies: Path) -> Path:
    """Make an empty folder for a version that has no number yet; :func:`hold` it at once."""
    folder = policies / f"{DRAFT}{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def remove_abandoned(policies: Path) -> None:
    """Remove the drafts that nobody writes any more.

    Call it only inside a transaction of the registry, and make and hold drafts only there: then no
    draft is seen between being made and being held.
    """
    for path in policies.glob(f"{DRAFT}*/"):
        # Its writer may be removing it this very moment.
        with suppress(FileNotFoundError), hold(path) as free:
            if free:
                shutil.rmtree(path)


def measure(folder: Path) -> dict[str, manifest.Entry]:
    """Bring everything in a draft onto the disk and return what its manifest will say.

    Raises:
        RegistryError: it is empty, or holds a link, a special file or a name of ours.
    """
    entries = {}
    for name, path in manifest.contents(folder):
        if path.is_symlink() or not path.is_file():
            raise RegistryError(f"{path}: only plain files can be registered; copy it instead")
        if name in (CARD, manifest.FILE_NAME):
            raise RegistryError(f"{path}: the registry writes this file; use another name")
        manifest.check_name(name)
        entries[name] = manifest.measure(path, sync=True)
    if not entries:
        raise RegistryError(f"{folder}: nothing was saved into the new version; save the policy")
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
    return entries


def seal(draft: Path, entries: dict[str, manifest.Entry], card: Card) -> str:
    """Write card and manifest, make all of it durable, and give the draft its final name.

    Returns:
        The SHA-256 of the manifest.
    """
    _write(draft / CARD, card.to_json().encode())
    complete = entries | {CARD: manifest.measure(draft / CARD)}
    _write(draft / manifest.FILE_NAME, manifest.encode(complete))
    digest = manifest.measure(draft / manifest.FILE_NAME).sha256
    sync_folder(draft)
    draft.rename(draft.parent / name_of(card.number))
    sync_folder(draft.parent)
    return digest


def faults(folder: Path, digest: str, *, only: str | None = None) -> list[Fault]:
    """Return everything that is wrong with a version's folder.

    Args:
        folder: the version's folder.
        digest: SHA-256 of its manifest, as the registry has it.
        only: look at this one file only.
    """
    path = folder / manifest.FILE_NAME
    odd = folder.is_symlink() or path.is_symlink() or not path.is_file()
    found = "no plain file" if odd else f"a file with SHA-256 {manifest.measure(path).sha256}"
    expected = f"a file with SHA-256 {digest}"
    if found != expected:
        name = manifest.FILE_NAME
        return [Fault(file=name, expected=expected, found=found, remedy=manifest.RESTORE)]
    entries = manifest.decode(path.read_bytes())
    if only is None:
        return list(manifest.check(folder, entries))
    fault = manifest.check_file(folder, only, entries[only])
    return [] if fault is None else [fault]


def read_card(folder: Path) -> Card:
    """Return the card in a version's folder.

    Raises:
        RegistryError: it is no card.
    """
    return Card.from_json((folder / CARD).read_bytes())


def orphan(folder: Path) -> str:
    """Return the SHA-256 of the manifest of a version that lacks only its row in the database.

    That is what a process leaves that is killed between giving the draft its name and committing.

    Raises:
        RegistryError: it is something else: damaged, incomplete, or a copy of another version.
    """
    try:
        digest = manifest.measure(folder / manifest.FILE_NAME).sha256
        damage = faults(folder, digest)
        if damage:
            raise RegistryError(f"{folder}: {damage[0]}")
        number = read_card(folder).number
    except OSError as error:
        raise RegistryError(f"{folder}: no policy version: {error}; move it away") from error
    if name_of(number) != folder.name:
        raise RegistryError(f"{folder}: its card is that of {name_of(number)}; move it away")
    return digest


def sync_folder(folder: Path) -> None:
    """Return once the names in ``folder`` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
