"""Candidates beside their parents on cohorts of the past."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heedful.evaluate import Interval
from heedful.loop import steps
from heedful.loop.forgetting import Cohort, Forgetting, forgetting, kept_forgetting, losses
from heedful.loop.lessons import split_of
from heedful.loop.turn import forgot, looked_until, newest_network, turn
from heedful.policy import load
from tests.small_shop import SUBJECTS, Shop, new_shop

VISITORS = 60


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a first version, and people who came after."""
    folder = tmp_path_factory.mktemp("opened") / "shop"
    shop = new_shop(folder)
    turn(shop.workspace.bench())
    shop.visit(VISITORS, lambda version: 0.5, decisions=4)
    shop.close()
    return folder


@pytest.fixture
def shop(folder: Path) -> Iterator[Shop]:
    shop = Shop(folder, {"loop.cohorts": 2})
    shop.now += 100
    yield shop
    shop.close()


def rise(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 0.95, 50)


def past(*rises: Interval) -> Forgetting:
    cohorts = tuple(Cohort(86_400.0 * i, 86_400.0, 50, 80, 1, 1, r) for i, r in enumerate(rises))
    return Forgetting("0003", "0002", held_out=True, cohorts=cohorts)


def test_cohorts_are_those_who_came_first_and_those_who_came_later(shop: Shop) -> None:
    found = forgetting(shop.workspace.bench(), shop.workspace.reinforce())
    assert found is not None
    assert (found.candidate, found.parent, found.held_out) == ("0002", "0001", True)
    early, late = found.cohorts
    assert early.until <= late.since
    half = (SUBJECTS + VISITORS) // 2  # all who bought, and the first of the visitors
    assert SUBJECTS <= early.subjects <= half
    assert 0 < late.subjects <= half, "whoever liked nothing that is held out tells nothing"
    assert late.subjects <= late.units <= 2 * late.subjects


def test_the_loss_is_that_of_held_out_liked_units_and_the_floor_bounds_it(shop: Shop) -> None:
    workspace = shop.workspace
    bench, version = workspace.bench(), workspace.reinforce()
    found = forgetting(bench, version)
    assert found is not None
    loaded = load(workspace.registry.folder(version.name))
    snapshot = workspace.log.snapshot()
    streams = bench.encode(snapshot, loaded.vocabulary)
    split = split_of(bench.config.pretrain, streams, snapshot)
    own = np.isnan(streams.slots.behaviour_logp)
    liked = np.flatnonzero(~split.train & (own | (streams.slots.reward > 0)))
    loss = losses(loaded.policy, streams, liked, window=bench.config.policy.window)
    by_subject = [
        loss[streams.slots.stream[liked] == s].mean()
        for s in np.unique(streams.slots.stream[liked])
    ]
    n = sum(cohort.subjects for cohort in found.cohorts)
    assert n == len(by_subject)
    together = sum(cohort.candidate * cohort.subjects for cohort in found.cohorts) / n
    assert together == pytest.approx(np.mean(by_subject))
    bound = math.log(len(loaded.vocabulary) / bench.config.serve.floor)
    assert 0 < loss.max() <= bound + 1e-6


def test_a_version_that_is_its_parent_forgets_nothing(folder: Path) -> None:
    shop = Shop(folder, {"reinforce.learning_rate": 1e-12})
    shop.now += 100
    found = forgetting(shop.workspace.bench(), shop.workspace.reinforce())
    shop.close()
    assert found is not None
    assert all(abs(cohort.rise.mean) < 1e-5 for cohort in found.cohorts)


def test_a_first_version_has_nothing_to_be_compared_with(shop: Shop) -> None:
    workspace = shop.workspace
    assert forgetting(workspace.bench(), workspace.registry.version("0001")) is None


def test_where_nothing_is_held_out_it_says_so(folder: Path) -> None:
    shop = Shop(folder, {"pretrain.validation": False})
    shop.now += 100
    found = forgetting(shop.workspace.bench(), shop.workspace.reinforce())
    shop.close()
    assert found is not None
    assert not found.held_out
    assert "liked unit, trained on" in found.words()


@pytest.mark.parametrize(
    ("limit", "low", "refused"),
    [(0.0, 5.0, False), (0.2, 0.1, False), (0.2, 0.2, False), (0.2, 0.21, True)],
)
def test_a_rise_is_refused_once_it_is_shown_to_be_beyond_the_limit(
    limit: float, low: float, refused: bool
) -> None:
    words = forgot(past(rise(-1, 1), rise(low, low + 1)), limit)
    assert (words is not None) == refused
    if words is not None:
        assert "past cohort 2 of 2 (who came from 1970-01-02 to 1970-01-02)" in words
        assert "loop.forgetting allows 0.2" in words


@pytest.mark.filterwarnings("ignore::heedful.config.ConfigWarning")  # the rate is high on purpose
def test_a_candidate_that_forgot_gets_no_trial_and_is_not_gone_on_from(folder: Path) -> None:
    shop = Shop(
        folder, {"loop.forgetting": 0.05, "reinforce.learning_rate": 0.3, "reinforce.epochs": 6}
    )
    shop.now += 100
    done = turn(shop.workspace.bench())
    registry = shop.workspace.registry
    assert (done.action, done.policy) == ("refused", "0002")
    assert "gets no trial" in done.words
    assert done.forgetting is not None
    assert registry.trial() is None
    assert registry.judged() == 0, "it spends nothing of alpha"
    entry = registry.audit()[-1]
    assert (entry.action, entry.why) == ("refused", done.words)
    assert entry.evidence["forgetting"]["parent"] == "0001"
    bench = shop.workspace.bench()
    assert newest_network(bench).name == "0001"
    assert looked_until(bench) == steps.learned_until(bench, registry.version("0002"))
    assert turn(bench).action == "nothing new", "the same rows are not learned from again"
    shop.visit(5, lambda version: 0.5)
    again = turn(shop.workspace.bench())
    assert registry.card("0003").parent == "0001"
    assert again.policy == "0003"
    shop.close()


def test_by_default_it_only_reports(shop: Shop) -> None:
    done = turn(shop.workspace.bench())
    assert done.action == "trial begun"
    assert done.forgetting is not None
    (kept,) = kept_forgetting(shop.workspace.runs)
    assert kept == done.to_dict()["forgetting"]
    found = shop.workspace.evaluate("0002")
    assert found.forgetting == replace(done.forgetting)
    assert "Past cohorts" in found.forgetting.words()
    assert "Past cohorts" in shop.workspace.report().read_text("utf-8")
