"""Parquet in place of text: the same rows make the same log."""

from __future__ import annotations

import datetime as dt
import json
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heedful.record import Described
from heedful.store import (
    Features,
    ImportRefusedError,
    Log,
    Mapping,
    StoreError,
    describe_file,
    import_file,
)
from heedful.store.importing import parquet

KEY = b"a key of sixteen"
SHOP = Mapping(
    subject="who", unit="what", rating="stars", click="clicked", comment="said", time="at"
)


def write(tmp_path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = tmp_path / "shop.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


def shop(n: int = 3) -> dict[str, Any]:
    begin = dt.datetime(2001, 9, 9, 1, 46, 40)
    return {
        "who": pa.array([7 + i % 2 for i in range(n)], pa.int32()),
        "what": pa.array([f"tee-{i % 5}ü" for i in range(n)]).dictionary_encode(),
        "stars": pa.array([None if i % 3 else 4.5 for i in range(n)], pa.float32()),
        "clicked": pa.array([None if i % 4 == 3 else i % 2 == 0 for i in range(n)]),
        "said": pa.array([None if i else "two\nlines" for i in range(n)], pa.large_string()),
        "at": pa.array([begin + dt.timedelta(milliseconds=1500 * i) for i in range(n)]),
        "left out": pa.array([[1, 2]] * n),
    }


def as_json_lines(path: Path, columns: dict[str, Any]) -> Path:
    rows = pa.table(columns).drop_columns(["left out"]).to_pylist()
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    return path


def digest(folder: Path, path: Path) -> str:
    folder.mkdir()
    with Log.open(folder / "log.db", write=True) as log:
        report = import_file(log, path, SHOP, key=KEY)
        assert report.added == report.read > 0
        assert import_file(log, path, SHOP, key=KEY).duplicates == report.read
        return log.snapshot().digest()


def test_the_same_rows_make_the_same_log(tmp_path):
    path = write(tmp_path, shop(50), row_group_size=7)
    lines = as_json_lines(tmp_path / "shop.jsonl", shop(50))
    assert digest(tmp_path / "a", path) == digest(tmp_path / "b", lines)


def test_it_is_known_by_its_first_bytes_whatever_its_name(tmp_path):
    path = write(tmp_path, shop())
    other = tmp_path / "shop.data"
    path.rename(other)
    assert digest(tmp_path / "a", other)


def test_batches_are_bounded_and_rows_are_counted_through_them(log, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BLOCK", 10)
    columns = shop(25)
    columns["what"] = pa.array(["tea"] * 23 + [None, "ice"])
    path = write(tmp_path, columns, row_group_size=9)
    told: list[tuple[str, int, int]] = []
    with pytest.raises(ImportRefusedError) as caught:
        import_file(log, path, SHOP, key=KEY, progress=lambda *step: told.append(step))
    (problem,) = caught.value.report.problems
    assert (problem.line, problem.column, problem.rule) == (24, "what", "required")
    steps = [done for stage, done, total in told if (stage, total) == ("reading", 25)]
    assert steps[-1] == 25
    assert max(after - before for before, after in pairwise([0, *steps])) <= 10


def test_bad_rows_are_kept_as_json_that_can_be_mended_and_imported(log, tmp_path):
    columns = shop() | {"stars": pa.array([4.0, float("nan"), None])}
    path, quarantine = write(tmp_path, columns), tmp_path / "bad.jsonl"
    report = import_file(log, path, SHOP, key=KEY, quarantine=quarantine)
    assert (report.added, report.refused) == (2, 1)
    (bad,) = map(json.loads, quarantine.read_text().splitlines())
    row = json.loads(bad["row"])
    assert (bad["line"], row["stars"], row["left out"]) == (2, "nan", "[1, 2]")
    mended = tmp_path / "mended.jsonl"
    mended.write_text(json.dumps(row | {"stars": "3"}) + "\n")
    assert import_file(log, mended, SHOP, key=KEY).added == 1
    assert (
        import_file(
            log, write(tmp_path, shop() | {"stars": pa.array([4.0, 3.0, None])}), SHOP, key=KEY
        ).duplicates
        == 3
    )


def test_conflicts_are_read_again_for_the_quarantine(log, tmp_path):
    columns = {"who": ["ann"] * 2, "what": ["tea"] * 2, "stars": [1, 2], "at": [5, 5]}
    path, quarantine = write(tmp_path, columns), tmp_path / "bad.jsonl"
    mapping = Mapping(subject="who", unit="what", rating="stars", time="at")
    assert import_file(log, path, mapping, key=KEY, quarantine=quarantine).refused == 1
    (bad,) = map(json.loads, quarantine.read_text().splitlines())
    assert json.loads(bad["row"]) == {"who": "ann", "what": "tea", "stars": "2", "at": "5"}


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (pa.array([1_000_000_000_123_456_789], pa.timestamp("ns")), 1_000_000_000.123456),
        (pa.array([1_000_000_000], pa.timestamp("s", tz="Asia/Tokyo")), 1e9),
        (pa.array([11_574], pa.date32()), 999_993_600.0),
        (pa.array([1_000_000_000.5]), 1_000_000_000.5),
        (pa.array([Decimal("1000000000.25")]), 1_000_000_000.25),
        (pa.array([b"2001-09-09T01:46:40Z"]), 1e9),
    ],
)
def test_times(log, tmp_path, cells, seconds):
    path = write(tmp_path, {"who": ["ann"], "what": ["tea"], "at": cells})
    import_file(log, path, Mapping(subject="who", unit="what", time="at"), key=KEY)
    assert log.snapshot().decisions.made_at.tolist() == [seconds]


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        (pa.array([253_402_214_400], pa.timestamp("s")), "time"),  # 9999-12-31: never
        (pa.array([999_999_999_999], pa.timestamp("s")), "time"),  # a year of five digits
        (pa.array([-62_135_596_800], pa.timestamp("s")), "time"),  # 0001-01-01: unset
        (pa.array([None], pa.timestamp("s")), "required"),
        (pa.array([b"\xff"]), "time"),
    ],
)
def test_impossible_times(log, tmp_path, cells, rule):
    path = write(tmp_path, {"who": ["ann"], "what": ["tea"], "at": cells})
    report = import_file(
        log, path, Mapping(subject="who", unit="what", time="at"), key=KEY, dry_run=True
    )
    assert [(p.line, p.column, p.rule) for p in report.problems] == [(1, "at", rule)]


