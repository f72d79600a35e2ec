"""ML-1M: held-out ranking by an ensemble of transformers, beside its members and what is free.

Leave-one-out in the order of the file (LRURec's: by time, ties by film), full ranking, items seen
before filtered. Depth and weight of the transition prior, and the best epoch, are chosen on
validation; the test units are looked at once. Real data: the folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

import numpy as np

from benchmarks import Table
from benchmarks._data import real
from benchmarks._movielens import COLUMNS, OWN, WITHOUT, row, seconds_of, trained
from heedful.evaluate import ndcg
from heedful.loop.assess import POPULARITY, PRIOR

SETTINGS: dict[str, object] = {
    "policy.members": ["transformer", "transformer"],
    "policy.layers": 2,
    "policy.width": 128,
    "policy.heads": 4,
    "policy.dropout": 0.2,
    "pretrain.epochs": 6,
}
NAMES = {
    "member 1": "one transformer",
    "member 2": "another transformer",
    WITHOUT: "both, averaged",
    OWN: "both, with the prior on their logits",
}


def run(quick: bool) -> list[Table]:
    """Train the members, and rank the test units with each, with both, and with what is free."""
    ratings = real("ml-1m", "ratings_ordered.csv.gz")
    shorter: dict[str, object] = (
        {"pretrain.epochs": 1, "policy.width": 16, "policy.heads": 2} if quick else {}
    )
    found = trained(__name__, ratings, {**SETTINGS, **shorter})
    ranks, seconds = found["ranks"], seconds_of([found])
    prior = ndcg(np.array(ranks[PRIOR]), 10)
    rows = [row(name, [ranks[name]], prior, "-") for name in (POPULARITY, PRIOR)]
    for part, name in NAMES.items():
        rows.append(row(name, [ranks[part]], prior, seconds if part == OWN else "-"))
    note = (
        f"{len(prior):,} subjects, seed 0. The gain over the transition prior alone is paired by "
        "subject, with a 95 % bootstrap interval; CPU seconds are one thread's, of pre-training "
        "both members with all validation. Published on the same file: LRURec .3264/.1930."
    )
    return [Table("Test units of ML-1M", COLUMNS, tuple(rows), note)]
