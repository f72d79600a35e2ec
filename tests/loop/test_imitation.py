"""What pre-training imitates of a file: what people chose or liked, not what they passed by."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heedful.loop.lessons import chosen_by_people, to_reinforce
from heedful.loop.turn import chosen
from heedful.workspace import Workspace

COLUMNS = {
    "import.subject": "who",
    "import.unit": "what",
    "import.click": "clicked",
    "import.rating": "stars",
    "import.time": "at",
    "import.propensity": "p",
}
ROWS = {
    "chosen": ",,",  # nothing but that it was chosen
    "clicked": "1,,",
    "passed by": "0,,",
    "passed by and liked": "0,5,",
    "disliked": ",1,",  # chosen all the same
    "shown": ",,0.5",
    "shown and clicked": "1,,0.5",
    "shown and passed by": "0,,0.5",
}
IMITATED = {"chosen", "clicked", "passed by and liked", "disliked", "shown and clicked"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workspace]:
    Workspace.create(tmp_path / "shop").close()
    reward = {"reward.kind": "mixture", "reward.weights": {"click": 1.0, "rating": 1.0}}
    with Workspace.open(tmp_path / "shop", COLUMNS | reward) as opened:
        yield opened


def load(shop: Workspace, rows: dict[str, str]) -> None:
    path = shop.folder / "rows.csv"
    lines = [
        f"{who},{what},{cells},{at}"
        for at, (what, cells) in enumerate(rows.items())
        for who in "ab"
    ]
    path.write_text("\n".join(["who,what,clicked,stars,p,at", *lines]) + "\n")
    assert shop.import_file(path).added == len(lines)


def imitated(shop: Workspace) -> set[str]:
    bench = shop.bench()
    snapshot = bench.log.snapshot()
    vocabulary = bench.domain.vocabulary(snapshot)
    streams = bench.encode(snapshot, vocabulary)
    weights = chosen_by_people(streams)
    return {vocabulary.units[unit] for unit in streams.slots.unit[weights > 0]}


def test_an_explicit_no_is_not_imitated(shop: Workspace) -> None:
    load(shop, ROWS)
    assert imitated(shop) == IMITATED


@pytest.mark.parametrize("what", ROWS)
def test_a_turn_pre_trains_only_where_there_is_something_to_imitate(
    shop: Workspace, what: str
) -> None:
    load(shop, {what: ROWS[what]})
    assert chosen(shop.bench()) == (what in IMITATED)
    assert bool(imitated(shop)) == (what in IMITATED)


def test_the_joint_term_imitates_no_more_than_pre_training(shop: Workspace) -> None:
    load(shop, ROWS)
    bench = shop.bench()
    snapshot = bench.log.snapshot()
    streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    everything = np.ones(len(streams.slots.unit), bool)
    weight = to_reinforce(streams, everything).slots.weight
    history = np.isnan(streams.slots.behaviour_logp)
    assert (weight[~history] == 1).all()
    assert (weight[history] == chosen_by_people(streams)[history]).all()
    assert (weight[history] == 0).any()


def test_returns_end_before_what_is_held_out_and_what_a_person_let_through(
    shop: Workspace,
) -> None:
    load(shop, ROWS)
    bench = shop.bench()
    snapshot = bench.log.snapshot()
    streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    slots = replace(streams.slots, discount=np.full(len(streams.slots.unit), 0.9))
    train, reviewed = (np.ones(len(slots.unit), bool), np.zeros(len(slots.unit), bool))
    train[3] = False
    reviewed[6] = True
    assert len(set(slots.stream[:7].tolist())) == 1  # all of one person
    slots = replace(slots, reviewed=reviewed)
    found = to_reinforce(replace(streams, slots=slots), train).slots
    assert np.flatnonzero(found.discount == 0.0).tolist() == [2, 5]
    assert found.weight[[3, 6]].tolist() == [0.0, 0.0]
