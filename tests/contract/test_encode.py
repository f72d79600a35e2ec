from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.contract import Stream, Streams, as_rule, window_start
from heedful.contract.stream import pad
from heedful.policy import EventKind, replay
from heedful.record import ALL_UNITS, ChoiceSet, Decision, End, Feedback, Kind
from heedful.store import Snapshot
from tests.contract.logs import RandomLog, random_log
from tests.contract.policies import make
from tests.contract.toys import TOYS, Grid, Slates, Toy

COLUMNS = ("kind", "unit", "channel", "value", "features", "time")
toys = pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
seeds = st.integers(0, 2**32 - 1)


def encoded(toy: Toy, log: RandomLog, **options) -> Streams:
    snapshot = log.snapshot()
    return toy.encode(snapshot, toy.vocabulary(snapshot), **options)


def events_of(streams: Streams, log: RandomLog, subject: str) -> dict[str, np.ndarray]:
    code = log.snapshot().names.subjects.code(subject)
    index = int(np.flatnonzero(streams.subjects == code)[0])
    rows = slice(streams.offsets[index], streams.offsets[index + 1])
    return {name: getattr(streams.events, name)[rows] for name in COLUMNS}


@toys
@settings(max_examples=60)
@given(seed=seeds, n=st.integers(1, 60))
def test_training_reads_what_the_server_read_record_by_record(toy: Toy, seed: int, n: int) -> None:
    log = random_log(toy, seed, n)
    streams = encoded(toy, log)
    vocabulary = toy.vocabulary(log.snapshot())
    served = {owner: Stream(toy, vocabulary) for owner in log.owners}
    for owner, record in zip(log.owners, log.records, strict=True):
        served[owner].append(record)
    assert len(streams) == len(served)
    for owner, stream in served.items():
        expected = pad([stream.since(0)], toy.features)
        for name, found in events_of(streams, log, owner).items():
            np.testing.assert_allclose(getattr(expected, name)[0].numpy(), found, atol=1e-7)
        shown = {u for d in log.made[owner] for u in d.units if u in vocabulary}
        assert stream.seen == {vocabulary[unit] for unit in shown}


@toys
@settings(max_examples=40)
@given(seed=seeds, n=st.integers(2, 50))
def test_streams_never_cross_subjects(toy: Toy, seed: int, n: int) -> None:
    """Another subject's rows, or their absence, or the order of subjects, change nothing."""
    log = random_log(toy, seed, n)
    together = encoded(toy, log)
    for subject in sorted(set(log.owners)):
        own = [r for o, r in zip(log.owners, log.records, strict=True) if o == subject]
        alone = replace(log, records=own)
        for name, column in events_of(encoded(toy, alone), alone, subject).items():
            np.testing.assert_array_equal(column, events_of(together, log, subject)[name])
    by_subject = sorted(zip(log.owners, log.records, strict=True), key=lambda pair: pair[0])
    sorted_log = replace(log, records=[record for _, record in by_subject])
    for subject in sorted(set(log.owners)):
        for name, column in events_of(encoded(toy, sorted_log), sorted_log, subject).items():
            np.testing.assert_array_equal(column, events_of(together, log, subject)[name])


def logps_by_decision(toy: Toy, log: RandomLog, policy, window: int) -> dict[str, list[float]]:
    """Return the log-probabilities of each decision's known units."""
    streams = encoded(toy, log)
    names = [record.id for record in log.records if isinstance(record, Decision)]
    found: dict[str, list[float]] = {}
    windows = streams.windows(window)
    if not windows:
        return found
    batch = streams.batch(windows)
    with torch.no_grad():
        logps = replay(policy, batch)
    for decision, logp in zip(
        batch.decisions[batch.mask].tolist(), logps[batch.mask].tolist(), strict=True
    ):
        found.setdefault(names[decision], []).append(logp)
    return found


