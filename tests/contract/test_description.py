"""Descriptions of people stand in their streams: in training exactly as in serving."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.contract import Stream, schema_of, unit_features
from heedful.contract.stream import pad
from heedful.domains.recommendation import Recommendation
from heedful.policy import EventKind, Recurrent, replay
from heedful.record import UNKNOWN, Decision, Described, Description, Feedback, Kind
from heedful.serve.history import records
from heedful.store import Log, Snapshot

DOMAIN = Recommendation({"slate": 2, "numbers": ["hour"]})
COLUMNS = ("kind", "unit", "channel", "value", "features")


def about(of: Described, name: str, **facts: object) -> Description:
    return Description(of=of, name=name, facts=facts, given_at=1.0)


def decision(number: int, subject: str, *, ours: bool) -> Decision:
    return Decision(
        id=f"d{number}",
        episode=f"visit of {subject}",
        step=number,
        subject=subject,
        units=("tea", "milk"),
        logps=(-0.5, -1.0) if ours else UNKNOWN,
        policy="0001",
        made_at=float(number),
        context={"hour": 7.0} if ours else {},
        choices="all",
        vocabulary="words",
    )


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Ann was imported and described before we decided; Bob was described between two decisions."""
    with Log.open(tmp_path / "log.db", write=True) as log:
        log.append([decision(0, "ann", ours=False), decision(1, "bob", ours=True)])
        click = Feedback(
            id="f", by="bob", about="d1", unit=1, kind=Kind.CLICK, value=True,
            given_at=1.0, received_at=1.0,
        )  # fmt: skip
        log.describe(
            [
                about(Described.UNIT, "tea", genre=["hot"]),
                about(Described.UNIT, "rum", genre=["strong"]),
                about(Described.SUBJECT, "ann", age=30.0),
                about(Described.SUBJECT, "bob", age=50.0),
                about(Described.SUBJECT, "nobody we met", age=40.0),
            ]
        )
        log.append([click, decision(2, "ann", ours=True), decision(3, "bob", ours=True)])
        log.describe([about(Described.SUBJECT, "ann")])
        log.append([decision(4, "ann", ours=True), decision(5, "cyd", ours=True)])
        return log.snapshot()


def kinds(snapshot: Snapshot, subject: str) -> list[str]:
    streams = DOMAIN.encode(snapshot, DOMAIN.vocabulary(snapshot))
    row = list(streams.subjects).index(snapshot.names.subjects.code(subject))
    low, high = streams.offsets[row], streams.offsets[row + 1]
    features = streams.events.features[low:high]
    names = [EventKind(kind).name for kind in streams.events.kind[low:high]]
    # A description has nothing in the place of the hour, and something behind it.
    return [
        "KNOWN" if name == "CONTEXT" and not row[0] and row[1:].any() else name
        for name, row in zip(names, features, strict=True)
    ]


def test_whoever_was_described_before_we_decided_was_so_all_along(snapshot: Snapshot) -> None:
    """Ann's history was made elsewhere; what is taken back is news."""
    shown = ["CONTEXT", "UNIT", "UNIT"]
    assert kinds(snapshot, "ann") == ["KNOWN", "UNIT", "UNIT", *shown, "KNOWN", *shown]


def test_what_became_known_between_decisions_stands_between_them(snapshot: Snapshot) -> None:
    shown = ["CONTEXT", "UNIT", "UNIT"]
    assert kinds(snapshot, "bob") == [*shown, "KNOWN", "FEEDBACK", *shown]
    assert kinds(snapshot, "cyd") == shown


def test_a_server_reads_the_same_events_record_by_record(snapshot: Snapshot) -> None:
    vocabulary = DOMAIN.vocabulary(snapshot)
    streams, schema = DOMAIN.encode(snapshot, vocabulary), DOMAIN.schema(vocabulary)
    served: defaultdict[str, Stream] = defaultdict(lambda: Stream(DOMAIN, vocabulary))
    for subject, record in records(snapshot):
        served[subject].append(record)
    strangers = set(served) - set(snapshot.names.subjects)
    assert len(streams) == 3
    assert strangers == {"nobody we met"}, "known before the first event"
    for row, code in enumerate(streams.subjects):
        stream = served[snapshot.names.subjects[int(code)]]
        expected = pad([stream.since(0)], schema.features)
        low, high = streams.offsets[row], streams.offsets[row + 1]
        for name in COLUMNS:
            found = torch.from_numpy(getattr(streams.events, name)[low:high])
            torch.testing.assert_close(
                found.double(), getattr(expected, name)[0].double(), rtol=0, atol=0
            )


def test_a_description_that_comes_later_changes_nothing_before_it(tmp_path: Path) -> None:
    with Log.open(tmp_path / "log.db", write=True) as log:
        log.describe([about(Described.SUBJECT, name, age=float(n)) for n, name in enumerate("xy")])
        log.append([decision(0, "x", ours=True), decision(1, "x", ours=True)])
        before = log.snapshot()
        log.describe([about(Described.SUBJECT, "x", age=99.0)])
        log.append([decision(2, "x", ours=True)])
        after = log.snapshot()
    vocabulary = DOMAIN.vocabulary(before)
    torch.manual_seed(0)
    policy = Recurrent(DOMAIN.schema(vocabulary), width=8).double().eval()
    logps = []
    with torch.no_grad():
        for snapshot in (before, after):
            streams = DOMAIN.encode(snapshot, vocabulary)
            batch = streams.batch(streams.windows(20))
            logps.append(replay(policy, batch)[0])
    assert len(logps[1]) == len(logps[0]) + 2
    torch.testing.assert_close(logps[1][:4], logps[0])


def test_units_have_their_facts_and_the_described_are_for_sale(snapshot: Snapshot) -> None:
    vocabulary = DOMAIN.vocabulary(snapshot)
    assert vocabulary.units == ("tea", "milk", "rum")
    features, gaps = unit_features(vocabulary, snapshot)
    hot, strong, unknown, missing = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(features, [hot, missing, strong])
    assert unknown.sum() == 1  # its place, which no unit takes here
    assert (gaps.absent, gaps.missing, gaps.unknown) == (1, 0, 0)
    schema = DOMAIN.schema(vocabulary)
    assert (schema.features, schema.unit_features) == (1 + 2, 4)


def test_without_descriptions_the_schema_is_what_it_was() -> None:
    snapshot = Snapshot.of([decision(0, "ann", ours=True)])
    vocabulary = DOMAIN.vocabulary(snapshot)
    assert (vocabulary.of_units, vocabulary.of_subjects) == (None, None)
    assert schema_of(DOMAIN, vocabulary).to_dict() == {
        "size": 2,
        "channels": DOMAIN.schema(vocabulary).to_dict()["channels"],
        "features": 1,
    }
    assert unit_features(vocabulary, snapshot)[0].shape == (2, 0)
