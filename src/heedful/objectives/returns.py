"""One definition of returns and advantages for slates, tokens and moves."""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_advantages(
    rewards: Tensor,
    values: Tensor,
    discounts: Tensor,
    slots: Tensor,
    bootstrap: Tensor,
    *,
    lam: float,
    known: Tensor | None = None,
) -> Tensor:
    """Return generalised advantage estimates, [B, T].

        delta_t = r_t + d_t V_{t+1} - V_t
        A_t     = delta_t + d_t lambda A_{t+1}

    Source: Schulman et al., arXiv 1506.02438, equations 11 to 16, with a discount d_t of its own
    for every step (1 inside a decision, gamma at its end, 0 where an episode terminated). A slot
    marked in ``bootstrap`` lends its value to the one before and cuts the chain.

    Args:
        rewards: [B, T].
        values: [B, T].
        discounts: [B, T].
        slots: bool [B, T], everything but padding; padding stands at the end of a row.
        bootstrap: bool [B, T], slots with a value and no unit.
        lam: lambda in [0, 1]; 1 gives the plain return minus the value.
        known: bool [B, T], slots whose reward is known; all by default. One that is not has
            advantage 0, and the slot before it leans on its value instead.
    """
    advantages = torch.zeros_like(values)
    following_value = torch.zeros_like(values[:, 0])
    following = torch.zeros_like(values[:, 0])
    counts = slots & ~bootstrap if known is None else slots & ~bootstrap & known
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + discounts[:, t] * following_value - values[:, t]
        advantage = delta + discounts[:, t] * lam * following
        following = torch.where(counts[:, t], advantage, 0.0)
        following_value = torch.where(slots[:, t], values[:, t], 0.0)
        advantages[:, t] = following
    return advantages
