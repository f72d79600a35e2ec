"""The circle, turned by simulated people, on shops that nobody tuned anything on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from heedful import demo
from heedful.workspace import Workspace

UNSEEN = (101, 102, 103)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", UNSEEN)
def test_the_last_live_policy_closes_half_of_the_gap_in_unseen_shops(
    tmp_path: Path, seed: int
) -> None:
    story = demo.run(tmp_path / "shop", seed=seed, scale=demo.Scale(rounds=8))
    found = story.measured
    assert found.oracle - found.popularity > 0.2
    assert found.closed >= 0.5, f"{found}, {[done.turn.action for done in story.rounds]}"


def test_a_short_demo_turns_the_circle_through_log_registry_and_service(tmp_path: Path) -> None:
    scale = demo.Scale(people=120, decisions=3, rounds=2, groups=3, history=(60, 8))
    told: list[str] = []
    story = demo.run(tmp_path / "shop", seed=3, scale=scale, tell=told.append)
    assert len(story.rounds) == 2
    assert all(done.clicks.shape == (120, 3) for done in story.rounds)
    assert all(0.0 <= done.clicks.mean() <= 1.0 for done in story.rounds)
    assert all(path.is_file() for path in story.files.values())
    assert "<html" in story.files["the report: versions, evidence, verdicts, curves"].read_text()
    assert len(told) == 1 + len(story.rounds)
    with Workspace.open(tmp_path / "shop") as workspace:
        _everything_served_is_logged(workspace, story)


def _everything_served_is_logged(workspace: Workspace, story: demo.Story) -> None:
    snapshot = workspace.log.snapshot()
    served = ~np.isnan(snapshot.decisions.logps[snapshot.decisions.offsets[:-1]])
    assert int(served.sum()) == sum(done.clicks.size for done in story.rounds)
    rewards = workspace.bench().earned(snapshot).decisions[served]
    clicked = np.concatenate([done.clicks.ravel() for done in story.rounds])
    assert math.isclose(float(rewards.mean()), float(clicked.mean()), abs_tol=1e-12)
    live = workspace.registry.live()
    assert live is not None
    assert live.name == story.rounds[-1].closed
    judged = {trial.candidate for trial in workspace.registry.trials()}
    assert judged == {done.turn.policy for done in story.rounds}


def test_people_never_say_more_than_the_service_could_know(tmp_path: Path) -> None:
    parameters = demo.ShopParameters(world_seed=5)
    scale = demo.Scale(people=100, decisions=1, rounds=1, groups=1, history=(20, 5))
    with demo.prepared(tmp_path / "shop", parameters, scale, 5) as workspace:
        names = set(workspace.log.snapshot().names.subjects)
        assert not any(name.startswith("early-") for name in names), "raw ids are in the log"
        assert np.isnan(workspace.log.snapshot().decisions.logps).all()
