"""What a version expects people to answer, beside what they did."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from heedful.loop.foretold import foretold
from heedful.loop.start import network_within
from heedful.policy import load
from heedful.reward.answers import Answers
from heedful.workspace import Workspace
from tests.small_shop import Shop, write_ratings

RATE = 0.3


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop whose first version served people who click three of ten units."""
    Workspace.create(tmp_path / "shop", secret="5e" * 32).close()
    shop = Shop(tmp_path / "shop")
    shop.workspace.import_file(write_ratings(tmp_path / "ratings.csv"))
    shop.workspace.promote(shop.workspace.pretrain(), by="test")
    shop.visit(150, lambda version: RATE)
    yield shop
    shop.close()


def test_what_came_stands_beside_what_was_expected(shop: Shop) -> None:
    bench = shop.workspace.bench()
    (clicks,) = foretold(bench, bench.registry.version("0001"))
    shown = len(bench.log.snapshot().decisions.logps[40 * 10 :])
    assert clicks.kind == "click"
    assert sum(clicks.counts) == shown
    assert np.average(clicks.observed, weights=clicks.counts) == pytest.approx(RATE, abs=0.1)
    assert all(0 <= said <= 1 for said in clicks.predicted)
    loaded = load(bench.registry.folder("0001"))
    network = network_within(loaded.policy)
    streams = bench.encode(bench.log.snapshot(), loaded.vocabulary)
    answers = Answers((network,), loaded.vocabulary, bench.config.policy.window)
    expected = answers.expected(streams, "click")[0][~np.isnan(streams.slots.behaviour_logp)]
    mean = np.average(clicks.predicted, weights=clicks.counts)
    assert mean == pytest.approx(expected.mean(), abs=1e-5)
    gap = abs(np.subtract(clicks.predicted, clicks.observed))
    assert clicks.error == pytest.approx(np.average(gap, weights=clicks.counts))


def test_what_a_version_was_trained_on_is_not_foretold(shop: Shop) -> None:
    bench = shop.workspace.bench()
    later = shop.workspace.reinforce("0001")
    assert foretold(bench, later) == ()
    shop.visit(80, lambda version: RATE)
    (clicks,) = foretold(bench, later)
    (earlier,) = foretold(bench, bench.registry.version("0001"))
    assert 0 < sum(clicks.counts) < sum(earlier.counts)


def test_what_has_no_network_foretells_nothing(shop: Shop) -> None:
    bench = shop.workspace.bench()
    assert foretold(bench, shop.workspace.popularity()) == ()
