from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heedful.checks import CheckFailure, check_store
from heedful.record import Decision, Feedback
from heedful.store import Log, Receipt, Record, Snapshot


def opener(folder: Path, kind: Callable[[Log], Any] = lambda log: log) -> Callable[[], Any]:
    return lambda: kind(Log.open(folder / "log.db", write=True))


def test_the_log_keeps_its_promises(tmp_path: Path) -> None:
    check_store(opener(tmp_path))


class Around:
    """A log with a fault."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def append(self, records: Iterable[Record], **options: Any) -> list[Receipt]:
        return self.log.append(records, **options)

    def snapshot(self, watermark: int | None = None) -> Snapshot:
        return self.log.snapshot(watermark)

    def watermark(self) -> int:
        return self.log.watermark()

    def close(self) -> None:
        self.log.close()


class CountsTwice(Around):
    """Gives each delivery an id of its own."""

    n = 0

    def append(self, records: Iterable[Record], **options: Any) -> list[Receipt]:
        fresh = []
        for record in records:
            CountsTwice.n += 1
            again = isinstance(record, Feedback) and record.retracts is None
            fresh.append(replace(record, id=f"{record.id}-{CountsTwice.n}") if again else record)
        return super().append(fresh, **options)


class LosesUnknown(Around):
    """Reads a missing probability as certainty."""

    def append(self, records: Iterable[Record], **options: Any) -> list[Receipt]:
        filled = [
            replace(r, logps=(0.0,) * len(r.units))
            if isinstance(r, Decision) and not isinstance(r.logps, tuple)
            else r
            for r in records
        ]
        return super().append(filled, **options)


class SwallowsErrors(Around):
    def append(self, records: Iterable[Record], **options: Any) -> list[Receipt]:
        receipts = super().append(records, **options)
        return [replace(r, status="added") if r.status == "refused" else r for r in receipts]


class DropsEarlyFeedback(Around):
    def append(self, records: Iterable[Record], **options: Any) -> list[Receipt]:
        early = [r for r in records if getattr(r, "id", "") == "f4"]
        if early:
            return [Receipt("parked" if self.log.counts().parked == 0 else "duplicate")]
        return super().append(records, **options)


class RewritesThePast(Around):
    """Its earlier snapshots show what came later."""

    def snapshot(self, watermark: int | None = None) -> Snapshot:
        return self.log.snapshot()


class Acknowledges(Around):
    """Says yes, and forgets when it is closed."""

    def append(self, records: Iterable[Record], **options: Any) -> list[Receipt]:
        records = list(records)
        if [record.id for record in records] == ["d9"]:
            return [Receipt("added", self.log.watermark() + 1)]
        return super().append(records, **options)


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        (CountsTwice, "counts once"),
        (LosesUnknown, "a snapshot holds what was appended"),
        (SwallowsErrors, "are refused, neighbours are not"),
        (DropsEarlyFeedback, "parked"),
        (RewritesThePast, "an earlier snapshot never changes"),
        (Acknowledges, "decisions after opening again"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, fault: type[Around], promise: str) -> None:
    with pytest.raises(CheckFailure, match=promise):
        check_store(opener(tmp_path, fault))


def test_a_log_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    check_store(opener(tmp_path))
    with pytest.raises(CheckFailure, match="the log is empty at first"):
        check_store(opener(tmp_path))
