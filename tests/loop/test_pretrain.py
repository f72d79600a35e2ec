import json
from pathlib import Path

import pytest
from torch import nn

from heedful.loop.pretrain import Best
from heedful.workspace import RUNS, Workspace
from tests.small_shop import COLUMNS, TINY


def kept(scores: list[float | None]) -> tuple[int, float | None]:
    """Return which of epochs with these scores is kept, and its score."""
    watch = Best(patience=9)
    for epoch, score in enumerate(scores):
        watch.look(epoch, score, nn.Linear(1, 1))
    return watch.epoch, watch.score


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, 0.3, 0.2], (1, 0.3)),
        ([0.1, 0.0, 0.05], (0, 0.1)),  # a zero is a score like another
        ([0.0, 0.0, 0.0], (2, 0.0)),  # nothing learned yet: going on is no reason to stop
        ([0.2, 0.2], (0, 0.2)),
        ([None, None], (1, None)),
    ],
)
def test_the_best_epoch_is_kept(scores: list[float | None], best: tuple[int, float | None]) -> None:
    assert kept(scores) == best


def test_what_was_not_validated_has_no_score(tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    rows = [f"user-{n},item-{n % 5},{n % 5 + 1},{n}" for n in range(20)]  # one unit a subject
    file.write_text("\n".join(["user,item,rating,position", *rows]))
    Workspace.create(tmp_path / "shop").close()
    with Workspace.open(tmp_path / "shop", TINY | COLUMNS) as workspace:
        workspace.import_file(file)
        version = workspace.pretrain()
        card = workspace.registry.card(version.name)
        assert "ndcg@10" not in card.metrics
        assert card.metrics["epoch"] == TINY["pretrain.epochs"] - 1
        assert workspace.evaluate(version).ranking is None
    (curve,) = (tmp_path / "shop" / RUNS).glob("*/metrics.jsonl")
    lines = [json.loads(line) for line in curve.read_text().splitlines()]
    assert not any("ndcg@10" in line for line in lines)
