"""What has been read of the log, kept so that the next snapshot reads the new rows alone."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from heedful.store import segments
from heedful.store.assembly import Assembly
from heedful.store.descriptions import GrowingDescriptions
from heedful.store.growth import GrowingTexts
from heedful.store.parts import NAMED, Part
from heedful.store.rows import names_of, read_names, read_range
from heedful.store.segments import Segment, Stamp
from heedful.store.snapshot import Snapshot

KEPT_BYTES = 2**30
"""Columns of up to this size stay in memory between snapshots; a larger log is read afresh."""


class Kept:
    """The reading that one snapshot leaves for the next. Any thread may ask."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._reading: Reading | None = None

    def snapshot(self, connection: Connection, upto: int) -> tuple[Snapshot, list[Segment]]:
        """Return everything up to row ``upto``, and the segments found missing or damaged."""
        with self._lock:
            reading, self._reading = self._reading or Reading(self._folder), None
            bad = reading.read_on(connection, upto)
            snapshot = reading.snapshot(upto)
            if reading.nbytes <= KEPT_BYTES:
                self._reading = reading  # only now: an exception on the way leaves none
        return snapshot, bad


class Reading:
    """The log from its first row to ``watermark``, as columns that grow.

    Snapshots share their memory with it. Reading that was interrupted leaves the columns uneven:
    throw such a one away.
    """

    def __init__(self, folder: Path) -> None:
        self.watermark = 0
        self._folder = folder
        self._assembly = Assembly()
        self._names = {kind: GrowingTexts() for kind in NAMED}
        self._descriptions, self._described = GrowingDescriptions(), 0
        self._stamps: dict[Segment, Stamp] = {}  # of the files that matched their SHA-256

    @property
    def nbytes(self) -> int:
        """Return how much memory it takes, in bytes."""
        texts = sum(texts.nbytes for texts in self._names.values())
        return self._assembly.nbytes + self._descriptions.nbytes + texts

    def read_on(self, connection: Connection, upto: int) -> list[Segment]:
        """Read as far as row ``upto``, from segments where they are whole and from SQL elsewhere.

        Returns:
            The segments that are missing or damaged; those that were read before count too.
        """
        bad = []
        for segment in segments.listed(connection, upto):
            stamp = segments.stamp(self._folder, segment)
            if stamp is not None and stamp == self._stamps.get(segment):
                continue  # its rows have been read, and nobody has touched it since
            part = segments.load(self._folder, segment)
            if part is None:
                bad.append(segment)
            elif stamp is not None:
                self._stamps[segment] = stamp
            self._read_rows(connection, segment.first - 1)
            if part is not None and segment.first == self.watermark + 1:
                self._add(part, segment.last)
            self._read_rows(connection, segment.last)
        self._read_rows(connection, upto)
        self._read_names(connection)
        self._read_descriptions(connection, upto)
        return bad

    def snapshot(self, upto: int) -> Snapshot:
        """Return everything up to ``upto``, which must have been read."""
        names = names_of({kind: texts.rows for kind, texts in self._names.items()})
        known = self._descriptions.table
        snapshot = Snapshot.assemble(self._assembly, names, self.watermark, known)
        return snapshot if upto == self.watermark else snapshot.until(upto)

    def _read_rows(self, connection: Connection, last: int) -> None:
        if last > self.watermark:
            self._add(read_range(connection, self.watermark + 1, last), last)

    def _add(self, part: Part, last: int) -> None:
        self._assembly.extend(part)
        self.watermark = last

    def _read_descriptions(self, connection: Connection, upto: int) -> None:
        """Read those that came since; they are few beside what happened, and in no segment."""
        if upto > self._described:
            self._descriptions.read_on(connection, self._described + 1, upto)
            self._described = upto

    def _read_names(self, connection: Connection) -> None:
        for kind, known in self._names.items():
            new = read_names(connection, kind, len(known))
            known.extend(np.diff(new.offsets), new.data)
