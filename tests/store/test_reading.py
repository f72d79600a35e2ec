from __future__ import annotations

import itertools
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.store import Log, Snapshot, StoreError, reading, segments


@pytest.fixture
def ranges(monkeypatch):
    """The ranges of rows that were asked of SQL."""
    asked: list[tuple[int, int]] = []
    read = reading.read_range

    def recorded(connection, first, last):
        asked.append((first, last))
        return read(connection, first, last)

    monkeypatch.setattr(reading, "read_range", recorded)
    return asked


def visit(make, i: int) -> list:
    """One decision for a new subject with a click, every third of them taken back."""
    records = [
        make.decision(f"d{i}", subject=f"s{i}", units=(f"u{i}", "tea"), context={"i": i}),
        make.feedback(f"f{i}", f"d{i}", by=f"s{i}"),
    ]
    if i % 3 == 2:
        back = make.feedback(f"r{i}", f"d{i - 1}", by=f"s{i - 1}", value=None, retracts=f"f{i - 1}")
        records.append(back)
    return records


@settings(max_examples=30)
@given(data=st.data())
def test_every_snapshot_on_the_way_is_the_one_of_its_rows(make, data):
    """Of one log that grows, by its writer and by a reader, and none changes afterwards."""
    batches = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    size = data.draw(st.sampled_from([3, 8, 1000]))
    records, taken, visits = [], [], itertools.count()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SEGMENT_ROWS", size)
        path = Path(folder) / "log.db"
        with Log.open(path, write=True) as writer, Log.open(path, write=False) as reader:
            for n in batches:
                new = [record for _ in range(n) for record in visit(make, next(visits))]
                writer.append(new)
                records += new
                expected = Snapshot.of(records).digest()
                for snapshot in (writer.snapshot(), reader.snapshot()):
                    assert snapshot.watermark == len(records)
                    taken.append((snapshot, expected))
            cut = data.draw(st.integers(0, len(records)))
            taken.append((reader.snapshot(cut), Snapshot.of(records[:cut]).digest()))
    for snapshot, expected in taken:
        assert snapshot.digest() == expected


def test_rows_are_read_once(log, make, ranges):
    for i in range(4):
        log.append([make.decision(f"a{i}"), make.decision(f"b{i}")])
        log.snapshot()
        log.snapshot()
    assert ranges == [(1, 2), (3, 4), (5, 6), (7, 8)]


def test_an_earlier_watermark_first_and_a_later_one_then(log, make, ranges):
    log.append([make.decision(f"d{i}", units=(f"u{i}",), logps=(0.0,)) for i in range(6)])
    early = log.snapshot(2)
    assert list(early.names.units) == ["u0", "u1"]
    assert list(log.snapshot(4).names.units) == ["u0", "u1", "u2", "u3"]
    assert log.snapshot(2).digest() == early.digest()
    assert ranges == [(1, 2), (3, 4)]


def test_rows_that_were_read_before_their_segment_was_written(log, make, ranges, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_ROWS", 4)
    log.append([make.decision("a"), make.decision("b")])
    log.snapshot()
    log.append([make.decision(name) for name in "cdefghi"])
    assert len(list(log.segments.iterdir())) == 2
    ranges.clear()
    assert log.snapshot().decisions.seq.tolist() == list(range(1, 10))
    assert ranges == [(3, 4), (9, 9)]  # the second segment is read from its file


def test_a_segment_is_read_from_disk_once(log, make, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_ROWS", 2)
    log.append([make.decision(f"d{i}") for i in range(4)])
    log.snapshot()

    def load(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(segments, "load", load)
    assert log.snapshot().decisions.n == 4


def test_what_was_interrupted_is_not_kept(log, make, monkeypatch):
    log.append([make.decision("a")])
    log.snapshot()
    log.append([make.decision("b")])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_names", interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.snapshot()
    assert log.snapshot().decisions.seq.tolist() == [1, 2]


def test_a_watermark_that_is_not_there_yet_costs_nothing(log, make, ranges):
    log.append([make.decision("a")])
    log.snapshot()
    with pytest.raises(StoreError, match="ends at 1"):
        log.snapshot(2)
    log.snapshot()
    assert ranges == [(1, 1)]


def test_a_large_log_is_read_afresh(log, make, ranges, monkeypatch):
    log.append([make.decision("a")])
    monkeypatch.setattr(reading, "KEPT_BYTES", 10)
    assert log.snapshot().digest() == log.snapshot().digest()
    assert ranges == [(1, 1), (1, 1)]


def test_threads_share_one_log(log, make):
    """Each append is a decision and its click: no snapshot sees the one without the other."""
    done = threading.Event()
    torn: list[int] = []

    def read() -> None:
        last = 0
        while not done.is_set():
            snapshot = log.snapshot()
            whole = snapshot.decisions.n == snapshot.feedback.n == snapshot.watermark // 2
            if not whole or snapshot.watermark < last or len(snapshot.names.subjects) > 1:
                torn.append(snapshot.watermark)
            last = snapshot.watermark

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(200):
        log.append([make.decision(f"d{i}"), make.feedback(f"f{i}", f"d{i}")])
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