@toys
@settings(max_examples=25)
@given(seed=seeds, n=st.integers(2, 30), more=st.integers(1, 20))
def test_what_comes_later_never_changes_an_old_log_probability(
    toy: Toy, seed: int, n: int, more: int
) -> None:
    """Feedback, retractions, ends and decisions that come later leave the old ones as they were."""
    policy = make("recurrent", toy)
    log = random_log(toy, seed, n)
    before = logps_by_decision(toy, log, policy, window=8)
    log.grow(more)
    after = logps_by_decision(toy, log, policy, window=8)
    for decision, logps in before.items():
        # One row more in the batch may change the last bit of a matrix product, nothing else.
        np.testing.assert_allclose(after[decision], logps, rtol=0, atol=1e-12)


@toys
@settings(max_examples=25)
@given(seed=seeds, n=st.integers(2, 30), delays=st.lists(st.integers(0, 30), max_size=30))
def test_shuffled_delays_change_no_event_before_the_arrival(
    toy: Toy, seed: int, n: int, delays: list[int]
) -> None:
    """Each feedback arrives later by its delay: events up to the first one moved are the same."""
    log = random_log(toy, seed, n, subjects=1)
    place = dict(zip([r.id for r in log.records], range(n), strict=True))
    late = dict(zip([i for i, r in enumerate(log.records) if isinstance(r, Feedback)], delays))  # noqa: B905
    due = [i + 0.5 * (i in late) + late.get(i, 0) for i in range(n)]
    for i, record in enumerate(log.records):  # a retraction stays behind what it takes back
        if isinstance(record, Feedback) and record.retracts is not None:
            due[i] = max(due[i], due[place[record.retracts]] + 0.25)
    order = sorted(range(n), key=lambda i: (due[i], i))
    moved = replace(log, records=[log.records[i] for i in order])
    first = next((i for i in range(n) if order[i] != i), n)
    untouched = replace(log, records=log.records[:first])
    before = events_of(encoded(toy, untouched), untouched, "person-0") if first else {}
    for name, column in before.items():
        for whole in (log, moved):
            # The very last event may still be answered: that feedback is fused into it.
            same = events_of(encoded(toy, whole), whole, "person-0")[name][: len(column) - 1]
            np.testing.assert_array_equal(same, column[:-1])


def decision(name: str, units: tuple[str, ...], subject: str = "a", **options) -> Decision:
    given = {"episode": f"{subject}/0", "step": 0, "logps": (-1.0,) * len(units), "context": {}}
    given |= {"choices": "all", "policy": "p", "made_at": 0.0, "vocabulary": "v", **options}
    return Decision(id=name, subject=subject, units=units, **given)


def click(name: str, about: str, unit: int, value: bool | None = True, **options) -> Feedback:
    given = {"by": "a", "kind": Kind.CLICK, "given_at": 0.0, "received_at": 0.0, **options}
    return Feedback(id=name, about=about, unit=unit, value=value, **given)


def test_a_slot_knows_when_it_was_asked_and_its_events_when_they_happened() -> None:
    """An answer carries the time it was given, and its fused unit the time it was shown."""
    toy = Slates()
    log = RandomLog(toy, np.random.default_rng(0))
    log.records = [
        decision("d0", ("item-0", "item-1"), made_at=100.0),
        click("f0", "d0", 1, given_at=130.0),  # fused
        click("f1", "d0", 0, given_at=140.0),  # late
        decision("d1", ("item-2",), step=1, made_at=250.5),
    ]
    streams = encoded(toy, log)
    batch = streams.batch(streams.windows(8))
    assert batch.events.time[0, 1:].tolist() == [100.0, 100.0, 140.0]
    assert batch.events.time[0, 0].isnan()  # START
    assert batch.choices.now is not None
    assert batch.choices.now.tolist() == [[100.0, 100.0, 250.5]]
    twice = batch.select(torch.tensor([0, 0]))
    assert twice.choices.now is not None
    assert twice.choices.now[:, 2].tolist() == [250.5, 250.5]


