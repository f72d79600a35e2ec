"""Columnar segments: the log's rows in files that load at the speed of the disk.

A segment is derived from the rows and can be thrown away. It is an ``.npz`` of plain arrays
(:data:`heedful.store.parts.DTYPES`), written aside, synced and renamed; the database has its
SHA-256, and a file that is missing or does not match is read from SQL instead.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from heedful.store.parts import DTYPES, Part

SEGMENT_ROWS = 65_536
TEMPORARY = ".new-"

Stamp = tuple[int, int, int]
"""A file's inode, size in bytes, and time of its last change in nanoseconds."""

logger = logging.getLogger("heedful.store")


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows ``first`` to ``last`` (sequence numbers, both included) in ``file``."""

    first: int
    last: int
    file: str
    sha256: str


def listed(connection: Connection, watermark: int) -> list[Segment]:
    """Return the segments that lie wholly up to ``watermark``, in order."""
    rows = connection.exec_driver_sql(
        "SELECT first, last, file, sha256 FROM segments WHERE last <= ? ORDER BY first",
        (watermark,),
    )
    return [Segment(*row) for row in rows]


def record(connection: Connection, segment: Segment) -> None:
    """Write ``segment`` into the database, in place of the one with the same first row."""
    row = (segment.first, segment.last, segment.file, segment.sha256)
    connection.exec_driver_sql("INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?)", row)


def write(folder: Path, first: int, last: int, part: Part) -> Segment:
    """Write ``part`` as a file of ``folder``; when this returns it is durable."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: part[name] for name in DTYPES})
    content = buffer.getbuffer()
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"{first:012d}-{last:012d}-{sha256[:12]}.npz"
    temporary = folder / f"{TEMPORARY}{name}"
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / name)
    sync_folder(folder)
    return Segment(first, last, name, sha256)


def load(folder: Path, segment: Segment) -> Part | None:
    """Return the rows of ``segment``, or None where its file is missing or damaged."""
    path = folder / segment.file
    try:
        content = path.read_bytes()
    except OSError as error:
        logger.warning("%s: cannot be read (%s); reading the rows instead", path, error.strerror)
        return None
    if hashlib.sha256(content).hexdigest() != segment.sha256:
        logger.warning("%s: its SHA-256 is not the recorded one; reading the rows instead", path)
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as columns:
            return {name: columns[name] for name in DTYPES}
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        logger.warning("%s: is of another format (%s); reading the rows instead", path, error)
        return None


def stamp(folder: Path, segment: Segment) -> Stamp | None:
    """Return what changes when the file of ``segment`` is written to; None where it is missing."""
    try:
        found = (folder / segment.file).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def sweep(connection: Connection, folder: Path) -> None:
    """Remove what a killed writer left: files that the database does not know."""
    known = {file for (file,) in connection.exec_driver_sql("SELECT file FROM segments")}
    for path in folder.iterdir():
        ours = path.suffix == ".npz" or path.name.startswith(TEMPORARY)
        if ours and path.name not in known:
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
