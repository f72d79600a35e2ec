"""What happens at the edges, at serving and at training: the table in docs/serving.md, held.

One small shop: people with histories; an item and a person of whom only a description is known; an
item in the catalogue of which nothing is known; an item that lacks a fact.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.contract import Streams
from heedful.policy import Loaded, load, replay
from heedful.record import RecordError, pseudonym
from heedful.serve import DecisionAnswer, DecisionRequest, Service, ServiceError
from heedful.workspace import Workspace
from tests.small_shop import ITEMS, Shop, write_ratings

NEW, BARE = "item-described", "item-listed"
KNOWN = tuple(f"item-{i}" for i in range(ITEMS))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edges") / "shop"
    Workspace.create(folder).close()
    (folder / "catalogue.txt").write_text(f"{BARE}\n")
    shop = Shop(folder, SETTINGS)
    shop.workspace.import_file(write_ratings(folder.parent / "ratings.csv"))
    units = {unit: {"genre": [("red", "blue")[i % 2]], "price": i} for i, unit in enumerate(KNOWN)}
    del units["item-3"]["price"], units["item-4"]["genre"]
    shop.workspace.describe(units={**units, NEW: {"genre": ["red"]}}, subjects={"eve": {"age": 30}})
    version = shop.workspace.pretrain()
    shop.workspace.promote(version, by="ada")
    shop.close()
    return folder


SETTINGS = {"domain.catalogue": "catalogue.txt", "domain.repeat_seen": False}


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> Iterator[Workspace]:
    folder = shutil.copytree(trained, tmp_path / "shop")
    shop = Shop(Path(folder), SETTINGS)
    yield shop.workspace
    shop.close()


@pytest.fixture
def service(shop: Workspace) -> Iterator[Service]:
    with shop.serving() as service:
        yield service


def ask(service: Service, user: str = "user-0", **choices: object) -> DecisionAnswer | ServiceError:
    (answer,) = service.decide([DecisionRequest(user=user, choices=choices)])
    return answer


def refused(service: Service, shop: Workspace, **choices: object) -> ServiceError:
    """Ask what cannot be answered, beside somebody who can be; the log has the neighbour alone."""
    before = len(shop.log.snapshot().decisions.seq)
    bad, good = service.decide(
        [DecisionRequest(user="user-0", choices=choices), DecisionRequest(user="user-1")]
    )
    assert isinstance(good, DecisionAnswer)
    assert isinstance(bad, ServiceError)
    assert len(shop.log.snapshot().decisions.seq) == before + 1
    return bad


def loaded(shop: Workspace) -> Loaded:
    return load(shop.registry.folder("0001"))


def encoded(shop: Workspace) -> Streams:
    return shop.domain.encode(shop.log.snapshot(), loaded(shop).vocabulary)


def replays(shop: Workspace) -> float:
    """Return how far what was served is from what training reads of it."""
    streams = encoded(shop)
    batch = streams.batch(streams.windows(shop.config.policy.window))
    with torch.no_grad():
        logps = replay(loaded(shop).policy, batch)
    told = batch.mask & ~batch.behaviour_logps.isnan()
    assert bool(told.any())
    return float((logps - batch.behaviour_logps)[told].abs().max())


# A subject with no history


def test_serving_somebody_without_history_gives_the_cold_answer(shop, service):
    assert isinstance(ask(service, "stranger"), DecisionAnswer)
    other = shop.recommend("another stranger", k=3)
    assert other.cold
    assert other.probabilities == pytest.approx(shop.recommend("a third", k=3).probabilities)
    assert not shop.recommend("user-0", k=3).cold
    assert replays(shop) < 1e-4


def test_serving_somebody_who_is_described_alone_reads_the_description(shop):
    eve = shop.recommend("eve", k=3)
    assert eve.cold
    assert eve.probabilities != pytest.approx(shop.recommend("stranger", k=3).probabilities)


def test_training_has_no_stream_of_somebody_without_decisions(shop):
    snapshot = shop.log.snapshot()
    assert pseudonym("eve", shop.key) not in list(snapshot.names.subjects)
    assert len(encoded(shop)) == len(snapshot.names.subjects)


# An item with no event


@pytest.mark.parametrize("unit", [NEW, BARE])
def test_serving_an_item_without_events_is_possible(shop, service, unit):
    answer = ask(service, allowed=[unit])
    assert isinstance(answer, DecisionAnswer)
    assert answer.units == (unit,)
    everything = shop.recommend("user-1", k=100)
    assert unit in everything.units
    assert all(p > 0 for p in everything.probabilities)


def test_training_gives_it_a_place_and_no_slot(shop):
    vocabulary, streams = loaded(shop).vocabulary, encoded(shop)
    for unit in (NEW, BARE):
        assert unit in vocabulary
        assert not (streams.slots.unit == vocabulary[unit]).any()
    metrics = shop.registry.card("0001").metrics
    assert metrics["units_never_chosen"] == 2
    assert metrics["units_not_described"] == 1


# An empty choice set


def test_serving_an_empty_choice_set_is_refused(shop, service):
    error = refused(service, shop, allowed=[])
    assert (error.reason, "leave nothing to choose" in str(error)) == ("invalid", True)
    error = refused(service, shop, allowed=["never heard of"])
    assert (error.reason, str(error)[:16]) == ("nothing_to_choose", "no unit is left ")


def test_training_never_meets_an_empty_choice_set(shop):
    with pytest.raises(RecordError, match="leave nothing to choose"):
        shop.domain.choices({"allowed": []})


# A rule that forbids everything


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"forbidden": [*KNOWN, NEW, BARE]}, "nothing_to_choose"),
        ({"cap": [{"most": 0, "units": [*KNOWN, NEW, BARE]}]}, "nothing_to_choose"),
        ({"allowed": ["item-1"], "cap": [{"most": 0, "units": ["item-1"]}]}, "invalid"),
        ({"allowed": ["item-1"], "forbidden": ["item-1"]}, "invalid"),
        ({"require": [{"least": 1, "units": ["item-1"]}], "forbidden": ["item-1"]}, None),
    ],
)
def test_serving_a_rule_that_forbids_everything_is_refused(shop, service, choices, reason):
    error = refused(service, shop, **choices)
    assert error.reason == (reason or "nothing_to_choose")
    if reason is None:
        assert str(error).startswith("require.0")


@pytest.mark.parametrize("rule", ["forbidden", "cap"])
def test_training_where_a_rule_left_one_unit_finds_nothing_to_learn(shop, service, rule):
    """Its probability is 1, in the log and in the replay."""
    others = [*KNOWN, BARE]
    asked = (
        {"forbidden": others} if rule == "forbidden" else {"cap": [{"most": 0, "units": others}]}
    )
    answer = ask(service, "stranger", **asked)
    assert isinstance(answer, DecisionAnswer)
    assert (answer.units, answer.logps) == ((NEW,), (0.0,))
    assert replays(shop) == 0.0


# A described feature that is missing


def test_serving_an_item_that_lacks_a_fact_is_in_no_group_of_it(shop, service):
    for unit in ("item-4", BARE):  # of no genre: no cap holds for it
        capped = shop.recommend("user-2", k=3, choices={"cap": {"genre": 1}})
        assert len(capped.units) >= 2
        alone = ask(service, "stranger", allowed=[unit], cap={"genre": 1})
        assert isinstance(alone, DecisionAnswer)
    assert replays(shop) < 1e-4


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"cap": {"colour": 1}}, "cap.0.fact: 'colour' describes no unit"),
        ({"cap": {"price": 1}}, "cap.0.fact: 'price' is a number"),
        (
            {"require": [{"least": 1, "fact": "genre", "is": "jazz"}]},
            "require.0.is: is no category",
        ),
    ],
)
def test_serving_a_rule_on_a_fact_that_nobody_has_is_refused(shop, service, choices, message):
    error = refused(service, shop, **choices)
    assert (error.reason, str(error).startswith(message)) == ("invalid", True)


def test_training_counts_what_is_missing_and_goes_on(shop):
    metrics = shop.registry.card("0001").metrics
    assert metrics["facts_missing"] == 3  # two items lack one each, and the new one its price
    ranked = shop.recommend("stranger", k=100)
    assert {"item-3", "item-4", NEW, BARE} <= set(ranked.units)
    assert np.isfinite(ranked.probabilities).all()
