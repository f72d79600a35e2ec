from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from heedful.record import UNKNOWN, ChoiceSet, Kind, Outcome, Preference, Span
from heedful.store import Log, Receipt, StoreError


def statuses(receipts: list[Receipt]) -> list[str]:
    return [receipt.status for receipt in receipts]


def test_what_is_appended_is_there_after_reopening(tmp_path, make):
    with Log.open(tmp_path / "log.db", write=True) as log:
        receipts = log.append([make.decision("d"), make.feedback("f", "d"), make.end("e")])
        assert receipts == [Receipt("added", 1), Receipt("added", 2), Receipt("added", 3)]
        before = log.snapshot().digest()
    with Log.open(tmp_path / "log.db", write=False) as log:
        assert log.snapshot().digest() == before
        assert log.watermark() == 3


def test_one_order_for_all_sorts_of_record(log, make):
    log.append([make.decision("a"), make.feedback("f", "a"), make.decision("b"), make.end("e")])
    snapshot = log.snapshot()
    assert snapshot.decisions.seq.tolist() == [1, 3]
    assert snapshot.feedback.seq.tolist() == [2]
    assert snapshot.ends.seq.tolist() == [4]


def test_everything_recorded_comes_back(log, make):
    decision = make.decision("d", context={"hour": 7, "ä": None}, logps=(-0.1, -2.0), step=3)
    log.append([decision, make.decision("u", logps=UNKNOWN)])
    rows, names = log.snapshot().decisions, log.snapshot().names
    assert names.units[rows.units[0]] == "tea"
    assert rows.logps[:2].tolist() == [-0.1, -2.0]
    assert np.isnan(rows.logps[2:]).all()
    assert rows.contexts[0] == '{"hour":7,"ä":null}'
    assert rows.contexts[1] == ""
    assert rows.step.tolist() == [3, 0]
    assert rows.of_unit.tolist() == [0, 0, 1, 1]
    assert names.policies[rows.policy[0]] == "0001"


def test_the_same_id_twice_counts_once(log, make):
    records = [make.decision("d"), make.feedback("f", "d"), make.end("e")]
    log.append(records)
    before = log.snapshot().digest()
    again = log.append(records)
    assert statuses(again) == ["duplicate"] * 3
    assert [receipt.seq for receipt in again] == [1, 2, 3]
    assert log.snapshot().digest() == before
    assert log.watermark() == 3


def test_a_retry_may_arrive_later(log, make):
    log.append([make.decision("d"), make.feedback("f", "d", received_at=102.0)])
    assert statuses(log.append([make.feedback("f", "d", received_at=999.0)])) == ["duplicate"]
    assert log.snapshot().feedback.received_at.tolist() == [102.0]


@pytest.mark.parametrize(
    "change",
    [
        {"step": 1},
        {"units": ("tea", "lemon")},
        {"logps": (-0.5, -1.5)},
        {"logps": UNKNOWN},
        {"context": {"hour": 1}},
        {"made_at": 100.5},
        {"subject": "bob"},
        {"policy": "0002"},
    ],
)
def test_the_same_decision_id_with_another_body_is_a_conflict(log, make, change):
    log.append([make.decision("d")])
    (receipt,) = log.append([make.decision("d", **change)])
    assert receipt.status == "conflict"
    assert log.counts().decisions == 1
    assert list(log.snapshot().names.units) == ["tea", "milk"]


@pytest.mark.parametrize(
    "change",
    [{"value": False}, {"unit": 1}, {"by": "bob"}, {"given_at": 7.0}, {"about": "nowhere"}],
)
def test_the_same_feedback_id_with_another_body_is_a_conflict(log, make, change):
    log.append([make.decision("d"), make.feedback("f", "d")])
    about = change.pop("about", "d")
    assert statuses(log.append([make.feedback("f", about, **change)])) == ["conflict"]
    assert log.counts().feedback == 1


def test_one_bad_record_does_not_fail_its_neighbours(log, make):
    receipts = log.append([make.decision("a"), make.feedback("x", "a", unit=2), make.decision("b")])
    assert statuses(receipts) == ["added", "refused", "added"]
    assert "2" in receipts[1].reason
    assert log.counts().decisions == 2


def test_what_is_no_record_appends_nothing(log, make):
    with pytest.raises(TypeError, match="dict"):
        log.append([make.decision("a"), {"id": "b"}])
    assert log.counts().decisions == 0
    assert statuses(log.append([make.decision("a")])) == ["added"]


