"""ML-100K: films that nobody has rated yet, ranked for everybody by what is known of them.

A tenth of the films loses all its ratings before anything is learned. Then every person's history,
but for its last film, ranks these films among themselves; relevant are those the person rated 4 or
5, and films rated lower are left out. Real data: the folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

import csv
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Table
from benchmarks._data import real
from benchmarks._kept import keep
from heedful.contract import Streams, unit_features
from heedful.evaluate import bootstrap, hit_rate
from heedful.evaluate.held_out import scored
from heedful.evaluate.ranking import ranks
from heedful.loop.form import without_floor
from heedful.policy import load
from heedful.record import Described, pseudonym
from heedful.store.registry import Version
from heedful.workspace import Workspace

HIDDEN = 0.1
LIKED = 4.0
TOP = 10
EPOCHS = 12
VARIANTS: dict[str, dict[str, object]] = {
    "described films": {},
    "described films and people": {"people": True},
    "described films, id_dropout 0": {"policy.id_dropout": 0.0},
    "described films, id_dropout 0.5": {"policy.id_dropout": 0.5},
}
COSINE, ORACLE = "likeness to what was liked (cosine)", "their own popularity (an oracle)"


def run(quick: bool) -> list[Table]:
    """Train each variant without the hidden films, and rank those."""
    files = [real("ml-100k", f"ml-100k.{kind}") for kind in ("inter", "item", "user")]
    names = list(VARIANTS)[: 1 if quick else None]
    found = {name: _measured(VARIANTS[name], files, 2 if quick else EPOCHS) for name in names}
    first = next(iter(found.values()))
    n_hidden, n_people = first["hidden"], len(first["scores"]["own"]["auc"])
    rows = [("chance", "0.500", f"{first['chance']:.3f}", "-")]
    rows += [_row(name, first["scores"][name], "-") for name in (COSINE, ORACLE)]
    for name, one in found.items():
        rows.append(_row(name, one["scores"]["own"], f"{one['cpu_seconds']:.0f}"))
    note = (
        f"{n_people} people, {n_hidden} hidden films, seed 0, {2 if quick else EPOCHS} epochs, "
        "95 % bootstrap intervals over people. Popularity as it was learned knows none of these "
        "films: it is chance. The oracle counts the ratings that were hidden."
    )
    columns = ("films ranked by", "AUC", f"recall@{TOP}", "CPU s")
    return [Table("Films without a rating, ML-100K", columns, tuple(rows), note)]


def _measured(changes: dict[str, object], files: list[Path], epochs: int) -> dict[str, Any]:
    settings = {**changes, "pretrain.epochs": epochs}
    found: dict[str, Any] = keep(
        lambda: _train(settings, files), code=[__name__], data=files, settings=settings
    )
    return found


def _train(settings: dict[str, object], files: list[Path]) -> dict[str, Any]:
    ratings, items, users = files
    options = {name: value for name, value in settings.items() if name != "people"}
    with tempfile.TemporaryDirectory() as folder:
        hidden = _split(ratings, Path(folder))
        Workspace.create(folder).close()
        with Workspace.open(folder, options) as workspace:
            workspace.import_file(Path(folder, "shown.inter"))
            workspace.describe_file(items, Described.UNIT)
            if settings.get("people"):
                workspace.describe_file(users, Described.SUBJECT)
            began = time.process_time()
            version = workspace.pretrain()
            seconds = time.process_time() - began
            return _scores(workspace, version, hidden) | {"cpu_seconds": seconds}


def _split(ratings: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Write the ratings that are shown; return the hidden ones, user -> film -> rating."""
    with ratings.open(newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    films = sorted({row[1] for row in rows})
    rng = np.random.default_rng(0)
    chosen = set(rng.choice(films, round(HIDDEN * len(films)), replace=False).tolist())
    with (folder / "shown.inter").open("w", newline="") as file:
        out = csv.writer(file, delimiter="\t", lineterminator="\n")
        out.writerow(header)
        out.writerows(row for row in rows if row[1] not in chosen)
    hidden: dict[str, dict[str, float]] = {}
    for user, film, rating, *_ in rows:
        if film in chosen:
            hidden.setdefault(user, {})[film] = float(rating)
    return {"": dict.fromkeys(chosen, 0.0), **hidden}


def _scores(
    workspace: Workspace, version: Version, hidden: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """Return AUC and recall of each person, by what ranks the hidden films."""
    bench, snapshot = workspace.bench(), workspace.log.snapshot()
    loaded = load(workspace.registry.folder(version.name))
    streams = bench.encode(snapshot, loaded.vocabulary)
    films = sorted(hidden[""], key=loaded.vocabulary.__getitem__)
    place = {film: i for i, film in enumerate(films)}
    cold = loaded.vocabulary.indexes(films).astype(np.int64)
    features, _ = unit_features(loaded.vocabulary, snapshot)
    count = np.zeros(len(films))
    for user, rated in hidden.items():
        count[[place[film] for film in rated]] += 1.0 if user else 0.0
    user_of = {pseudonym(user, workspace.key): user for user in hidden if user}
    names = snapshot.names.subjects
    found: dict[str, dict[str, list[float]]] = {}
    chances = []
    last = streams.slot_offsets[1:] - 1
    window = workspace.config.policy.window
    policy = without_floor(loaded.policy)
    for slots, logits in scored(policy, streams, last, window=window, seen=True):
        for slot, row in zip(slots.tolist(), logits.numpy(), strict=True):
            stream = int(streams.slots.stream[slot])
            user = user_of.get(names[int(streams.subjects[stream])])
            rated = hidden.get(user or "-", {})
            liked = [place[film] for film, rating in rated.items() if rating >= LIKED]
            others = [i for film, i in place.items() if film not in rated]
            if not liked:
                continue
            profile = _profile(streams, stream, slot, features)
            by = {"own": row[cold], COSINE: features[cold] @ profile, ORACLE: count}
            for name, scores in by.items():
                auc, recall = _ranked(scores[liked], scores[others])
                kept = found.setdefault(name, {"auc": [], "recall": []})
                kept["auc"].append(auc)
                kept["recall"].append(recall)
            chances.append(TOP / (len(others) + 1))
    return {"scores": found, "hidden": len(films), "chance": float(np.mean(chances))}


def _profile(streams: Streams, stream: int, slot: int, features: np.ndarray) -> np.ndarray:
    """Return the mean description of the films a person liked before ``slot``, of length 1."""
    low = streams.slot_offsets[stream]
    liked = streams.slots.reward[low:slot] > 0
    units = streams.slots.unit[low:slot][liked] if liked.any() else streams.slots.unit[low:slot]
    total = features[units].sum(0)
    return np.asarray(total / max(1e-9, float(np.linalg.norm(total))))


def _ranked(liked: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Return the AUC, and the share of the liked that stand among the first ten of the others."""
    place = ranks(
        np.column_stack([liked, np.broadcast_to(others, (len(liked), len(others)))]),
        np.zeros(len(liked), dtype=np.int64),
    )
    auc = 1.0 - (place - 1.0) / len(others)
    return float(auc.mean()), float(hit_rate(place, TOP).mean())


def _row(name: str, scores: dict[str, list[float]], seconds: str) -> tuple[str, ...]:
    cells = []
    for metric in ("auc", "recall"):
        one = bootstrap(np.array(scores[metric]), seed=0)
        cells.append(f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]")
    return (name, *cells, seconds)
