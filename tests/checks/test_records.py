from dataclasses import replace

import pytest

from heedful.checks.records import place_of, records_of
from heedful.record import Decision, Feedback, Kind, Outcome, Preference, Span
from heedful.store import Snapshot
from tests.contract.logs import random_log
from tests.contract.toys import TOYS, Slates, Toy


def again(snapshot: Snapshot) -> Snapshot:
    records = [record for _, record in records_of(snapshot)]
    return Snapshot.of(records, choice_sets=snapshot.names.choice_sets)


def of_decisions(log) -> list:
    """Return the records but those about spans, which are no part of any history."""
    return [r for r in log.records if not isinstance(getattr(r, "about", None), Span)]


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
@pytest.mark.parametrize("seed", range(5))
def test_records_make_the_same_snapshot_again(toy: Toy, seed: int) -> None:
    log = random_log(toy, seed, 60)
    kept = replace(log, records=of_decisions(log))
    assert again(kept.snapshot()).digest() == kept.snapshot().digest()


def test_values_of_every_kind_come_back() -> None:
    log = random_log(Slates(), 0, 1)
    about = log.records[0].id
    values = {
        Kind.CLICK: False,
        Kind.RATING: 2.5,
        Kind.REWARD: -1.0,
        Kind.COMMENT: "too long",
        Kind.FLAG: "spam",
        Kind.DEMONSTRATION: ("item-1", "item-2"),
        Kind.PREFERENCE: Preference(Outcome.TIE, about),
    }
    clip = Preference(Outcome.CHOSEN, Span(log.records[0].episode, 0, 1))
    for number, (kind, value) in enumerate([*values.items(), (Kind.PREFERENCE, clip)]):
        log.records.append(
            Feedback(
                id=f"f{number}",
                by=f"judge-{number}",
                about=about,
                kind=kind,
                value=value,
                given_at=1.0,
                received_at=2.0,
            )
        )
    snapshot = log.snapshot()
    assert again(snapshot).digest() == snapshot.digest()
    found = [record.value for _, record in records_of(snapshot) if isinstance(record, Feedback)]
    assert found == [*list(values.values())[:-1], Preference(Outcome.TIE, "1"), clip]


def test_records_belong_to_subjects() -> None:
    log = random_log(TOYS[1], 3, 60)
    kept = replace(log, records=of_decisions(log))
    owners = [o for o, r in zip(log.owners, log.records, strict=True) if r in kept.records]
    snapshot = kept.snapshot()
    places = [place_of(snapshot, record) for _, record in records_of(snapshot)]
    assert [place and place[0] for place in places] == owners
    for place, (_, record) in zip(places, records_of(snapshot), strict=True):
        if isinstance(record, Decision):
            assert place == (record.subject, record.episode)
