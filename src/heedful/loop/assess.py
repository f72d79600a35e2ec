"""How a version ranks what it was not trained on, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from heedful.contract import Streams
from heedful.evaluate import Interval, bootstrap, coverage, hit_rate, mrr, ndcg
from heedful.evaluate.held_out import fresh_targets, held_out_ranks, scored
from heedful.loop.steps import (
    Bench,
    chosen_by_people,
    repeats,
    sequences_of,
    split_of,
    without_floor,
)
from heedful.policy import Policy, Popularity, TransitionPrior, load
from heedful.store.registry import Version

TOP = 10


@dataclass(frozen=True, slots=True)
class Ranks:
    """Ranking metrics of one policy over the held-out units, with 95 % intervals over subjects."""

    hr: Interval
    ndcg: Interval
    mrr: Interval
    coverage: float

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers under the names the field uses."""
        return {
            f"hr@{TOP}": self.hr.mean,
            f"ndcg@{TOP}": self.ndcg.mean,
            "mrr": self.mrr.mean,
            f"coverage@{TOP}": self.coverage,
            "intervals": {
                f"hr@{TOP}": [self.hr.low, self.hr.high],
                f"ndcg@{TOP}": [self.ndcg.low, self.ndcg.high],
                "mrr": [self.mrr.low, self.mrr.high],
            },
        }


@dataclass(frozen=True, slots=True)
class Ranking:
    """A version beside popularity and the transition prior alone.

    Attributes:
        protocol: what was held out and how it was ranked, in words.
        n: subjects ranked for.
        policies: name -> metrics.
        gain: NDCG@10 of the version minus that of the transition prior, paired by subject.
    """

    protocol: str
    n: int
    policies: Mapping[str, Ranks]
    gain: Interval

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON, the version's metrics first."""
        own, *others = self.policies.items()
        return {
            **own[1].to_dict(),
            "protocol": self.protocol,
            "n": self.n,
            "beside": {name: ranks.to_dict() for name, ranks in others},
            "gain_over_prior": {
                "mean": self.gain.mean,
                "low": self.gain.low,
                "high": self.gain.high,
            },
        }


def ranking(bench: Bench, version: Version) -> Ranking | None:
    """Rank the held-out last unit of every subject, as the log stood when ``version`` was trained.

    Returns:
        ``None`` where nothing was held out.
    """
    card = bench.registry.card(version.name)
    loaded = load(bench.registry.folder(version.name))
    snapshot = bench.log.snapshot(None if card.snapshot is None else card.snapshot.watermark)
    streams = bench.encode(snapshot, loaded.vocabulary)
    split = split_of(bench.config, streams)
    chosen, seen = chosen_by_people(streams), repeats(bench)
    slots = split.test[chosen[split.test] > 0]
    slots = slots if seen else fresh_targets(streams, slots)
    if not len(slots):
        return None
    sequences = sequences_of(streams, chosen * split.train)
    counts = np.bincount(np.concatenate(sequences), minlength=len(loaded.vocabulary))
    popular = Popularity(streams.schema).fit(torch.from_numpy(counts))
    prior = TransitionPrior(Popularity(streams.schema, sharpness=0.0)).fit(sequences)
    policies: dict[str, Policy] = {
        version.name: without_floor(loaded.policy),
        "popularity": popular,
        "transition prior": prior,
    }
    window = bench.config.policy.window
    found = {
        name: held_out_ranks(policy, streams, slots, window=window, seen=seen)
        for name, policy in policies.items()
    }
    metrics = {
        name: _metrics(ranks, _coverage(policies[name], streams, slots, window, seen=seen))
        for name, ranks in found.items()
    }
    difference = ndcg(found[version.name], TOP) - ndcg(found["transition prior"], TOP)
    filtered = "with repeats" if seen else "items seen before filtered"
    return Ranking(
        f"leave-one-out in the order of the log, full ranking of {len(loaded.vocabulary)} units, "
        f"{filtered}, score ties count half",
        len(slots),
        metrics,
        bootstrap(difference, seed=0),
    )


def _metrics(ranks: np.ndarray, covered: float) -> Ranks:
    return Ranks(
        bootstrap(hit_rate(ranks, TOP), seed=0),
        bootstrap(ndcg(ranks, TOP), seed=0),
        bootstrap(mrr(ranks), seed=0),
        covered,
    )


def _coverage(
    policy: Policy, streams: Streams, slots: np.ndarray, window: int, *, seen: bool
) -> float:
    """Return the share of units that stand in somebody's first ten."""
    tops = [
        logits.topk(min(TOP, logits.shape[1])).indices.numpy()
        for _, logits in scored(policy, streams, slots, window=window, seen=seen)
    ]
    return float(coverage(np.concatenate(tops), streams.schema.size))
