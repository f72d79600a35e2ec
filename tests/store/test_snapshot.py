from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.record import UNKNOWN, ChoiceSet, Kind, Outcome, Preference, Span
from heedful.store import Log, Snapshot, StoreError, Texts
from heedful.store import segments as segment_files

LEGAL = ChoiceSet(allowed=("u0", "u1", "u2"))

sayings = st.one_of(
    st.tuples(st.just(Kind.CLICK), st.booleans()),
    st.tuples(st.just(Kind.RATING), st.floats(-5, 5)),
    st.tuples(st.just(Kind.COMMENT), st.text("aé☃", min_size=1)),
    st.tuples(st.just(Kind.DEMONSTRATION), st.just(("u1", "u2"))),
    st.tuples(st.just(Kind.PREFERENCE), st.just(Preference(Outcome.CHOSEN, "d0"))),
    st.tuples(st.just(Kind.REWARD), st.integers(-3, 3)),
)


@st.composite
def histories(draw, make):
    """Records in the order of a log: what feedback names stands before it."""
    records = [make.decision("d0", units=("u0",), logps=UNKNOWN)]
    lengths, given_ids = {"d0": 1}, {}
    for i in range(1, draw(st.integers(1, 25))):
        sort = draw(st.sampled_from(["decision", "decision", "feedback", "span", "back", "end"]))
        episode = f"e{draw(st.integers(0, 3))}"
        if sort == "decision":
            units = tuple(draw(st.lists(st.sampled_from(["u0", "u1", "u2", "ü"]), min_size=1)))
            known = draw(st.booleans())
            records.append(
                make.decision(
                    f"d{i}",
                    episode=episode,
                    subject=f"s{draw(st.integers(0, 2))}",
                    units=units,
                    logps=tuple(-0.25 * n for n in range(len(units))) if known else UNKNOWN,
                    choices=draw(st.sampled_from(["all", LEGAL.digest()])),
                    context=draw(st.sampled_from([{}, {"hour": i}])),
                    step=i,
                    made_at=float(i),
                )
            )
            lengths[f"d{i}"] = len(units)
        elif sort == "feedback":
            decision = draw(st.sampled_from(sorted(lengths)))
            unit = draw(st.integers(-1, lengths[decision] - 1))
            kind, value = draw(sayings)
            record = make.feedback(
                f"f{i}", decision, unit=unit, kind=kind, value=value, by=f"p{i}", given_at=float(i)
            )
            given_ids[record.id] = record
            records.append(record)
        elif sort == "span":
            clip = Span("visit", 0, 1 + i)
            records.append(
                make.feedback(f"f{i}", clip, by=f"p{i}", kind=Kind.COMMENT, value="nice")
            )
        elif sort == "back" and given_ids:
            target = given_ids.pop(draw(st.sampled_from(sorted(given_ids))))
            records.append(
                make.feedback(
                    f"f{i}",
                    target.about,
                    by=target.by,
                    kind=target.kind,
                    unit=target.unit,
                    value=None,
                    retracts=target.id,
                )
            )
        elif sort == "end":
            records.append(make.end(f"x{i}", episode=f"ended{i}", context={"last": i}))
    return records


def columns(snapshot: Snapshot) -> dict[str, object]:
    """Every column as plain lists, NaN as None, for an exact comparison."""
    found: dict[str, object] = {"watermark": snapshot.watermark}
    for table_name in ("decisions", "feedback", "ends"):
        table = getattr(snapshot, table_name)
        for field in fields(table):
            column = getattr(table, field.name)
            if isinstance(column, Texts):
                found[f"{table_name}.{field.name}"] = list(column)
                continue
            found[f"{table_name}.{field.name}.dtype"] = column.dtype
            values = column.tolist()
            found[f"{table_name}.{field.name}"] = [None if v != v else v for v in values]
    for field in fields(snapshot.names):
        found[f"names.{field.name}"] = list(getattr(snapshot.names, field.name))
    return found


