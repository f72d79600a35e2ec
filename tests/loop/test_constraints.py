"""``[constraints]`` in a workspace: what is measured, prices on the card, killed and taken up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from heedful.loop.constraints import constrained
from heedful.loop.run import Run
from heedful.record import pseudonym
from heedful.reward import RewardError
from heedful.store.registry import Version
from tests.small_shop import ITEMS, Shop, new_shop

pytestmark = pytest.mark.filterwarnings("ignore::heedful.config.ConfigWarning")  # a high rate

KEPT = {
    "constraints.at_least": {"unit.colour=red": 0.9},
    "constraints.at_most": {"long_tail": 0.3, "flagged": 0.5},
    "constraints.equal": {"town": 0.05},
    "reinforce.epochs": 3,
    "reinforce.batch": 16,
    "reinforce.learning_rate": 0.01,
    "reinforce.kl": 0.0,
}
NAMES = ("unit.colour=red", "long_tail", "flagged", "equal_town")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with described items and people, whom a pre-trained version has served."""
    folder = tmp_path_factory.mktemp("constrained") / "shop"
    shop = new_shop(folder)
    colours = {f"item-{i}": {"colour": "red" if i < ITEMS / 4 else "blue"} for i in range(ITEMS)}
    towns = {f"visitor-0-{i}": {"town": "north" if i % 2 else "south"} for i in range(60)}
    shop.workspace.promote(shop.workspace.pretrain(), by="test")
    shop.workspace.describe(units=colours, subjects=towns)
    shop.visit(60, lambda version: 0.4, decisions=3)
    shop.close()
    return folder


@pytest.fixture
def shop(folder: Path) -> Iterator[Shop]:
    shop = Shop(folder, KEPT)
    shop.now += 100
    yield shop
    shop.close()


def weights(shop: Shop, version: Version) -> str:
    file = shop.workspace.registry.folder(version.name) / "model.safetensors"
    return sha256(file.read_bytes()).hexdigest()


def curves(folder: Path) -> list[dict[str, float]]:
    (file,) = (
        path.parent / "metrics.jsonl"
        for path in folder.glob("runs/*/inputs.json")
        if json.loads(path.read_text("utf-8"))["step"] == "reinforce"
    )
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_prices_costs_and_limits_stand_on_the_card_and_in_the_curves(
    shop: Shop, folder: Path
) -> None:
    version = shop.workspace.reinforce()
    metrics = shop.workspace.registry.card(version.name).metrics
    for name in NAMES:
        parts = (f"{part}_{name}" for part in ("price", "cost", "limit"))
        last = {part: metrics[part] for part in parts}
        assert last.items() <= curves(folder)[-1].items()
    assert (metrics["limit_long_tail"], metrics["limit_unit.colour=red"]) == (0.3, 0.9)
    red = [line["price_unit.colour=red"] for line in curves(folder)]
    assert len(red) == 3
    assert red == sorted(red)  # far from the limit, it only rises
    assert red[0] > 0
    assert metrics["price_flagged"] == metrics["cost_flagged"] == 0  # nobody flagged anything
    page = shop.workspace.report().read_text("utf-8")
    assert "price_unit.colour=red" in page


def test_a_constraint_changes_what_is_learned_towards_it(shop: Shop, folder: Path) -> None:
    kept = shop.workspace.registry.card(shop.workspace.reinforce().name).metrics
    free = Shop(folder, {**KEPT, "constraints.at_least": {"unit.colour=red": 0.0}})
    free.now += 100
    other = free.workspace.registry.card(free.workspace.reinforce().name).metrics
    free.close()
    assert other["price_unit.colour=red"] == 0
    assert kept["cost_unit.colour=red"] > other["cost_unit.colour=red"] + 0.02


