"""ML-100K: held-out ranking of what was pre-trained, beside what costs nothing.

Leave-one-out in the order of the log (ties in file order), full ranking, items seen before
filtered. Depth and weight of the transition prior, and the best epoch, are chosen on validation;
the test units are looked at once. Real data: the folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import Table
from heedful.evaluate import bootstrap, hit_rate, ndcg
from heedful.loop.assess import POPULARITY, PRIOR, held_out
from heedful.workspace import Workspace

VARIANTS: dict[str, dict[str, object]] = {
    "recurrent (the default)": {},
}


def run(quick: bool) -> list[Table]:
    """Pre-train every variant from each seed, and rank the test units."""
    data = os.environ.get("HEEDFUL_DATA")
    if not data:
        raise SystemExit("ml_100k needs real data: set HEEDFUL_DATA to a folder with ml-100k/")
    seeds = range(1 if quick else 3)
    with tempfile.TemporaryDirectory() as folder:
        Workspace.create(folder).close()
        with Workspace.open(folder) as workspace:
            workspace.import_file(Path(data) / "ml-100k" / "ml-100k.inter")
        found = {name: _ranks(folder, changes, seeds) for name, changes in VARIANTS.items()}
    first = next(iter(found.values()))[0]
    prior = ndcg(first[PRIOR], 10)
    rows = [_row(name, np.stack([first[name]]), prior, "-") for name in (POPULARITY, PRIOR)]
    for name, (*ranks, seconds) in found.items():
        own = np.stack([by_policy["own"] for by_policy in ranks])
        rows.append(_row(name, own, prior, f"{seconds / len(seeds):.0f}"))
    columns = ("policy", "HR@10", "NDCG@10", "over seeds", "NDCG@10 over the prior", "CPU s")
    note = (
        f"{len(prior)} subjects, seeds {list(seeds)}. The gain over the transition prior is paired "
        "by subject, seeds averaged, with a 95 % bootstrap interval; CPU seconds are one thread's, "
        "of pre-training alone, per seed."
    )
    return [Table("Test units of ML-100K", columns, tuple(rows), note)]


def _ranks(folder: str, changes: dict[str, object], seeds: range) -> list:  # type: ignore[type-arg]
    """Return the ranks by policy for each seed, and behind them the CPU seconds of training."""
    found: list[object] = []
    seconds = 0.0
    for seed in seeds:
        with Workspace.open(folder, {**changes, "workspace.seed": seed}) as workspace:
            began = time.process_time()
            version = workspace.pretrain()
            seconds += time.process_time() - began
            ranks = held_out(workspace.bench(), version).ranks
            found.append({**ranks, "own": ranks[version.name]})
    return [*found, seconds]


def _row(name: str, ranks: np.ndarray, prior: np.ndarray, seconds: str) -> tuple[str, ...]:
    """Return one line of the table from ranks [S, n]."""
    scores = np.stack([ndcg(of_seed, 10) for of_seed in ranks])
    hits = float(np.mean([hit_rate(of_seed, 10).mean() for of_seed in ranks]))
    by_seed = scores.mean(1)
    spread = f"{by_seed.min():.4f}–{by_seed.max():.4f}" if len(ranks) > 1 else "-"
    gain = bootstrap(scores - prior, seed=0)
    over = "-" if name == PRIOR else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    return (name, f"{hits:.4f}", f"{scores.mean():.4f}", spread, over, seconds)