@settings(max_examples=40)
@given(data=st.data())
def test_memory_log_segments_and_cuts_give_identical_columns(make, data):
    records = data.draw(histories(make))
    cut = data.draw(st.integers(0, len(records)))
    size = data.draw(st.sampled_from([3, 8, 1000]))
    expected = Snapshot.of(records, choice_sets=[LEGAL])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_files, "SEGMENT_ROWS", size)
        with Log.open(Path(folder) / "log.db", write=True) as log:
            for batch in (records[:cut], records[cut:]):
                receipts = log.append(batch, choice_sets=[LEGAL])
                assert {receipt.status for receipt in receipts} <= {"added"}
            assert len(list(log.segments.iterdir())) == len(records) // size
            assert columns(log.snapshot()) == columns(expected)
            earlier = columns(log.snapshot(cut))
    assert earlier == columns(expected.until(cut))
    assert earlier == columns(Snapshot.of(records[:cut], choice_sets=[LEGAL]))


@settings(max_examples=20)
@given(data=st.data())
def test_delivering_everything_again_changes_nothing(make, data):
    records = data.draw(histories(make))
    again = data.draw(st.lists(st.sampled_from(records)))
    expected = Snapshot.of(records, choice_sets=[LEGAL]).digest()
    with (
        tempfile.TemporaryDirectory() as folder,
        Log.open(Path(folder) / "log.db", write=True) as log,
    ):
        log.append(records, choice_sets=[LEGAL])
        receipts = log.append(again + records)
        assert {receipt.status for receipt in receipts} == {"duplicate"}
        assert log.snapshot().digest() == expected


@settings(max_examples=40)
@given(data=st.data())
def test_any_order_of_delivery_loses_nothing(make, data):
    """Feedback may overtake decisions: all of it is in the log when all decisions are."""
    records = data.draw(histories(make))
    shuffled = data.draw(st.permutations(records))
    with (
        tempfile.TemporaryDirectory() as folder,
        Log.open(Path(folder) / "log.db", write=True) as log,
    ):
        statuses = {receipt.status for receipt in log.append(shuffled, choice_sets=[LEGAL])}
        assert statuses <= {"added", "parked"}
        counts, snapshot = log.counts(), log.snapshot()
    expected = Snapshot.of(records, choice_sets=[LEGAL])
    assert (counts.parked, counts.misfits) == (0, 0)
    assert snapshot.feedback.n == expected.feedback.n
    assert snapshot.feedback.retracted.sum() == expected.feedback.retracted.sum()
    before = snapshot.feedback.decision >= 0
    assert (
        snapshot.decisions.seq[snapshot.feedback.decision[before]] < snapshot.feedback.seq[before]
    ).all()


def test_late_feedback_leaves_earlier_watermarks_as_they_were(log, make):
    log.append([make.decision("d0"), make.decision("d1", step=1)])
    then = log.snapshot()
    log.append(
        [
            make.feedback("f", "d0", given_at=50.0),
            make.decision("d2", units=("new",), logps=(0.0,), step=2),
        ]
    )
    assert columns(log.snapshot(then.watermark)) == columns(then)
    assert columns(log.snapshot().until(then.watermark)) == columns(then)
    assert "new" not in list(log.snapshot(then.watermark).names.units)


def test_until_forgets_retractions_to_come(make):
    back = make.feedback("r", "d", value=None, retracts="f")
    snapshot = Snapshot.of([make.decision("d"), make.feedback("f", "d"), back])
    assert snapshot.feedback.retracted.tolist() == [True, False]
    assert snapshot.until(2).feedback.retracted.tolist() == [False]


def test_a_snapshot_cannot_show_the_future(log, make):
    log.append([make.decision("d")])
    with pytest.raises(StoreError, match="up to 1"):
        log.snapshot().until(2)
    with pytest.raises(StoreError, match="ends at 1"):
        log.snapshot(2)


