"""Rows that a domain read from a file of its own, into the log: whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from heedful.record import ChoiceSet
from heedful.store.admission import Admission
from heedful.store.errors import StoreError
from heedful.store.importing.quarantine import Quarantine
from heedful.store.importing.report import (
    Findings,
    ImportRefusedError,
    ImportReport,
    Problem,
    UnusableFileError,
)
from heedful.store.importing.run import DryRunOver, Progress
from heedful.store.log import Log
from heedful.store.memory import Record


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row of a file, as the domain reads it.

    Attributes:
        line: where it begins, from 1.
        raw: its text, for a quarantine.
        records: what it says, decisions before what is said of them; their ids are derived from
            the row's content, all of it, so that the same row has the same ids.
        choice_sets: what the decisions were chosen from.
        problem: what is wrong with it, in the place of records.
        done: how much of the file has been read.
        total: of what.
    """

    line: int
    raw: str
    records: tuple[Record, ...] = ()
    choice_sets: tuple[ChoiceSet, ...] = ()
    problem: Problem | None = None
    done: int = 0
    total: int = 0


def import_records(
    log: Log,
    path: str | Path,
    read: Callable[[Findings], Iterator[FileRow]],
    *,
    dry_run: bool = False,
    quarantine: str | Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> ImportReport:
    """Add the rows that ``read`` yields to ``log``, in one transaction.

    A row counts once, however often it stands in the file or is imported. Arguments and errors are
    those of :func:`heedful.store.import_file`.

    Args:
        log: opened to write.
        path: the file, for messages.
        read: yields the rows; what it cannot cut into rows it takes down itself.
        dry_run: add nothing and report everything; ``added`` is 0.
        quarantine: a file for bad rows, so that the good ones go in; appended to.
        progress: is told how far it is.

    Raises:
        ImportRefusedError: something is wrong with the file, and nothing was added.
        StoreError: the file cannot be read, or the log not be written; nothing was added.
    """
    findings = Findings(keep_rows=quarantine is not None)
    entry = _Entry(findings)
    try:
        with Quarantine(quarantine, Path(path)) as bad, log.admitting() as admission:
            for row in _some(read(findings), findings):
                entry.enter(admission, row)
                progress("importing", row.done, row.total)
            if dry_run:
                raise DryRunOver
            if quarantine is None and findings.refused:
                raise ImportRefusedError(path, findings.report())
            bad.write(findings.quarantined(Path(path).name))
    except DryRunOver:
        return findings.report(duplicates=entry.duplicates)
    except UnusableFileError:
        if dry_run:
            return findings.report()
        raise ImportRefusedError(path, findings.report()) from None
    log.seal(lambda done, total: progress("sealing", done, total))
    return findings.report(added=entry.added, duplicates=entry.duplicates)


def _some(rows: Iterator[FileRow], findings: Findings) -> Iterator[FileRow]:
    """Yield ``rows``, of which there must be one.

    Raises:
        UnusableFileError: there is none, good or bad.
    """
    first = next(rows, None)
    if first is not None:
        yield from chain([first], rows)
    elif not findings.read:
        findings.fail(Problem(1, "", "empty", "", "there is no row in the file"))


class _Entry:
    """Puts rows into the log, and counts what became of them."""

    def __init__(self, findings: Findings) -> None:
        self.added = self.duplicates = 0
        self._findings = findings

    def enter(self, admission: Admission, row: FileRow) -> None:
        self._findings.read += 1
        if row.problem is not None:
            self._findings.add(row.problem, row.raw)
            return
        for choices in row.choice_sets:
            admission.choice_set(choices)
        statuses: list[str] = []
        for record in row.records:
            receipt = admission.admit(record)
            if not receipt.kept:
                self._refuse(row, receipt.reason, half=bool({*statuses} - {"duplicate"}))
                return
            statuses.append(receipt.status)
        fresh = any(status != "duplicate" for status in statuses)
        self.added += fresh
        self.duplicates += not fresh

    def _refuse(self, row: FileRow, reason: str, *, half: bool) -> None:
        """Take down that the log has some of the row, and has it otherwise."""
        if half:  # part of the row is in, and nothing that was written can be taken back alone
            raise StoreError(f"line {row.line}: {reason}; nothing was added")
        hint = f"{reason}; it was imported before, under other options or another tokenizer"
        self._findings.add(Problem(row.line, "", "conflict", "", hint), row.raw)
