"""Doing what somebody else would have done, as a reward."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.whole import Whole
from heedful.policy import Batch


def matching(batch: Batch, logps: Tensor, likeliest: Tensor) -> Tensor:
    """Return how much less likely than the usual others would have done the same, [B, T].

        m(s, a) = p(a | s) - max_a' p(a' | s),  on the last unit of each decision, 0 elsewhere

    Asked in the same place, they would have decided the same with probability p(a | s): it is the
    expectation of what a logged row says with 1 (they did) or 0 (they did not), without their luck
    in it. What they do most is subtracted, which changes no decision by itself; but without it each
    further decision would be paid for, and a policy would learn to make a game last.

    It lies in [-1, 0], so a weight can mix it with a reward of known range; log p does not, and a
    divergence from them is what ``kl`` is for. It is largest, 0, where the likeliest is always
    done: it asks for their habits, not for their variety.

    Args:
        batch: B rows of T slots.
        logps: of whoever is to be matched, at the batch's units, [B, T].
        likeliest: of the unit that was likeliest there, given those before it, [B, T].
    """
    whole = Whole(batch)
    following = torch.nn.functional.pad(batch.decisions[:, 1:], (0, 1), value=-1)
    last = batch.mask & (following != batch.decisions)
    short = whole.total(logps).exp() - whole.total(likeliest).exp()
    return whole.spread(short) * last


def mixed(batch: Batch, logps: Tensor, likeliest: Tensor, weight: float) -> Tensor:
    """Return rewards (1 - w) r + w m, [B, T]; what was not scored (NaN) stays so.

    Args:
        batch: with rewards r.
        logps: as for :func:`matching`.
        likeliest: as for :func:`matching`.
        weight: w, in [0, 1].

    Raises:
        ValueError: the weight is out of its range.
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight is {weight}: a share lies in [0, 1]")
    found = matching(batch, logps, likeliest).to(batch.rewards)
    return (1.0 - weight) * batch.rewards + weight * found
