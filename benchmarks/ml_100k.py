"""ML-100K: held-out ranking of what was pre-trained, beside what costs nothing and a plain peer.

Leave-one-out in the order of the log (ties in file order), full ranking, items seen before
filtered; and a split by time, the same moment for everybody. Depth and weight of the transition
prior, and the best epoch, are chosen on validation; the test units are looked at once. Real data:
the folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Table, _recbole, _sasrec
from benchmarks._data import real
from benchmarks._kept import keep_in
from benchmarks._movielens import COLUMNS, OWN, WITHOUT, opened, row, seconds_of, trained
from heedful.contract import Streams
from heedful.evaluate import ndcg
from heedful.evaluate.held_out import Split, leave_one_out
from heedful.loop.assess import POPULARITY, PRIOR

ENSEMBLE: dict[str, object] = {"policy.members": ["transformer", "recurrent"]}
BY_TIME: dict[str, object] = {"pretrain.split": "time"}
EPOCHS, WIDTH = 30, 64
ROWS = 100_000


def run(quick: bool) -> list[Table]:
    """Pre-train from each seed and rank the test units, by both splits; then race."""
    ratings = real("ml-100k", "ml-100k.inter")
    seeds = range(1 if quick else 3)
    shorter: dict[str, object] = {"pretrain.epochs": 2} if quick else {}
    joint = [
        trained(__name__, ratings, {**ENSEMBLE, **shorter, "workspace.seed": s}) for s in seeds
    ]
    apart = [trained(__name__, ratings, {**shorter, "workspace.seed": s}) for s in seeds]
    peers = {
        f"SASRec, {name}": [_peer(ratings, full, 0, 2 if quick else EPOCHS)]
        for name, full in (("one negative, BCE", False), ("full softmax", True))
    }
    later = [trained(__name__, ratings, {**ENSEMBLE, **BY_TIME, **shorter})]
    return [
        _held_out("leave-one-out", seeds, joint, apart, peers),
        _held_out("split by time, the latest tenth", range(1), later, [], {}),
        _race(ratings, epochs=1 if quick else 4, rounds=1 if quick else 5),
    ]


def _held_out(
    split: str,
    seeds: range,
    joint: list[dict[str, Any]],
    apart: list[dict[str, Any]],
    peers: Mapping[str, list[dict[str, Any]]],
) -> Table:
    baselines = joint[0]["ranks"]
    prior = ndcg(np.array(baselines[PRIOR]), 10)
    rows = [row(name, [baselines[name]], prior, "-") for name in (POPULARITY, PRIOR)]
    for name, found in peers.items():
        rows.append(row(name, [one["ranks"] for one in found], prior, seconds_of(found)))
    parts = {
        "member 1": "one transformer",
        "member 2": "one recurrent network",
        WITHOUT: "both, averaged",
        OWN: "both, with the prior on their logits",
    }
    if apart:
        own = [one["ranks"][OWN] for one in apart]
        rows.append(row("the default: recurrent, with the prior", own, prior, seconds_of(apart)))
    for part, name in parts.items():
        cost = seconds_of(joint) if part == OWN else "-"
        rows.append(row(name, [one["ranks"][part] for one in joint], prior, cost))
    note = (
        f"{len(prior):,} test units, seeds {list(seeds)}, of the peers 0. The gain over the "
        "transition prior is paired by unit, seeds averaged, with a 95 % bootstrap interval; CPU "
        "seconds are one thread's, of training with its validation (the peers': without), per seed."
    )
    return Table(f"Test units of ML-100K, {split}", COLUMNS, tuple(rows), note)


def _peer(ratings: Path, full: bool, seed: int, epochs: int) -> dict[str, Any]:
    settings = {"peer": "sasrec", "full": full, "seed": seed, "epochs": epochs, "width": WIDTH}

    def measured(folder: Path) -> dict[str, Any]:
        streams, split = _encoded(folder, ratings)
        return _sasrec.train(streams, split, full=full, epochs=epochs, width=WIDTH, seed=seed)

    found: dict[str, Any] = keep_in(
        measured, code=[__name__, _sasrec.__name__], data=[ratings], settings=settings
    )
    return found


def _encoded(folder: Path, ratings: Path) -> tuple[Streams, Split]:
    with opened(folder, ratings, {}) as workspace:
        bench, snapshot = workspace.bench(), workspace.log.snapshot()
        streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
        return streams, leave_one_out(streams)


def _race(ratings: Path, epochs: int, rounds: int) -> Table:
    """Train both in turns, with the full softmax and two layers of the same width."""
    ours, peers = [], []
    form: dict[str, object] = {
        "policy.kind": "transformer",
        "policy.width": WIDTH,
        "policy.prior": False,
        "pretrain.validation": False,
        "pretrain.epochs": epochs,
    }
    for seed in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            with opened(Path(folder), ratings, {**form, "workspace.seed": seed}) as workspace:
                began = time.process_time()
                workspace.pretrain()
                ours.append(epochs * ROWS / (time.process_time() - began))
            streams, split = _encoded(Path(folder), ratings)
        one = _sasrec.train(streams, split, full=True, epochs=epochs, width=WIDTH, seed=seed)
        peers.append(one["units"] / one["cpu_seconds"])
    ratios = np.array(ours) / np.array(peers)
    rows = [
        ("plain SASRec", f"{np.median(peers):,.0f}", "1"),
        (
            "transformer of heedful",
            f"{np.median(ours):,.0f}",
            f"{np.median(ratios):.2f} ({ratios.min():.2f}–{ratios.max():.2f})",
        ),
    ]
    other = _recbole.units_per_second(ratings, WIDTH)
    if other is not None:
        rows.insert(0, ("RecBole 1.2.1, SASRec", f"{other:,.0f}", f"{other / peers[-1]:.3f}"))
    note = (
        f"Full softmax, width {WIDTH}, two layers, {epochs} epochs, one thread, in turns, "
        f"{rounds} rounds: the median, and the smallest and largest ratio. Heedful's figure counts "
        "encoding the log and saving the version; it reads ratings and times, and predicts ratings "
        "beside the next unit. The peers' count training steps alone. RecBole learns from one unit "
        "a row; it is measured where HEEDFUL_RECBOLE names a Python that has it."
    )
    return Table(
        "Units learned from per CPU second", ("network", "units", "ratio"), tuple(rows), note
    )
