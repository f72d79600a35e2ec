from __future__ import annotations

import hashlib
import io
import logging

import numpy as np
import pytest

from heedful.store import Log, segments
from heedful.store.parts import DTYPES

ROWS = 8


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_ROWS", ROWS)


def fill(log: Log, make, first: int, last: int) -> None:
    for i in range(first, last):
        log.append([make.decision(f"d{i}", step=i), make.feedback(f"f{i}", f"d{i}")])


def only(folder):
    (path,) = folder.iterdir()
    return path


def test_are_written_as_rows_arrive(log, make):
    fill(log, make, 0, 3)
    assert list(log.segments.iterdir()) == []
    fill(log, make, 3, 9)
    names = sorted(path.name[:25] for path in log.segments.iterdir())
    assert names == ["000000000001-000000000008", "000000000009-000000000016"]
    assert log.snapshot().decisions.n == 9


def test_are_plain_arrays_with_their_hash_in_the_database(log, make):
    fill(log, make, 0, 4)
    path = only(log.segments)
    with np.load(path, allow_pickle=False) as columns:
        assert {name: columns[name].dtype.str for name in columns} == {
            name: np.dtype(dtype).str for name, dtype in DTYPES.items()
        }
        assert columns["decisions/seq"].tolist() == [1, 3, 5, 7]
        assert columns["feedback/decision"].tolist() == [1, 3, 5, 7]
    with log._reading() as connection:
        (row,) = connection.exec_driver_sql("SELECT first, last, file, sha256 FROM segments")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert tuple(row) == (1, 8, path.name, sha256)


def test_a_snapshot_is_read_from_them(log, make):
    """Rows that are in a segment are not asked of SQL: a wrong hash in step with a wrong file."""
    fill(log, make, 0, 4)
    path = only(log.segments)
    with np.load(path) as columns:
        part = {name: columns[name] for name in columns}
    part["decisions/made_at"] = part["decisions/made_at"] + 1
    with log._writing() as connection:
        segments.record(connection, segments.write(log.segments, 1, 8, part))
    assert log.snapshot().decisions.made_at.tolist() == [101.0] * 4


@pytest.mark.parametrize("damage", ["missing", "flipped", "cut", "empty"])
def test_damage_costs_time_and_nothing_else(log, make, damage, caplog):
    fill(log, make, 0, 6)
    expected = log.snapshot().digest()
    path = only(log.segments)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    match damage:
        case "missing":
            path.unlink()
        case "flipped":
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.write_bytes(b"")
    with Log.open(log.path, write=False) as reader, caplog.at_level(logging.WARNING):
        assert not all(check.ok for check in reader.check())
        assert reader.snapshot().digest() == expected
    assert "reading the rows instead" in caplog.text
    assert log.snapshot().digest() == expected  # the writer mends it
    assert "rebuilt" in caplog.text
    assert all(check.ok for check in log.check())
    caplog.clear()
    assert log.snapshot().digest() == expected
    assert caplog.text == ""


def test_another_format_is_read_from_the_rows(log, make, caplog):
    fill(log, make, 0, 4)
    expected = log.snapshot().digest()
    path = only(log.segments)
    buffer = io.BytesIO()
    np.savez(buffer, other=np.arange(3))
    path.write_bytes(buffer.getvalue())
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    with log._writing() as connection:
        connection.exec_driver_sql("UPDATE segments SET sha256 = ?", (sha256,))
    assert log.snapshot().digest() == expected
    assert "another format" in caplog.text


def test_what_a_killed_writer_left_is_swept(tmp_path, make):
    with Log.open(tmp_path / "log.db", write=True) as log:
        fill(log, make, 0, 4)
        (known,) = log.segments.iterdir()
    for name in (".new-000000000009-000000000016-abc.npz", "000000000009-000000000016-abc.npz"):
        (log.segments / name).write_bytes(b"half")
    (log.segments / "README.txt").write_text("not ours")
    with Log.open(tmp_path / "log.db", write=True) as log:
        assert sorted(path.name for path in log.segments.iterdir()) == [known.name, "README.txt"]


def test_rows_that_a_killed_writer_did_not_seal_are_sealed_at_the_next_start(
    tmp_path, make, monkeypatch
):
    monkeypatch.setattr(segments, "SEGMENT_ROWS", 10**6)
    with Log.open(tmp_path / "log.db", write=True) as log:
        fill(log, make, 0, 9)
    monkeypatch.setattr(segments, "SEGMENT_ROWS", ROWS)
    with Log.open(tmp_path / "log.db", write=True) as log:
        assert len(list(log.segments.iterdir())) == 2
        assert log.snapshot().decisions.n == 9


def test_append_succeeds_where_no_segment_can_be_written(log, make, monkeypatch, caplog):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segments, "write", full)
    fill(log, make, 0, 6)
    assert "No space left" in caplog.text
    assert log.snapshot().decisions.n == 6
    monkeypatch.undo()
    monkeypatch.setattr(segments, "SEGMENT_ROWS", ROWS)
    fill(log, make, 6, 7)
    assert len(list(log.segments.iterdir())) == 1


def test_an_old_watermark_in_the_middle_of_a_segment(log, make):
    fill(log, make, 0, 10)
    assert log.snapshot(11).decisions.n == 6
    assert log.snapshot(11).digest() == log.snapshot().until(11).digest()
