import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from heedful.loop import deploy
from heedful.loop.deploy import GateRefusedError
from heedful.loop.turn import turn
from heedful.store.registry import RegistryBusyError, RegistryError
from heedful.workspace import Workspace
from tests.small_shop import Shop, new_shop


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose first version was trained on ratings, and 80 people who used it."""
    folder = tmp_path_factory.mktemp("opened") / "shop"
    shop = new_shop(folder)
    assert turn(shop.workspace.bench()).action == "first version"
    assert turn(shop.workspace.bench()).action == "nothing new"
    shop.visit(80, lambda version: 0.3)
    shop.close()
    return folder


@pytest.fixture
def shop(folder: Path) -> Iterator[Shop]:
    shop = Shop(folder)
    shop.now += 100  # later than the visit
    yield shop
    shop.close()


def state(shop: Shop, version: str) -> str:
    return shop.workspace.registry.version(version).state


def test_an_empty_log_gets_popularity_and_then_a_network_from_what_people_liked(
    tmp_path: Path,
) -> None:
    Workspace.create(tmp_path / "new").close()
    (tmp_path / "new" / "items.txt").write_text("\n".join(f"item-{i}" for i in range(8)))
    shop = Shop(tmp_path / "new", {"domain.catalogue": "items.txt"})
    first = turn(shop.workspace.bench())
    assert (first.action, first.policy) == ("first version", "0001")
    assert shop.workspace.registry.card("0001").step == "popularity"
    assert turn(shop.workspace.bench()).action == "nothing new"
    shop.visit(40, lambda version: 0.5)
    second = turn(shop.workspace.bench())
    assert (second.action, second.policy) == ("trial begun", "0003")
    steps = [shop.workspace.registry.card(name).step for name in ("0002", "0003")]
    assert steps == ["pretrain", "reinforce"]
    shop.close()


def test_a_better_candidate_is_reinforced_tried_and_promoted(shop: Shop) -> None:
    begun = turn(shop.workspace.bench())
    assert (begun.action, begun.policy) == ("trial begun", "0002")
    card = shop.workspace.registry.card("0002")
    assert (card.step, card.parent) == ("reinforce", "0001")
    shop.visit(20, lambda version: 0.9 if version == "0002" else 0.1)
    early = turn(shop.workspace.bench())
    assert early.action == "waiting"
    assert "20 subjects have matured" in early.words
    shop.visit(150, lambda version: 0.9 if version == "0002" else 0.1)
    done = turn(shop.workspace.bench())
    assert (done.action, done.policy) == ("promoted", "0002")
    assert done.verdict is not None
    assert done.verdict.promote
    assert done.words.startswith("Promote")
    assert (state(shop, "0001"), state(shop, "0002")) == ("retired", "live")
    last = shop.workspace.registry.audit()[-1]
    assert (last.action, last.evidence["k"]) == ("promoted", 1)


def test_a_worse_candidate_is_refused_and_the_next_spends_less(shop: Shop) -> None:
    turn(shop.workspace.bench())
    shop.visit(150, lambda version: 0.1 if version == "0002" else 0.9)
    done = turn(shop.workspace.bench())
    assert (done.action, done.policy) == ("refused", "0002")
    assert done.verdict is not None
    assert done.verdict.rollback
    assert done.words.startswith("Do not promote, roll back: the candidate is worse")
    assert (state(shop, "0001"), state(shop, "0002")) == ("live", "refused")
    assert turn(shop.workspace.bench()).policy == "0003"
    trial = shop.workspace.registry.trial()
    assert trial is not None
    assert trial.k == 2
    assert trial.alpha == pytest.approx(shop.workspace.registry.trials()[0].alpha / 4)


def test_a_candidate_that_never_convinces_is_refused_at_the_limit(folder: Path) -> None:
    shop = Shop(folder, {"gate.maximum_subjects": 60})
    shop.now += 100
    turn(shop.workspace.bench())
    shop.visit(50, lambda version: 0.5)
    assert turn(shop.workspace.bench()).action == "waiting"
    shop.visit(50, lambda version: 0.5)
    done = turn(shop.workspace.bench())
    assert done.action == "refused"
    assert "60 is the limit" in done.words
    shop.close()


def test_a_person_says_yes_as_well_where_that_is_asked_for(folder: Path) -> None:
    shop = Shop(folder, {"gate.approval": True})
    shop.now += 100
    turn(shop.workspace.bench())
    with pytest.raises(GateRefusedError, match="0 subjects have matured"):
        shop.workspace.promote("0002", by="ada")
    shop.visit(150, lambda version: 0.9 if version == "0002" else 0.1)
    done = turn(shop.workspace.bench())
    assert (done.action, state(shop, "0002")) == ("approval", "canary")
    assert shop.workspace.promote("0002", by="ada").state == "live"
    assert shop.workspace.registry.audit()[-1].who == "ada"
    shop.close()


def test_a_turn_that_was_killed_after_training_tries_that_candidate(shop: Shop) -> None:
    made = shop.workspace.reinforce()
    begun = turn(shop.workspace.bench())
    assert (begun.action, begun.policy) == ("trial begun", made.name)
    assert len(shop.workspace.registry.versions()) == 2


def test_without_a_trial_nothing_is_promoted_but_on_somebodys_word(shop: Shop) -> None:
    name = shop.workspace.reinforce().name
    with pytest.raises(GateRefusedError, match="no evidence for 0002"):
        shop.workspace.promote(name, by="ada")
    with pytest.raises(RegistryError, match="0001 is live"):
        shop.workspace.promote("0001", by="ada")
    assert shop.workspace.promote(name, by="ada", why="a demonstration").state == "live"
    last = shop.workspace.registry.audit()[-1]
    assert (last.who, last.why, last.evidence) == ("ada", "a demonstration", {"forced": True})


def test_promoting_another_by_hand_stops_the_trial(shop: Shop) -> None:
    shop.workspace.begin_trial(shop.workspace.reinforce())
    other = shop.workspace.popularity()
    shop.workspace.promote(other, by="ada", why="holidays")
    assert shop.workspace.registry.trial() is None
    assert (state(shop, "0002"), state(shop, "0003")) == ("candidate", "live")


def outcome_of(folder: Path, *, times: int) -> tuple[bytes, object, dict[str, object]]:
    """Return the weights and the verdicts when every feedback is delivered as many ``times``."""
    shop = Shop(folder)
    shop.now += 100
    shop.visit(60, lambda version: 0.4, times=times)
    assert turn(shop.workspace.bench()).action == "trial begun"
    shop.visit(150, lambda version: 0.9 if version == "0002" else 0.1, times=times)
    value = shop.workspace.evaluate("0002").to_dict()["value"]
    done = turn(shop.workspace.bench())
    weights = shop.workspace.registry.folder("0002") / "model.safetensors"
    shop.close()
    return weights.read_bytes(), value, done.to_dict()


def test_every_feedback_delivered_twice_changes_neither_weights_nor_verdict(
    opened: Path, tmp_path: Path
) -> None:
    once, twice = (
        outcome_of(Path(shutil.copytree(opened, tmp_path / str(times))), times=times)
        for times in (1, 2)
    )
    assert once[2]["action"] == "promoted"
    assert twice == once


def test_harm_ends_a_trial_however_few_have_matured(folder: Path) -> None:
    shop = Shop(folder, {"gate.minimum_subjects": 5_000})
    shop.now += 100
    assert turn(shop.workspace.bench()).action == "trial begun"
    shop.visit(150, lambda version: 0.1 if version == "0002" else 0.9)
    done = turn(shop.workspace.bench())
    assert (done.action, done.policy) == ("refused", "0002")
    assert "roll back: the candidate is worse" in done.words
    shop.close()


def test_a_verdict_on_one_version_does_not_promote_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it was looked at, somebody stopped it and put another one on trial."""
    bench = shop.workspace.bench()
    assert turn(bench).action == "trial begun"
    shop.visit(150, lambda version: 0.9 if version == "0002" else 0.1)
    look_at = deploy.look_at

    def interrupted(*seen: object) -> deploy.Look:
        found = look_at(*seen)
        shop.workspace.registry.stop("0002", by="ada", why="complaints")
        shop.workspace.begin_trial(shop.workspace.popularity())
        return found

    monkeypatch.setattr(deploy, "look_at", interrupted)
    with pytest.raises(RegistryBusyError, match="ended or raised the trial just now"):
        deploy.settle(bench, by="heedful")
    assert (state(shop, "0001"), state(shop, "0002"), state(shop, "0003")) == (
        "live",
        "refused",
        "canary",
    )
