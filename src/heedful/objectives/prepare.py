"""What an objective compares with, computed once before the gradient steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heedful.objectives.returns import generalised_advantages, v_trace
from heedful.objectives.whole import Whole
from heedful.policy import Batch, Policy

LARGEST = 20.0
"""Of a log-ratio, before the exponential."""
OLD = frozenset({"logps", "values"})
REFERENCE = frozenset({"logps"})


@torch.no_grad()
def prepare(
    policy: Policy,
    batches: Sequence[Batch],
    *,
    reference: Policy | None = None,
    lam: float = 1.0,
    whiten: bool = False,
    kl: float = 0.0,
    off_policy: float = 0.0,
) -> list[Batch]:
    """Return the batches with old and reference log-probabilities, values, advantages, returns.

    Decisions with a reward that is not known (NaN, which is not 0) get advantage 0 *and weight 0*,
    and what came before them leans on their value.

    Args:
        policy: the policy as it stands, in evaluation mode: its log-probabilities are the old ones.
        batches: all batches of one pass; whitening looks at all of them.
        reference: the policy to stay near; the old one by default.
        lam: lambda of the advantages.
        whiten: scale advantages to mean 0 and variance 1 over all units that count. Returns never
            are.
        kl: what a nat of :func:`drift` from the reference costs, in units of reward. It enters
            advantages and returns alone; ``rewards`` stay what they were.
        off_policy: for decisions that another policy made: returns and advantages are those of
            :func:`~heedful.objectives.v_trace`, of what ``policy`` would go on to earn, with this
            as the cap of its weights. Where nobody knows how likely a decision was it is taken as
            it is. 0: returns are what whoever acted went on to earn.
    """
    filled = []
    for batch in batches:
        outputs = policy.forward(batch, OLD)
        assert outputs.logps is not None
        assert outputs.values is not None
        near = outputs.logps if reference is None else reference.forward(batch, REFERENCE).logps
        assert near is not None
        known, weights = _known(batch)
        batch = batch.filled(
            old_logps=outputs.logps, reference_logps=near, old_values=outputs.values
        )
        earned = torch.where(known, batch.rewards, 0.0)
        earned = earned - kl * drift(batch) if kl else earned
        chain = (earned, outputs.values, batch.discounts, batch.slots, batch.bootstrap)
        if off_policy:
            ratios = _log_ratios(outputs.logps, batch)
            returns, advantages = v_trace(ratios, *chain, lam=lam, cap=off_policy, known=known)
            returns = returns * batch.mask
        else:
            advantages = generalised_advantages(*chain, lam=lam, known=known)
            returns = advantages + outputs.values * batch.mask
        filled.append(batch.filled(advantages=advantages, returns=returns, weights=weights))
    return _whitened(filled) if whiten else filled


def _log_ratios(logps: Tensor, batch: Batch) -> Tensor:
    """Return log pi - log h of each unit, [B, T]; 0 where h is not known."""
    ratios = logps.double() - batch.behaviour_logps
    return torch.where(batch.mask, ratios, 0.0).nan_to_num(nan=0.0).clamp(-LARGEST, LARGEST)


def drift(batch: Batch) -> Tensor:
    """Return log old - log reference of each unit, [B, T]: on policy, its mean is KL(old || ref).

    The k1 estimator (Schulman, "Approximating KL divergence", 2020). Charged to the reward it gives
    the right gradient, that of KL(pi || ref); as a term of a loss its expected gradient is 0.

    Args:
        batch: prepared.

    Raises:
        ValueError: the batch is not prepared.
    """
    if batch.old_logps is None or batch.reference_logps is None:
        raise ValueError("drift needs old and reference log-probabilities: prepare the batch first")
    return (batch.old_logps - batch.reference_logps) * batch.mask


def _known(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return which slots have a known reward, by whole decisions, and the weights that remain."""
    silent = torch.isnan(batch.rewards) & batch.mask
    if not bool(silent.any()):
        return batch.slots, batch.weights
    whole = Whole(batch)
    known = ~(whole.spread(whole.total(silent.double())) > 0.0)
    return known, torch.where(known, batch.weights, 0.0)


def _whitened(batches: list[Batch]) -> list[Batch]:
    counted = [batch.mask & (batch.weights > 0.0) for batch in batches]
    every = torch.cat([_advantages(b)[on] for b, on in zip(batches, counted, strict=True)])
    if len(every) < 2:
        return batches
    mean, scale = every.mean(), every.std() + 1e-8
    return [
        batch.filled(advantages=(_advantages(batch) - mean) / scale * on)
        for batch, on in zip(batches, counted, strict=True)
    ]


def _advantages(batch: Batch) -> Tensor:
    assert batch.advantages is not None
    return batch.advantages