class TestParked:
    def test_feedback_before_its_decision_waits_and_joins_after_it(self, log, make):
        (early,) = log.append([make.feedback("f", "d")])
        assert early.status == "parked"
        assert early.seq is None
        assert log.counts().parked == 1
        assert log.snapshot().feedback.n == 0
        log.append([make.decision("d")])
        feedback = log.snapshot().feedback
        assert feedback.seq.tolist() == [2]
        assert feedback.decision.tolist() == [0]
        assert log.counts().parked == 0

    def test_in_one_append(self, log, make):
        receipts = log.append([make.feedback("f", "d"), make.decision("d")])
        assert statuses(receipts) == ["parked", "added"]
        assert log.counts().feedback == 1

    def test_survives_reopening(self, tmp_path, make):
        with Log.open(tmp_path / "log.db", write=True) as log:
            log.append([make.feedback("f", "d", kind=Kind.COMMENT, value="ach, süß")])
        with Log.open(tmp_path / "log.db", write=True) as log:
            log.append([make.decision("d")])
            assert log.snapshot().feedback.texts[0] == "ach, süß"

    def test_the_same_twice_waits_once(self, log, make):
        log.append([make.feedback("f", "d")])
        again = log.append([make.feedback("f", "d", received_at=500.0)])
        other = log.append([make.feedback("f", "d", value=False)])
        assert statuses(again + other) == ["duplicate", "conflict"]
        assert log.counts().parked == 1

    def test_what_does_not_fit_when_joined_is_kept_aside_with_its_reason(self, log, make):
        log.append([make.feedback("f", "d", unit=5), make.feedback("g", "d", unit=1)])
        log.append([make.decision("d")])
        counts = log.counts()
        assert (counts.parked, counts.misfits, counts.feedback) == (0, 1, 1)
        (again,) = log.append([make.feedback("f", "d", unit=5)])
        assert again.status == "refused"
        assert "unit" in again.reason

    def test_a_second_value_that_waited_does_not_join(self, log, make):
        log.append([make.feedback("f", "d"), make.feedback("g", "d")])
        log.append([make.decision("d")])
        assert (log.counts().feedback, log.counts().misfits) == (1, 1)

    def test_a_retraction_waits_for_feedback_that_waits(self, log, make):
        back = make.feedback("r", "d", value=None, retracts="f")
        assert statuses(log.append([back, make.feedback("f", "d")])) == ["parked", "parked"]
        log.append([make.decision("d")])
        feedback = log.snapshot().feedback
        assert feedback.retracted.tolist() == [True, False]
        assert feedback.retracts.tolist() == [-1, 0]

    def test_a_preference_waits_for_both(self, log, make):
        better = Preference(Outcome.CHOSEN, "b")
        log.append([make.feedback("p", "a", kind=Kind.PREFERENCE, value=better)])
        log.append([make.decision("a")])
        assert log.counts().parked == 1
        log.append([make.decision("b")])
        assert log.snapshot().feedback.texts[0] == '{"outcome":"chosen","over":2}'


class TestRetraction:
    def test_marks_what_it_takes_back(self, log, make):
        back = make.feedback("r", "d", value=None, retracts="f")
        log.append([make.decision("d"), make.feedback("f", "d"), back])
        assert log.snapshot().feedback.retracted.tolist() == [True, False]
        assert log.snapshot(watermark=2).feedback.retracted.tolist() == [False]

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"by": "bob"}, "only who gave"),
            ({"about": "other"}, "another decision"),
            ({"kind": Kind.RATING}, "another kind"),
            ({"retracts": "done"}, "already"),
            ({"retracts": "back"}, "cannot be taken back"),
        ],
    )
    def test_is_refused(self, log, make, change, reason):
        log.append(
            [
                make.decision("d"),
                make.decision("other"),
                make.feedback("f", "d"),
                make.feedback("done", "d", unit=1),
                make.feedback("back", "d", unit=1, value=None, retracts="done"),
            ]
        )
        fields = {"about": "d", "value": None, "retracts": "f"} | change
        (receipt,) = log.append([make.feedback("r", fields.pop("about"), **fields)])
        assert receipt.status == "refused"
        assert reason in receipt.reason

    def test_makes_room_for_another_value(self, log, make):
        log.append([make.decision("d"), make.feedback("f", "d", unit=0)])
        (second,) = log.append([make.feedback("g", "d", unit=0, value=False)])
        assert second.status == "conflict"
        assert "retract first" in second.reason
        back = make.feedback("r", "d", unit=0, value=None, retracts="f")
        receipts = log.append([back, make.feedback("h", "d", unit=0, value=False)])
        assert statuses(receipts) == ["added", "added"]


def test_comments_may_be_several_and_people_units_and_kinds_do_not_disturb_each_other(log, make):
    receipts = log.append(
        [
            make.decision("d"),
            make.feedback("1", "d", kind=Kind.COMMENT, value="good"),
            make.feedback("2", "d", kind=Kind.COMMENT, value="good"),
            make.feedback("3", "d"),
            make.feedback("4", "d", unit=1),
            make.feedback("5", "d", by="bob"),
            make.feedback("6", "d", kind=Kind.RATING, value=4),
        ]
    )
    assert statuses(receipts) == ["added"] * 7


