from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.contract import Streams, window_start
from heedful.policy import Batch, EventKind
from heedful.record import Decision
from tests.contract.logs import RandomLog, random_log
from tests.contract.toys import TOYS, Toy

toys = pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
seeds = st.integers(0, 2**32 - 1)
WINDOWS = st.sampled_from([4, 8, 16])


def encoded(toy: Toy, log: RandomLog, **options) -> Streams:
    snapshot = log.snapshot()
    return toy.encode(snapshot, toy.vocabulary(snapshot), **options)


def slots_of(windows) -> list[int]:
    return [slot for window in windows for slot in window.slots]


@toys
@settings(max_examples=40)
@given(seed=seeds, n=st.integers(1, 60), window=WINDOWS)
def test_every_slot_stands_in_one_window_and_sees_what_the_server_shows(
    toy: Toy, seed: int, n: int, window: int
) -> None:
    streams = encoded(toy, random_log(toy, seed, n))
    windows = streams.windows(window)
    assert sorted(slots_of(windows)) == list(range(len(streams.slots.unit)))
    for row in windows:
        for slot in row.slots:
            assert streams.slots.stream[slot] == row.stream
            assert row.first == window_start(int(streams.slots.start[slot]), window)
            assert row.first <= streams.slots.event[slot] <= row.last


@toys
@settings(max_examples=40)
@given(seed=seeds, n=st.integers(1, 60), length=st.integers(3, 12), phased=st.booleans())
def test_every_slot_stands_in_one_chunk_of_bounded_length(
    toy: Toy, seed: int, n: int, length: int, phased: bool
) -> None:
    streams = encoded(toy, random_log(toy, seed, n))
    chunks = streams.chunks(length, np.random.default_rng(seed) if phased else None)
    assert sorted(slots_of(chunks)) == list(range(len(streams.slots.unit)))
    for row in chunks:
        events = streams.slots.event[list(row.slots)]
        assert row.first <= events.min() <= events.max() < row.first + length


@toys
@settings(max_examples=20)
@given(seed=seeds, n=st.integers(5, 60), window=WINDOWS, every=st.integers(2, 5))
def test_only_windows_that_hold_a_wanted_slot(
    toy: Toy, seed: int, n: int, window: int, every: int
) -> None:
    streams = encoded(toy, random_log(toy, seed, n))
    wanted = np.arange(len(streams.slots.unit)) % every == 0
    found = streams.windows(window, wanted)
    expected = [row for row in streams.windows(window) if wanted[list(row.slots)].any()]
    assert found == expected


@toys
@settings(max_examples=20)
@given(seed=seeds, n=st.integers(5, 60), window=WINDOWS, every=st.integers(1, 5))
def test_stretches_hold_the_wanted_slots_and_begin_where_the_server_would(
    toy: Toy, seed: int, n: int, window: int, every: int
) -> None:
    streams = encoded(toy, random_log(toy, seed, n))
    wanted = np.arange(0, len(streams.slots.unit), every)
    rows = streams.stretches(wanted, window)
    assert [slot for slot in slots_of(rows) if slot in set(wanted.tolist())] == wanted.tolist()
    assert {slot for row in rows for slot in (row.slots[0], row.slots[-1])} <= set(wanted.tolist())
    for row in rows:
        starts = {window_start(int(streams.slots.start[slot]), window) for slot in row.slots}
        assert starts == {row.first}
    assert (
        len({(row.stream, row.first) for row in rows})
        >= len(rows) - streams.slots.stream.max(initial=0) - 1
    )  # only the first two blocks of a stream begin at the same event


def slot_order(batch: Batch, windows) -> list[tuple[int, int, int]]:
    """Return (row, column, slot) of every unit in a batch."""
    places = batch.mask.nonzero().tolist()
    return [(r, c, s) for (r, c), s in zip(places, slots_of(windows), strict=True)]


@toys
@settings(max_examples=40)
@given(seed=seeds, n=st.integers(1, 60), window=WINDOWS)
def test_a_batch_holds_the_events_and_slots_of_its_windows(
    toy: Toy, seed: int, n: int, window: int
) -> None:
    log = random_log(toy, seed, n)
    streams = encoded(toy, log, gamma=0.9)
    windows = streams.windows(window)
    if not windows:
        return
    batch = streams.batch(windows)
    for row, cut in enumerate(windows):
        base = streams.offsets[cut.stream]
        kinds = streams.events.kind[base + cut.first : base + cut.last].tolist()
        assert batch.events.lengths[row] == len(kinds) + 1
        padding = batch.events.kind.shape[1] - len(kinds) - 1
        assert batch.events.kind[row].tolist() == [EventKind.START, *kinds, *[0] * padding]
    decisions = [r for r in log.records if isinstance(r, Decision)]
    vocabulary = toy.vocabulary(log.snapshot())
    for row, column, slot in slot_order(batch, windows):
        decision = decisions[int(batch.decisions[row, column])]
        position = int(streams.slots.position[slot])
        unit = vocabulary[decision.units[position]]
        assert batch.units[row, column] == unit
        if isinstance(decision.logps, tuple):
            assert batch.behaviour_logps[row, column] == decision.logps[position]
        else:
            assert batch.behaviour_logps[row, column].isnan()
        # The event after the position is the unit itself: it was decided before it was read.
        after = int(batch.positions[row, column]) + 1
        if after < batch.events.kind.shape[1] and after < int(batch.events.lengths[row]):
            assert batch.events.kind[row, after] == EventKind.UNIT
            assert batch.events.unit[row, after] == unit


