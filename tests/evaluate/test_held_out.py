from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.contract import Streams
from heedful.domains.recommendation import Recommendation
from heedful.evaluate.held_out import (
    Split,
    by_episode,
    by_time,
    held_out_nll,
    held_out_ranks,
    leave_one_out,
    subject_means,
)
from heedful.policy import Recurrent
from heedful.record import UNKNOWN, Decision
from heedful.store import Snapshot

Row = tuple[str, float]
"""Who chose something, and when."""


def streams_of(rows: list[Row], items: int = 7) -> tuple[Streams, np.ndarray]:
    """Encode choices in the order of ``rows``; also return when each decision was made."""
    records = [
        Decision(
            id=f"d{number}",
            episode=who,
            step=0,
            subject=who,
            units=(f"item-{number * number % items}",),
            logps=UNKNOWN,
            policy="import",
            made_at=at,
            context={},
            choices="all",
            vocabulary="import",
        )
        for number, (who, at) in enumerate(rows)
    ]
    domain, snapshot = Recommendation(), Snapshot.of(records)
    return domain.encode(snapshot, domain.vocabulary(snapshot)), snapshot.decisions.made_at


def times(streams: Streams, made_at: np.ndarray, slots: np.ndarray) -> list[float]:
    return sorted(made_at[streams.slots.decision[slots]].tolist())


def test_leave_one_out_holds_out_the_last_two_of_whoever_has_three() -> None:
    streams, made_at = streams_of([("ann", 1), ("bob", 2), ("ann", 3), ("ann", 4), ("bob", 5)])
    split = leave_one_out(streams)
    assert times(streams, made_at, split.test) == [4]
    assert times(streams, made_at, split.validation) == [3]
    assert times(streams, made_at, np.flatnonzero(split.train)) == [1, 2, 5]


def test_by_time_cuts_all_subjects_at_the_same_moment() -> None:
    rows = [(who, 10.0 * at) for at, who in enumerate("abacbcabdd")]
    streams, made_at = streams_of(rows)
    split = by_time(streams, made_at, 0.2)
    assert times(streams, made_at, np.flatnonzero(split.train)) == [0, 10, 20, 30, 40, 50]
    assert times(streams, made_at, split.validation) == [60, 70]
    assert times(streams, made_at, split.test) == [80, 90]  # d came after the cut, and counts


def test_units_of_one_moment_are_never_parted() -> None:
    rows = [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("a", 4),
        ("b", 5),
        ("c", 5),
        ("a", 6),
        ("b", 6),
        ("c", 6),
    ]
    streams, made_at = streams_of(rows)
    split = by_time(streams, made_at, 0.2)  # two of nine: in the midst of the sixes
    assert times(streams, made_at, split.validation) == [5, 5]
    assert times(streams, made_at, split.test) == [6, 6, 6]


def test_old_history_that_was_imported_late_is_not_trained_on_with_the_future_in_view() -> None:
    rows = [("a", 1), ("b", 2), ("b", 3), ("b", 4), ("a", 7), ("a", 8), ("a", 1.5), ("b", 5)]
    streams, made_at = streams_of(rows)
    split = by_time(streams, made_at, 0.25)
    assert times(streams, made_at, np.flatnonzero(split.train)) == [1, 2, 3, 4]
    assert times(streams, made_at, split.test) == [1.5, 8]


moments = st.floats(0, 100, width=16)
logs = st.lists(st.tuples(st.sampled_from("abcde"), moments), min_size=3, max_size=60)


@settings(max_examples=200)
@given(rows=logs, share=st.sampled_from([0.05, 0.1, 0.3]))
def test_nothing_after_the_cut_is_trained_on_or_stands_before_what_is(
    rows: list[Row], share: float
) -> None:
    streams, made_at = streams_of(rows)
    with suppress(ValueError):  # too few moments, or running numbers by chance
        check_parts(streams, made_at, by_time(streams, made_at, share))