def test_spans(log, make):
    clip = Span("visit", 0, 2)
    said = make.feedback("s", clip, kind=Kind.COMMENT, value="lively")
    assert statuses(log.append([said])) == ["parked"]
    log.append([make.decision("d")])
    over = Preference(Outcome.TIE, Span("visit", 2, 3))
    receipts = log.append(
        [
            make.feedback("p", clip, kind=Kind.PREFERENCE, value=over),
            make.feedback("q", clip, kind=Kind.PREFERENCE, value=over),
            make.feedback("o", Span("visit", 0, 3), kind=Kind.PREFERENCE, value=over),
            make.feedback("r", clip, kind=Kind.PREFERENCE, value=None, retracts="p"),
            make.feedback("t", clip, kind=Kind.RATING, value=3),
        ]
    )
    assert statuses(receipts) == ["added", "conflict", "added", "added", "added"]
    feedback = log.snapshot().feedback
    assert feedback.decision.tolist() == [-1] * 5
    assert feedback.texts[0] == '{"span":["visit",0,2],"value":"lively"}'
    assert feedback.texts[1] == (
        '{"span":["visit",0,2],"value":{"outcome":"tie","over":["visit",2,3]}}'
    )
    assert feedback.texts[4] == '{"span":["visit",0,2]}'
    assert feedback.value[4] == 3.0
    assert feedback.retracted.tolist() == [False, True, False, False, False]


def test_choice_sets_are_stored_once_and_must_be_known(log, make):
    legal = ChoiceSet(allowed=("tea", "milk"))
    move = make.decision("d", choices=legal.digest())
    (refused,) = log.append([move])
    assert refused.status == "refused"
    assert "choices" in refused.reason
    assert statuses(log.append([move], choice_sets=[legal, legal])) == ["added"]
    assert log.choice_set(legal.digest()) == ChoiceSet(allowed=("milk", "tea"))
    assert log.choice_set("all") == ChoiceSet()
    snapshot = log.snapshot()
    assert snapshot.names.choice_sets[snapshot.decisions.choices[0]].allowed == ("milk", "tea")
    with pytest.raises(KeyError, match="nothing"):
        log.choice_set("nothing")


def test_an_episode_ends_once(log, make):
    log.append([make.decision("d"), make.end("e", context={"board": [1, 2]})])
    (second,) = log.append([make.end("x", terminated=False)])
    assert second.status == "conflict"
    assert log.snapshot().ends.contexts[0] == '{"board":[1,2]}'


def test_history_is_what_concerns_the_subject(log, make):
    log.append(
        [
            make.decision("a", subject="ann", episode="one"),
            make.decision("b", subject="bob", episode="two", units=("beer",), logps=(0.0,)),
            make.feedback("f", "a", by="rater"),
            make.feedback("g", "b"),
            make.end("e", episode="one"),
            make.end("h", episode="two"),
            make.feedback("s", Span("two", 0, 1), kind=Kind.COMMENT, value="dull"),
            make.decision("c", subject="ann", episode="three"),
        ]
    )
    history = log.history(["ann"])
    assert history.decisions.seq.tolist() == [1, 8]
    assert history.feedback.seq.tolist() == [3]
    assert history.ends.seq.tolist() == [5]
    assert list(history.names.people) == ["rater"]
    assert list(history.names.units) == ["tea", "milk"]
    mask = np.array([name == "ann" for name in log.snapshot().names.subjects])
    assert history.digest() == log.snapshot().of_subjects(mask).digest()
    assert log.history(["bob"]).feedback.seq.tolist() == [4, 7]
    assert log.history(["bob", "ann"]).digest() == log.snapshot().digest()
    assert log.history(["nobody"]).decisions.n == 0
    assert log.history(["nobody"]).watermark == 8


def test_who_a_decision_was_made_for(log, make):
    log.append([make.decision("d", subject="bob")])
    assert log.subject_of("d") == "bob"
    assert log.subject_of("x") is None


def test_counts(log, make):
    log.append([make.decision("a"), make.decision("b", subject="bob"), make.end("e")])
    log.append([make.feedback("f", "a"), make.feedback("w", "later")])
    counts = log.counts()
    assert (counts.decisions, counts.feedback, counts.ends) == (2, 1, 1)
    assert (counts.parked, counts.misfits, counts.subjects) == (1, 0, 2)


