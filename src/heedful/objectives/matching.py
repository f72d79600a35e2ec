"""Doing what somebody else would have done, as a reward."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.whole import Whole
from heedful.policy import Batch


def matching(batch: Batch, logps: Tensor) -> Tensor:
    """Return how likely somebody else would have made the same decisions, [B, T].

        m(s, a) = p(a | s),  on the last unit of each decision, 0 elsewhere

    Asked in the same place, they would have decided the same with this probability: it is the
    expectation of what a logged row says with 1 (they did) or 0 (they did not), without their luck
    in it, and sum_a pi(a | s) p(a | s) is the match of pi with p. It lies in [0, 1], so a weight
    can mix it with a reward of known range; log p does not, and a divergence from them is what
    ``kl`` is for. It is largest where the likeliest is always done: it asks for their habits, not
    for their variety.

    Args:
        batch: B rows of T slots.
        logps: of whoever is to be matched, at the batch's units, [B, T].
    """
    whole = Whole(batch)
    following = torch.nn.functional.pad(batch.decisions[:, 1:], (0, 1), value=-1)
    last = batch.mask & (following != batch.decisions)
    return whole.spread(whole.total(logps).exp()) * last


def mixed(batch: Batch, logps: Tensor, weight: float) -> Tensor:
    """Return rewards (1 - w) r + w m, [B, T]; what was not scored (NaN) stays so.

    Args:
        batch: with rewards r.
        logps: as for :func:`matching`.
        weight: w, in [0, 1].

    Raises:
        ValueError: the weight is out of its range.
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight is {weight}: a share lies in [0, 1]")
    return (1.0 - weight) * batch.rewards + weight * matching(batch, logps).to(batch.rewards)
