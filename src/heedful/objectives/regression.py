"""Learning from logged rewards without anybody's probabilities: imitate what paid, the more so."""

from __future__ import annotations

import torch

from heedful.objectives.loss import Loss
from heedful.objectives.preference import given_logps
from heedful.policy import Batch, Outputs


def weighted_regression(
    outputs: Outputs, batch: Batch, *, temperature: float, cap: float = 20.0
) -> Loss:
    """Maximise the likelihood of what was done, weighted by how well it paid.

        L = - sum_t w_t min(cap, exp(A_t / temperature)) log pi(x_t),  divided by the sum of weights

    Advantage-weighted regression (Peng et al., arXiv 1910.00177, algorithm 1; the cap is theirs).
    Without a cap its optimum is mu(x) exp(A(x) / temperature) / Z, with mu the policy that acted,
    whose probabilities need not be known. With rewards less a constant in the place of A it is
    reward-weighted regression (Peters & Schaal, ICML 2007); dividing by the sum of weights cancels
    the constant, as long as the cap is not reached.

    Args:
        outputs: with "logps".
        batch: with advantages: from :func:`heedful.objectives.prepare` the return less the value,
            from :func:`heedful.objectives.compare` less the mean of the group.
        temperature: above 0, in units of reward; near 0 only the best counts.
        cap: highest weight of a unit, above 0.

    Raises:
        ValueError: the batch has no advantages, or an option is out of range.
    """
    if not (temperature > 0.0 and cap > 0.0):
        raise ValueError(
            f"weighted_regression: temperature ({temperature}) and cap ({cap}) have to be above 0"
        )
    if batch.advantages is None:
        raise ValueError(
            "Batch.advantages is None: put the batch through objectives.prepare or "
            "objectives.compare first"
        )
    scale = batch.weights.double() * batch.mask
    advantages = torch.where(batch.mask, batch.advantages.double(), 0.0)
    paid = (advantages / temperature).exp().clamp(max=cap)
    nll = -(given_logps(outputs) * paid * scale).sum()
    metrics = {
        "nll": nll.detach(),
        "capped": (paid * (paid >= cap) * scale).sum(),
    }
    return Loss(nll, (paid * scale).sum(), metrics)
