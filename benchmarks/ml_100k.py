"""ML-100K: held-out ranking of what was pre-trained, beside what costs nothing.

Leave-one-out in the order of the log (ties in file order), full ranking, items seen before
filtered. Depth and weight of the transition prior, and the best epoch, are chosen on validation;
the test units are looked at once. Real data: the folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Table
from benchmarks._data import real
from benchmarks._kept import keep
from heedful.evaluate import bootstrap, hit_rate, ndcg
from heedful.loop.assess import POPULARITY, PRIOR, held_out
from heedful.workspace import Workspace

VARIANTS: dict[str, dict[str, object]] = {
    "recurrent (the default)": {},
}


def run(quick: bool) -> list[Table]:
    """Pre-train every variant from each seed, and rank the test units."""
    ratings = real("ml-100k", "ml-100k.inter")
    seeds = range(1 if quick else 3)
    found = {
        name: [_trained(changes, seed, ratings) for seed in seeds]
        for name, changes in VARIANTS.items()
    }
    baselines = next(iter(found.values()))[0]["ranks"]
    prior = ndcg(np.array(baselines[PRIOR]), 10)
    rows = [_row(name, [baselines[name]], prior, "-") for name in (POPULARITY, PRIOR)]
    for name, trained in found.items():
        seconds = np.mean([one["cpu_seconds"] for one in trained])
        rows.append(_row(name, [one["ranks"]["own"] for one in trained], prior, f"{seconds:.0f}"))
    columns = ("policy", "HR@10", "NDCG@10", "over seeds", "NDCG@10 over the prior", "CPU s")
    note = (
        f"{len(prior)} subjects, seeds {list(seeds)}. The gain over the transition prior is paired "
        "by subject, seeds averaged, with a 95 % bootstrap interval; CPU seconds are one thread's, "
        "of pre-training alone, per seed."
    )
    return [Table("Test units of ML-100K", columns, tuple(rows), note)]


def _trained(changes: dict[str, object], seed: int, ratings: Path) -> dict[str, Any]:
    """Return the ranks of the test units by policy, and what training cost; a seed is kept."""
    found: dict[str, Any] = keep(
        lambda: _train(changes, seed, ratings),
        code=[__name__],
        data=[ratings],
        settings={**changes, "seed": seed},
    )
    return found


def _train(changes: dict[str, object], seed: int, ratings: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        Workspace.create(folder).close()
        with Workspace.open(folder, {**changes, "workspace.seed": seed}) as workspace:
            workspace.import_file(ratings)
            began = time.process_time()
            version = workspace.pretrain()
            seconds = time.process_time() - began
            ranks = held_out(workspace.bench(), version).ranks
    own = {"own": ranks[version.name]}
    listed = {name: of_one.tolist() for name, of_one in {**ranks, **own}.items()}
    return {"ranks": listed, "cpu_seconds": seconds}


def _row(
    name: str, ranks_by_seed: list[list[float]], prior: np.ndarray, seconds: str
) -> tuple[str, ...]:
    """Return one line of the table from ranks [S, n]."""
    ranks = np.array(ranks_by_seed)
    scores = np.stack([ndcg(of_seed, 10) for of_seed in ranks])
    hits = float(np.mean([hit_rate(of_seed, 10).mean() for of_seed in ranks]))
    by_seed = scores.mean(1)
    spread = f"{by_seed.min():.4f}–{by_seed.max():.4f}" if len(ranks) > 1 else "-"
    gain = bootstrap(scores - prior, seed=0)
    over = "-" if name == PRIOR else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    return (name, f"{hits:.4f}", f"{scores.mean():.4f}", spread, over, seconds)
