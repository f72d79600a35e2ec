"""Reward and self-supervision in one loss: what paid, beside what people chose themselves."""

from __future__ import annotations

from dataclasses import replace

import torch

from heedful.objectives.loss import Loss
from heedful.policy import Batch, Outputs


def ours(batch: Batch) -> Batch:
    """Return the batch in which only units with a logged probability count: a policy's doing."""
    known = ~torch.isnan(batch.behaviour_logps)
    return batch.filled(
        weights=batch.weights * known,
        behaviour_logps=torch.where(known, batch.behaviour_logps, 0.0),
    )


def balanced(batch: Batch) -> Batch:
    """Return the batch in which people's own units weigh together as much as the policy's.

    So each term of a joint loss is a mean over its own units, whatever the batch is mixed of, and
    micro-batches still add up: balance before a batch is split.
    """
    unknown = torch.isnan(batch.behaviour_logps)
    weights = batch.weights * batch.mask
    scale = (weights * ~unknown).sum() / (weights * unknown).sum().clamp(min=1e-12)
    return batch.filled(weights=torch.where(unknown, weights * scale, weights))


def joint(loss: Loss, outputs: Outputs, batch: Batch, *, weight: float) -> Loss:
    """Add the likelihood of what people chose themselves to a loss of :func:`reinforce`.

        L = L_reinforce - weight * mean of log p(x_t | x_<t, y_<t) over units without a logged h

    One policy is asked for both from the same weights, so that what was learned from much history
    is not unlearned from little feedback (the behaviour-cloning term of DQfD, Hester et al., arXiv
    1704.03732, equation 2, and the pre-training gradients of Ouyang et al., arXiv 2203.02155,
    equation 2, there called "ptx").

    Args:
        loss: the other term, over the units with a logged probability.
        outputs: with "logps".
        batch: :func:`balanced`, unknown probabilities still NaN.
        weight: of the added term.
    """
    assert outputs.logps is not None
    unknown = torch.isnan(batch.behaviour_logps) & batch.mask
    nll = -(outputs.logps * batch.weights)[unknown].sum()
    return replace(
        loss,
        value=loss.value + weight * nll,
        metrics={**loss.metrics, "next_unit_nll": nll.detach()},
    )
