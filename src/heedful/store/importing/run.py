"""A file into the log: whole, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from heedful.record.errors import check_text
from heedful.store.admission import Admission
from heedful.store.importing.checks import LONGEST_POLICY, Checker
from heedful.store.importing.enter import Entry
from heedful.store.importing.events import Order, in_order
from heedful.store.importing.mapping import Mapping, recognise
from heedful.store.importing.opening import open_source
from heedful.store.importing.quarantine import Quarantine
from heedful.store.importing.rates import without_bots
from heedful.store.importing.report import (
    Findings,
    ImportRefusedError,
    ImportReport,
    Problem,
    UnknownFormatError,
    UnusableFileError,
)
from heedful.store.log import Log

Progress = Callable[[str, int, int], None]
"""Called with the stage (``reading``, ``writing``, ``sealing``), how much is done, and of what."""


class DryRunOver(Exception):
    """Undoes the transaction of a dry run."""


def import_file(
    log: Log,
    path: str | Path,
    mapping: Mapping | None = None,
    *,
    key: bytes,
    made_by: str = "",
    bot_rate: float = 0.0,
    dry_run: bool = False,
    quarantine: str | Path | None = None,
    now: float | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> ImportReport:
    """Add the rows of a file to ``log``, in one transaction.

    Each row becomes a decision of one unit, or one unit of a slate where the file has a column for
    that. Decisions made elsewhere carry the probabilities that the file gives, else ``UNKNOWN``.
    Their policy is ``"import:NAME"``, so that no version of ours is ever taken for it, or
    ``"import"`` where nobody says who acted; their vocabulary is ``"import"``. What a row says
    follows as feedback to its unit, given and received at the time of the row. Rows are sequenced
    by their times; a row imported later stands later in the log, whatever its time. Ids come from
    the content, so that importing twice adds nothing, and a file that has grown adds what is new.
    Who chose, when and what makes the id; a file that says something else of it is in conflict.

    Args:
        log: opened to write.
        path: RecBole ``.inter``; MovieLens ``u.data``, ``ratings.dat``, ``ratings.csv``; the logs
            of the Open Bandit Dataset; any CSV, TSV, JSON lines or Parquet by ``mapping``; all but
            Parquet plain or gzipped.
        mapping: which column means what; None where the format is known.
        key: the workspace's secret, which turns user ids into pseudonyms.
        made_by: who acted, where the file has no column that says so.
        bot_rate: decisions a minute, sustained over ten minutes, above which a subject counts as a
            bot and its rows as bad ones; 0 finds nobody.
        dry_run: add nothing and report everything; ``added`` is 0.
        quarantine: a file for bad rows, so that the good ones go in; appended to.
        now: seconds since the epoch; a row that is more than a day later is a bad one.
        progress: is told how far it is.

    Raises:
        ImportRefusedError: something is wrong with the file, and nothing was added; its
            ``report`` lists what.
        StoreError: the file cannot be read, or the log not be written; nothing was added.
        RecordError: the log cannot keep ``made_by``.
    """
    check_text("made_by", made_by, empty=True, limit=LONGEST_POLICY)
    path = Path(path)
    findings = Findings(keep_rows=quarantine is not None)
    try:
        now = time.time() if now is None else now
        checker = _read(path, mapping, findings, progress, now)
        if quarantine is not None and checker.mapping.decision:
            _refuse_lost_rows(findings)
        order = in_order(checker.events, findings)
        order = without_bots(checker.events, order, checker.mapping, bot_rate, findings)
    except UnusableFileError:
        if dry_run:
            return findings.report()
        raise ImportRefusedError(path, findings.report()) from None
    begin = partial(Entry, events=checker.events, key=key, findings=findings, made_by=made_by)
    if dry_run:
        return _rehearse(log, order, findings, begin)
    strict = quarantine is None
    _refuse_bad_rows(path, findings, strict=strict)
    with Quarantine(quarantine, path) as bad, log.admitting() as admission:
        entry = begin(admission)
        entry.enter(order, lambda done, total: progress("writing", done, total))
        _refuse_bad_rows(path, findings, strict=strict)
        _recall(path, checker.wanted, findings)
        bad.write(findings.quarantined(path.name))
    log.seal(lambda done, total: progress("sealing", done, total))
    return findings.report(added=entry.added, duplicates=order.duplicates + entry.duplicates)


def _read(
    path: Path, mapping: Mapping | None, findings: Findings, progress: Progress, now: float
) -> Checker:
    """Read and check the whole file."""
    with open_source(path, findings) as source:
        mapping = mapping or recognise(source.layout, source.columns)
        if mapping is None:
            found = ", ".join(source.columns) or "JSON lines"
            raise UnknownFormatError(
                f"{path}: the format is not known (it has {found}); "
                "say which column is the subject, the unit, the rating, the time"
            )
        checker = Checker(mapping, findings, now)
        for block in source.blocks(checker.wanted):
            checker.take(block)
            progress("reading", source.position, source.size)
    if not findings.read:
        findings.fail(Problem(1, "", "empty", "", "the file has a header and no rows"))
    return checker


def _refuse_lost_rows(findings: Findings) -> None:
    """Refuse a file of slates with a row of which nobody can tell to which one it belongs.

    Raises:
        UnusableFileError: there is one; a quarantine would leave a slate that lacks it.
    """
    if findings.lost_at:
        hint = (
            "nobody can tell which decision this row belongs to, which would go in without it; "
            "mend or remove the row, or the decision as a whole"
        )
        findings.fail(Problem(findings.lost_at, "", "decision", "", hint))


def _rehearse(
    log: Log, order: Order, findings: Findings, begin: Callable[[Admission], Entry]
) -> ImportReport:
    """Do all of it in a transaction that is undone, so that clashes with the log show too."""
    try:
        with log.admitting() as admission:
            entry = begin(admission)
            entry.enter(order, lambda done, total: None)
            raise DryRunOver
    except DryRunOver:
        return findings.report(duplicates=order.duplicates + entry.duplicates)


def _refuse_bad_rows(path: Path, findings: Findings, *, strict: bool) -> None:
    if strict and findings.refused:
        raise ImportRefusedError(path, findings.report())


def _recall(path: Path, wanted: list[str], findings: Findings) -> None:
    """Read again the rows whose fault showed only beside others, for their text."""
    lines = findings.without_text()
    if not lines:
        return
    with open_source(path, Findings(keep_rows=True)) as source:
        for block in source.blocks(wanted):
            for row, line in enumerate(block.lines):
                if line in lines:
                    findings.give_text(line, block.raws[row])