def test_unknown_differs_from_no() -> None:
    toy = Slates()
    policy = make("transformer", toy)
    log = RandomLog(toy, np.random.default_rng(0))
    first, second = decision("d0", ("item-0",)), decision("d1", ("item-1",), step=1)
    heard = {}
    for name, between in {
        "unknown": [],
        "no": [click("f", "d0", 0, value=False)],
        "yes": [click("f", "d0", 0, value=True)],
    }.items():
        records = replace(log, records=[first, *between, second])
        heard[name] = logps_by_decision(toy, records, policy, window=16)
    assert heard["unknown"]["d0"] == heard["no"]["d0"] == heard["yes"]["d0"]
    ones = [heard[name]["d1"][0] for name in ("unknown", "no", "yes")]
    assert min(abs(a - b) for a, b in zip(ones, [*ones[1:], ones[0]], strict=True)) > 1e-3


def test_only_what_directly_follows_its_unit_is_fused() -> None:
    toy = Slates()
    slate = ("item-0", "item-1")
    records = [
        decision("d0", slate),
        click("f0", "d0", 0),  # about the first unit: the second stands between
        click("f1", "d0", 1),
        decision("d1", slate, step=1),
        click("f2", "d1", ALL_UNITS, value=False),  # fused into the last unit
        click("f3", "d1", 1),  # a second answer to it is an event of its own
        decision("d2", slate, step=2),
        End(id="e", episode="a/0", terminated=True, ended_at=0.0, context={}),
        click("f4", "d2", 1),  # the END stands between
        click("r", "d1", 1, value=None, retracts="f3"),
    ]
    snapshot = Snapshot.of(records)
    events = toy.encode(snapshot, toy.vocabulary(snapshot)).events
    unit, fb, end, back = (
        int(k) for k in (EventKind.UNIT, EventKind.FEEDBACK, EventKind.END, EventKind.RETRACTION)
    )
    assert events.kind.tolist() == [unit, unit, fb, fb, unit, unit, fb, unit, unit, end, fb, back]
    assert events.unit.tolist() == [0, 1, 0, 1, 0, 1, 1, 0, 1, -1, 1, 1]
    assert events.channel.tolist() == [0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1]
    assert events.value.tolist() == [0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0]


def test_ratings_are_scaled_and_cut_off() -> None:
    toy = TOYS[1]
    records = [decision("d0", ("a", "<end>"), context={"prompt": []})]
    for i, stars in enumerate((-1.0, 0.0, 1.0, 7.0)):
        rating = {"kind": Kind.RATING, "value": stars}
        records.append(replace(click(f"f{i}", "d0", 0), **rating))
    snapshot = Snapshot.of(records)
    streams = toy.encode(snapshot, toy.vocabulary(snapshot))
    assert streams.events.value.tolist() == [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]
    assert streams.slots.feedback[:, 0].tolist()[0] == 1.0


def grid_game(*, ended: bool | None, late: bool = False) -> Streams:
    """Two moves; the game terminated, was cut off, or goes on; another one follows."""
    toy = Grid()
    at = [{"at": [float(i), 0.0]} for i in range(4)]
    records = [
        decision("d0", ("right",), context=at[0]),
        decision("d1", ("right",), context=at[1], step=1),
    ]
    if ended is not None:
        records.append(End(id="e", episode="a/0", terminated=ended, ended_at=0.0, context=at[2]))
    records.append(decision("d2", ("stay",), context=at[0], episode="a/1"))
    if late:
        records.append(replace(click("f", "d0", 0), kind=Kind.REWARD, value=1.0))
    snapshot = Snapshot.of(records)
    return toy.encode(snapshot, toy.vocabulary(snapshot), gamma=0.9)


def test_an_episode_that_terminated_has_no_future() -> None:
    slots = grid_game(ended=True).slots
    assert slots.discount.tolist() == [0.9, 0.0, 0.9]


@pytest.mark.parametrize("late", [False, True], ids=["in time", "feedback after the end"])
def test_an_episode_that_was_cut_off_is_worth_what_its_final_observation_is(late: bool) -> None:
    streams = grid_game(ended=False, late=late)
    batch = streams.batch(streams.windows(32))
    # START c0 right c1 right c2 END c0 stay: decided after 1, 3 and 7; cut off with c2, at 5.
    assert batch.positions[0, :4].tolist() == [1, 3, 5, 7]
    assert batch.bootstrap[0].tolist() == [False, False, True, False, True]
    assert batch.mask[0].tolist() == [True, True, False, True, False]
    assert batch.discounts[0].tolist() == pytest.approx([0.9, 0.9, 0.0, 0.9, 0.0])
    kinds = batch.events.kind[0]
    assert kinds[5] == EventKind.CONTEXT
    assert batch.events.features[0, 5].tolist() == [2.0, 0.0]


