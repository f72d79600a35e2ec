from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from heedful.record import UNKNOWN, Kind, content_id, pseudonym
from heedful.store import ImportReport, Log, Mapping, Snapshot, StoreError, import_file

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
ROWS = HEADER + (
    'ann,tea,4,1,"good, hot",20\n'
    "bob,milk,,0,,10\n"
    "ann,milk,,,,30.5\n"
    'bob,"tea",2.5,yes,"two\nlines",40\n'
)


def write(tmp_path: Path, text: str, name: str = "shop.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def load(log: Log, path: Path, mapping: Mapping | None = SHOP, **options) -> ImportReport:
    return import_file(log, path, mapping, key=KEY, **options)


def expected_records(make):
    """The records that ROWS stand for, made one by one."""
    rows = [
        ("bob", "milk", 10.0, [(Kind.CLICK, False)]),
        ("ann", "tea", 20.0, [(Kind.CLICK, True), (Kind.RATING, 4), (Kind.COMMENT, "good, hot")]),
        ("ann", "milk", 30.5, []),
        (
            "bob",
            "tea",
            40.0,
            [(Kind.CLICK, True), (Kind.RATING, 2.5), (Kind.COMMENT, "two\nlines")],
        ),
    ]
    steps: dict[str, int] = {}
    for who, what, at, said in rows:
        subject = pseudonym(who, KEY)
        decision = make.decision(
            content_id("import", subject, what, at=at),
            subject=subject,
            episode=subject,
            step=steps.get(who, 0),
            units=(what,),
            logps=UNKNOWN,
            policy="import",
            vocabulary="import",
            made_at=at,
        )
        steps[who] = decision.step + 1
        yield decision
        for kind, value in said:
            yield make.feedback(
                f"{decision.id}{kind}",
                decision.id,
                by=subject,
                unit=0,
                kind=kind,
                value=value,
                given_at=at,
                received_at=at,
            )


def test_rows_become_decisions_and_feedback_in_the_order_of_their_times(log, tmp_path, make):
    report = load(log, write(tmp_path, ROWS))
    assert report == ImportReport(read=4, added=4, duplicates=0, refused=0)
    records = list(expected_records(make))
    assert log.snapshot().digest() == Snapshot.of(records).digest()
    assert log.watermark() == len(records)
    decisions = [record for record in records if hasattr(record, "units")]
    receipts = log.append(decisions)  # the bulk door wrote just what the common door would
    assert {receipt.status for receipt in receipts} == {"duplicate"}


def test_the_log_is_sound_and_names_are_numbered_by_first_appearance(log, tmp_path):
    load(log, write(tmp_path, ROWS))
    names = log.snapshot().names
    assert list(names.subjects) == [pseudonym("bob", KEY), pseudonym("ann", KEY)]
    assert list(names.units) == ["milk", "tea"]
    assert all(check.ok for check in log.check())


def test_raw_user_ids_are_nowhere(log, tmp_path):
    load(log, write(tmp_path, ROWS.replace("ann", "ann.smith@example.org")))
    log.close()
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "shop.csv":
            assert b"ann.smith" not in path.read_bytes()


def test_importing_twice_adds_nothing(log, tmp_path):
    path = write(tmp_path, ROWS)
    load(log, path)
    before = log.snapshot()
    assert load(log, path) == ImportReport(read=4, added=0, duplicates=4, refused=0)
    assert log.snapshot().digest() == before.digest()
    assert log.watermark() == before.watermark


def test_a_file_that_has_grown_adds_what_is_new_and_steps_go_on(log, tmp_path):
    load(log, write(tmp_path, ROWS))
    grown = ROWS + "ann,lemon,1,,,5\nann,ice,,,,50\n"
    assert load(log, write(tmp_path, grown)) == ImportReport(6, 2, 4, 0)
    rows = log.history([pseudonym("ann", KEY)]).decisions
    assert rows.made_at.tolist() == [20.0, 30.5, 5.0, 50.0]
    assert rows.step.tolist() == [0, 1, 2, 3]


def test_what_is_new_about_a_known_row_is_added_to_it(log, tmp_path):
    load(log, write(tmp_path, HEADER + "ann,tea,4,,,20\n"))
    report = load(log, write(tmp_path, HEADER + "ann,tea,4,1,nice,20\n"))
    assert report == ImportReport(1, 1, 0, 0)
    feedback = log.snapshot().feedback
    assert [list(Kind)[kind] for kind in feedback.kind] == [Kind.RATING, Kind.CLICK, Kind.COMMENT]
    assert log.counts().decisions == 1


def test_another_rating_of_a_known_row_is_a_conflict(log, tmp_path):
    load(log, write(tmp_path, HEADER + "ann,tea,4,,,20\n"))
    path = write(tmp_path, HEADER + "bob,ice,3,,,21\nann,tea,5,,,20\n")
    with pytest.raises(StoreError, match=r"line 3: conflict.*retract first"):
        load(log, path)
    assert log.counts().decisions == 1
    assert load(log, path, dry_run=True).refused == 1
    report = load(log, path, quarantine=tmp_path / "bad.jsonl")
    assert (report.added, report.duplicates, report.refused) == (1, 0, 1)
    (row,) = map(json.loads, (tmp_path / "bad.jsonl").read_text().splitlines())
    assert row["row"] == "ann,tea,5,,,20\n"


def test_repeated_rows_count_as_duplicates_and_contradictions_are_refused(log, tmp_path):
    path = write(tmp_path, HEADER + "ann,tea,4,,,20\n" * 3)
    assert load(log, path) == ImportReport(3, 1, 2, 0)
    path = write(tmp_path, HEADER + "bob,tea,4,,,20\nbob,tea,3,,,20\n")
    with pytest.raises(StoreError, match=r"line 3: conflict.*line 2"):
        load(log, path)


def test_parked_feedback_joins_rows_that_are_imported(log, tmp_path, make):
    subject = pseudonym("ann", KEY)
    early = make.feedback("f", content_id("import", subject, "tea", at=20.0), by="rater")
    assert log.append([early])[0].status == "parked"
    load(log, write(tmp_path, ROWS))
    assert log.counts().parked == 0
    assert "rater" in list(log.snapshot().names.people)


def test_sessions_cut_a_subject_into_episodes(log, tmp_path):
    rows = "u,i,s,t\nann,a,mon,1\nann,b,mon,2\nann,c,tue,3\nbob,a,mon,4\nann,d,,5\n"
    mapping = Mapping(subject="u", unit="i", session="s", time="t")
    load(log, write(tmp_path, rows), mapping)
    snapshot = log.snapshot()
    rows = snapshot.decisions
    assert rows.step.tolist() == [0, 1, 0, 0, 0]
    assert len(set(rows.episode.tolist())) == 4
    ann = pseudonym("ann", KEY)
    assert list(snapshot.names.episodes)[:2] == [f"{ann}:mon", f"{ann}:tue"]


def test_an_order_column_sequences_rows_and_stands_for_the_time(log, tmp_path):
    rows = "u,i,r,n\nann,a,1,2\nann,b,2,-1\nann,c,3,0\n"
    mapping = Mapping(subject="u", unit="i", rating="r", order="n")
    path = write(tmp_path, rows)
    load(log, path, mapping)
    assert log.snapshot().decisions.made_at.tolist() == [-1.0, 0.0, 2.0]
    assert log.snapshot().feedback.value.tolist() == [2.0, 3.0, 1.0]
    assert load(log, path, mapping).duplicates == 3


def test_without_time_or_order_the_lines_stand_in_order(log, tmp_path):
    mapping = Mapping(subject="u", unit="i")
    path = write(tmp_path, "u,i\nann,a\nann,b\nann,a\n")
    assert load(log, path, mapping).added == 3
    assert log.snapshot().decisions.step.tolist() == [0, 1, 2]
    assert load(log, path, mapping).duplicates == 3
    assert log.snapshot().feedback.n == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1000000000", 1e9),
        ("1000000000.25", 1e9 + 0.25),
        ("1000000000000", 1e9),
        ("2001-09-09T01:46:40", 1e9),
        ("2001-09-09 01:46:40Z", 1e9),
        ("2001-09-09T03:46:40+02:00", 1e9),
        ("2001-09-09", 999_993_600.0),
    ],
)
def test_times(log, tmp_path, text, seconds):
    load(log, write(tmp_path, f"{HEADER}ann,tea,4,,,{text}\n"))
    assert log.snapshot().decisions.made_at.tolist() == [seconds]