def possible(log: RandomLog, toy: Toy, chosen: Decision, position: int) -> set[str]:
    """Say in plain Python what could stand at ``position`` of ``chosen``."""
    choices = next(c for c in log.sets if c.digest() == chosen.choices)
    units = set(toy.units if choices.allowed is None else choices.allowed) & set(toy.units)
    units -= set(choices.forbidden)
    if not choices.seen:
        before = log.records[: log.records.index(chosen)]
        for record in before:
            if isinstance(record, Decision) and record.subject == chosen.subject:
                units -= set(record.units) - {choices.end}
    if not choices.repeat:
        units -= set(chosen.units[:position])
    for group in choices.groups:
        held = sum(unit in group.units for unit in chosen.units[:position])
        if group.most is not None and held >= group.most:
            units -= set(group.units)
    return units


def lowered(log: RandomLog, chosen: Decision, position: int, unit: str) -> float:
    """Say in plain Python how much rules take off the logit of ``unit`` there."""
    choices = next(c for c in log.sets if c.digest() == chosen.choices)
    return sum(
        group.penalty * sum(before in group.units for before in chosen.units[:position])
        for group in choices.groups
        if unit in group.units
    )


@toys
@pytest.mark.parametrize("cut", ["windows", "chunks"])
@settings(max_examples=40)
@given(seed=seeds, n=st.integers(1, 50), waits=st.booleans())
def test_what_was_possible_in_each_slot(toy: Toy, cut: str, seed: int, n: int, waits: bool) -> None:
    """Masks equal a brute-force reference; decisions that wait count as seen, not as learned."""
    log = random_log(toy, seed, n)
    decisions = [r for r in log.records if isinstance(r, Decision)]
    rng = np.random.default_rng(seed)
    rewards = np.concatenate(
        [np.full(len(d.units), np.nan if waits and rng.random() < 0.3 else 1.0) for d in decisions]
    )
    streams = encoded(toy, log, rewards=rewards, gamma=0.9)
    windows = streams.windows(8) if cut == "windows" else streams.chunks(7, rng)
    if not windows:
        return
    batch = streams.batch(windows)
    mask = batch.choices.mask()
    given = batch.choices.apply(torch.zeros(batch.mask.numel(), len(toy.units)))
    for row, column, slot in slot_order(batch, windows):
        decision = decisions[int(batch.decisions[row, column])]
        expected = possible(log, toy, decision, int(streams.slots.position[slot]))
        found = mask[row * batch.mask.shape[1] + column] if mask is not None else [True] * 99
        assert {unit for unit, ok in zip(toy.units, found, strict=False) if ok} == expected
        index, unit = int(batch.units[row, column]), toy.units[int(batch.units[row, column])]
        off = lowered(log, decision, int(streams.slots.position[slot]), unit)
        assert given[row * batch.mask.shape[1] + column, index] == pytest.approx(-off)


@pytest.mark.parametrize("overruled", [False, True])
def test_what_was_seen_can_be_overruled(overruled: bool) -> None:
    toy = TOYS[0]
    streams = encoded(toy, random_log(toy, 1, 40))
    batch = streams.batch(streams.windows(16), seen=overruled)
    mask = batch.choices.mask(batch.mask)
    assert mask is not None
    counts = mask.sum(1)
    reference = streams.batch(streams.windows(16)).choices.mask(batch.mask).sum(1)
    assert bool((counts >= reference).all() if overruled else (counts <= reference).all())
    assert not bool((counts == reference).all())


@toys
@settings(max_examples=40)
@given(seed=seeds, n=st.integers(1, 50), window=WINDOWS, gamma=st.sampled_from([0.0, 0.9]))
def test_discounts_and_bootstraps(toy: Toy, seed: int, n: int, window: int, gamma: float) -> None:
    """1 in a decision, gamma at its end, 0 where it terminated; what is open has a bootstrap."""
    log = random_log(toy, seed, n)
    streams = encoded(toy, log, gamma=gamma)
    windows = streams.windows(window)
    if not windows:
        return
    batch = streams.batch(windows)
    decisions = [r for r in log.records if isinstance(r, Decision)]
    last_of = {d.episode: d for d in decisions}
    ended = {r.episode for r in log.records if getattr(r, "terminated", False)}
    columns = batch.mask.shape[1]
    for row, column, slot in slot_order(batch, windows):
        decision = decisions[int(batch.decisions[row, column])]
        position = int(streams.slots.position[slot])
        expected = 1.0 if position < len(decision.units) - 1 else gamma
        if (
            expected == gamma
            and last_of[decision.episode] is decision
            and decision.episode in ended
        ):
            expected = 0.0
        assert float(batch.discounts[row, column]) == pytest.approx(expected)
        follows = column + 1 < columns and bool(batch.slots[row, column + 1])
        if expected > 0:
            assert follows, "a slot with a future has a value after it"
            continued = bool(batch.mask[row, column + 1])
            other = decisions[int(batch.decisions[row, column + 1])]
            assert not continued or other.episode == decision.episode
        elif follows:
            assert not bool(batch.bootstrap[row, column + 1])
    assert not bool((batch.bootstrap & batch.mask).any())
    inside = batch.positions < batch.events.lengths[:, None]
    assert bool(inside[batch.slots].all())


def test_an_empty_log_has_no_windows() -> None:
    streams = encoded(TOYS[0], RandomLog(TOYS[0], np.random.default_rng(0)))
    assert (len(streams), streams.windows(8), streams.chunks(8)) == (0, [], [])


def test_weights_of_slots_reach_the_batch() -> None:
    streams = encoded(TOYS[0], random_log(TOYS[0], 3, 20))
    weight = np.linspace(0.5, 1.5, len(streams.slots.unit))
    streams = replace(streams, slots=replace(streams.slots, weight=weight))
    windows = streams.windows(8)
    batch = streams.batch(windows)
    np.testing.assert_allclose(
        batch.weights[batch.mask].numpy(), weight[slots_of(windows)], rtol=1e-6
    )
