"""The page runs, learns what it says it learns, and stays a page."""

import contextlib
import importlib.util
import io
from pathlib import Path
from types import ModuleType

import pytest
import torch
from scipy.stats import mannwhitneyu

PAGE = Path(__file__).parents[2] / "examples" / "chapter.py"


@pytest.fixture(scope="module")
def chapter() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chapter", PAGE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(chapter: ModuleType, runs: Path, **size: int) -> list[list[str]]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        chapter.main(**size, runs=runs)
    return [line.split() for line in out.getvalue().splitlines()]


def test_one_page() -> None:
    assert len(PAGE.read_text("utf-8").splitlines()) <= 120


def test_small_run_prints_every_epoch_and_logs_live(chapter: ModuleType, tmp_path: Path) -> None:
    lines = printed(chapter, tmp_path, people=200, epochs=2)
    assert [line[0] for line in lines] == [
        "click",
        "constant",
        "epoch",
        "epoch",
        "click",
        "curves:",
    ]
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_auc_is_the_mann_whitney_statistic(chapter: ModuleType) -> None:
    rng = torch.Generator().manual_seed(0)
    score = torch.randn(400, generator=rng)
    y = (torch.rand(400, generator=rng) < 0.3).float()
    above = mannwhitneyu(score[y > 0].numpy(), score[y == 0].numpy()).statistic
    pairs = float(y.sum()) * float((1 - y).sum())
    assert chapter.auc(score, y) == pytest.approx(above / pairs)


def test_answers_are_predicted_from_the_past_alone(chapter: ModuleType) -> None:
    torch.manual_seed(0)
    model = chapter.Recommender()
    torch.nn.init.normal_(model.policy_head.weight)
    x, y = chapter.visit(model, 3, seed=0)
    log_p, click = model(x, y)
    y[:, 5] = 1 - y[:, 5]
    later_log_p, later_click = model(x, y)
    assert torch.equal(log_p[:, :6], later_log_p[:, :6])
    assert torch.equal(click[:, :6], later_click[:, :6])
    assert not torch.equal(log_p[:, 6:], later_log_p[:, 6:])


def test_the_policy_loss_raises_what_was_clicked(chapter: ModuleType) -> None:
    log_p = torch.full((1, 2, chapter.ITEMS), float(chapter.LOG_H), requires_grad=True)
    x, y = torch.tensor([[0, 1]]), torch.tensor([[1.0, 0.0]])
    _, policy = chapter.losses(log_p, torch.zeros(1, 2), x, y)
    policy.backward()
    downhill = -log_p.grad[0].gather(-1, x[0][:, None])[:, 0]
    assert downhill[0] > 0 > downhill[1]


@pytest.mark.slow
def test_full_run_beats_the_constant_and_doubles_the_clicks(
    chapter: ModuleType, tmp_path: Path
) -> None:
    lines = printed(chapter, tmp_path)
    by_name = {" ".join(line[:3]): line for line in lines}
    constant = next(line for line in lines if line[0] == "constant")
    last = [line for line in lines if line[0] == "epoch"][-1]
    assert float(last[3]) < float(constant[2]) - 0.02
    assert float(last[5]) > 0.65
    before, after = (float(by_name[f"click rate {when}"][3]) for when in ("before", "after"))
    assert after > 2 * before
