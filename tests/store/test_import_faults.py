from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest

from heedful.store import ImportRefusedError, Mapping, StoreError, import_file
from heedful.store.importing.report import LISTED

KEY = b"a key of sixteen"
SHOP = Mapping(
    subject="who",
    unit="what",
    rating="stars",
    click="clicked",
    comment="said",
    time="at",
    rating_min=1,
    rating_max=5,
)
HEADER = "who,what,stars,clicked,said,at\n"
GOOD = "ann,tea,4,1,fine,20\n"


def refused(log, path: Path, mapping: Mapping | None = SHOP):
    """Import, expect a refusal that left no trace, and return its problems."""
    with pytest.raises(ImportRefusedError, match="nothing was added") as caught:
        import_file(log, path, mapping, key=KEY)
    assert log.watermark() == 0
    assert log.counts().subjects == 0
    report = caught.value.report
    assert report.added == 0
    assert import_file(log, path, mapping, key=KEY, dry_run=True).problems == report.problems
    return report.problems


def csv_file(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "shop.csv"
    path.write_bytes(header.encode() + b"".join(row.encode("latin-1") for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "column", "rule", "value"),
    [
        ("ann,tea,five,1,,20\n", "stars", "number", "five"),
        ("ann,tea,NaN,1,,20\n", "stars", "number", "NaN"),
        ("ann,tea,inf,1,,20\n", "stars", "number", "inf"),
        ("ann,tea,1e999,1,,20\n", "stars", "number", "1e999"),
        ("ann,tea,1_0,1,,20\n", "stars", "number", "1_0"),
        ("ann,tea,6,1,,20\n", "stars", "bounds", "6"),
        ("ann,tea,0,1,,20\n", "stars", "bounds", "0"),
        ("ann,tea,4,2,,20\n", "clicked", "number", "2"),
        (",tea,4,1,,20\n", "who", "required", ""),
        ("ann,,4,1,,20\n", "what", "required", ""),
        (f"ann,{'x' * 201},4,1,,20\n", "what", "text", "x" * 80),
        ("ann,te\x00a,4,1,,20\n", "what", "text", "te\x00a"),
        ("ann,t\xe9,4,1,,20\n", "what", "encoding", "t\udce9"),
        ("ann,tea,4,1,\xe9,20\n", "said", "encoding", "\udce9"),
        ("ann,tea,4,1,,\n", "at", "required", ""),
        ("ann,tea,4,1,,yesterday\n", "at", "time", "yesterday"),
        ("ann,tea,4,1,,nan\n", "at", "time", "nan"),
        ("ann,tea,4,1,,1e30\n", "at", "time", "1e30"),
        ("ann,tea,4,1,,2020-13-01\n", "at", "time", "2020-13-01"),
        ("ann,tea,4,1,,9999-12-31\n", "at", "time", "9999-12-31"),
        ("ann,tea,4,1,,0001-01-01\n", "at", "time", "0001-01-01"),
        ("ann,tea,4,1,,-20\n", "at", "time", "-20"),
        ("ann,tea,4\n", "", "fields", "ann,tea,4"),
        ("ann,tea,4,1,,20,7\n", "", "fields", "ann,tea,4,1,,20,7"),
        ('ann,"te"a,4,1,,20\n', "", "syntax", ""),
    ],
)
def test_a_bad_cell_names_line_column_rule_value_and_hint(log, tmp_path, row, column, rule, value):
    (problem,) = refused(log, csv_file(tmp_path, GOOD, row, "bob,ice,,,,30\n"))
    assert (problem.line, problem.column, problem.rule, problem.value) == (3, column, rule, value)
    assert problem.hint


@pytest.mark.parametrize(
    ("cells", "column", "rule"),
    [
        (("0", "1"), "p", "bounds"),
        (("-0.5", "1"), "p", "bounds"),
        (("1.0000001", "1"), "p", "bounds"),
        (("NaN", "1"), "p", "number"),
        (("inf", "1"), "p", "number"),
        (("1e-400", "1"), "p", "bounds"),
        (("half", "1"), "p", "number"),
        (("0.5", "-1"), "n", "bounds"),
        (("0.5", "1e9"), "n", "bounds"),
        (("0.5", "1.5"), "n", "number"),
        (("0.5", "first"), "n", "number"),
    ],
)
def test_impossible_probabilities_and_positions(log, tmp_path, cells, column, rule):
    mapping = Mapping(subject="u", unit="i", time="t", propensity="p", position="n")
    rows = ("ann,tea,1,1,0\n", f"ann,ice,2,{','.join(cells)}\n", "ann,milk,3,,\n")
    (problem,) = refused(log, csv_file(tmp_path, *rows, header="u,i,t,p,n\n"), mapping)
    assert (problem.line, problem.column, problem.rule) == (3, column, rule)
    assert problem.value == cells[column == "n"]


def test_a_context_that_the_log_cannot_keep(log, tmp_path):
    mapping = Mapping(subject="u", unit="i", time="t", context=("a", "b"))
    rows = (f"ann,tea,1,{'x' * 40_000},{'y' * 40_000}\n", "ann,te,2,\x00,\n")
    first, second = refused(log, csv_file(tmp_path, *rows, header="u,i,t,a,b\n"), mapping)
    assert (second.column, second.rule) == ("", "text")
    assert "65536" in second.hint
    assert (first.line, first.column, first.rule) == (3, "a", "text")


def test_what_is_about_to_happen_is_a_matter_of_the_clock(log, tmp_path):
    path = csv_file(tmp_path, "ann,tea,4,1,,200000\n")
    with pytest.raises(ImportRefusedError, match="in the future"):
        import_file(log, path, SHOP, key=KEY, now=100_000.0)
    assert import_file(log, path, SHOP, key=KEY, now=120_000.0).added == 1  # zones differ


def test_every_problem_of_a_row_is_named(log, tmp_path):
    problems = refused(log, csv_file(tmp_path, ",,9,maybe,,x\n"))
    assert [problem.column for problem in problems] == ["who", "what", "stars", "clicked", "at"]
    assert {problem.line for problem in problems} == {2}


def test_lines_are_counted_through_cells_with_line_breaks(log, tmp_path):
    long = 'ann,tea,4,1,"three\nlines\nlong",20\n'
    (problem,) = refused(log, csv_file(tmp_path, long, "\n", "ann,tea,x,1,,21\n"))
    assert problem.line == 6


def test_problems_are_listed_up_to_a_limit_and_all_counted(log, tmp_path):
    rows = [f"ann,tea,x,maybe,,{i}\n" for i in range(LISTED)]
    path = csv_file(tmp_path, *rows)
    assert len(refused(log, path)) == LISTED
    report = import_file(log, path, SHOP, key=KEY, dry_run=True)
    assert (report.refused, report.n_problems) == (LISTED, 2 * LISTED)
    with pytest.raises(ImportRefusedError, match=r"and 1995 more"):
        import_file(log, path, SHOP, key=KEY)


def test_a_missing_column(log, tmp_path):
    path = csv_file(tmp_path, "ann,4,20\n", header="who,rating,at\n")
    problems = refused(log, path)
    assert [problem.column for problem in problems] == ["what", "stars", "clicked", "said"]
    assert problems[0].rule == "column"
    assert "who, rating, at" in problems[0].hint


def test_a_column_that_stands_twice(log, tmp_path):
    (problem,) = refused(log, csv_file(tmp_path, header="who,what,stars,clicked,said,at,who\n"))
    assert (problem.column, problem.rule) == ("who", "column")


def test_an_open_quote(log, tmp_path):
    (problem,) = refused(log, csv_file(tmp_path, GOOD, 'ann,"tea,4,1,,20\n', GOOD))
    assert (problem.line, problem.rule) == (3, "syntax")


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["empty", "gzip"])
def test_an_empty_file(log, tmp_path, content):
    path = tmp_path / "shop.csv"
    path.write_bytes(content)
    (problem,) = refused(log, path)
    assert problem.rule == "empty"