def test_columns_cannot_be_written_to(log, make):
    log.append([make.decision("d"), make.feedback("f", "d")])
    for snapshot in (log.snapshot(), log.snapshot().until(1), log.history(["ann"])):
        for column in (snapshot.decisions.units, snapshot.decisions.seq, snapshot.feedback.value):
            with pytest.raises(ValueError, match="read-only"):
                column[...] = 0


def test_of_subjects_keeps_codes_and_renumbers_rows(make):
    snapshot = Snapshot.of(
        [
            make.decision("a", subject="ann", episode="one"),
            make.decision("b", subject="bob", episode="two", units=("x",), logps=(-1.0,)),
            make.feedback("f", "a", by="bob"),
            make.feedback("g", "b", by="bob"),
            make.feedback("r", "b", by="bob", value=None, retracts="g"),
            make.feedback("s", Span("two", 0, 1), kind=Kind.COMMENT, value="clip"),
            make.end("e", episode="two"),
        ]
    )
    bob = snapshot.of_subjects(np.array([False, True]))
    assert bob.decisions.seq.tolist() == [2]
    assert bob.decisions.subject.tolist() == [1]
    assert [bob.names.units[code] for code in bob.decisions.units] == ["x"]
    assert bob.feedback.seq.tolist() == [4, 5, 6]
    assert bob.feedback.decision.tolist() == [0, 0, -1]
    assert bob.feedback.retracts.tolist() == [-1, 0, -1]
    assert bob.feedback.retracted.tolist() == [True, False, False]
    assert bob.ends.n == 1
    with pytest.raises(ValueError, match="3 entries for 2 subjects"):
        snapshot.of_subjects(np.ones(3, dtype=bool))


def test_the_digest_sees_content_and_not_codes(make):
    one, two = make.decision("a", subject="ann"), make.decision("b", subject="bob")
    together = Snapshot.of([one, two])
    bob_alone = together.of_subjects(np.array([False, True]))
    assert bob_alone.decisions.subject.tolist() == [1]
    assert bob_alone.digest() == Snapshot.of([two]).digest()
    assert together.digest() != Snapshot.of([two, one]).digest()
    changes = ({"subject": "eve"}, {"units": ("tea", "x")}, {"context": {"a": 1}}, {"step": 9})
    digests = {Snapshot.of([make.decision("a", **change)]).digest() for change in changes}
    assert len(digests | {Snapshot.of([one]).digest()}) == 5


def test_of_refuses_what_no_rollout_has(make):
    decision, click = make.decision("d"), make.feedback("f", "d")
    back = make.feedback("r", "d", value=None, retracts="f")
    for records, message in (
        ([decision, decision], "twice"),
        ([decision, click, click], "twice"),
        ([click, decision], "before"),
        ([decision, back], "before its retraction"),
        ([decision, make.feedback("g", "d", unit=2)], "unit 2 of 2"),
        ([make.decision("d", choices="0123")], "choice_sets"),
        ([make.feedback("s", Span("visit", 0, 1), kind=Kind.COMMENT, value="x")], "not begun"),
        ([make.decision("d", step=2**40)], "too large"),
    ):
        with pytest.raises(StoreError, match=message):
            Snapshot.of(records)


def test_an_empty_log_has_an_empty_snapshot(log):
    snapshot = log.snapshot()
    assert (snapshot.watermark, snapshot.decisions.n, snapshot.feedback.n) == (0, 0, 0)
    assert columns(snapshot) == columns(Snapshot.of([]))
    assert snapshot.digest() == Snapshot.of([]).digest()
    assert list(snapshot.names.choice_sets) == [ChoiceSet()]


def test_names_find_their_codes(make):
    names = Snapshot.of([make.decision("d")]).names
    assert names.units.code("milk") == 1
    assert names.units.code("beer") == -1
    assert names.units[-1] == "milk"
    assert names.units[:] == ["tea", "milk"]
    assert "tea" in names.units
    assert names.choice_sets.code(ChoiceSet()) == 0
    with pytest.raises(IndexError):
        names.units[2]