def test_the_next_round_begins_with_the_prices_of_the_last(shop: Shop) -> None:
    first = shop.workspace.reinforce()
    before = shop.workspace.registry.card(first.name).metrics
    bench, snapshot = shop.workspace.bench(), shop.workspace.log.snapshot()
    streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    earned = bench.earned(snapshot)
    _, fresh = constrained(bench, snapshot, streams, earned, {})
    _, again = constrained(bench, snapshot, streams, earned, before)
    name = "price_unit.colour=red"
    assert fresh.shown()[name] == 0
    assert again.shown()[name] == before[name] > 0


def test_what_is_measured_stands_beside_each_unit(shop: Shop) -> None:
    bench, snapshot = shop.workspace.bench(), shop.workspace.log.snapshot()
    streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    measured, _ = constrained(bench, snapshot, streams, bench.earned(snapshot), {})
    long_tail, flagged, red, north, south = measured.slots.measured.T
    names = [int(name.removeprefix("item-")) for name in snapshot.names.units]
    flat = snapshot.decisions.offsets[streams.slots.decision] + streams.slots.position
    number = np.array(names)[snapshot.decisions.units[flat]]
    np.testing.assert_array_equal(red, number < ITEMS / 4)
    np.testing.assert_array_equal(flagged, 0)
    assert 0 < long_tail.mean() < 1
    who = [snapshot.names.subjects[code] for code in streams.subjects[streams.slots.stream]]
    key = shop.workspace.key
    odd = {pseudonym(f"visitor-0-{i}", key) for i in range(1, 60, 2)}
    np.testing.assert_array_equal(north, [name in odd for name in who])
    assert (north + south).sum() == 60 * 3 * 2  # people from the file are in no group


def test_a_run_that_was_killed_ends_with_the_same_bits(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shop.workspace.reinforce("0001")
    save, saved = Run.save, []

    def killed(run: Run, checkpoint: object) -> None:
        save(run, checkpoint)  # type: ignore[arg-type]
        saved.append(run)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        shop.workspace.reinforce("0001")
    resumed = shop.workspace.reinforce("0001")
    assert len(saved) == 3  # two passes, and the third when it went on
    assert weights(shop, resumed) == weights(shop, whole)
    first, second = (shop.workspace.registry.card(v.name).metrics for v in (whole, resumed))
    assert first == second


def test_without_constraints_nothing_is_said_of_any(folder: Path) -> None:
    shop = Shop(folder)
    shop.now += 100
    metrics = shop.workspace.registry.card(shop.workspace.reinforce().name).metrics
    shop.close()
    assert not [name for name in metrics if name.startswith(("price_", "cost_", "limit_"))]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"at_most": {"rude": 0.1}}, "there is no measure 'rude'; known are clicked"),
        ({"at_most": {"unit.size=big": 0.1}}, "no unit is described by 'size'; .* colour"),
        ({"at_least": {"unit.colour=green": 0.1}}, "values are blue, red"),
        ({"equal": {"age": 0.1}}, "0 groups by 'age'.*known are town"),
    ],
)
def test_what_cannot_be_measured_is_named_before_anything_is_trained(
    folder: Path, asked: dict[str, object], words: str
) -> None:
    shop = Shop(folder, {f"constraints.{name}": value for name, value in asked.items()})
    shop.now += 100
    with pytest.raises(RewardError, match=words):
        shop.workspace.reinforce()
    assert len(shop.workspace.registry.versions()) == 1
    shop.close()


def test_a_measure_within_two_bounds_has_a_price_for_each(folder: Path) -> None:
    asked = {"constraints.at_least": {"long_tail": 0.2}, "constraints.at_most": {"long_tail": 0.4}}
    shop = Shop(folder, {**asked, "reinforce.epochs": 1})
    shop.now += 100
    metrics = shop.workspace.registry.card(shop.workspace.reinforce().name).metrics
    shop.close()
    limits = {name: metrics[f"limit_long_tail_at_{name}"] for name in ("least", "most")}
    assert limits == {"least": 0.2, "most": 0.4}