def test_a_header_alone(log, tmp_path):
    (problem,) = refused(log, csv_file(tmp_path))
    assert problem.rule == "empty"


def test_utf_16(log, tmp_path):
    path = tmp_path / "shop.csv"
    path.write_text(HEADER + GOOD, encoding="utf-16")
    (problem,) = refused(log, path)
    assert (problem.rule, "UTF-8" in problem.hint) == ("encoding", True)


class TestGzip:
    content = gzip.compress(
        (HEADER + "".join(f"ann,tea{i},,,,{i}\n" for i in range(9999))).encode()
    )

    def test_cut(self, log, tmp_path):
        path = tmp_path / "shop.csv.gz"
        for size in (len(self.content) // 2, len(self.content) - 4, 5):
            path.write_bytes(self.content[:size])
            (problem,) = refused(log, path)
            assert problem.rule == "damaged"
            assert "cut off" in problem.hint

    def test_flipped(self, log, tmp_path):
        path = tmp_path / "shop.csv.gz"
        flipped = bytearray(self.content)
        flipped[-7] ^= 1  # the checksum
        path.write_bytes(flipped)
        (problem,) = refused(log, path)
        assert problem.rule == "damaged"

    def test_is_not_saved_by_a_quarantine(self, log, tmp_path):
        path = tmp_path / "shop.csv.gz"
        path.write_bytes(self.content[: len(self.content) // 2])
        with pytest.raises(ImportRefusedError):
            import_file(log, path, SHOP, key=KEY, quarantine=tmp_path / "bad.jsonl")
        assert log.watermark() == 0
        assert not (tmp_path / "bad.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "column", "rule"),
    [
        ("{", "", "syntax"),
        ("[1]", "", "syntax"),
        ('{"who": "ann", "what": ["tea"], "at": 1}', "what", "text"),
        ('{"who": "ann", "what": "tea", "at": NaN}', "at", "time"),
        ('{"who": "ann", "what": "tea", "at": 1, "stars": NaN}', "stars", "number"),
        ('{"who": "ann", "what": "\\ud800", "at": 1}', "what", "text"),
        ('{"what": "tea", "at": 1}', "who", "required"),
        ("[" * 100_000, "", "syntax"),
    ],
)
def test_json_lines(log, tmp_path, line, column, rule):
    mapping = Mapping(subject="who", unit="what", rating="stars", time="at")
    good = '{"who": "ann", "what": "tea", "stars": 3, "at": 9}\n'
    path = tmp_path / "events.jsonl"
    path.write_text(good + line + "\n")
    (problem,) = refused(log, path, mapping)
    assert (problem.line, problem.column, problem.rule) == (2, column, rule)


def test_a_json_column_that_is_in_no_line(log, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"who": "ann", "item": "tea"}\n')
    (problem,) = refused(log, path, Mapping(subject="who", unit="what"))
    assert (problem.column, problem.rule) == ("what", "column")
    assert "item, who" in problem.hint


EARLIER = '{"file": "earlier.csv"}\n'


class TestQuarantine:
    bad = ("ann,tea,five,1,,20\n", 'ann,"a ""b""\nc",9,1,\xe9,20\n', "too,short\n")

    def test_good_rows_go_in_and_bad_ones_are_kept_verbatim(self, log, tmp_path):
        path = csv_file(tmp_path, GOOD, *self.bad, "bob,ice,,,,30\n", GOOD)
        report = import_file(log, path, SHOP, key=KEY, quarantine=tmp_path / "bad.jsonl")
        assert (report.read, report.added, report.duplicates, report.refused) == (6, 2, 1, 3)
        rows = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
        verbatim = [row["row"].encode("utf-8", "surrogateescape") for row in rows]
        assert verbatim == [row.encode("latin-1") for row in self.bad]
        assert [row["line"] for row in rows] == [3, 4, 6]
        assert [problem["column"] for problem in rows[1]["problems"]] == ["stars", "said"]
        assert rows[0]["file"] == "shop.csv"
        assert rows[0]["problems"][0]["hint"]

    def test_no_bad_rows_no_file(self, log, tmp_path):
        import_file(log, csv_file(tmp_path, GOOD), SHOP, key=KEY, quarantine=tmp_path / "bad")
        assert not (tmp_path / "bad").exists()

    def test_what_was_quarantined_before_stays(self, log, tmp_path):
        quarantine = tmp_path / "bad.jsonl"
        quarantine.write_text(EARLIER)
        path = csv_file(tmp_path, GOOD, self.bad[0])
        import_file(log, path, SHOP, key=KEY, quarantine=quarantine)
        assert quarantine.read_text().startswith(EARLIER)
        assert len(quarantine.read_text().splitlines()) == 2

    @pytest.mark.parametrize("name", ["shop.csv", "notes.txt"])
    def test_what_is_no_quarantine_is_left_alone(self, log, tmp_path, name):
        (tmp_path / "notes.txt").write_text("dear diary\n")
        path = csv_file(tmp_path, GOOD, self.bad[0])
        before = (tmp_path / name).read_bytes()
        with pytest.raises(StoreError, match="name another"):
            import_file(log, path, SHOP, key=KEY, quarantine=tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
        assert log.watermark() == 0

    def test_where_it_cannot_be_written_nothing_is_added(self, log, tmp_path):
        path = csv_file(tmp_path, GOOD, self.bad[0])
        with pytest.raises(StoreError, match="quarantine cannot be written"):
            import_file(log, path, SHOP, key=KEY, quarantine=tmp_path / "no" / "bad.jsonl")
        assert log.watermark() == 0

    def test_is_emptied_again_where_the_log_fails(self, log, tmp_path, monkeypatch):
        quarantine = tmp_path / "bad.jsonl"
        quarantine.write_text(EARLIER)

        def fail(self) -> None:
            raise StoreError("the disk is full")

        monkeypatch.setattr("heedful.store.admission.Admission.close", fail)
        path = csv_file(tmp_path, GOOD, self.bad[0])
        with pytest.raises(StoreError, match="full"):
            import_file(log, path, SHOP, key=KEY, quarantine=quarantine)
        assert quarantine.read_text() == EARLIER
        assert log.watermark() == 0


def test_an_empty_cell_is_unknown_and_not_zero(log, tmp_path):
    import_file(log, csv_file(tmp_path, "ann,tea,,,,20\n"), SHOP, key=KEY)
    assert log.snapshot().decisions.n == 1
    assert log.snapshot().feedback.n == 0
    assert math.isnan(log.snapshot().decisions.logps[0])
