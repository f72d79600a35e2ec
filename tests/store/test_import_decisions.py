"""Decisions that somebody else made: probabilities, slates, contexts, and who acted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heedful.evaluate import importance_weights
from heedful.record import UNKNOWN, Kind, content_id, pseudonym
from heedful.store import ImportReport, Log, Mapping, Snapshot, StoreError, import_file

KEY = b"a key of sixteen"
SLATES = Mapping(
    subject="who",
    unit="what",
    click="clicked",
    time="at",
    decision="page",
    position="place",
    propensity="p",
    policy="by",
    context=("hour", "device"),
)
HEADER = "who,page,place,what,p,clicked,by,hour,device,at\n"
ROWS = HEADER + (
    "ann,a,2,milk,0.25,0,thompson,7,phone,20\n"
    "ann,a,1,tea,0.5,1,thompson,7,phone,20\n"
    "bob,a,1,ice,1,,,,,10\n"
    "ann,,,cake,,1,,,,15\n"
    "ann,a,3,ice,1e-3,,thompson,7,phone,20\n"
)


def write(tmp_path: Path, text: str, name: str = "shop.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def load(log: Log, path: Path, mapping: Mapping = SLATES, **options: Any) -> ImportReport:
    return import_file(log, path, mapping, key=KEY, **options)


def expected_records(make):
    """The records that ROWS stand for, made one by one."""
    ann, bob = (pseudonym(who, KEY) for who in ("ann", "bob"))
    common = {"vocabulary": "import", "policy": "import"}
    yield make.decision(
        content_id("import", bob, "decision", "a", at=10.0),
        **{**common, "subject": bob, "episode": bob, "units": ("ice",), "logps": (0.0,)},
        made_at=10.0,
    )
    alone = content_id("import", ann, "cake", at=15.0)
    yield make.decision(
        alone,
        **{**common, "subject": ann, "episode": ann, "units": ("cake",), "logps": UNKNOWN},
        made_at=15.0,
    )
    times = {"given_at": 15.0, "received_at": 15.0}
    yield make.feedback("cake", alone, by=ann, unit=0, **times)
    slate = content_id("import", ann, "decision", "a", at=20.0)
    yield make.decision(
        slate,
        subject=ann,
        episode=ann,
        step=1,
        units=("tea", "milk", "ice"),
        logps=tuple(map(math.log, (0.5, 0.25, 1e-3))),
        policy="import:thompson",
        vocabulary="import",
        context={"hour": 7, "device": "phone"},
        made_at=20.0,
    )
    times = {"given_at": 20.0, "received_at": 20.0}
    yield make.feedback("tea", slate, by=ann, unit=0, **times)
    yield make.feedback("milk", slate, by=ann, unit=1, value=False, **times)


def test_a_file_becomes_what_the_common_door_would_make_of_it(log, tmp_path, make):
    assert load(log, write(tmp_path, ROWS)) == ImportReport(
        read=5, added=5, duplicates=0, refused=0
    )
    snapshot, records = log.snapshot(), list(expected_records(make))
    assert np.allclose(snapshot.decisions.logps[2:], np.log([0.5, 0.25, 1e-3]), rtol=1e-15, atol=0)
    assert snapshot.digest() == Snapshot.of(records).digest()
    decisions = [record for record in records if hasattr(record, "units")]
    assert {receipt.status for receipt in log.append(decisions)} == {"duplicate"}
    assert all(check.ok for check in log.check())


def test_importing_twice_adds_nothing(log, tmp_path):
    path = write(tmp_path, ROWS)
    load(log, path)
    before = log.snapshot()
    assert load(log, path) == ImportReport(read=5, added=0, duplicates=5, refused=0)
    assert load(log, path, dry_run=True).duplicates == 5
    assert (log.watermark(), log.snapshot().digest()) == (before.watermark, before.digest())


def test_the_order_of_the_lines_does_not_matter(log, tmp_path):
    load(log, write(tmp_path, ROWS))
    lines = ROWS.splitlines(keepends=True)
    assert load(log, write(tmp_path, "".join([lines[0], *lines[:0:-1]]))).duplicates == 5


def test_what_people_answer_later_is_added_to_its_unit(log, tmp_path):
    load(log, write(tmp_path, ROWS))
    later = ROWS.replace("ice,1e-3,,", "ice,1e-3,1,")
    assert load(log, write(tmp_path, later)) == ImportReport(5, 1, 4, 0)
    feedback = log.snapshot().feedback
    assert feedback.unit.tolist() == [0, 0, 1, 2]
    assert feedback.value.tolist() == [1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("tea,0.5", "tea,0.6", "a probability of 0.5, the file with a probability of 0.6"),
        ("tea,0.5", "tea,0.5000001", "a probability of 0.5"),
        ("tea,0.5", "cake,0.5", "with the units tea, milk, ice, the file with cake, milk, ice"),
        ("thompson", "uniform", "by the policy import:thompson, the file by import:uniform"),
        ("phone", "desk", 'device":"phone","hour":7}, the file with'),
    ],
)
def test_another_version_of_a_decision_clashes(log, tmp_path, old, new, reason):
    load(log, write(tmp_path, ROWS))
    before = log.watermark()
    path = write(tmp_path, ROWS.replace(old, new))
    with pytest.raises(StoreError, match=r"line 2: conflict") as caught:
        load(log, path)
    assert {problem.line for problem in caught.value.report.problems} == {2, 3, 6}
    assert all(reason in problem.hint for problem in caught.value.report.problems)
    assert load(log, path, dry_run=True).refused == 3
    report = load(log, path, quarantine=tmp_path / "bad.jsonl")
    assert (report.added, report.duplicates, report.refused) == (0, 2, 3)
    assert log.watermark() == before


def test_probabilities_that_come_later_clash_with_unknown_ones(log, tmp_path):
    rows, known = "u,i,t,p\nann,tea,1,\n", "u,i,t,p\nann,tea,1,0.5\n"
    mapping = Mapping(subject="u", unit="i", time="t", propensity="p")
    load(log, write(tmp_path, rows), mapping)
    with pytest.raises(StoreError, match=r"no probability, the file with a probability of 0\.5"):
        load(log, write(tmp_path, known), mapping)


def test_versions_in_one_file_clash_too(log, tmp_path):
    rows = "u,i,t,p\nann,tea,1,0.25\nann,tea,1,0.5\nann,tea,1,0.25\n"
    mapping = Mapping(subject="u", unit="i", time="t", propensity="p")
    with pytest.raises(StoreError, match=r"line 3: conflict.*line 2") as caught:
        load(log, write(tmp_path, rows), mapping)
    assert caught.value.report.refused == 1


def test_no_version_of_ours_is_taken_for_an_imported_policy(log, tmp_path):
    rows = "u,i,t,by\nann,tea,1,0001\nann,ice,2,\n"
    mapping = Mapping(subject="u", unit="i", time="t", policy="by")
    load(log, write(tmp_path, rows), mapping, made_by="editors")
    assert list(log.snapshot().names.policies) == ["import:0001", "import:editors"]


def test_a_position_without_a_slate_is_context(log, tmp_path):
    rows = "u,i,t,n\nann,tea,1,3\nann,ice,2,\n"
    mapping = Mapping(subject="u", unit="i", time="t", position="n")
    load(log, write(tmp_path, rows), mapping)
    assert list(log.snapshot().decisions.contexts) == ['{"position":3}', ""]


def test_a_context_keeps_numbers_as_numbers(log, tmp_path):
    rows = [{"u": 1, "i": "tea", "a": 1, "b": 1.5, "c": True, "d": "007", "e": None, "t": 1}]
    mapping = Mapping(subject="u", unit="i", time="t", context=("a", "b", "c", "d", "e"))
    path = write(tmp_path, "".join(map(json.dumps, rows)), "events.jsonl")
    load(log, path, mapping)
    assert json.loads(log.snapshot().decisions.contexts[0]) == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": "007",
    }


def test_equal_numbers_of_different_kinds_stay_apart(log, tmp_path):
    rows = "u,i,t,x\nann,tea,1,1\nann,ice,2,1.0\nann,cake,3,true\n"
    mapping = Mapping(subject="u", unit="i", time="t", context=("x",))
    load(log, write(tmp_path, rows), mapping)
    assert list(log.snapshot().decisions.contexts) == ['{"x":1}', '{"x":1.0}', '{"x":true}']


def test_without_times_a_decision_stands_where_it_begins(log, tmp_path):
    rows = "u,i,d\nann,tea,a\nann,ice,b\nann,milk,a\nann,cake,\nann,cake,\n"
    mapping = Mapping(subject="u", unit="i", decision="d")
    path = write(tmp_path, rows)
    load(log, path, mapping)
    snapshot = log.snapshot()
    units = [snapshot.names.units[code] for code in snapshot.decisions.units]
    assert units == ["tea", "milk", "ice", "cake", "cake"]
    assert snapshot.decisions.offsets.tolist() == [0, 2, 3, 4, 5]
    assert snapshot.decisions.made_at.tolist() == [2.0, 3.0, 5.0, 6.0]
    assert load(log, path, mapping).duplicates == 5


class TestNobody:
    """Files that name no subject."""

    mapping = Mapping(anonymous=True, unit="i", click="c", time="t", propensity="p", context=("x",))
    rows = "i,c,t,p,x\ntea,1,5,0.5,1\nice,0,6,0.5,1\ntea,,6,0.5,2\nice,0,6,0.5,1\n"

    def test_each_decision_is_a_subject_whose_episode_ends(self, log, tmp_path, make):
        report = load(log, write(tmp_path, self.rows), self.mapping)
        assert report == ImportReport(read=4, added=3, duplicates=1, refused=0)
        snapshot = log.snapshot()
        assert len(snapshot.names.subjects) == len(snapshot.names.episodes) == 3
        assert snapshot.decisions.step.tolist() == [0, 0, 0]
        assert snapshot.ends.terminated.tolist() == [True] * 3
        assert snapshot.ends.ended_at.tolist() == [5.0, 6.0, 6.0]
        assert snapshot.decisions.seq.tolist() == [1, 4, 7]
        assert snapshot.feedback.seq.tolist() == [2, 5]
        assert snapshot.ends.seq.tolist() == [3, 6, 8]
        assert all(check.ok for check in log.check())
        log.append([make.decision("d")])  # the next number is the next
        assert log.watermark() == 9

    def test_importing_twice_adds_nothing_and_versions_clash(self, log, tmp_path):
        load(log, write(tmp_path, self.rows), self.mapping)
        assert load(log, write(tmp_path, self.rows), self.mapping).duplicates == 4
        with pytest.raises(StoreError, match=r"line 2: conflict.*0\.5.*0\.75"):
            load(log, write(tmp_path, self.rows.replace("5,0.5", "5,0.75")), self.mapping)

    def test_the_same_person_twice_is_told_apart_by_a_session(self, log, tmp_path):
        rows = "i,t,row\ntea,5,1\ntea,5,2\n"
        mapping = Mapping(anonymous=True, unit="i", time="t", session="row")
        assert load(log, write(tmp_path, rows), mapping).added == 2
        assert len(log.snapshot().names.subjects) == 2

    @pytest.mark.parametrize("time", ["t", ""])
    def test_a_slate_is_one_subject(self, log, tmp_path, time):
        rows = "i,d,n,t\ntea,a,1,5\nice,a,2,5\ntea,b,1,5\n"
        mapping = Mapping(anonymous=True, unit="i", time=time, decision="d", position="n")
        load(log, write(tmp_path, rows), mapping)
        assert log.snapshot().decisions.offsets.tolist() == [0, 2, 3]
        assert len(log.snapshot().names.subjects) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"subject": "u", "unit": "i", "anonymous": True}, "not both"),
        ({"unit": "i"}, "subject and unit"),
        ({"anonymous": True}, "missing 1 required"),
        ({"subject": "u", "unit": "i", "context": ("x", "x")}, "each once"),
        ({"subject": "u", "unit": "i", "position": "n", "context": ("position",)}, "as position"),
    ],
)
def test_mappings_that_cannot_work(given, message):
    with pytest.raises((StoreError, TypeError), match=message):
        Mapping(**given)


def test_unknown_probabilities_are_refused_by_estimates(log, tmp_path):
    load(log, write(tmp_path, ROWS))
    logps = log.snapshot().decisions.logps
    with pytest.raises(ValueError, match="UNKNOWN"):
        importance_weights(np.zeros(len(logps)), logps)
    kinds = log.snapshot().feedback.kind
    assert {list(Kind)[kind] for kind in kinds} == {Kind.CLICK}


def slate_problems(log: Log, tmp_path: Path, *rows: str) -> dict[int, str]:
    """Import rows of a slate, expect a refusal that left no trace; return rule and hint by line."""
    path = write(tmp_path, "who,page,place,what,p,by,at\n" + "".join(rows))
    mapping = Mapping(
        subject="who",
        unit="what",
        time="at",
        decision="page",
        position="place",
        propensity="p",
        policy="by",
    )
    with pytest.raises(StoreError) as caught:
        load(log, path, mapping)
    assert log.watermark() == 0
    quarantine = tmp_path / "bad.jsonl"
    report = load(log, path, mapping, quarantine=quarantine)
    kept = [json.loads(line) for line in quarantine.read_text().splitlines()]
    assert [row["row"] for row in kept] == list(rows[: len(kept)])  # whole decisions, verbatim
    assert (report.added, report.refused) == (len(rows) - len(kept), len(kept))
    return {problem.line: problem.rule for problem in caught.value.report.problems}


GOOD = "bob,b,1,tea,0.5,x,9\n"


@pytest.mark.parametrize(
    ("rows", "rules"),
    [
        # a bad cell takes the rest of the slate with it
        (("a,s,1,tea,0.5,x,5\n", "a,s,2,ice,7,x,5\n"), {2: "decision", 3: "bounds"}),
        (("a,s,1,tea,0.5,x,5\n", "a,s,2,,0.5,x,5\n"), {2: "decision", 3: "required"}),
        # though the row does not say whose it was, or when
        (("a,s,1,tea,0.5,x,5\n", ",s,2,ice,0.5,x,5\n"), {2: "decision", 3: "required"}),
        (("a,s,1,tea,0.5,x,5\n", "a,s,2,ice,0.5,x,now\n"), {2: "decision", 3: "time"}),
        # positions that cannot be
        (("a,s,1,tea,0.5,x,5\n", "a,s,1,ice,0.5,x,5\n"), {2: "decision", 3: "decision"}),
        (("a,s,1,tea,0.5,x,5\n", "a,s,3,ice,0.5,x,5\n"), {2: "decision", 3: "decision"}),
        (("a,s,2,tea,0.5,x,5\n",), {2: "decision"}),
        (("a,s,,tea,0.5,x,5\n", "a,s,1,ice,0.5,x,5\n"), {2: "decision", 3: "decision"}),
        # one unit at two places, or with two probabilities
        (("a,s,1,tea,0.5,x,5\n", "a,s,2,tea,0.5,x,5\n"), {2: "decision", 3: "conflict"}),
        # what belongs to the decision is the same in all its rows
        (("a,s,1,tea,0.5,x,5\n", "a,s,2,ice,,x,5\n"), {2: "decision", 3: "decision"}),
        (("a,s,1,tea,0.5,x,5\n", "a,s,2,ice,0.5,y,5\n"), {2: "decision", 3: "decision"}),
    ],
)
def test_a_slate_goes_in_whole_or_not_at_all(log, tmp_path, rows, rules):
    assert slate_problems(log, tmp_path, *rows, GOOD) == rules
    assert log.snapshot().decisions.n == 1


def test_in_a_file_that_counts_from_0_a_slate_from_1_lacks_its_first_unit(log, tmp_path):
    lacking = ["a,s,1,tea,0.5,x,5\n", "a,s,2,ice,0.5,x,5\n"]
    assert slate_problems(log, tmp_path, *lacking, GOOD.replace("b,1", "b,0")) == {
        2: "decision",
        3: "decision",
    }


@pytest.mark.parametrize("lost", ["a,s,2,ice\n", f"a,{'s' * 999},2,ice,0.5,x,5\n"])
def test_a_row_of_no_known_slate_is_not_set_aside(log, tmp_path, lost):
    rows = f"who,page,place,what,p,by,at\na,s,1,tea,0.5,x,5\n{lost}"
    with pytest.raises(StoreError, match="line 3: decision: nobody can tell which"):
        load(
            log,
            write(tmp_path, rows),
            Mapping(subject="who", unit="what", time="at", decision="page", position="place"),
            quarantine=tmp_path / "bad.jsonl",
        )
    assert log.watermark() == 0


def test_without_probabilities_positions_may_have_gaps(log, tmp_path):
    rows = "u,d,n,i,t\na,s,7,ice,5\na,s,3,tea,5\n"
    mapping = Mapping(subject="u", unit="i", time="t", decision="d", position="n")
    assert load(log, write(tmp_path, rows), mapping).added == 2
    assert list(log.snapshot().names.units) == ["tea", "ice"]
