"""A domain that is a package of its own is found, keeps the promises, and learns."""

import importlib
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from heedful import workspace
from heedful.checks import check_domain
from heedful.config import ConfigError
from heedful.loop.collect import Collector
from heedful.policy import Policy, load
from heedful.record import Kind
from heedful.serve import DecisionAnswer, DecisionRequest, FeedbackRequest
from heedful.workspace import Workspace

PACKAGE = Path(__file__).parents[2] / "examples" / "demand"
SETTINGS = {
    "policy.width": 32,
    "policy.dropout": 0.0,
    "policy.prior": False,
    "pretrain.epochs": 1,
    "reinforce.objective": "reinforce",
    "reinforce.epochs": 30,
    "reinforce.batch": 16,
    "reinforce.learning_rate": 0.005,
    "reinforce.kl": 0.0,
}
SHOPS, DAYS = 48, 28


@pytest.fixture(scope="module")
def demand() -> Iterator[ModuleType]:
    sys.path.insert(0, str(PACKAGE))
    try:
        yield importlib.import_module("heedful_demand")
    finally:
        sys.path.remove(str(PACKAGE))


@pytest.fixture
def bakery(demand: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of the domain, which is found as its package says."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]
    [(name, value)] = project["entry-points"]["heedful.domains"].items()
    entry = EntryPoint(name=name, value=value, group=workspace.GROUP)
    monkeypatch.setattr(workspace, "entry_points", lambda group: [entry])
    Workspace.create(tmp_path / "bakery", domain="demand").close()
    return tmp_path / "bakery"


def test_it_keeps_the_promises(demand: ModuleType) -> None:
    check_domain(demand.Demand({}, Path()))


def test_it_says_what_suits_it_and_what_it_does_not_know(bakery: Path) -> None:
    with Workspace.open(bakery) as opened:
        assert opened.config.reward.kind == "mixture"
        assert opened.config.reward.weights == {"reward": 1.0}
        with pytest.raises(ValueError, match="sold is None"):
            opened.domain.observe({"weekday": 3}, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="colour is unknown"):
        Workspace.open(bakery, {"domain.colour": "red"})


def test_profit_is_dear_to_who_orders_too_much_or_too_little(demand: ModuleType) -> None:
    wanted = np.full(12, 5)
    assert demand.profit(np.arange(12), wanted).argmax() == 5
    shops = demand.Bakeries(4000, 0)
    shops.reset(seed=0)
    expected = shops.expected()
    assert abs(float(shops.wanted().mean() - expected.mean())) < 0.3
    observed, profits, terminated, truncated, _ = shops.step(np.zeros((4000, 1), np.int64))
    assert (observed[:, -1] == 0).all()  # nothing was ordered, so nothing was sold
    assert (profits == demand.profit(np.zeros(1, np.int64), np.zeros(1, np.int64))).all()
    assert not terminated.any()
    assert not truncated.any()


def earned(opened: Workspace, policy: Policy, *, seed: int) -> float:
    """Mean profit of a day, on weeks that nobody learned from."""
    domain = opened.domain
    snapshot = opened.log.snapshot()
    shops = domain.environment(64, seed, {})
    assert shops is not None
    collector = Collector(domain, domain.vocabulary(snapshot), shops, window=32, seed=seed)
    return float(np.nanmean(collector.play(policy, DAYS, version="try").feedback.value))


@pytest.mark.slow
def test_it_is_served_and_learns_from_what_it_earned(demand: ModuleType, bakery: Path) -> None:
    with Workspace.open(bakery, SETTINGS) as opened:
        opened.promote(opened.popularity(), by="test")
        shops = demand.Bakeries(SHOPS, 0)
        observed, _ = shops.reset(seed=0)
        with opened.serving() as service:
            for _ in range(DAYS):
                requests = [
                    DecisionRequest(user=f"shop-{k}", context=dict(opened.domain.context(row)))
                    for k, row in enumerate(observed)
                ]
                answers = [a for a in service.decide(requests) if isinstance(a, DecisionAnswer)]
                vocabulary = opened.domain.vocabulary(opened.log.snapshot())
                orders = np.array([opened.domain.action(a.units, vocabulary) for a in answers])
                observed, profits, *_ = shops.step(orders)
                service.feedback(
                    [
                        FeedbackRequest(decision=a.id, kind=Kind.REWARD, value=float(one), unit=0)
                        for a, one in zip(answers, profits, strict=True)
                    ]
                )
        begun = opened.pretrain()
        learned = opened.reinforce(begun.name)
        before, after = (
            earned(opened, load(opened.registry.folder(version.name)).policy, seed=1)
            for version in (begun, learned)
        )
    assert after > before + 0.03  # of 1,792 days each: six standard errors
