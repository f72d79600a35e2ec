"""What a candidate would have earned, by unit: the doubly robust estimate of `evaluate`."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from heedful.evaluate import clustered, cross_fit, ips
from heedful.loop.assess import Weights, replayed
from heedful.loop.judge import value_of
from heedful.loop.units import SHORT_SLATE, UnitReader
from tests.small_shop import Shop, write_ratings


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop where 80 people saw two slates each of a pre-trained version."""
    folder = tmp_path_factory.mktemp("value")
    from heedful.workspace import Workspace

    Workspace.create(folder / "shop").close()
    opened = Shop(folder / "shop")
    opened.workspace.import_file(write_ratings(folder / "ratings.csv"))
    opened.workspace.promote(opened.workspace.pretrain().name, by="ada")
    opened.workspace.popularity()
    opened.visit(80, lambda version: 0.3)
    yield opened
    opened.close()


def test_units_add_up_to_their_decisions(shop: Shop) -> None:
    bench = shop.workspace.bench()
    logged = replayed(bench, bench.registry.versions()[-1])
    units = logged.units
    assert units is not None
    assert units.candidate.shape == (160, 2)
    assert units.candidate.sum(1) == pytest.approx(logged.candidate, abs=1e-9)
    assert units.behaviour.sum(1) == pytest.approx(logged.behaviour, abs=1e-9)
    assert units.rewards.sum(1) == pytest.approx(logged.rewards, abs=1e-12)
    assert 0 < units.fitted_on < 320
    value = value_of(logged)
    assert value.dr is not None
    assert value.dr.n == 160
    assert value.dr.value == pytest.approx(0.3, abs=0.15)


def test_what_is_expected_of_the_candidate_is_its_mean_over_all_units(shop: Shop) -> None:
    """With logits of our own, beside the sum over units written out."""
    bench = shop.workspace.bench()
    snapshot = bench.log.snapshot()
    streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    slots, size = streams.slots, streams.schema.size
    wanted = ~np.isnan(slots.behaviour_logp)
    subjects = snapshot.decisions.subject
    reader = UnitReader(streams, wanted, snapshot)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(len(wanted), size))
    order = rng.permutation(len(wanted))
    for part in np.array_split(order, 7):  # in blocks, in any order, with slots nobody wants
        reader.read(part, torch.zeros(len(part)), torch.from_numpy(logits[part]))
    units = reader.units()
    at = np.flatnonzero(wanted)
    decision = slots.decision[at]
    place = np.eye(SHORT_SLATE)[slots.position[at]]
    model = cross_fit(slots.unit[at], slots.reward[at], subjects[decision], size, context=place)
    pi = np.exp(logits[at]) / np.exp(logits[at]).sum(axis=1, keepdims=True)
    expected = np.zeros((len(np.unique(decision)), 2))
    expected[np.unique(decision, return_inverse=True)[1], slots.position[at]] = model.policy(pi) / 2
    assert units is not None
    assert units.q_policy == pytest.approx(expected, abs=1e-9)


def test_long_slates_have_none(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = shop.workspace.bench()
    snapshot = bench.log.snapshot()
    streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    monkeypatch.setattr("heedful.loop.units.SHORT_SLATE", 1)
    everything = np.ones(len(streams.slots.unit), dtype=bool)
    reader = UnitReader(streams, everything, snapshot)
    assert not reader.wants_logits
    assert reader.units() is None


def test_a_subject_s_decisions_count_together() -> None:
    """400 logs of 30 people who decide 20 times and differ: the spread beside both errors."""
    rng, found, apart, together = np.random.default_rng(0), [], [], []
    subjects, nothing = np.repeat(np.arange(30), 20), np.full(600, -1.0)
    for _ in range(400):
        clicks = (rng.random(600) < np.repeat(rng.beta(1, 1, 30), 20)).astype(float)
        estimate = ips(nothing, nothing, clicks)
        found.append(estimate.value)
        apart.append(estimate.standard_error)
        by_subject = clustered(estimate, clicks - estimate.value, subjects)
        together.append(by_subject.standard_error)
    assert np.mean(together) == pytest.approx(np.std(found), rel=0.1)
    assert np.mean(apart) < np.std(found) / 2
    one = ips([-1.0, -1.0], [-1.0, -1.0], [0.0, 1.0])
    assert np.isnan(clustered(one, [-0.5, 0.5], [7, 7]).standard_error)


def test_weights_are_counted_from_zero_to_beyond_the_last_edge() -> None:
    found = Weights.of(np.array([0.0, 0.0, 0.01, 0.2, 1.0, 1.5, 3.0, 1e6]))
    assert found.edges == (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    assert found.counts == (2, 2, 0, 0, 2, 1, 0, 0, 0, 1)