class TestOpening:
    def test_a_second_writer_is_refused_and_told_who_writes(self, log, tmp_path):
        script = (
            "import sys; from heedful.store import Log, StoreError\n"
            "try: Log.open(sys.argv[1], write=True)\n"
            "except StoreError as error: print(error)"
        )
        command = [sys.executable, "-c", script, str(log.path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert f"process {os.getpid()} is writing" in said
        with pytest.raises(StoreError, match="one writer"):
            Log.open(log.path, write=True)

    def test_the_next_writer_may_come_when_the_first_has_gone(self, tmp_path, make):
        Log.open(tmp_path / "log.db", write=True).close()
        with Log.open(tmp_path / "log.db", write=True) as log:
            assert statuses(log.append([make.decision("d")])) == ["added"]

    def test_readers_cannot_write(self, log, make):
        with (
            Log.open(log.path, write=False) as reader,
            pytest.raises(StoreError, match="write=True"),
        ):
            reader.append([make.decision("d")])

    def test_nothing_to_read(self, tmp_path):
        with pytest.raises(StoreError, match="no log here"):
            Log.open(tmp_path / "log.db", write=False)

    def test_a_newer_schema_is_refused(self, tmp_path):
        Log.open(tmp_path / "log.db", write=True).close()
        database = sqlite3.connect(tmp_path / "log.db")
        database.execute("INSERT INTO migrations VALUES (99, 'from the future', 0)")
        database.commit()
        database.close()
        for write in (True, False):
            with pytest.raises(StoreError, match=r"number 99.*up to 2"):
                Log.open(tmp_path / "log.db", write=write)
        with pytest.raises(StoreError, match="number 99"):  # the lock was let go of
            Log.open(tmp_path / "log.db", write=True)

    @pytest.mark.parametrize("write", [True, False])
    def test_a_file_that_is_no_log(self, tmp_path, write):
        (tmp_path / "log.db").write_bytes(b"not a database, whatever its name says" * 100)
        with pytest.raises(StoreError, match=r"not a database.*backup"):
            Log.open(tmp_path / "log.db", write=write)

    def test_migrations_leave_a_record(self, log):
        with sqlite3.connect(f"file:{log.path}?mode=ro", uri=True) as database:
            names = [row[0] for row in database.execute("SELECT name FROM migrations")]
        assert names == ["0001_log.sql", "0002_descriptions.sql"]

    def test_pragmas(self, log):
        with log._writing() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous")
            }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2}
        with log._reading() as connection:
            assert connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar() == 0


def test_kinds_have_the_same_numbers_in_the_database_and_in_python(log):
    with log._reading() as connection:
        rows = connection.exec_driver_sql("SELECT code, name FROM kinds ORDER BY code").fetchall()
    assert [tuple(row) for row in rows] == list(enumerate(kind.value for kind in Kind))


def test_the_set_that_forbids_nothing_has_code_0(log):
    with log._reading() as connection:
        row = connection.exec_driver_sql("SELECT * FROM choice_sets").one()
    assert tuple(row) == (0, ChoiceSet().digest(), ChoiceSet().body())


def test_readers_see_whole_appends_while_the_writer_goes_on(log, make):
    """Each append is a decision and its click: a reader never sees the one without the other."""
    done = threading.Event()
    torn: list[int] = []

    def read() -> None:
        with Log.open(log.path, write=False) as reader:
            last = 0
            while not done.is_set():
                snapshot = reader.snapshot()
                whole = snapshot.decisions.n == snapshot.feedback.n == snapshot.watermark // 2
                if not whole or snapshot.watermark < last:
                    torn.append(snapshot.watermark)
                last = snapshot.watermark

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for i in range(300):
        log.append([make.decision(f"d{i}"), make.feedback(f"f{i}", f"d{i}")])
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert log.counts().decisions == 300


def test_many_threads_deliver_the_same_feedback(log, make):
    log.append([make.decision("d")])
    found: list[str] = []

    def deliver() -> None:
        found.extend(statuses(log.append([make.feedback("f", "d")])))

    threads = [threading.Thread(target=deliver) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["added"] + ["duplicate"] * 19
    assert log.counts().feedback == 1


def test_check_finds_nothing_wrong_with_a_sound_log(log, make):
    log.append([make.decision("d"), make.feedback("f", "d")])
    checks = log.check()
    assert all(check.ok for check in checks)
    assert {check.name for check in checks} >= {"log integrity", "log segments", "log sqlite"}


def test_check_finds_rows_that_refer_to_nothing(tmp_path, make):
    with Log.open(tmp_path / "log.db", write=True) as log:
        log.append([make.decision("d"), make.feedback("f", "d")])
    database = sqlite3.connect(tmp_path / "log.db")
    database.execute("DELETE FROM decisions")
    database.commit()
    database.close()
    with Log.open(tmp_path / "log.db", write=False) as log:
        (bad,) = [check for check in log.check() if not check.ok]
    assert "feedback" in bad.detail


def test_paths_with_strange_names(tmp_path: Path, make):
    folder = tmp_path / "a shop? #1 %20"
    folder.mkdir()
    with Log.open(folder / "log.db", write=True) as log:
        log.append([make.decision("d")])
        assert log.snapshot().decisions.n == 1