RATINGS = [("7", "12", 4.0, 881250949.0), ("3", "5", 1.0, 881250950.0)]
FORMATS = {
    "shop.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "7\t12\t4\t881250949\n3\t5\t1\t881250950\n",
    "u.data": "7\t12\t4\t881250949\n3\t5\t1\t881250950\n",
    "ratings.dat": "7::12::4::881250949\n3::5::1::881250950\n",
    "ratings.csv": "userId,movieId,rating,timestamp\n7,12,4.0,881250949\n3,5,1.0,881250950\n",
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_known_formats(log, tmp_path, name, zipped, newline):
    content = FORMATS[name].replace("\n", newline).encode()
    path = tmp_path / (name + ".gz" if zipped else name)
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert load(log, path, None) == ImportReport(2, 2, 0, 0)
    snapshot = log.snapshot()
    for row, (user, item, rating, at) in enumerate(RATINGS):
        assert snapshot.names.subjects[snapshot.decisions.subject[row]] == pseudonym(user, KEY)
        assert snapshot.names.units[snapshot.decisions.units[row]] == item
        assert snapshot.feedback.value[row] == rating
        assert snapshot.decisions.made_at[row] == at


@pytest.mark.parametrize("name", ["shop.tsv", "shop.csv", "shop.txt"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_any_table_by_a_mapping(log, tmp_path, name, separator):
    path = write(tmp_path, ROWS.replace(",", separator).replace("good; hot", "good"), name)
    assert load(log, path).added == 4


def test_json_lines_by_a_mapping(log, tmp_path):
    rows = [
        {"who": 7, "what": "tea", "stars": 4, "clicked": True, "at": 20, "other": [1]},
        {"who": "7", "what": "ice", "stars": None, "said": "brr\n", "at": "1970-01-01T00:00:30Z"},
    ]
    path = write(tmp_path, "".join(json.dumps(row) + "\n\n" for row in rows), "events.jsonl")
    assert load(log, path) == ImportReport(2, 2, 0, 0)
    snapshot = log.snapshot()
    assert snapshot.decisions.subject.tolist() == [0, 0]
    assert snapshot.feedback.texts[2] == "brr\n"
    assert np.array_equal(snapshot.feedback.value, [1.0, 4.0, np.nan], equal_nan=True)


def test_a_byte_order_mark_is_no_part_of_the_first_column(log, tmp_path):
    path = tmp_path / "shop.csv"
    path.write_text(ROWS, encoding="utf-8-sig")
    assert load(log, path).added == 4


def test_unicode(log, tmp_path):
    load(log, write(tmp_path, HEADER + "ann,茶 ☕,4,,schön 🙂,20\n"))
    snapshot = log.snapshot()
    assert list(snapshot.names.units) == ["茶 ☕"]
    assert snapshot.feedback.texts[1] == "schön 🙂"


def test_empty_lines_are_no_rows(log, tmp_path):
    assert load(log, write(tmp_path, ROWS.replace("\nbob", "\n\nbob"))).read == 4


def test_columns_without_a_name_are_passed_over(log, tmp_path):
    text = "".join(f"{line},,\n" for line in ROWS.splitlines())
    report = load(log, write(tmp_path, text))
    assert (report.read, report.added) == (4, 4)


def test_a_dry_run_adds_nothing(log, tmp_path, make):
    load(log, write(tmp_path, HEADER + 'ann,tea,4,1,"good, hot",20\n'))
    before = log.snapshot().digest()
    report = load(log, write(tmp_path, ROWS + "eve,,9,,,1\n"), dry_run=True)
    assert (report.read, report.added, report.duplicates, report.refused) == (5, 0, 1, 1)
    assert [problem.column for problem in report.problems] == ["what", "stars"]
    assert log.snapshot().digest() == before
    log.append([make.decision("d")])  # names that were undone are not remembered
    assert all(check.ok for check in log.check())
    assert list(log.snapshot().names.units) == ["tea", "milk"]


def test_progress_is_told_in_stages(log, tmp_path):
    told: list[tuple[str, int, int]] = []
    load(log, write(tmp_path, ROWS), progress=lambda *step: told.append(step))
    assert told == [("reading", len(ROWS), len(ROWS)), ("writing", 4, 4)]


@pytest.mark.parametrize(
    "columns", [{"unit": "i"}, {"subject": "u"}, {"subject": "u", "unit": "i", "time": "t"}]
)
def test_mappings_that_cannot_work(columns):
    columns = {"subject": "", "unit": ""} | columns
    if "time" in columns:
        columns["order"] = "n"
    with pytest.raises(StoreError, match="mapping"):
        Mapping(**columns)


def test_an_unknown_format_names_its_columns(log, tmp_path):
    with pytest.raises(StoreError, match=r"who, what, stars.*which column is the subject"):
        load(log, write(tmp_path, ROWS), None)


def test_a_missing_file(log, tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        load(log, tmp_path / "nowhere.csv")


def test_a_reader_cannot_import(log, tmp_path):
    with Log.open(log.path, write=False) as reader, pytest.raises(StoreError, match="write=True"):
        load(reader, write(tmp_path, ROWS))


@pytest.mark.data
def test_movielens_100k_is_exact_and_repeats_add_nothing(log, data):
    path = data / "ml-100k" / "ml-100k.inter"
    assert load(log, path, None) == ImportReport(100_000, 100_000, 0, 0)
    snapshot = log.snapshot()
    assert snapshot.decisions.n == snapshot.feedback.n == 100_000
    assert len(snapshot.names.subjects) == 943
    assert len(snapshot.names.units) == 1682
    assert np.bincount(snapshot.feedback.value.astype(int)).tolist() == [
        *(0, 6110, 11370, 27145, 34174, 21201)
    ]
    assert (np.diff(snapshot.decisions.made_at) >= 0).all()
    assert load(log, path, None) == ImportReport(100_000, 0, 100_000, 0)
    assert log.snapshot().digest() == snapshot.digest()
