"""A file into the log: whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from heedful.store.errors import StoreError
from heedful.store.importing.checks import Checker, Events
from heedful.store.importing.enter import Entry
from heedful.store.importing.events import Order, in_order
from heedful.store.importing.mapping import Mapping, recognise
from heedful.store.importing.quarantine import Quarantine
from heedful.store.importing.report import (
    Findings,
    ImportRefusedError,
    ImportReport,
    Problem,
    UnusableFileError,
)
from heedful.store.importing.source import Source
from heedful.store.log import Log

Progress = Callable[[str, int, int], None]
"""Called with the stage (``reading``, ``writing``, ``sealing``), how much is done, and of what."""


class _DryRunOver(Exception):
    """Undoes the transaction of a dry run."""


def import_file(
    log: Log,
    path: str | Path,
    mapping: Mapping | None = None,
    *,
    key: bytes,
    dry_run: bool = False,
    quarantine: str | Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> ImportReport:
    """Add the rows of a file to ``log``, in one transaction.

    Each row becomes a decision of one unit, made elsewhere: its probabilities are ``UNKNOWN``, its
    policy and vocabulary are ``"import"``. What the row says follows it as feedback to unit 0,
    given and received at the time of the row. Rows are sequenced by their times; a row imported
    later stands later in the log, whatever its time. Ids come from the content, so that importing
    twice adds nothing, and a file that has grown adds what is new.

    Args:
        log: opened to write.
        path: RecBole ``.inter``; MovieLens ``u.data``, ``ratings.dat``, ``ratings.csv``; any CSV,
            TSV or JSON lines by ``mapping``; each plain or gzipped.
        mapping: which column means what; None where the format is known.
        key: the workspace's secret, which turns user ids into pseudonyms.
        dry_run: add nothing and report everything; ``added`` is 0.
        quarantine: a file for bad rows, so that the good ones go in; appended to.
        progress: is told how far it is.

    Raises:
        ImportRefusedError: something is wrong with the file, and nothing was added; its
            ``report`` lists what.
        StoreError: the file cannot be read, or the log not be written; nothing was added.
    """
    path = Path(path)
    findings = Findings(keep_rows=quarantine is not None)
    try:
        checker, order = _prepare(path, mapping, findings, progress)
    except UnusableFileError:
        if dry_run:
            return findings.report()
        raise ImportRefusedError(path, findings.report()) from None
    if dry_run:
        return _rehearse(log, checker.events, order, key, findings)
    strict = quarantine is None
    _refuse_bad_rows(path, findings, strict=strict)
    with Quarantine(quarantine) as bad, log.admitting() as admission:
        entry = Entry(admission, checker.events, key, findings)
        entry.enter(order.rows, lambda done, total: progress("writing", done, total))
        _refuse_bad_rows(path, findings, strict=strict)
        _recall(path, checker.wanted, findings)
        bad.write(findings.quarantined(path.name))
    log.seal(lambda done, total: progress("sealing", done, total))
    return findings.report(added=entry.added, duplicates=order.duplicates + entry.duplicates)


def _prepare(
    path: Path, mapping: Mapping | None, findings: Findings, progress: Progress
) -> tuple[Checker, Order]:
    """Read and check the whole file, and sequence its events."""
    with Source(path, findings) as source:
        mapping = mapping or recognise(source.layout, source.columns)
        if mapping is None:
            found = ", ".join(source.columns) or "JSON lines"
            raise StoreError(
                f"{path}: the format is not known (it has {found}); "
                "say which column is the subject, the unit, the rating, the time"
            )
        checker = Checker(mapping, findings)
        for block in source.blocks(checker.wanted):
            checker.take(block)
            progress("reading", source.position, source.size)
    if not findings.read:
        findings.fail(Problem(1, "", "empty", "", "the file has a header and no rows"))
    return checker, in_order(checker.events, findings)


def _rehearse(
    log: Log, events: Events, order: Order, key: bytes, findings: Findings
) -> ImportReport:
    """Do all of it in a transaction that is undone, so that clashes with the log show too."""
    try:
        with log.admitting() as admission:
            entry = Entry(admission, events, key, findings)
            entry.enter(order.rows, lambda done, total: None)
            raise _DryRunOver
    except _DryRunOver:
        return findings.report(duplicates=order.duplicates + entry.duplicates)


def _refuse_bad_rows(path: Path, findings: Findings, *, strict: bool) -> None:
    if strict and findings.refused:
        raise ImportRefusedError(path, findings.report())


def _recall(path: Path, wanted: list[str], findings: Findings) -> None:
    """Read again the rows whose fault showed only beside others, for their text."""
    lines = findings.without_text()
    if not lines:
        return
    with Source(path, Findings()) as source:
        for block in source.blocks(wanted):
            for line, raw in zip(block.lines, block.raws, strict=True):
                if line in lines:
                    findings.give_text(line, raw)
