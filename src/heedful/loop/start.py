"""Where a step begins: over the units there are now, with what was learned and what is known."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn

from heedful.contract import Domain, unit_features
from heedful.policy import Loaded, Policy, Vocabulary, clone, grow
from heedful.policy.network import Network
from heedful.store.snapshot import Snapshot


def grown(loaded: Loaded, domain: Domain, snapshot: Snapshot) -> Loaded:
    """Return ``loaded`` over its own units and behind them those that have come since.

    How descriptions are read stays as it was, so that what was learned from them stays true.

    Raises:
        ValueError: the domain's options changed, or this kind of policy cannot grow.
    """
    vocabulary = loaded.vocabulary.grown(domain.vocabulary(snapshot).units)
    return Loaded(grow(loaded.policy, domain.schema(vocabulary)), vocabulary)


def warm_start(loaded: Loaded, domain: Domain, snapshot: Snapshot) -> Loaded:
    """Return the network inside of a version to be trained further, over the units there are now.

    Descriptions that the version knew nothing of are taken up: at first they say nothing.

    Raises:
        ValueError: there is no network inside, or it cannot grow to what the domain offers now.
    """
    new, old = domain.vocabulary(snapshot), loaded.vocabulary
    vocabulary = old.grown(new.units).described(
        of_units=old.of_units or new.of_units, of_subjects=old.of_subjects or new.of_subjects
    )
    network = cast(nn.Module, clone(network_within(loaded.policy))).requires_grad_()
    return Loaded(grow(cast(Policy, network), domain.schema(vocabulary)), vocabulary)


def network_within(policy: Policy) -> Policy:
    """Return what stands inside of all wrappers.

    Raises:
        ValueError: it is nothing that pre-training could go on from.
    """
    inside = policy
    while hasattr(inside, "inner"):
        inside = inside.inner
    if not any(True for _ in cast(nn.Module, inside).parameters()):
        raise ValueError(
            f"there is no network in it to go on from, only a policy of kind "
            f"{inside.spec()['kind']!r}: name a version that was pre-trained"
        )
    return inside


def describe(
    policies: list[Policy],
    vocabulary: Vocabulary,
    snapshot: Snapshot,
    learned: np.ndarray,
    *,
    dropout: float = 0.0,
) -> dict[str, float]:
    """Tell ``policies`` what is known of the units, and which are not cold; return counts.

    Args:
        policies: over the units of ``vocabulary``.
        vocabulary: with an encoder of units, or nothing happens.
        snapshot: what is known.
        learned: int64, indexes of units that people chose in what is learned from.
        dropout: share of units known by their description alone in a training step.
    """
    if vocabulary.of_units is None:
        return {}
    features, gaps = unit_features(vocabulary, snapshot)
    chosen = torch.zeros(len(vocabulary), dtype=torch.bool)
    chosen[torch.from_numpy(learned)] = True
    for policy in policies:
        for network in cast(nn.Module, policy).modules():
            if isinstance(network, Network):
                network.describe(torch.from_numpy(features), chosen, dropout)
    return {
        "units_never_chosen": int((~chosen).sum()),
        "units_not_described": gaps.absent,
        "facts_missing": gaps.missing,
        "categories_unknown": gaps.unknown,
    }
