"""Pre-training on MovieLens and ranking what was held out: what several benchmarks share."""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._kept import keep_in
from heedful.evaluate import bootstrap, hit_rate, ndcg
from heedful.evaluate.held_out import held_out_ranks
from heedful.loop.assess import PRIOR, HeldOut, held_out
from heedful.loop.form import members_of
from heedful.policy import Ensemble, Policy, TransitionPrior
from heedful.workspace import Workspace

OWN, WITHOUT = "own", "without the prior"
COLUMNS = ("policy", "HR@10", "NDCG@10", "over seeds", "NDCG@10 over the prior", "CPU s")
ORDERED: Mapping[str, object] = {
    "import.subject": "user_id",
    "import.unit": "movie_id",
    "import.rating": "rating",
    "import.order": "position",
}
"""The columns of ML-1M in a stated order, which has no times."""


def trained(name: str, ratings: Path, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return what :func:`_train` measures with ``settings``, once for the benchmark ``name``."""
    found: dict[str, Any] = keep_in(
        lambda folder: _train(folder, ratings, settings),
        code=[name, __name__],
        data=[ratings],
        settings=settings,
    )
    return found


def _train(folder: Path, ratings: Path, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return the ranks and ratings of the test units by policy, and what training cost."""
    began, fresh = time.process_time(), not any(folder.iterdir())
    workspace = opened(folder, ratings, settings)
    with workspace:
        imported = time.process_time()
        version = workspace.pretrain()
        seconds = time.process_time() - imported
        found = held_out(workspace.bench(), version)
        metrics = dict(workspace.registry.card(version.name).metrics)
        window = workspace.config.policy.window
    ranks = dict(found.ranks)
    whole = found.policies[version.name]
    ranks[OWN] = ranks.pop(version.name)
    for name, policy in parts(whole).items():
        ranks[name] = held_out_ranks(
            policy, found.streams, found.slots, window=window, seen=found.seen
        )
    return {
        "ranks": {name: of_one.tolist() for name, of_one in ranks.items()},
        "ratings": ratings_of(found).tolist(),
        "cpu_seconds": seconds if fresh else None,  # of one that was killed a part is missing
        "import_seconds": imported - began,
        "metrics": metrics,
    }


def seconds_of(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the mean CPU seconds of trainings that were not interrupted."""
    known = [one["cpu_seconds"] for one in found if one["cpu_seconds"] is not None]
    return f"{np.mean(known):,.0f}" if known else "-"


def parts(policy: Policy) -> dict[str, Policy]:
    """Return what stands inside of a version without exploration: its network, and its members."""
    network = policy.inner if isinstance(policy, TransitionPrior) else policy
    found = {WITHOUT: network}
    if isinstance(network, Ensemble):
        for number, member in enumerate(members_of(network), start=1):
            found[f"member {number}"] = member
    return found


def opened(folder: Path, ratings: Path, settings: Mapping[str, object]) -> Workspace:
    """Return a workspace in ``folder`` with ``ratings`` in its log."""
    ordered = ratings.name.endswith(".csv.gz")
    options = {**(ORDERED if ordered else {}), **settings}
    if not (folder / "heedful.toml").exists():
        Workspace.create(folder).close()
    workspace = Workspace.open(folder, options)
    workspace.import_file(_in_order(ratings, folder) if ordered else ratings)
    return workspace


def _in_order(ratings: Path, folder: Path) -> Path:
    """Return a copy without the ratings that have no place in the order (position -1)."""
    out = folder / "ordered.csv"
    with gzip.open(ratings, "rt", newline="") as rows, out.open("w", newline="") as kept:
        reader, writer = csv.reader(rows), csv.writer(kept, lineterminator="\n")
        writer.writerow(next(reader))
        writer.writerows(row for row in reader if row[3] != "-1")
    return out


def ratings_of(found: HeldOut) -> np.ndarray:
    """Return how the test units were rated, from 0 to 1, [n]; NaN where they were not."""
    names = [channel.kind for channel in found.streams.schema.channels]
    return np.asarray(found.streams.slots.feedback[found.slots, names.index("rating")], np.float64)


def row(
    name: str, ranks_by_seed: Sequence[Sequence[float]], prior: np.ndarray, seconds: str
) -> tuple[str, ...]:
    """Return one line of a table with ``COLUMNS`` from ranks [S, n]; ``prior`` [n] is its NDCG."""
    ranks = np.array(ranks_by_seed)
    scores = np.stack([ndcg(of_seed, 10) for of_seed in ranks])
    hits = float(np.mean([hit_rate(of_seed, 10).mean() for of_seed in ranks]))
    by_seed = scores.mean(1)
    spread = f"{by_seed.min():.4f}–{by_seed.max():.4f}" if len(ranks) > 1 else "-"
    gain = bootstrap(scores.mean(0) - prior, seed=0)
    over = "-" if name == PRIOR else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    return (name, f"{hits:.4f}", f"{scores.mean():.4f}", spread, over, seconds)
