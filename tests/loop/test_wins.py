"""Win rates of a trial: what people said, arm against arm."""

import shutil
from pathlib import Path

import pytest

from heedful.loop.wins import wins
from tests.loop.test_trial import Served, clicks, opened  # noqa: F401


@pytest.fixture
def trial(opened: Path, tmp_path: Path):  # noqa: F811
    served = Served(Path(shutil.copytree(opened, tmp_path / "shop")), {})
    yield served
    served.shop.close()


def test_a_trial_says_how_often_the_candidate_serves_better(trial: Served) -> None:
    bench = trial.workspace.bench()
    trial.visit(10, clicks(0.9, 0.1))
    assert wins(bench, trial.trial) is None  # ten people are not ten in each arm
    trial.visit(300, clicks(0.9, 0.1))
    found = wins(trial.workspace.bench(), trial.trial)
    assert found is not None
    # P(1 > 0) + P(equal) / 2 with chances .9 and .1
    assert found.rate.mean == pytest.approx(0.9 * 0.9 + (0.9 * 0.1 + 0.1 * 0.9) / 2, abs=0.05)
    assert found.at_equal_length is None  # slates are equally long
    assert "serves somebody better in 8" in found.words() or "in 9" in found.words()
    evaluation = trial.workspace.evaluate("0002")
    assert evaluation.to_dict()["wins"] == found.to_dict()
    assert trial.workspace.evaluate("0001").wins is None
