"""An ensemble is pre-trained member by member, and is a version like any other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.loop.lessons import by_reward
from heedful.policy import Ensemble, load
from heedful.policy.network import Network
from heedful.workspace import RUNS, Workspace
from tests.small_shop import COLUMNS, TINY, write_ratings

KINDS = ["recurrent", "recurrent", "transformer"]


def networks(workspace: Workspace, name: str) -> list[Network]:
    policy = load(workspace.registry.folder(name)).policy
    (ensemble,) = (module for module in policy.modules() if isinstance(module, Ensemble))
    return list(ensemble.members)


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    settings = {**TINY, **COLUMNS, "policy.members": KINDS, "reward.kind": "ratings"}
    Workspace.create(tmp_path / "shop").close()
    workspace = Workspace.open(tmp_path / "shop", settings)
    workspace.import_file(write_ratings(tmp_path / "ratings.csv"))
    return workspace


def test_members_are_trained_one_by_one_and_go_on_together(shop: Workspace) -> None:
    with shop:
        version = shop.pretrain()
        first, second, third = networks(shop, version.name)
        assert [first.kind, second.kind, third.kind] == KINDS
        assert not torch.equal(first.bias, second.bias)
        assert all(network.bias.abs().max() > 0 for network in (first, second, third))
        assert len(list((shop.folder / RUNS).glob("*/metrics.jsonl"))) == 3
        assert 0 < shop.registry.card(version.name).metrics["ndcg@10"] <= 1
        assert shop.evaluate(version).ranking is not None
        again = networks(shop, shop.pretrain(version.name).name)
        assert [network.kind for network in again] == KINDS
        assert not torch.equal(again[0].bias, first.bias)


def test_units_count_by_what_they_earned(shop: Workspace) -> None:
    with shop:
        bench, snapshot = shop.bench(), shop.log.snapshot()
        streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
        weights = by_reward(streams, 0.5)
        rated = streams.slots.feedback[:, 1].astype(np.float64)
        np.testing.assert_allclose(weights, 0.5 + 0.5 * rated, atol=1e-6)
        assert (by_reward(streams, 0.0) == 1.0).all()
