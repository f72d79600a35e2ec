"""A label's stream is what a server would have shown the policy, had it chosen the label."""

import numpy as np
import pytest
import torch

from heedful.contract import Label, Streams, as_shown, demonstrations, encode, labelled
from heedful.policy import Recurrent
from heedful.record import ALL_UNITS, Feedback, Kind
from heedful.store.snapshot import Snapshot
from tests.contract.logs import RandomLog, random_log
from tests.contract.toys import TOYS, Slates, Toy

LOGPS = frozenset({"logps"})
WINDOW = 16


def said(log: RandomLog, units: tuple[str, ...], unit: int = ALL_UNITS, n: int = 0) -> Feedback:
    made = [decision for told in log.made.values() for decision in told]
    at = float(len(log.records) + n)
    return Feedback(
        id=f"demonstration-{n}",
        by="an expert",
        about=made[n].id,
        unit=unit,
        kind=Kind.DEMONSTRATION,
        value=units,
        given_at=at,
        received_at=at,
    )


def snapshot_with(log: RandomLog, *feedback: Feedback) -> Snapshot:
    return Snapshot.of([*log.records, *feedback], choice_sets=log.sets)


def logps(streams: Streams, toy: Toy) -> torch.Tensor:
    """Return the log-probabilities of all slots under a network that reads everything."""
    torch.manual_seed(0)
    network = Recurrent(streams.schema, width=8).double().eval()
    rows = streams.windows(WINDOW)
    batch = streams.batch(rows)
    with torch.no_grad():
        found = network.forward(batch, LOGPS).logps
    order = np.concatenate([np.array(row.slots) for row in rows])
    result = torch.empty(len(order), dtype=torch.float64)
    result[torch.from_numpy(order)] = found[batch.mask]
    return result


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
def test_labels_that_say_what_was_shown_are_as_likely_as_what_was_shown(toy: Toy) -> None:
    log = random_log(toy, 3, 150)
    snapshot = log.snapshot()
    vocabulary = toy.vocabulary(snapshot)
    streams = encode(toy, snapshot, vocabulary)
    whole = logps(streams, toy)
    shown = as_shown(streams, range(len(snapshot.decisions.seq)))
    made = labelled(streams, shown)
    assert len(made) == len(shown) > 20
    alike = logps(made, toy)
    for row, label in enumerate(shown):
        own = slice(made.slot_offsets[row], made.slot_offsets[row + 1])
        there = np.flatnonzero(streams.slots.decision == label.decision)[: len(label.units)]
        torch.testing.assert_close(alike[own], whole[there])


def test_a_label_stands_where_it_should_have_and_the_future_is_not_in_its_stream() -> None:
    toy = Slates()
    log = random_log(toy, 1, 80)
    units = toy.units
    snapshot = snapshot_with(log, said(log, (units[4],), unit=0, n=0), said(log, units[2:5], n=3))
    vocabulary = toy.vocabulary(snapshot)
    streams = encode(toy, snapshot, vocabulary)
    labels, unknown = demonstrations(snapshot, vocabulary)
    assert unknown == []
    assert [(label.place, label.units) for label in labels] == [(0, (4,)), (0, (2, 3, 4))]
    made = labelled(streams, labels)
    assert made.slots.unit.tolist() == [4, 2, 3, 4]
    assert made.slots.weight.tolist() == [1.0] * 4
    for row, label in enumerate(labels):
        first = np.flatnonzero(streams.slots.decision == label.decision)[0]
        stream, event = streams.slots.stream[first], streams.slots.event[first]
        event -= streams.slots.position[first]
        n_events = made.offsets[row + 1] - made.offsets[row]
        assert n_events == event + len(label.units)
        assert made.subjects[row] == streams.subjects[stream]


def test_what_was_shown_before_the_place_stays_and_counts_nothing() -> None:
    toy = Slates()
    log = random_log(toy, 1, 80)
    streams = encode(toy, log.snapshot(), toy.vocabulary(log.snapshot()))
    position = streams.slots.position
    last = int(np.flatnonzero(position == 2)[0])
    decision = int(streams.slots.decision[last])
    made = labelled(streams, [Label(decision, 2, (int(streams.slots.unit[last]),), 0.5)])
    of_decision = streams.slots.decision == decision
    assert made.slots.unit.tolist() == streams.slots.unit[of_decision].tolist()
    assert made.slots.weight.tolist()[-1] == 0.5
    assert not any(made.slots.weight.tolist()[:-1])
    torch.testing.assert_close(logps(made, toy), logps(streams, toy)[torch.from_numpy(of_decision)])


def test_units_nobody_knows_and_what_was_taken_back_are_left_out() -> None:
    toy = Slates()
    log = random_log(toy, 1, 80)
    good, bad = said(log, toy.units[:3], n=0), said(log, (toy.units[0], "a typo"), n=1)
    back = Feedback(
        id="back",
        by=good.by,
        about=good.about,
        kind=good.kind,
        value=None,
        given_at=1e6,
        received_at=1e6,
        retracts=good.id,
    )
    vocabulary = toy.vocabulary(log.snapshot())
    assert demonstrations(snapshot_with(log, bad), vocabulary) == ([], ["a typo"])
    assert len(demonstrations(snapshot_with(log, good), vocabulary)[0]) == 1
    assert demonstrations(snapshot_with(log, good, back), vocabulary)[0] == []


def test_a_decision_that_is_not_there_is_named() -> None:
    toy = Slates()
    log = random_log(toy, 1, 20)
    streams = encode(toy, log.snapshot(), toy.vocabulary(log.snapshot()))
    with pytest.raises(ValueError, match="decision 999 of the snapshot is in no stream"):
        labelled(streams, [Label(999, 0, (1,))])
