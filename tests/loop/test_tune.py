import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.loop.deploy import GateRefusedError
from heedful.loop.form import without_floor
from heedful.loop.run import CHECKPOINT, Run
from heedful.loop.start import network_within
from heedful.loop.steps import learned_until
from heedful.loop.tune import TooFewLabelsError, changing
from heedful.policy import Ensemble, Policy, Recurrent, Schema, TabularQ, load
from heedful.record import Kind, pseudonym
from heedful.serve import DecisionAnswer, DecisionRequest, FeedbackRequest
from heedful.store.registry import Version
from heedful.workspace import RUNS, Workspace
from tests.small_shop import Shop, new_shop, write_ratings

BEST = ("item-3", "item-5")  # what the expert would have shown everybody
EXPERT = "Grace Hopper"
PEOPLE = 30
SETTINGS = {"tune.epochs": 6, "tune.learning_rate": 0.01, "tune.scope": "all"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a live network, 30 people who were shown a slate each, and nobody's word."""
    folder = tmp_path_factory.mktemp("opened") / "shop"
    shop = new_shop(folder)
    shop.workspace.promote(shop.workspace.pretrain(), by="a test")
    shop.close()
    return folder


@pytest.fixture
def shop(folder: Path) -> Iterator[Shop]:
    shop = Shop(folder, SETTINGS)
    yield shop
    shop.close()


def shown(shop: Shop, people: int = PEOPLE) -> list[DecisionAnswer]:
    with shop.workspace.serving(seed=1) as service:
        found = service.decide([DecisionRequest(user=f"visitor-{n}") for n in range(people)])
    assert all(isinstance(answer, DecisionAnswer) for answer in found)
    return found


def demonstrate(
    shop: Shop, answers: Sequence[DecisionAnswer], units: tuple[str, ...] = BEST
) -> None:
    rows = [
        FeedbackRequest(decision=a.id, kind=Kind.DEMONSTRATION, value=units, user=EXPERT)
        for a in answers
    ]
    with shop.workspace.serving() as service:
        assert {receipt.status for receipt in service.feedback(rows)} == {"added"}


def loaded(shop: Shop, version: Version | str) -> Policy:
    name = version if isinstance(version, str) else version.name
    return without_floor(load(shop.workspace.registry.folder(name)).policy)


def first_choice(shop: Shop, version: Version | str) -> torch.Tensor:
    """Return the odds of somebody's first unit who was never seen, [V]."""
    from heedful.policy import Choices, Events

    policy = loaded(shop, version)
    with torch.no_grad():
        _, logits = policy.step(
            policy.start(1), Events.none(1), Choices.everything(policy.schema.size, 1)
        )
    return torch.softmax(logits[0], 0)


def unit(shop: Shop, name: str) -> int:
    return int(load(shop.workspace.registry.folder("0001")).vocabulary[name])


def test_demonstrations_become_likelier_and_the_card_says_from_what(shop: Shop) -> None:
    demonstrate(shop, shown(shop))
    version = shop.workspace.tune()
    card = shop.workspace.registry.card(version.name)
    assert (card.step, card.parent) == ("tune", "0001")
    metrics = card.metrics
    assert metrics["nll"] < metrics["nll_before"]
    assert metrics["labels"] + metrics["labels_held_out"] == PEOPLE
    assert metrics["labels_held_out"] == 6
    wanted = unit(shop, BEST[0])
    before, after = first_choice(shop, "0001"), first_choice(shop, version)
    assert float(after[wanted]) > 1.5 * float(before[wanted])


def test_a_heavier_anchor_holds_the_policy_nearer_to_its_parent(folder: Path) -> None:
    drift = []
    for kl in (0.0, 30.0):
        shop = Shop(folder, SETTINGS | {"tune.kl": kl})
        if not drift:
            demonstrate(shop, shown(shop))
        metrics = shop.workspace.registry.card(shop.workspace.tune().name).metrics
        drift.append(metrics["kl"])
        shop.close()
    assert 0.0 < drift[1] < drift[0] / 3


@pytest.mark.parametrize("scope", ["heads", "last_block", "all"])
@pytest.mark.parametrize("kind", ["recurrent", "transformer"])
def test_only_what_the_scope_names_changes(tmp_path: Path, scope: str, kind: str) -> None:
    Workspace.create(tmp_path / "shop").close()
    settings = SETTINGS | {
        "policy.kind": kind,
        "policy.layers": 2,
        "policy.heads": 2,
        "tune.scope": scope,
        "tune.epochs": 2,
        "pretrain.epochs": 1,
    }
    shop = Shop(tmp_path / "shop", settings)
    shop.workspace.import_file(write_ratings(tmp_path / "ratings.csv"))
    shop.workspace.promote(shop.workspace.pretrain(), by="a test")
    demonstrate(shop, shown(shop))
    version = shop.workspace.tune()
    old, new = (network_within(loaded(shop, name)).state_dict() for name in ("0001", version))
    shop.close()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    heads = {"bias", "norm.weight", "norm.bias"}
    last = {"gru.weight_ih_l1", "gru.weight_hh_l1", "gru.bias_ih_l1", "gru.bias_hh_l1"}
    if kind == "transformer":
        last = {name for name in old if name.startswith("blocks.1.")}
    if scope == "all":
        assert changed > heads | {"embed.unit.weight"}
    else:
        assert heads <= changed <= heads | (last if scope == "last_block" else set())
        assert (scope == "last_block") == bool(changed - heads)


def test_every_member_of_an_ensemble_has_heads_and_other_tables_have_none() -> None:
    schema = Schema(5)
    members = [Recurrent(schema, width=8) for _ in range(2)]
    chosen = changing(Ensemble(members), "heads")
    expected = [p for member in members for p in member.parameters_of("heads")]
    assert [id(p) for p in chosen] == [id(p) for p in expected]
    assert all(p.requires_grad for p in chosen)
    assert not members[0].embed.unit.weight.requires_grad
    table = TabularQ(schema, states=6, look="unit")
    assert [id(p) for p in changing(table, "all")] == [id(table.q)]
    with pytest.raises(ValueError, match="'tabular' does not say what its heads are"):
        changing(table, "heads")


def test_people_who_are_trusted_need_not_demonstrate(folder: Path) -> None:
    shop = Shop(folder, SETTINGS | {"tune.trusted": [EXPERT]})
    answers = shown(shop, 200)
    said = [
        FeedbackRequest(decision=a.id, kind=Kind.CLICK, value=True, unit=place, user=who)
        for a in answers
        for place, name in enumerate(a.units)
        for who in ([EXPERT] if name in BEST else ["a stranger"])
    ]
    with shop.workspace.serving() as service:
        service.feedback(said)
    liked = sum(name in BEST for a in answers for name in a.units)
    version = shop.workspace.tune()
    card = shop.workspace.registry.card(version.name)
    counted = sum(
        int(card.metrics[name])
        for name in ("labels", "labels_held_out", "labels_of_held_out_units")
    )
    assert counted == liked
    wanted = [unit(shop, name) for name in BEST]
    gained = (first_choice(shop, version) - first_choice(shop, "0001"))[wanted]
    assert bool((gained > 0).all())
    shop.close()


def test_no_card_and_no_run_holds_the_name_of_somebody_trusted(folder: Path) -> None:
    shop = Shop(folder, SETTINGS | {"tune.trusted": [EXPERT]})
    demonstrate(shop, shown(shop))
    version = shop.workspace.tune()
    card = shop.workspace.registry.card(version.name)
    known = pseudonym(EXPERT, shop.workspace.key)
    assert card.configuration["tune"]["trusted"] == [known]
    shop.close()
    written = [
        *folder.glob(f"{RUNS}/*/inputs.json"),
        *folder.glob("policies/*/*.json"),
    ]
    assert len(written) > 3
    assert not any(EXPERT in path.read_text("utf-8") for path in written)


def test_too_few_labels_are_refused_and_nothing_is_left(shop: Shop) -> None:
    demonstrate(shop, shown(shop)[:3])
    with pytest.raises(TooFewLabelsError, match=r"there are 3 trusted labels about 3 subjects"):
        shop.workspace.tune()
    assert [v.name for v in shop.workspace.registry.versions()] == ["0001"]


def test_units_nobody_knows_and_what_was_not_allowed_are_counted_and_named(shop: Shop) -> None:
    answers = shown(shop)
    demonstrate(shop, answers[:15], ("item-3", "a typo"))
    demonstrate(shop, answers[15:], ("item-3", "item-3"))  # no unit twice in a slate
    with pytest.raises(TooFewLabelsError) as refused:
        shop.workspace.tune()
    said = str(refused.value)
    assert "there are 0 trusted labels" in said
    assert "15 labels not allowed, 15 units unknown" in said
    assert "unknown are a typo" in said


def test_labels_that_say_nothing_to_others_are_refused(folder: Path) -> None:
    """An expert who wants another pair for everybody tells nothing of what others should get."""
    shop = Shop(folder, SETTINGS | {"tune.learning_rate": 0.5, "tune.kl": 0.0})
    rng = np.random.default_rng(0)
    for answer in shown(shop):
        first, second = rng.choice(24, 2, replace=False)
        demonstrate(shop, [answer], (f"item-{first}", f"item-{second}"))
    with pytest.raises(ValueError, match="made none of the held-out ones likelier"):
        shop.workspace.tune()
    assert [v.name for v in shop.workspace.registry.versions()] == ["0001"]
    shop.close()


def test_a_policy_without_a_network_cannot_be_tuned(shop: Shop) -> None:
    demonstrate(shop, shown(shop))
    name = shop.workspace.popularity().name
    with pytest.raises(ValueError, match="no network in it"):
        shop.workspace.tune(name)


def test_the_gate_asks_a_tuned_version_for_a_trial_like_any_other(shop: Shop) -> None:
    demonstrate(shop, shown(shop))
    version = shop.workspace.tune()
    with pytest.raises(GateRefusedError, match=f"no evidence for {version.name}"):
        shop.workspace.promote(version, by="ada")
    assert shop.workspace.begin_trial(version).candidate == version.name


def test_reinforcement_goes_on_from_a_tuned_version_where_its_parent_stopped(shop: Shop) -> None:
    shop.visit(30, lambda version: 0.5)
    reinforced = shop.workspace.reinforce()
    demonstrate(shop, shown(shop))
    tuned = shop.workspace.tune(reinforced.name)
    bench = shop.workspace.bench()
    assert learned_until(bench, tuned) == learned_until(bench, reinforced) > 0


class StoppedError(Exception):
    """Pulls the plug."""


def test_stopped_after_any_pass_it_goes_on_to_the_same_bits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(folder, SETTINGS)
    demonstrate(shop, shown(shop))
    save, passes = Run.save, []

    def stop(self: Run, checkpoint: object) -> None:
        save(self, checkpoint)
        passes.append(1)
        if len(passes) == 2:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", stop)
        with pytest.raises(StoppedError):
            shop.workspace.tune()
    assert len(list(folder.glob(f"{RUNS}/*/{CHECKPOINT}"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", stop)
        resumed = shop.workspace.tune().name
    assert len(passes) == SETTINGS["tune.epochs"], "it did not begin again"
    undisturbed = shop.workspace.tune().name
    files = [folder / "policies" / name / "model.safetensors" for name in (resumed, undisturbed)]
    assert files[0].read_bytes() == files[1].read_bytes()
    curves = [json.loads(p.read_text()) for p in folder.glob(f"{RUNS}/*/inputs.json")]
    assert sum(c["step"] == "tune" for c in curves) == 2
    shop.close()
