"""The benchmark's people and matches, and its arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import _styled
from benchmarks.likeness import play, spearman
from heedful.policy import Feedforward
from heedful.record import ChoiceSet, Decision, Feedback
from heedful.store import Snapshot


def test_people_have_a_style_and_keep_to_the_rules() -> None:
    made = _styled.people(5, 8, seed=0)
    assert np.unique(made.match).tolist() == list(range(40))
    assert made.legal[np.arange(len(made.moves)), made.moves].all()
    assert set(made.results.tolist()) <= {-1.0, 0.0, 1.0}
    begins = made.observed.sum(1) <= 1.0
    edges = np.isin(made.moves[begins], [1, 3, 5, 7]).mean()
    assert edges > 0.55  # of nine cells four are edges
    again = _styled.people(5, 8, seed=0)
    assert (again.moves == made.moves).all()
    assert not np.array_equal(_styled.people(5, 8, seed=1).moves, made.moves)


def test_a_win_and_a_threat_are_seen() -> None:
    mine, theirs = np.zeros(9), np.zeros(9)
    mine[[0, 1]], theirs[[3, 4]] = 1.0, 1.0
    found = _styled.habits(np.concatenate([mine, theirs])[None].astype(np.float32))[0]
    assert found[2] == _styled.SEES_WIN
    assert found[5] == _styled.SEES_THREAT
    assert found[[6, 7, 8]].tolist() == [0.0, 0.0, 0.0]


def test_matches_are_written_down_as_they_were_played() -> None:
    made = _styled.people(3, 4, seed=2)
    said = list(_styled.records(made, 4, first_person=7))
    rows = [one for one in said if not isinstance(one, ChoiceSet)]
    sets = [one for one in said if isinstance(one, ChoiceSet)]
    snapshot = Snapshot.of(rows, choice_sets=sets)
    decisions = [one for one in rows if isinstance(one, Decision)]
    assert [int(one.units[0]) for one in decisions] == made.moves.tolist()
    assert {one.subject for one in decisions} == {"person-7", "person-8", "person-9"}
    assert sum(one.step == 0 for one in decisions) == 12
    earned = [one.value for one in rows if isinstance(one, Feedback)]
    assert earned == made.rewards.tolist()
    games = _styled.game()
    streams = games.encode(snapshot, games.vocabulary(snapshot))
    assert streams.slots.unit.tolist() == made.moves.tolist()


def test_only_the_first_match_of_each_game_counts() -> None:
    games = _styled.game()
    torch.manual_seed(0)
    policy = Feedforward(games.schema(games.vocabulary(Snapshot.of([]))), width=8).eval()
    made = play(policy, 50, seed=0)
    assert np.unique(made.match).tolist() == list(range(50))
    begins = np.flatnonzero(np.diff(made.match, prepend=-1))
    assert (made.observed[begins].sum(1) <= 1.0).all()
    later = np.setdiff1d(np.arange(len(made.moves)), begins)
    assert (made.observed[later].sum(1) >= 2.0).all()


def test_rank_correlations_are_those_of_ranks() -> None:
    assert spearman([1, 2, 3, 4], [1.0, 10.0, 100.0, 1000.0]) == pytest.approx(1.0)
    assert spearman([1, 2, 3], [3.0, 1.0, 2.0]) == pytest.approx(-0.5)
    assert spearman([1, 1, 2], [1.0, 1.0, 5.0]) == pytest.approx(1.0)  # ties share a rank
