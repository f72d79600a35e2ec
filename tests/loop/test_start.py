"""Where a step begins: a catalogue that grew, and a network that goes on."""

from pathlib import Path

import pytest
import torch

from heedful.contract import Domain
from heedful.domains.recommendation import Recommendation
from heedful.loop import start
from heedful.policy import Floor, Loaded, Popularity, Recurrent, TransitionPrior
from heedful.record import UNKNOWN, Decision, Described, Description
from heedful.store import Log, Snapshot

DOMAIN: Domain = Recommendation()


def chosen(*units: str) -> list[Decision]:
    return [
        Decision(
            id=f"d{number}", episode="e", step=number, subject="ann", units=(unit,), logps=UNKNOWN,
            policy="import", made_at=float(number), context={}, choices="all", vocabulary="import",
        )
        for number, unit in enumerate(units)
    ]  # fmt: skip


def version(snapshot: Snapshot) -> Loaded:
    """A network under a prior and a floor, as pre-training leaves it."""
    vocabulary = DOMAIN.vocabulary(snapshot)
    torch.manual_seed(0)
    network = Recurrent(DOMAIN.schema(vocabulary), width=8).eval()
    return Loaded(Floor(TransitionPrior(network), share=0.1).eval(), vocabulary)


def test_units_that_have_come_since_stand_behind_the_old_ones() -> None:
    loaded = version(Snapshot.of(chosen("tea", "milk")))
    grown = start.grown(loaded, DOMAIN, Snapshot.of(chosen("rum", "milk", "tea")))
    assert grown.vocabulary.units == ("tea", "milk", "rum")
    assert grown.policy.schema.size == 3
    assert isinstance(grown.policy, Floor)


def test_nothing_new_is_the_same_policy() -> None:
    snapshot = Snapshot.of(chosen("tea", "milk"))
    loaded = version(snapshot)
    assert start.grown(loaded, DOMAIN, snapshot).policy is loaded.policy


def test_a_warm_start_has_the_numbers_of_the_network_inside() -> None:
    loaded = version(Snapshot.of(chosen("tea", "milk")))
    begun = start.warm_start(loaded, DOMAIN, Snapshot.of(chosen("rum", "milk")))
    network = loaded.policy.inner.inner
    assert begun.vocabulary.units == ("tea", "milk", "rum")
    assert torch.equal(begun.policy.embed.unit.weight[:2], network.embed.unit.weight[:2])
    assert all(p.requires_grad for p in begun.policy.parameters())
    with torch.no_grad():
        begun.policy.bias += 1.0
    assert not network.bias.any(), "the version itself stays as it is"


def test_descriptions_that_came_later_are_taken_up_and_then_keep_their_reading(
    tmp_path: Path,
) -> None:
    def about(unit: str, **facts: object) -> Description:
        return Description(of=Described.UNIT, name=unit, facts=facts, given_at=0.0)

    with Log.open(tmp_path / "log.db", write=True) as log:
        log.append(chosen("tea", "milk"))
        loaded = version(log.snapshot())
        log.describe([about("tea", genre=["hot"]), about("rum", genre=["strong"])])
        snapshot = log.snapshot()
        begun = start.warm_start(loaded, DOMAIN, snapshot)
        log.describe([about("gin", genre=["clear"], proof=40.0)])
        again = start.warm_start(begun, DOMAIN, log.snapshot())
    assert begun.vocabulary.units == ("tea", "milk", "rum")
    assert begun.policy.schema.unit_features == 4
    assert start.grown(loaded, DOMAIN, snapshot).policy.schema.unit_features == 0
    assert again.vocabulary.of_units == begun.vocabulary.of_units
    counts = start.describe([again.policy], again.vocabulary, snapshot, torch.tensor([0]).numpy())
    assert counts == {
        "units_never_chosen": 3,
        "units_not_described": 2,
        "facts_missing": 0,
        "categories_unknown": 0,
    }


def test_popularity_is_no_network_to_go_on_from() -> None:
    snapshot = Snapshot.of(chosen("tea"))
    vocabulary = DOMAIN.vocabulary(snapshot)
    counted = Floor(Popularity(DOMAIN.schema(vocabulary)), share=0.1)
    with pytest.raises(ValueError, match=r"no network in it to go on from.*'popularity'"):
        start.warm_start(Loaded(counted, vocabulary), DOMAIN, snapshot)
