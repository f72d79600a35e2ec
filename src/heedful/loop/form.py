"""The form of a policy: its networks, and the prior that is added to them."""

from __future__ import annotations

from itertools import product
from typing import cast

import numpy as np
import torch

from heedful.contract import Streams
from heedful.evaluate import ndcg
from heedful.evaluate.held_out import (
    LOGITS,
    decisions,
    subject_means,
)
from heedful.evaluate.ranking import ranks
from heedful.loop.bench import Bench, repeats
from heedful.loop.lessons import sequences_of
from heedful.loop.router import DEEP_Q
from heedful.policy import (
    Ensemble,
    Floor,
    HuggingFace,
    Policy,
    Schema,
    TransitionPrior,
    maker,
)

PRIOR_WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
PRIOR_DEPTHS = (10, 20)
UNTUNED = 0.5
"""The prior's weight where nothing is held out to choose it by."""


def network_of(bench: Bench, schema: Schema) -> Policy:
    """Return a network, or an ensemble of them, of the form ``[policy]`` asks for.

    It begins fresh, but for the model in a folder, which begins as it is there.

    Raises:
        ValueError: the folder holds no model that can be read.
    """
    section = bench.config.policy
    members = [_network(bench, schema, kind) for kind in section.members]
    return Ensemble(members) if members else _network(bench, schema, section.kind)


def _network(bench: Bench, schema: Schema, kind: str) -> Policy:
    section = bench.config.policy
    if kind == "huggingface":
        return _language_model(bench, schema)
    options: dict[str, object] = {"width": section.width, "dropout": section.dropout}
    if section.plain:
        options["plain"] = True
    if section.layers:
        options["layers"] = section.layers
    if kind == "transformer":
        options["heads"] = section.heads
    if kind == "feedforward":
        options["image"] = getattr(bench.domain, "image", None)
        if bench.config.reinforce.objective == DEEP_Q:
            options["activation"] = "relu"  # the worth of a move has no bounds
    return cast(Policy, maker(kind)(schema, **options))


def _language_model(bench: Bench, schema: Schema) -> Policy:
    section = bench.config.policy
    sizes = {"lora": "rank", "prefix": "length"}
    adapter: dict[str, object] = {"kind": section.adapter}
    if section.adapter in sizes:
        adapter[sizes[section.adapter]] = section.adapter_size
    policy = HuggingFace.from_folder(
        bench.folder / section.model,
        schema,
        marks=getattr(bench.domain, "marks", None),
        adapter=None if section.adapter == "none" else adapter,
        recomputed=section.recompute,
    )
    if policy.positions is not None and section.window > policy.positions:
        raise ValueError(
            f"policy.window = {section.window} events do not fit into the {policy.positions} "
            f"positions of the model in {section.model}: set window lower, with room for the marks "
            "of answers"
        )
    return policy


def members_of(network: Policy) -> list[Policy]:
    """Return the networks that are trained one after the other: an ensemble's, or it alone."""
    if not isinstance(network, Ensemble):
        return [network]
    return [cast(Policy, member) for member in network.members]


def with_prior(
    network: Policy, streams: Streams, weights: np.ndarray, validation: np.ndarray, bench: Bench
) -> tuple[Policy, dict[str, float]]:
    """Return ``network`` with the transition prior at the weight that validates best.

    The prior is added after training: inside the training loop it lets the network over-fit sooner.
    """
    prior = TransitionPrior(network).fit(sequences_of(streams, weights))
    if not len(validation):
        prior.weight = UNTUNED
        return prior, {"prior_weight": prior.weight, "prior_depth": prior.depth}
    scores = _tried(prior, streams, validation, bench)
    (weight, depth), score = max(scores.items(), key=lambda one: (one[1], one[0]))
    if weight == 0.0:
        return network, {"ndcg@10": score, "prior_weight": 0.0}
    prior.weight, prior.depth = weight, depth
    return prior, {"ndcg@10": score, "prior_weight": weight, "prior_depth": depth}


@torch.no_grad()
def _tried(
    prior: TransitionPrior, streams: Streams, slots: np.ndarray, bench: Bench
) -> dict[tuple[float, int], float]:
    """Return the NDCG@10 of each weight and depth; the network inside reads everything once."""
    pairs = list(product(PRIOR_WEIGHTS, PRIOR_DEPTHS))
    found = {pair: np.empty(len(streams.slots.unit)) for pair in pairs}
    prior.weight = 1.0
    window, seen = bench.config.policy.window, repeats(bench)
    for decided, batch in decisions(streams, slots, window=window, seen=seen):
        logits = cast(Policy, prior.inner).forward(batch, LOGITS).logits
        assert logits is not None
        for depth in PRIOR_DEPTHS:
            prior.depth = depth
            bonus = prior.bonus(batch)
            for weight in PRIOR_WEIGHTS:
                scored = (logits + weight * bonus).numpy()
                found[weight, depth][decided] = ranks(scored, streams.slots.unit[decided])
    return {
        pair: float(subject_means(streams, slots, ndcg(of_pair[slots], 10)).mean())
        for pair, of_pair in found.items()
    }


def without_floor(policy: Policy) -> Policy:
    """Return what a version decides when it does not explore."""
    return cast(Policy, policy.inner) if isinstance(policy, Floor) else policy