def refused(log: Log, path: Path, mapping: Mapping = SHOP):
    with pytest.raises(ImportRefusedError, match="nothing was added") as caught:
        import_file(log, path, mapping, key=KEY)
    assert log.watermark() == 0
    return caught.value.report.problems


def test_damaged_files(log, tmp_path):
    path = write(tmp_path, shop(2000), compression="snappy")
    sound = path.read_bytes()
    for bytes_ in (sound[: len(sound) // 2], sound[:-4], b"PAR1" + bytes(200) + b"PAR1"):
        path.write_bytes(bytes_)
        (problem,) = refused(log, path)
        assert problem.rule == "damaged"
        assert "copy it again" in problem.hint
    flipped = bytearray(sound)
    flipped[4:400] = bytes(396)  # the first pages
    path.write_bytes(flipped)
    assert {problem.rule for problem in refused(log, path)} == {"damaged"}


def test_files_without_rows(log, tmp_path):
    (problem,) = refused(log, write(tmp_path, shop(0)))
    assert problem.rule == "empty"
    path = tmp_path / "empty.parquet"
    path.write_bytes(b"")
    (problem,) = refused(log, path)
    assert problem.rule == "empty"


def test_columns_that_are_missing_or_hold_several_values(log, tmp_path):
    columns = shop()
    del columns["stars"]
    (problem,) = refused(log, write(tmp_path, columns))
    assert (problem.column, problem.rule) == ("stars", "column")
    (problem,) = refused(log, write(tmp_path, shop() | {"said": pa.array([["a"]] * 3)}))
    assert (problem.column, problem.rule) == ("said", "text")
    assert "not a list" in problem.hint
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.table([pa.array(["a"])] * 2, names=["who", "who"]), path)
    (problem,) = refused(log, path)
    assert (problem.column, problem.rule) == ("who", "column")


def test_text_that_is_not_utf_8_names_its_cell(log, tmp_path):
    broken = pa.array([b"caf\xe9", b"tea", b"ice"]).cast(pa.string(), safe=False)
    (problem,) = refused(log, write(tmp_path, shop() | {"what": broken}))
    assert (problem.line, problem.column, problem.rule) == (1, "what", "encoding")


def test_known_formats_and_their_columns(log, tmp_path):
    columns = {"userId": [1], "movieId": [2], "rating": [4.5], "timestamp": [1_000_000_000]}
    assert import_file(log, write(tmp_path, columns), key=KEY).added == 1
    with pytest.raises(StoreError, match=r"it has a, b.; say which column"):
        import_file(log, write(tmp_path, {"a": [1], "b": [2]}), key=KEY)


def test_items_are_described_with_lists(log, tmp_path):
    columns = {"id": ["a", "b"], "tags": [["x|y", "z"], None], "year": [1990, None]}
    features = Features(name="id", categories=("tags",), numbers=("year",))
    path = write(tmp_path, columns)
    report = describe_file(log, path, Described.UNIT, features, key=KEY, now=5.0)
    assert (report.read, report.added, report.duplicates) == (2, 1, 1)
    assert log.snapshot().descriptions.latest(Described.UNIT) == {
        "a": {"tags": ["x|y", "z"], "year": 1990}
    }


def test_columns_of_items_are_what_they_look_like(log, tmp_path):
    columns = {"id": ["a", "b"], "price": [1.5, 2.0], "words": ["two words", "one more"]}
    path = write(tmp_path, columns)
    describe_file(log, path, Described.UNIT, Features(name="id"), key=KEY, now=5.0)
    known = log.snapshot().descriptions.latest(Described.UNIT)
    assert known["a"] == {"price": 1.5, "words": "two words"}


def test_without_pyarrow_the_extra_is_named(log, tmp_path, monkeypatch):
    path = write(tmp_path, shop())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match=r"pip install 'heedful\[parquet\]'"):
        import_file(log, path, SHOP, key=KEY)
