"""What is known of units and subjects: append-only, the latest counts, in the log's one order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heedful.record import Described, Description, RecordError
from heedful.store import Log, Snapshot
from tests.store.conftest import Make


def unit(name: str, **facts: object) -> Description:
    return Description(of=Described.UNIT, name=name, facts=facts, given_at=50.0)


def subject(name: str, **facts: object) -> Description:
    return Description(of=Described.SUBJECT, name=name, facts=facts, given_at=50.0)


def test_the_latest_counts_and_older_snapshots_keep_theirs(log: Log) -> None:
    first = log.describe([unit("tea", year=1990), subject("tea", age=30)])
    before = log.snapshot()
    second = log.describe([unit("tea", title="Green")])
    now = log.snapshot()
    assert [r.status for r in (*first, *second)] == ["added"] * 3
    assert now.descriptions.latest(Described.UNIT) == {"tea": {"title": "Green"}}
    assert now.descriptions.latest(Described.SUBJECT) == {"tea": {"age": 30}}
    for older in (before, now.until(before.watermark), log.snapshot(before.watermark)):
        assert older.descriptions.latest(Described.UNIT) == {"tea": {"year": 1990}}
        assert older.digest() == before.digest()
    assert now.digest() != before.digest()


def test_what_says_nothing_new_is_a_duplicate(log: Log) -> None:
    log.describe([unit("tea", year=1990, title="Green")])
    again = log.describe([unit("tea", title="Green", year=1990), unit("milk")])
    assert [receipt.status for receipt in again] == ["duplicate", "duplicate"]
    assert log.watermark() == 1


def test_one_without_facts_takes_back_what_was_known(log: Log) -> None:
    log.describe([subject("ann", age=30), subject("bob", age=40)])
    log.describe([subject("ann")])
    assert log.snapshot().descriptions.latest(Described.SUBJECT) == {"bob": {"age": 40}}
    assert log.describe([subject("ann")])[0].status == "duplicate"
    log.describe([subject("ann", age=31)])
    assert log.snapshot().descriptions.latest(Described.SUBJECT)["ann"] == {"age": 31}


def test_they_stand_in_the_order_of_the_log(log: Log, make: type[Make]) -> None:
    log.append([make.decision("d1")])
    log.describe([subject("ann", age=30)])
    log.append([make.decision("d2", step=1)])
    snapshot = log.snapshot()
    assert snapshot.decisions.seq.tolist() == [1, 3]
    assert snapshot.descriptions.seq.tolist() == [2]
    assert list(snapshot.descriptions.rows(Described.SUBJECT)) == [(2, "ann", {"age": 30})]


def test_they_survive_the_writer(tmp_path: Path) -> None:
    with Log.open(tmp_path / "log.db", write=True) as log:
        log.describe([unit("tea", genre=["hot", "green"])])
        written = log.snapshot().digest()
    with Log.open(tmp_path / "log.db", write=False) as log:
        assert log.snapshot().descriptions.latest(Described.UNIT) == {
            "tea": {"genre": ["hot", "green"]}
        }
        assert log.snapshot().digest() == written


def test_a_log_without_any_keeps_the_digest_it_always_had(log: Log, make: type[Make]) -> None:
    records = [make.decision("d1"), make.feedback("f1", "d1", unit=0)]
    log.append(records)
    assert log.snapshot().digest() == Snapshot.of(records).digest() == OLD


OLD = "759dbf3a312aba524cf359d94ddd371a"


def test_a_history_holds_the_descriptions_of_its_subjects(log: Log, make: type[Make]) -> None:
    log.describe([subject("ann", age=30), subject("bob", age=40), unit("ann", year=1)])
    log.append([make.decision("d1")])
    found = log.history(["ann", "nobody"]).descriptions
    assert list(found.names) == ["ann"]
    assert found.latest(Described.UNIT) == {}


def test_a_choice_of_subjects_takes_theirs_along(log: Log, make: type[Make]) -> None:
    log.describe([subject("ann", age=30), subject("bob", age=40), unit("tea", year=1)])
    log.append([make.decision("d1"), make.decision("d2", episode="other", subject="bob")])
    snapshot = log.snapshot()
    names = snapshot.names.subjects
    mask = [names[code] == "bob" for code in range(len(names))]

    kept = snapshot.of_subjects(np.array(mask)).descriptions
    assert list(kept.names) == ["bob", "tea"]


def test_segments_are_filled_around_them(
    log: Log, make: type[Make], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heedful.store.segments.SEGMENT_ROWS", 4)
    for number in range(8):
        log.append([make.decision(f"d{number}", step=number)])
        log.describe([unit(f"unit-{number}", year=number)])
    files = list(log.segments.iterdir())
    assert len(files) == 4
    with Log.open(log.path, write=False) as reader:
        snapshot = reader.snapshot()
    assert snapshot.decisions.n == 8
    assert snapshot.descriptions.n == 8
    assert snapshot.digest() == log.snapshot().digest()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"of": "unit"}, "of: is 'unit' .say Described.UNIT"),
        ({"name": ""}, "name: is empty"),
        ({"facts": {"a": float("nan")}}, "facts: is not JSON"),
        ({"facts": {"a": {"b": 1}}}, "facts.a: is of type dict .give a number, a text, or a list"),
        ({"facts": {"a": [1]}}, "facts.a: must be text"),
        ({"facts": {"": 1}}, "facts: is empty"),
        ({"facts": {"a": "x" * 70_000}}, "facts: has 70008 bytes"),
        ({"given_at": float("inf")}, "given_at: is inf"),
    ],
)
def test_what_cannot_be_read_is_refused(given: dict[str, Any], message: str) -> None:
    sound: dict[str, Any] = {
        "of": Described.UNIT,
        "name": "tea",
        "facts": {"year": 1990, "cold": False, "genre": ["a"], "title": "b", "none": None},
        "given_at": 1.0,
    }
    Description(**sound)
    with pytest.raises(RecordError, match=message):
        Description(**sound | given)
