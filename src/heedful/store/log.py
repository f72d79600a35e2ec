"""The log: what was decided and how people answered, in one order, durable and append-only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from heedful.record import ChoiceSet, Described, Description
from heedful.store import schema, segments
from heedful.store.admission import Admission
from heedful.store.assembly import Assembly
from heedful.store.descriptions import (
    Descriptions,
    newest_description,
    read_descriptions,
    read_known,
)
from heedful.store.doctor import Check, examine
from heedful.store.errors import StoreError
from heedful.store.lock import WriterLock
from heedful.store.memory import Record
from heedful.store.names import Interner
from heedful.store.reading import Kept
from heedful.store.receipts import Receipt
from heedful.store.rows import localise, read_range, read_subjects
from heedful.store.segments import Segment
from heedful.store.snapshot import Snapshot

logger = logging.getLogger("heedful.store")


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is in the log.

    Attributes:
        decisions: decisions.
        feedback: feedback rows, retractions included.
        ends: ended episodes.
        parked: feedback that waits for what it is about.
        misfits: feedback that had waited, was joined, and did not fit; kept with the reason.
        subjects: people (or players) that decisions were made for.
    """

    decisions: int
    feedback: int
    ends: int
    parked: int
    misfits: int
    subjects: int


class Log:
    """The log of one workspace: ``log.db``, ``segments/`` and the writer's ``log.lock``.

    One process at a time opens it with ``write=True``; any number read it meanwhile. All methods
    may be called from any thread.
    """

    def __init__(self, path: Path, reader: Engine, writer: Engine | None, lock: WriterLock | None):
        self.path = path
        self.segments = path.parent / "segments"
        self._reader = reader
        self._writer = writer
        self._lock = lock
        self._mutex = threading.RLock()
        self._names = Interner()
        self._newest = self._sealed = 0  # the writer's last row, and its last row in a segment
        self._kept = Kept(self.segments)

    @classmethod
    def open(cls, path: str | Path, *, write: bool) -> Log:
        """Open the log at ``path`` (a file, usually ``log.db`` of a workspace).

        Args:
            path: where it is; made with its schema where there is none and ``write`` is true.
            write: become the one writer.

        Raises:
            StoreError: another process writes, the file is no log or of a newer version, or there
                is none to read.
        """
        path = Path(path)
        if not write:
            return cls._open_reader(path)
        lock = WriterLock(path.with_name("log.lock"))
        writer = schema.writer_engine(path)
        try:
            schema.migrate(writer, path)
            log = cls(path, schema.reader_engine(path), writer, lock)
            log._prepare_segments()
        except BaseException:
            writer.dispose()
            lock.release()
            raise
        return log

    @classmethod
    def _open_reader(cls, path: Path) -> Log:
        if not path.is_file():
            raise StoreError(f"{path}: there is no log here; open it with write=True to make one")
        log = cls(path, schema.reader_engine(path), None, None)
        with log._reading() as connection:
            schema.check_version(connection, path)
        return log

    def close(self) -> None:
        """Let go of the files and of the writer's lock; closing twice is harmless."""
        with self._mutex:
            self._reader.dispose()
            if self._writer is not None:
                self._writer.dispose()
                self._writer = None
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Writing

    def append(
        self, records: Iterable[Record], *, choice_sets: Iterable[ChoiceSet] = ()
    ) -> list[Receipt]:
        """Append ``records`` in order, in one transaction; on disk when this returns.

        One record that is not taken does not fail its neighbours. Whoever wants throughput passes
        many: the disk is synced once per call.

        Args:
            records: decisions, feedback and ends.
            choice_sets: the sets that decisions here name by digest; stored once each.

        Returns:
            One receipt for each record.

        Raises:
            StoreError: the transaction failed (disk full, locked), and nothing of it is here.
            TypeError: something is no record, and nothing was appended.
        """
        with self.admitting() as admission:
            for choices in choice_sets:
                admission.choice_set(choices)
            receipts = [admission.admit(record) for record in records]
        self.seal()
        return receipts

    def describe(self, descriptions: Iterable[Description]) -> list[Receipt]:
        """Append what is known of units and subjects, in one transaction; the latest counts.

        Returns:
            One receipt for each: ``added``, or ``duplicate`` where it says nothing new.

        Raises:
            StoreError: the transaction failed (disk full, locked), and nothing of it is here.
        """
        with self.admitting() as admission:
            receipts = [admission.describe(description) for description in descriptions]
        self.seal()
        return receipts

    @contextmanager
    def admitting(self) -> Iterator[Admission]:
        """Begin one transaction of several steps; commit on a clean exit, undo all otherwise.

        For importers; :meth:`append` is the door for everybody else. Call :meth:`seal` afterwards.

        Raises:
            StoreError: as :meth:`append`.
        """
        with self._mutex:
            try:
                with self._writing() as connection:
                    admission = Admission(connection, self._names)
                    yield admission
                    admission.close()
                self._newest = admission.seq - 1
            except BaseException:
                self._names.forget()
                raise

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._mutex:
            if self._writer is None:
                raise StoreError(f"{self.path}: was opened to read; open it with write=True")
            with schema.transaction(self._writer, path=self.path, write=True) as connection:
                yield connection

    # Reading

    def snapshot(self, watermark: int | None = None) -> Snapshot:
        """Return everything up to ``watermark`` (the newest row by default).

        The next one reads the rows since this one alone, and shares the memory of its columns.

        Raises:
            StoreError: the watermark is later than the log's.
        """
        with self._reading() as connection:
            newest = _watermark(connection)
            if watermark is not None and watermark > newest:
                raise StoreError(f"{self.path}: ends at {newest}, there is no {watermark} yet")
            upto = newest if watermark is None else max(watermark, 0)
            snapshot, bad = self._kept.snapshot(connection, upto)
        if bad and self._writer is not None:
            self._rewrite(bad)
        return snapshot

    def history(self, subjects: Sequence[str]) -> Snapshot:
        """Return all that concerns ``subjects`` (pseudonyms), found by index.

        Codes count from 0 among these alone. Subjects that are not in the log add nothing.
        """
        with self._reading() as connection:
            part, names = localise(connection, read_subjects(connection, subjects))
            known = read_descriptions(connection, subjects)
            return Snapshot.assemble(Assembly.of(part), names, _watermark(connection), known)

    def descriptions(self, of: Described) -> Descriptions:
        """Return what is known of units or of subjects, older descriptions included."""
        with self._reading() as connection:
            return read_known(connection, of)

    def described(self) -> int:
        """Return the sequence number of the newest description; 0 where nothing is described."""
        with self._reading() as connection:
            return newest_description(connection)

    def watermark(self) -> int:
        """Return the highest sequence number given so far; 0 for an empty log."""
        with self._reading() as connection:
            return _watermark(connection)

    def subjects(self) -> list[str]:
        """Return the pseudonyms of all whom a decision was made for, in the order they came."""
        with self._reading() as connection:
            query = "SELECT name FROM subjects ORDER BY code"
            return list(connection.exec_driver_sql(query).scalars())

    def subject_of(self, decision: str) -> str | None:
        """Return the pseudonym a decision was made for, or None where the id is not known."""
        query = "SELECT name FROM decisions JOIN subjects ON code = subject WHERE id = ?"
        with self._reading() as connection:
            name: str | None = connection.exec_driver_sql(query, (decision,)).scalar_one_or_none()
        return name

    def choice_set(self, digest: str) -> ChoiceSet:
        """Return the choice set that decisions name by ``digest``.

        Raises:
            KeyError: it is not stored.
        """
        query = "SELECT body FROM choice_sets WHERE name = ?"
        with self._reading() as connection:
            body = connection.exec_driver_sql(query, (digest,)).scalar_one_or_none()
        if body is None:
            raise KeyError(f"no choice set {digest} is stored")
        return ChoiceSet.from_body(body)

    def counts(self) -> Counts:
        """Return how much is in the log."""
        tables = ("decisions", "feedback", "ends")
        queries = [f"(SELECT count(*) FROM {table})" for table in tables]
        queries += [
            "(SELECT count(*) FROM parked WHERE refused IS NULL)",
            "(SELECT count(*) FROM parked WHERE refused IS NOT NULL)",
            "(SELECT count(*) FROM subjects)",
        ]
        with self._reading() as connection:
            row = connection.exec_driver_sql(f"SELECT {', '.join(queries)}").one()
        return Counts(*row)

    def unjoined(self, since: float) -> int:
        """Return how much feedback that arrived since then has not found its decision, or misfits.

        Args:
            since: seconds since the epoch.
        """
        query = "SELECT count(*) FROM parked WHERE received_at >= ?"
        with self._reading() as connection:
            count: int = connection.exec_driver_sql(query, (since,)).scalar_one()
        return count

    def check(self) -> list[Check]:
        """Examine the database, the segments and the version of SQLite, for ``heedful doctor``."""
        with self._reading() as connection:
            return examine(connection, self.segments)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with schema.transaction(self._reader, path=self.path, write=False) as connection:
            yield connection

    # Segments

    def _prepare_segments(self) -> None:
        self.segments.mkdir(exist_ok=True)
        with self._writing() as connection:
            segments.sweep(connection, self.segments)
            self._newest = _watermark(connection)
            query = "SELECT coalesce(max(last), 0) FROM segments"
            self._sealed = connection.exec_driver_sql(query).scalar_one()
        self.seal()

    def seal(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Write the rows since the last segment as segments, as far as they fill whole ones.

        The rows are durable already: where a segment cannot be written, that is logged, and
        readers use the rows.
        """
        with self._mutex:
            begin, end = self._sealed, self._newest
        size = segments.SEGMENT_ROWS
        for last in range(begin + size, end + 1, size):
            if not self._write_segment(last - size + 1, last):
                break
            progress(last - begin, end - begin)

    def _rewrite(self, bad: list[Segment]) -> None:
        for segment in bad:
            if self._write_segment(segment.first, segment.last):
                logger.warning("%s: rebuilt from the rows", segment.file)

    def _write_segment(self, first: int, last: int) -> bool:
        try:
            with self._writing() as connection:
                part = read_range(connection, first, last)
                segment = segments.write(self.segments, first, last, part)
                segments.record(connection, segment)
            self._sealed = max(self._sealed, last)
        except (OSError, StoreError) as error:
            logger.warning("%s: could not write a segment: %s", self.segments, error)
            return False
        return True


def _watermark(connection: Connection) -> int:
    watermark: int = connection.exec_driver_sql("SELECT next_seq - 1 FROM state").scalar_one()
    return watermark
