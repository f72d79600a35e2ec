from collections import Counter

import numpy as np
import pytest
import torch

from heedful.contract import Streams, Window
from heedful.loop.augment import GAP, SHORTEST, Similar, crop, mask
from heedful.policy import Batch, EventKind
from tests.contract.logs import random_log
from tests.contract.toys import Slates

WINDOW = 12


@pytest.fixture(scope="module")
def streams() -> Streams:
    toy = Slates()
    snapshot = random_log(toy, 0, 400, subjects=8).snapshot()
    return toy.encode(snapshot, toy.vocabulary(snapshot))


def rows(streams: Streams) -> list[Window]:
    return streams.chunks(WINDOW, np.random.default_rng(0))


def targets(batch: Batch) -> list[list[int]]:
    return [batch.units[row, batch.mask[row]].tolist() for row in range(len(batch))]


def test_a_cropped_row_asks_for_some_of_the_same_units(streams: Streams) -> None:
    whole = rows(streams)
    cut = crop(streams, whole, 1.0, np.random.default_rng(1))
    before, after = streams.batch(whole, seen=True), streams.batch(cut, seen=True)
    shorter = 0
    for old, new, was, now in zip(whole, cut, targets(before), targets(after), strict=True):
        begin = new.slots.start - old.slots.start
        assert now == was[begin : begin + len(new.slots)]
        assert len(now) >= max(1, round(SHORTEST * len(was)))
        assert old.first <= new.first <= new.last <= old.last
        shorter += len(now) < len(was)
    assert shorter > len(whole) / 4
    at = torch.arange(len(after))[:, None].expand_as(after.positions)
    own = (after.positions + 1).clamp(max=after.events.kind.shape[1] - 1)
    within = after.mask & (after.positions + 1 < after.events.lengths[:, None])
    assert bool((after.events.unit[at, own] == after.units)[within].all()), "each after its past"


def test_no_share_crops_nothing(streams: Streams) -> None:
    assert crop(streams, rows(streams), 0.0, np.random.default_rng(1)) == rows(streams)


@pytest.fixture(scope="module")
def batch(streams: Streams) -> Batch:
    return streams.batch(rows(streams), seen=True)


def changed(before: Batch, after: Batch) -> torch.Tensor:
    for name in ("units", "positions", "mask", "weights", "rewards"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
    for name in ("kind", "channel", "value", "time"):
        one, other = getattr(before.events, name), getattr(after.events, name)
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    return before.events.unit != after.events.unit


def test_masked_units_are_unknown_and_nothing_names_them(batch: Batch) -> None:
    found = mask(batch, 0.5, np.random.default_rng(0))
    hidden = changed(batch, found)
    units = (batch.events.kind == EventKind.UNIT) & (batch.events.unit >= 0)
    share = int((hidden & units).sum()) / int(units.sum())
    assert 0.4 < share < 0.6
    assert bool((found.events.unit[hidden] == -1).all())
    for row in range(len(batch)):
        gone = set(batch.events.unit[row, hidden[row] & units[row]].tolist())
        speaks = (batch.events.kind[row] != EventKind.UNIT) & (batch.events.unit[row] >= 0)
        named = set(found.events.unit[row, speaks].tolist())
        assert not gone & (named - {-1})


def test_substitutes_are_similar(streams: Streams, batch: Batch) -> None:
    size = streams.schema.size
    nearest = np.stack([(np.arange(size) + 1) % size, (np.arange(size) + 2) % size], axis=1)
    nearest[0] = -1  # this one is like no other
    found = Similar(nearest).substitute(batch, 0.9, np.random.default_rng(0))
    other = changed(batch, found)
    was, now = batch.events.unit[other], found.events.unit[other]
    assert len(was) > 20
    assert set(((now - was) % size).tolist()) == {1, 2}
    assert 0 not in was.tolist()
    assert bool((batch.events.kind[other] == EventKind.UNIT).all())
    for row, place in torch.nonzero(other).tolist():
        named = batch.events.unit[row, batch.events.kind[row] != EventKind.UNIT]
        assert int(batch.events.unit[row, place]) not in named.tolist()


def test_no_share_changes_nothing(batch: Batch) -> None:
    similar = Similar(np.zeros((batch.choices.size, 1), dtype=np.int64))
    assert mask(batch, 0.0, np.random.default_rng(0)) is batch
    assert similar.substitute(batch, 0.0, np.random.default_rng(0)) is batch


def test_similarity_is_how_near_units_stand_to_each_other() -> None:
    rng, size, k = np.random.default_rng(3), 9, 3
    sequences = [rng.integers(0, size - 1, n) for n in (25, 1, 14, 0, 7)]
    counts = Counter(int(unit) for sequence in sequences for unit in sequence)
    score = np.zeros((size, size))
    for sequence in sequences:
        for i, one in enumerate(sequence):
            for j, other in enumerate(sequence):
                if one != other and 0 < abs(i - j) <= GAP:
                    score[one, other] += 1 / abs(i - j) / np.sqrt(counts[one] * counts[other])
    found = Similar.fit(sequences, size, k=k).nearest
    assert found.shape == (size, k)
    for unit in range(size - 1):
        expected = np.sort(score[unit])[::-1][:k]
        np.testing.assert_allclose(score[unit][found[unit]], expected, rtol=1e-12)
    assert found[size - 1].tolist() == [-1] * k, "nobody chose it"


def test_nothing_is_similar_where_nothing_was_chosen() -> None:
    assert (Similar.fit([], 4).nearest == -1).all()
