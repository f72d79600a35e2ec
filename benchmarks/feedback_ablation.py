"""What feedback is worth to the policy: retrained without it, and hidden or shuffled at test.

Networks alone, without the transition prior. "Without any ratings" is trained from the same file
with the column of ratings left out, so neither history nor loss knows them. "Ratings dealt out
anew" is trained from a file whose ratings changed places among all rows: what it gains over none
comes of having a second thing to predict, not of what people said. Looked at are all test units,
and those rated 4 or 5. Real data: the folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Table
from benchmarks._data import real
from benchmarks._kept import keep_in
from benchmarks._movielens import opened, ratings_of
from heedful.contract import Streams
from heedful.evaluate import bootstrap, ndcg
from heedful.evaluate.held_out import held_out_ranks
from heedful.loop.assess import held_out
from heedful.policy import EventKind

LIKED = 0.75  # of ratings 1 to 5 scaled to 0..1: a 4
FORM: Mapping[str, object] = {
    "policy.kind": "transformer",
    "policy.layers": 2,
    "policy.prior": False,
    "reward.kind": "ratings",
}
WITHOUT, DEALT, HISTORY, REWARD = (
    "without any ratings",
    "ratings dealt out anew",
    "ratings in the history, and predicted",
    "the same, and units count by their rating",
)
VARIANTS: dict[str, dict[str, object]] = {
    WITHOUT: {"import.rating": ""},
    DEALT: {},
    HISTORY: {},
    REWARD: {"pretrain.reward_weight": 0.75},
}
CHANGES = ("hidden", "shuffled", "turned round")


def run(quick: bool) -> list[Table]:
    """Train every variant on both files."""
    small = (
        real("ml-100k", "ml-100k.inter"),
        {
            "import.subject": "user_id",
            "import.unit": "item_id",
            "import.time": "timestamp",
            "import.rating": "rating",
            "policy.dropout": 0.4,
            "pretrain.epochs": 12,
        },
    )
    large = (
        real("ml-1m", "ratings_ordered.csv.gz"),
        {
            "policy.dropout": 0.2,
            "pretrain.epochs": 4,
        },
    )
    if quick:
        return [_table("ML-100K", *small, range(1), {"pretrain.epochs": 2})]
    return [_table("ML-1M", *large, range(1), {}), _table("ML-100K", *small, range(3), {})]


def _table(
    name: str,
    ratings: Path,
    form: Mapping[str, object],
    seeds: range,
    shorter: Mapping[str, object],
) -> Table:
    found = {
        variant: [
            _measured(
                ratings,
                {**FORM, **form, **changes, **shorter, "workspace.seed": seed},
                anew=variant == DEALT,
            )
            for seed in seeds
        ]
        for variant, changes in VARIANTS.items()
    }
    liked = np.array(found[HISTORY][0]["ratings"]) >= LIKED
    base = _scores(found[WITHOUT], "as it was")
    rows = [_row(variant, _scores(of, "as it was"), base, liked) for variant, of in found.items()]
    for change in CHANGES:
        scores = _scores(found[HISTORY], change)
        rows.append(_row(f"{HISTORY}; {change} at test", scores, base, liked))
    columns = (
        "trained",
        "NDCG@10",
        "over none",
        "NDCG@10, rated 4 or 5",
        "over none, rated 4 or 5",
    )
    note = (
        f"{len(liked):,} test units, {int(liked.sum()):,} of them rated 4 or 5, seeds "
        f"{list(seeds)}. Differences are paired by subject, seeds averaged, with 95 % bootstrap "
        "intervals. Ratings at test are changed in the history only."
    )
    return Table(f"The worth of ratings, {name}", columns, tuple(rows), note)


def _scores(found: list[dict[str, Any]], change: str) -> np.ndarray:
    return np.stack([ndcg(np.array(one["ranks"][change]), 10) for one in found]).mean(0)


def _row(name: str, scores: np.ndarray, base: np.ndarray, liked: np.ndarray) -> tuple[str, ...]:
    cells = [name]
    for kept in (np.ones(len(liked), bool), liked):
        gain = bootstrap((scores - base)[kept], seed=0)
        cells.append(f"{scores[kept].mean():.4f}")
        same = scores is base or name == WITHOUT
        cells.append("-" if same else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    return tuple(cells)


def _measured(ratings: Path, settings: Mapping[str, object], *, anew: bool) -> dict[str, Any]:
    """Return the ranks of the test units with the history as it was and with it changed."""

    def measure(folder: Path) -> dict[str, Any]:
        source = dealt_anew(ratings, folder) if anew else ratings
        with opened(folder, source, settings) as workspace:
            version = workspace.pretrain()
            found = held_out(workspace.bench(), version)
            window = workspace.config.policy.window
        policy, slots, seen = found.policies[version.name], found.slots, found.seen
        ranks = {"as it was": found.ranks[version.name].tolist()}
        for change in CHANGES:
            streams = changed(found.streams, change)
            ranks[change] = held_out_ranks(
                policy, streams, slots, window=window, seen=seen
            ).tolist()
        return {"ranks": ranks, "ratings": ratings_of(found).tolist()}

    result: dict[str, Any] = keep_in(
        measure,
        code=[__name__, "benchmarks._movielens"],
        data=[ratings],
        settings={**settings, "anew": anew},
    )
    return result


def dealt_anew(ratings: Path, folder: Path) -> Path:
    """Return a copy of a file in ``folder`` whose ratings changed places among its rows."""
    out = folder / ratings.name
    mark = "," if ratings.name.endswith(".csv.gz") else "\t"
    opener = gzip.open if ratings.suffix == ".gz" else open
    with opener(ratings, "rt", encoding="utf-8") as source, opener(out, "wt") as copy:
        head, *rows = (line.rstrip("\r\n").split(mark) for line in source)
        column = next(at for at, name in enumerate(head) if name.startswith("rating"))
        given = np.random.default_rng(0).permutation([row[column] for row in rows])
        for row, rating in zip(rows, given, strict=True):
            row[column] = str(rating)
        copy.writelines(mark.join(line) + "\n" for line in (head, *rows))
    return out


def changed(streams: Streams, change: str) -> Streams:
    """Return streams with the answers in their histories hidden, shuffled or turned round."""
    events = streams.events
    answered = (events.kind == EventKind.UNIT) & (events.channel > 0)
    channel, value = events.channel.copy(), events.value.copy()
    if change == "hidden":
        channel[answered], value[answered] = 0, 0.0
    elif change == "shuffled":
        value[answered] = np.random.default_rng(0).permutation(value[answered])
    else:
        value[answered] = 1.0 - value[answered]
    return replace(streams, events=replace(events, channel=channel, value=value))
