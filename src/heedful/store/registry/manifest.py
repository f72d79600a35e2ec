"""The manifest of a policy's folder: the SHA-256 and the size of every file in it.

safetensors carries no checksum, so a flipped bit would load silently; here it does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from heedful.store.registry.errors import Fault, RegistryError

FILE_NAME = "manifest.json"
FORMAT = 1
RESTORE = "restore the folder from a backup, or roll back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file: its size in bytes and the SHA-256 of its content in hexadecimal digits."""

    size: int
    sha256: str

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.size} bytes with SHA-256 {self.sha256}"


Manifest = Mapping[str, Entry]
"""Entries by relative POSIX path."""


def measure(file: Path, *, sync: bool = False) -> Entry:
    """Return the entry of one file, with ``sync`` only once it is on the disk."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if sync:
            os.fsync(stream.fileno())
        return Entry(size=os.fstat(stream.fileno()).st_size, sha256=digest)


def contents(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield everything in ``folder`` that is no plain folder, sorted by relative POSIX path."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix(), path


def encode(manifest: Manifest) -> bytes:
    """Return the content of ``manifest.json``."""
    files = {name: asdict(entry) for name, entry in manifest.items()}
    content = {"format": FORMAT, "files": files}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def decode(content: bytes) -> Manifest:
    """Return the manifest that :func:`encode` wrote.

    Raises:
        RegistryError: not a manifest, of a format this version cannot read, or with a name that
            leads out of the folder.
    """
    try:
        read = json.loads(content)
        if read["format"] != FORMAT:
            raise RegistryError(
                f"{FILE_NAME}: format {read['format']!r} is unknown; upgrade heedful"
            )
        manifest = {str(name): Entry(**entry) for name, entry in read["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RegistryError(f"{FILE_NAME}: not a manifest: {error}; {RESTORE}") from error
    for name in manifest:
        check_name(name)
    return manifest


def check_name(name: str) -> None:
    """Refuse names that could lead out of the folder, on any operating system.

    Raises:
        RegistryError: names the file.

    >>> check_name("tokenizer/vocab.json")
    >>> check_name("../x")
    Traceback (most recent call last):
        ...
    heedful.store.registry.errors.RegistryError: manifest.json: '../x' is no plain relative path
    """
    path = PurePosixPath(name)
    plain = str(path) == name and name not in ("", ".", FILE_NAME) and not path.is_absolute()
    if not plain or ".." in path.parts or re.search(r"[\\:\x00-\x1f]", name):
        raise RegistryError(f"{FILE_NAME}: {name!r} is no plain relative path")


def check(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """Yield a fault for every file that is missing, cut, changed, extra, or no plain file."""
    present = dict(contents(folder))
    present.pop(FILE_NAME, None)
    for name, expected in manifest.items():
        if fault := check_file(folder, name, expected):
            yield fault
    for name in sorted(present.keys() - manifest.keys()):
        yield Fault(
            file=name,
            expected="only files of the manifest",
            found="an extra file",
            remedy="move it out of the folder",
        )


def check_file(folder: Path, name: str, expected: Entry) -> Fault | None:
    """Return what is wrong with one file of the manifest, ``None`` if nothing is."""
    path = folder / name
    found = _oddity(folder, path)
    if not found and path.stat().st_size != expected.size:
        found = f"{path.stat().st_size} bytes"
    if not found:
        try:
            entry = measure(path)
        except OSError as error:
            found = f"a file that cannot be read: {error.strerror}"
        else:
            found = "" if entry == expected else str(entry)
    if not found:
        return None
    return Fault(file=name, expected=str(expected), found=found, remedy=RESTORE)


def _oddity(folder: Path, path: Path) -> str:
    """Say what stands where a plain file should; empty if a plain file does."""
    for part in (path, *path.parents):
        if part == folder:
            break
        if part.is_symlink():
            return "a symbolic link"
    if path.is_file():
        return ""
    return "something that is no file" if path.exists() else "no file"
