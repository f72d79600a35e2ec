"""Optimisers and their learning rates in a small pre-training: how high each may go.

On the ratings that examples/ratings.py makes, so it needs no data. Every figure is NDCG@10 on
validation units of the network alone, after a whole schedule of rates.
"""

from __future__ import annotations

import io
import runpy
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks import Table
from benchmarks._kept import keep
from heedful.config.rates import RATES
from heedful.workspace import Workspace

RATINGS = Path(__file__).resolve().parent.parent / "examples" / "ratings.py"
EPOCHS = 5
TRIED = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SOUND = 0.9
"""A rate is sound while it reaches this share of what the best rate reaches."""


def run(quick: bool) -> list[Table]:
    """Train with every optimiser at every rate."""
    epochs = 1 if quick else EPOCHS
    rows = []
    for rule in RATES:
        reached = {rate: _reached(rule, rate, epochs) for rate in TRIED}
        best = max(reached.values())
        sound = max(rate for rate in TRIED if reached[rate] >= SOUND * best)
        rows.append((rule, *(f"{reached[rate]:.4f}" for rate in TRIED), f"{sound:g}"))
    columns = ("optimiser", *(f"{rate:g}" for rate in TRIED), "highest sound")
    note = (
        f"NDCG@10 on the validation units of 1,000 people after {epochs} epochs, seed 0, by the "
        f"highest learning rate. Sound is what reaches {SOUND:.0%} of the best."
    )
    return [Table("Optimisers", columns, tuple(rows), note)]


def _reached(rule: str, rate: float, epochs: int) -> float:
    settings = {
        "pretrain.optimiser": rule,
        "pretrain.learning_rate": rate,
        "pretrain.epochs": epochs,
        "policy.prior": False,
    }
    found = keep(lambda: _train(settings), code=[__name__], data=[RATINGS], settings=settings)
    return float(found)


def _train(settings: dict[str, object]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ratings.csv"
        with redirect_stdout(io.StringIO()):
            runpy.run_path(str(RATINGS))["main"](file)
        Workspace.create(Path(folder) / "shop").close()
        with Workspace.open(Path(folder) / "shop", settings) as workspace:
            workspace.import_file(file)
            version = workspace.pretrain()
            return float(workspace.registry.card(version.name).metrics["ndcg@10"])
