"""What the benchmarks on MovieLens share, on a file small enough to see through."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _movielens, _sasrec, feedback_ablation
from benchmarks._movielens import OWN, WITHOUT
from heedful.evaluate.held_out import leave_one_out
from heedful.loop.assess import PRIOR
from tests.small_shop import SUBJECTS

SMALL = {"policy.width": 8, "policy.heads": 1, "pretrain.epochs": 1, "policy.window": 40}


@pytest.fixture
def ordered(tmp_path: Path) -> Path:
    """Ratings in ML-1M's form; those without a place in the order are to be left out."""
    rng = np.random.default_rng(0)
    path = tmp_path / "ratings.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("user_id,movie_id,rating,position\n")
        for user in range(SUBJECTS):
            for place, movie in enumerate(rng.choice(30, 6, replace=False)):
                file.write(f"{user},{movie},{rng.integers(1, 6)},{place}\n")
            file.write(f"{user},99,5,-1\n")
    return path


def test_members_and_prior_are_measured_apart(
    ordered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks._kept.FOLDER", tmp_path / "kept")
    settings = {**SMALL, "policy.members": ["recurrent", "recurrent"]}
    found = _movielens.trained("benchmarks.ml_1m", ordered, settings)
    names = {OWN, WITHOUT, "member 1", "member 2", "popularity", PRIOR}
    assert found["ranks"].keys() == names
    assert {len(ranks) for ranks in found["ranks"].values()} == {SUBJECTS}
    assert all(rating in (0, 0.25, 0.5, 0.75, 1) for rating in found["ratings"])
    line = _movielens.row("it", [found["ranks"][OWN]] * 2, np.zeros(SUBJECTS), "1")
    assert len(line) == len(_movielens.COLUMNS)


def test_answers_of_the_history_are_changed_and_nothing_else(ordered: Path, tmp_path: Path) -> None:
    with _movielens.opened(tmp_path, ordered, SMALL) as workspace:
        bench, snapshot = workspace.bench(), workspace.log.snapshot()
        streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    assert streams.schema.size == 30
    value = streams.events.value
    found = {c: feedback_ablation.changed(streams, c).events for c in feedback_ablation.CHANGES}
    assert (found["hidden"].channel == 0).all()
    assert not found["hidden"].value.any()
    np.testing.assert_allclose(found["turned round"].value, 1 - value)
    assert sorted(found["shuffled"].value.tolist()) == sorted(value.tolist())
    assert (found["shuffled"].value != value).any()
    assert all((of.unit == streams.events.unit).all() for of in found.values())


def test_ratings_are_dealt_out_anew_among_all_rows(ordered: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    copy = feedback_ablation.dealt_anew(ordered, tmp_path / "copy")
    with gzip.open(ordered, "rt") as one, gzip.open(copy, "rt") as other:
        before, after = list(csv.reader(one)), list(csv.reader(other))
    at = before[0].index("rating")
    assert [[*r[:at], *r[at + 1 :]] for r in before] == [[*r[:at], *r[at + 1 :]] for r in after]
    ratings, dealt = [r[at] for r in before], [r[at] for r in after]
    assert ratings != dealt
    assert sorted(ratings) == sorted(dealt)


@pytest.mark.parametrize("full", [True, False])
def test_the_peer_learns(ordered: Path, tmp_path: Path, full: bool) -> None:
    with _movielens.opened(tmp_path, ordered, SMALL) as workspace:
        bench, snapshot = workspace.bench(), workspace.log.snapshot()
        streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    split = leave_one_out(streams)
    found = _sasrec.train(streams, split, full=full, epochs=2, width=8, seed=0)
    assert found["units"] == 2 * SUBJECTS * 3  # of four units in training three are predicted
    assert all(1 <= rank <= 30 for rank in found["ranks"])
