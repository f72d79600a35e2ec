"""Pre-training on ML-100K: objectives, and defences against over-fitting, at equal cost.

Every figure is NDCG@10 on the *validation* units of the network alone, without the transition
prior; the test units are not looked at. Each variant gets the same CPU time: its second epoch is
timed, and as many are run as the time allows, with the whole schedule of rates. The best epoch
is chosen on the same units, which flatters all variants alike. Real data: the folder that
HEEDFUL_DATA names.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Table
from benchmarks._data import real
from benchmarks._kept import keep
from heedful.evaluate import bootstrap, ndcg
from heedful.evaluate.held_out import held_out_ranks
from heedful.loop import form, lessons
from heedful.policy import load
from heedful.workspace import Workspace

BUDGET = 36.0  # CPU seconds of training
SEEDS = 2

Changes = Mapping[str, object]

OBJECTIVES: dict[str, Changes] = {
    "recurrent, next (the default)": {},
    "recurrent, masked": {"pretrain.objective": "masked", "pretrain.masked_share": 0.5},
    "recurrent, both": {"pretrain.objective": "both"},
}
DEFENCES: dict[str, Changes] = {
    "crop = 0.5": {"pretrain.crop": 0.5},
    "mask = 0.1": {"pretrain.mask": 0.1},
    "substitute = 0.1": {"pretrain.substitute": 0.1},
    "adversarial = 0.3": {"pretrain.adversarial": 0.3},
}
ALONE: Changes = {"policy.prior": False}


def run(quick: bool) -> list[Table]:
    """Train all variants from each seed."""
    ratings = real("ml-100k", "ml-100k.inter")
    budget, seeds = (9.0, 1) if quick else (BUDGET, SEEDS)
    variants = {**OBJECTIVES, **DEFENCES}
    found = {name: _trained(changes, ratings, budget, seeds) for name, changes in variants.items()}
    default = next(iter(found.values()))
    note = (
        f"Validation units of {len(default['scores'][0])} subjects, seeds {list(range(seeds))}; "
        f"about {budget:.0f} CPU seconds each, of one thread. The gain over the default is paired "
        "by subject, seeds averaged, with a 95 % bootstrap interval over subjects."
    )
    columns = ("variant", "epochs", "CPU s", "NDCG@10", "over seeds", "over the default")
    return [
        Table(
            title,
            columns,
            tuple(_row(name, found[name], default) for name in names),
            note if title == "Objectives" else "Beside the default objective, as above.",
        )
        for title, names in (("Objectives", OBJECTIVES), ("Defences", DEFENCES))
    ]


def _trained(changes: Changes, ratings: Path, budget: float, seeds: int) -> dict[str, Any]:
    """Return the scores [S, n] of a variant, how many epochs it had, and the CPU seconds."""
    timed = _kept(changes, ratings, seed=0, epochs=2)
    epochs = max(2, round(budget / timed["cpu_seconds_of_last"]))
    runs = [_kept(changes, ratings, seed=seed, epochs=epochs) for seed in range(seeds)]
    return {
        "epochs": epochs,
        "cpu_seconds": float(np.mean([one["cpu_seconds"] for one in runs])),
        "scores": [ndcg(np.array(one["ranks"]), 10) for one in runs],
    }


def _kept(changes: Changes, ratings: Path, *, seed: int, epochs: int) -> dict[str, Any]:
    settings = {
        **ALONE,
        **changes,
        "workspace.seed": seed,
        "pretrain.epochs": epochs,
        "pretrain.patience": epochs,
    }
    found: dict[str, Any] = keep(
        lambda: _train(settings, ratings), code=[__name__], data=[ratings], settings=settings
    )
    return found


def _train(settings: Changes, ratings: Path) -> dict[str, Any]:
    """Return the ranks of the validation units, and the CPU seconds of the epochs alone."""
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        Workspace.create(folder).close()
        with Workspace.open(folder, settings) as workspace:
            workspace.import_file(ratings)
            workspace.reporter = lambda _title: watch.start()
            version = workspace.pretrain()
            ranks = _validation_ranks(workspace, version.name)
    return {
        "ranks": ranks,
        "cpu_seconds": watch.laps[-1] - watch.laps[0],
        "cpu_seconds_of_last": watch.laps[-1] - watch.laps[-2],
    }


def _validation_ranks(workspace: Workspace, name: str) -> list[float]:
    bench = workspace.bench()
    snapshot, loaded = bench.log.snapshot(), load(bench.registry.folder(name))
    streams = bench.encode(snapshot, loaded.vocabulary)
    slots = lessons.split_of(bench.config.pretrain, streams, snapshot).validation
    policy = form.without_floor(loaded.policy)
    window = bench.config.policy.window
    return held_out_ranks(policy, streams, slots, window=window).tolist()


class _Stopwatch:
    """Takes the CPU time at the start of training and after each epoch; reports nothing."""

    def __init__(self) -> None:
        self.laps: list[float] = []

    def start(self) -> _Stopwatch:
        """Begin."""
        self.laps = [time.process_time()]
        return self

    def update(self, done: int, total: int, text: str = "") -> None:
        """Take the time."""
        self.laps.append(time.process_time())

    def close(self) -> None:
        """Do nothing."""


def _row(name: str, of: Mapping[str, Any], default: Mapping[str, Any]) -> tuple[str, ...]:
    scores = np.stack(of["scores"])
    by_seed = scores.mean(1)
    spread = f"{by_seed.min():.4f}–{by_seed.max():.4f}" if len(scores) > 1 else "-"
    gain = bootstrap(scores - np.stack(default["scores"]), seed=0)
    over = "-" if of is default else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    cost = f"{of['cpu_seconds']:.0f}"
    return (name, str(of["epochs"]), cost, f"{scores.mean():.4f}", spread, over)