def check_parts(streams: Streams, made_at: np.ndarray, split: Split) -> None:
    at, stream = made_at[streams.slots.decision], streams.slots.stream
    parts = [np.flatnonzero(split.train), split.validation, split.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(at)))
    latest = [max(at[(stream == stream[i]) & (np.arange(len(at)) <= i)]) for i in range(len(at))]
    train, validation, test = (np.array(latest)[part] for part in parts)
    assert max(train) < min(validation)
    assert max(validation) < min(test)


@pytest.mark.parametrize(
    "rows",
    [
        [(who, float(place)) for place in range(5) for who in "abc"],
        [(who, float(place + 1)) for who in "abc" for place in range(5)],
        [
            (who, float(number * 5 + place))
            for number, who in enumerate("abc")
            for place in range(5)
        ],
    ],
    ids=["places", "places from one", "lines of a file"],
)
def test_running_numbers_are_no_times(rows: list[Row]) -> None:
    with pytest.raises(ValueError, match="numbered within each subject"):
        by_time(*streams_of(rows))


@pytest.mark.parametrize("rows", [[("a", 1.0)], [("a", 3.0), ("b", 3.0), ("c", 3.0)]])
def test_too_few_moments_to_cut_at(rows: list[Row]) -> None:
    with pytest.raises(ValueError, match=r"cannot be split by time.*leave-one-out"):
        by_time(*streams_of(rows))


@pytest.mark.parametrize("window", [4, 10, 40])
def test_targets_in_one_row_are_ranked_as_one_by_one(window: int) -> None:
    rng = np.random.default_rng(0)
    rows = [(str(who), float(at)) for at, who in enumerate(rng.integers(0, 4, 80))]
    streams, _ = streams_of(rows, items=23)
    torch.manual_seed(1)
    policy = Recurrent(streams.schema, width=8, layers=1, dropout=0.0).eval()
    slots = np.sort(rng.permutation(80)[:50])
    found = held_out_ranks(policy, streams, slots, window=window, seen=True)
    alone = [
        held_out_ranks(policy, streams, slots[i : i + 1], window=window, seen=True)[0]
        for i in range(len(slots))
    ]
    assert found.tolist() == alone
    assert len(set(alone)) > 5


def test_a_subject_counts_once() -> None:
    streams, _ = streams_of([("a", 1), ("b", 2), ("b", 3), ("c", 4), ("b", 5)])
    b_and_c = np.flatnonzero(streams.slots.stream > 0)
    assert subject_means(streams, b_and_c, np.array([1.0, 2.0, 6.0, 10.0])).tolist() == [3.0, 10.0]


def test_episodes_are_held_out_whole_by_their_own_number() -> None:
    streams, _ = streams_of([(who, float(at)) for at in range(3) for who in "abcdefgh"])
    place = np.array([0.05, 0.15, 0.25, 0.95, 0.1, 0.2, 0.0, 0.19] * 3)
    found = by_episode(streams, place, 0.1)
    at = place[streams.slots.decision]
    assert sorted(set(at[found.test])) == [0.0, 0.05]
    assert sorted(set(at[found.validation])) == [0.1, 0.15, 0.19]
    assert sorted(set(at[found.train])) == [0.2, 0.25, 0.95]
    assert len(found.test) + len(found.validation) + found.train.sum() == len(at)


def test_the_likelihood_of_held_out_units_is_that_of_the_policy() -> None:
    torch.manual_seed(0)
    streams, _ = streams_of([(who, float(at)) for at in range(6) for who in "abc"])
    policy = Recurrent(streams.schema, width=8).eval()
    slots = np.array([2, 5, 9, 11, 16])
    found = held_out_nll(policy, streams, slots, window=8)
    for slot, nats in zip(slots.tolist(), found.tolist(), strict=True):
        batch = streams.batch([streams.single(slot, 8)])
        with torch.no_grad():
            logps = policy.forward(batch, frozenset({"logps"})).logps
        assert nats == pytest.approx(-float(logps[batch.mask]), abs=1e-5)
