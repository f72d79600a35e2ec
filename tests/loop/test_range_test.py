import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from heedful.loop import form
from heedful.loop.range_test import BELOW_LOWEST, range_test
from heedful.loop.run import Run
from heedful.workspace import RUNS, Workspace
from tests.small_shop import COLUMNS, TINY, write_ratings


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workspace]:
    Workspace.create(tmp_path / "shop").close()
    with Workspace.open(tmp_path / "shop", TINY | COLUMNS) as workspace:
        workspace.import_file(write_ratings(tmp_path / "ratings.csv"))
        yield workspace


def test_a_rate_is_suggested_and_no_version_is_left(shop: Workspace) -> None:
    found, plot = shop.range_test()
    assert shop.registry.versions() == []
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert plot.parent.parent == shop.folder / RUNS
    assert (plot.parent / "finished").exists()
    ratios = np.diff(np.log(found.rates))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
    lowest = found.rates[int(np.argmin(found.losses))]
    assert found.suggested == pytest.approx(lowest / BELOW_LOWEST)
    assert found.broken
    assert found.losses[-1] > min(found.losses)
    assert 1e-4 < found.suggested < 1e-1
    lines = (plot.parent / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["learning_rate"] for line in lines] == list(found.rates)


def test_the_same_seed_finds_the_same(shop: Workspace) -> None:
    assert shop.range_test()[0] == shop.range_test()[0]


def test_it_leaves_no_trace_in_what_is_trained_after(shop: Workspace) -> None:
    before = shop.registry.card(shop.pretrain().name).metrics
    shop.range_test()
    assert shop.registry.card(shop.pretrain().name).metrics == before


def test_a_range_in_which_nothing_breaks_is_no_evidence(shop: Workspace, tmp_path: Path) -> None:
    found = tried(shop, tmp_path, low=1e-6, high=1e-5, steps=30)
    assert len(found.rates) == 30
    assert not found.broken


def test_where_every_rate_breaks_there_is_nothing_to_suggest(
    shop: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no rate can be suggested"):
        tried(shop, tmp_path, broken=True)


@pytest.mark.parametrize(("low", "high", "steps"), [(0.0, 1.0, 9), (1.0, 0.1, 9), (0.1, 1.0, 1)])
def test_a_range_needs_two_ends(
    shop: Workspace, tmp_path: Path, low: float, high: float, steps: int
) -> None:
    with pytest.raises(ValueError, match="a range test needs"):
        tried(shop, tmp_path, low=low, high=high, steps=steps)


def tried(shop: Workspace, tmp_path: Path, broken: bool = False, **options):
    bench = shop.bench()
    snapshot = bench.log.snapshot()
    vocabulary = bench.domain.vocabulary(snapshot)
    policy = form.network_of(bench, bench.domain.schema(vocabulary))
    streams = bench.encode(snapshot, vocabulary)
    if broken:
        for parameter in policy.parameters():
            parameter.data.fill_(math.nan)
    run = Run.open(tmp_path / "runs", {"step": "range-test"})
    try:
        return range_test(
            policy,
            streams,
            bench.config.pretrain,
            run,
            train=np.ones(len(streams.slots.unit)),
            window=40,
            seed=0,
            **options,
        )
    finally:
        run.close()
