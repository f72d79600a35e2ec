"""Likeness to people: counts of known play, and players who are people, nearly people, and not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heedful.evaluate.held_out import held_out_nll
from heedful.evaluate.likeness import (
    FEWEST_MATCHES,
    MOST_MATCHES,
    Foreseen,
    behaviour,
    foreseen,
    in_the_same_places,
    match,
)
from heedful.policy import Transformer
from heedful.record import UNKNOWN, Decision
from heedful.store import Snapshot
from tests.contract.toys import Grid

MOVES = 3


def test_units_count_alike_and_subjects_are_drawn() -> None:
    found = match([1.0, 2.0, 4.0, 1.5], [0.0, 1.0, 2.0, 3.0], ["a", "a", "a", "b"])
    assert (found.top1.mean, found.top3.mean, found.nll.mean) == (0.25, 0.75, 1.5)
    assert found.top1.n == 2
    assert found.nll.low == 1.0  # nobody but the first subject was drawn
    assert found.nll.high == 3.0
    assert found.to_dict()["n"] == 4
    with pytest.raises(ValueError, match="nothing to divide by"):
        match([], [], [])


def test_behaviour_counts_units_what_follows_and_where() -> None:
    seen = [[1.0], [2.0], [4.0], [5.0]]
    first, second = behaviour([0, 1, 1, 0], [3, 3, 3, 8], 2, seen)
    assert first.tolist() == [1, 2, 0, 1, 0, 1, 1 / 3, 2.0]  # 0 and 1; 0 0, 0 1, 1 0, 1 1; means
    assert second.tolist() == [1, 0, 0, 0, 0, 0, 5.0, 0.0]
    with pytest.raises(ValueError, match="ascending"):
        behaviour([0, 1], [2, 1], 2)
    with pytest.raises(ValueError, match="observed"):
        behaviour([0, 1], [1, 1], 2, [[1.0]])


def players(n: int, habit: float, rng: np.random.Generator) -> np.ndarray:
    """Return six moves each of n matches: move 0 with that probability, else either other."""
    moves = np.where(rng.random((n, 6)) < habit, 0, rng.integers(1, MOVES, (n, 6)))
    return moves.ravel()


@pytest.mark.parametrize(("habit", "low", "high"), [(0.6, 0.4, 0.6), (0.05, 0.9, 1.0)])
def test_who_plays_like_people_is_not_told_from_them(habit: float, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    people, other = players(150, 0.6, rng), players(150, habit, rng)
    matches = np.repeat(np.arange(150), 6)
    made = Foreseen(np.ones(900), np.ones(900), other)
    found = in_the_same_places(made, people, matches, MOVES, seed=0)
    assert found is not None
    assert low <= found.auc.mean <= high
    assert (found.auc.low <= 0.5 <= found.auc.high) == (habit == 0.6)
    few = slice(0, 6 * (FEWEST_MATCHES - 1))
    short = Foreseen(made.places[few], made.nats[few], other[few])
    assert in_the_same_places(short, people[few], matches[few], MOVES, seed=0) is None


def test_of_many_matches_some_are_drawn() -> None:
    rng = np.random.default_rng(0)
    n = MOST_MATCHES + 50
    made = Foreseen(np.ones(6 * n), np.ones(6 * n), players(n, 0.6, rng))
    people, matches = players(n, 0.6, rng), np.repeat(np.arange(n), 6)
    seen = rng.random((6 * n, 2))
    found = in_the_same_places(made, people, matches, MOVES, seen, seed=0)
    assert found is not None
    assert found.n == (MOST_MATCHES, MOST_MATCHES)
    assert found.groups == MOST_MATCHES
    assert found.auc.low <= 0.5 <= found.auc.high


def test_a_policy_is_asked_what_it_would_have_done_of_what_was_legal() -> None:
    """At the wall nobody goes left: two moves are possible there, and three elsewhere."""
    grid, rng = Grid(), np.random.default_rng(1)
    vocabulary, records, sets = grid.vocabulary(Snapshot.of([])), [], []
    for number in range(120):
        context = grid.context(np.array([number % 2, 0.0], np.float32))
        rule = grid.choices(context)
        sets.append(rule)
        legal = [unit for unit in grid.units if number % 2 or unit != "left"]
        records.append(
            Decision(
                id=f"d{number:03}",
                episode=f"e{number // 4:02}",
                step=number % 4,
                subject=f"s{number // 8:02}",
                units=(str(rng.choice(legal)),),
                logps=UNKNOWN,
                policy="people",
                made_at=float(number),
                context=context,
                choices=rule.digest(),
                vocabulary=vocabulary.digest(),
            )
        )
    streams = grid.encode(Snapshot.of(records, choice_sets=sets), vocabulary)
    torch.manual_seed(0)
    policy = Transformer(grid.schema(vocabulary), width=16, layers=1, heads=2).eval()
    slots = np.arange(120)
    found = foreseen(policy, streams, slots, window=32, seed=0)
    assert np.allclose(found.nats, held_out_nll(policy, streams, slots, window=32), atol=1e-5)
    assert found.places.max() <= 3.0
    at_wall = slots % 2 == 0
    assert found.places[at_wall].max() <= 2.0
    assert (found.drawn[at_wall] != vocabulary["left"]).all()
    assert set(found.drawn[~at_wall].tolist()) == {0, 1, 2}
    again = foreseen(policy, streams, slots, window=32, seed=0)
    assert (again.drawn == found.drawn).all()