def test_an_episode_that_still_runs_is_worth_what_is_known_now() -> None:
    streams = grid_game(ended=None, late=True)
    batch = streams.batch(streams.windows(32))
    newest = int(batch.events.lengths[0]) - 1
    assert batch.positions[0, -1] == newest - 1  # d2's: before the late feedback, which is d0's
    assert int(batch.positions[0, batch.bootstrap[0]][0]) == newest  # d0 and d1's


def test_rewards_that_wait_have_no_slot() -> None:
    toy = Slates()
    records = [decision("d0", ("item-0", "item-1")), decision("d1", ("item-2",), step=1)]
    records.append(decision("d2", ("item-3",), step=2))
    snapshot = Snapshot.of(records)
    rewards = np.array([1.0, np.nan, 0.5, 0.25])
    streams = toy.encode(snapshot, toy.vocabulary(snapshot), rewards=rewards, gamma=0.5)
    assert streams.slots.decision.tolist() == [1, 2]
    assert streams.slots.reward.tolist() == [0.5, 0.25]
    streams = toy.encode(
        snapshot, toy.vocabulary(snapshot), rewards=np.array([1.0, 1.0, np.nan, 1.0]), gamma=0.5
    )
    batch = streams.batch(streams.windows(16))
    # The one that waits does not link its neighbours: what came before it bootstraps.
    assert batch.units[batch.mask].tolist() == [0, 1, 3]
    assert batch.bootstrap[0].tolist() == [False, False, True, False, True]
    assert batch.discounts[0].tolist() == [1.0, 0.5, 0.0, 0.5, 0.0]
    assert batch.positions[0].tolist() == [0, 1, 2, 3, 4]


def test_silence_is_an_answer_only_when_matured_and_only_where_it_means_something() -> None:
    toy = Slates()
    records = [
        decision("d0", ("item-0", "item-1")),
        click("f", "d0", 1),
        decision("d1", ("item-2",), step=1),
        click("g", "d1", 0),
        click("r", "d1", 0, value=None, retracts="g"),
    ]
    snapshot = Snapshot.of(records)
    vocabulary = toy.vocabulary(snapshot)
    told = toy.encode(snapshot, vocabulary).slots.feedback[:, 0]
    np.testing.assert_array_equal(told, [np.nan, 1.0, np.nan])
    matured = np.array([True, False])
    told = toy.encode(snapshot, vocabulary, matured=matured).slots.feedback[:, 0]
    np.testing.assert_array_equal(told, [0.0, 1.0, np.nan])


def test_units_that_are_not_known_are_read_and_not_learned() -> None:
    toy = Slates()
    snapshot = Snapshot.of([decision("d0", ("item-0", "from another shop", "item-2"))])
    streams = toy.encode(snapshot, toy.vocabulary(snapshot), gamma=0.5)
    assert streams.events.unit.tolist() == [0, -1, 2]
    assert streams.slots.unit.tolist() == [0, 2]
    assert streams.slots.position.tolist() == [0, 2]


def test_rules_are_choice_sets_in_numbers() -> None:
    vocabulary = Slates().vocabulary(Snapshot.of([]))
    choices = ChoiceSet(allowed=("item-2", "item-0", "gone"), forbidden=("gone",), end="item-5")
    rule = as_rule(choices, vocabulary)
    assert rule.allowed is not None
    assert (rule.allowed.tolist(), rule.forbidden.tolist(), rule.end) == ([0, 2], [], 5)
    assert as_rule(ChoiceSet(), vocabulary).allowed is None
    assert as_rule(ChoiceSet(end="gone"), vocabulary).end == -1


def test_window_start_forgets_half_a_window_at_a_time() -> None:
    seen = [count - window_start(count, 8) for count in range(40)]
    assert seen[:8] == list(range(8))
    assert set(seen[8:]) == {4, 5, 6, 7}
