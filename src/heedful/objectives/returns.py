"""One definition of returns and advantages for slates, tokens and moves."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """What n steps earn, and what stands in for the rest; all [B, T].

    Attributes:
        rewards: sum_{k<m} (prod_{j<k} d_{t+j}) r_{t+k}, over the m steps that were looked at.
        discounts: prod_{j<m} d_{t+j}; 0 where nothing follows.
        slots: int64, t + m: whose value stands in for the rest. Where nothing follows any slot of
            the row.
    """

    rewards: Tensor
    discounts: Tensor
    slots: Tensor

    def returns(self, values: Tensor) -> Tensor:
        """Return G_t = R_t + D_t V_{t+m}, [B, T], of ``values`` [B, T]."""
        return self.rewards + self.discounts * values.gather(1, self.slots)


def n_step(
    rewards: Tensor, discounts: Tensor, slots: Tensor, bootstrap: Tensor, *, n: int
) -> Ahead:
    """Look ``n`` steps ahead of every slot.

        G_t = r_t + d_t r_{t+1} + ... + (d_t ... d_{t+n-1}) V_{t+n}

    Source: Sutton & Barto 2018, equation 7.1, with a discount of its own for every step. Fewer
    steps where the chain is cut before: the value of a slot marked in ``bootstrap`` stands in for
    the rest, and behind the last slot of a row there is none.

    Args:
        rewards: [B, T].
        discounts: [B, T].
        slots: bool [B, T], everything but padding; padding stands at the end of a row.
        bootstrap: bool [B, T], slots with a value and no unit.
        n: steps, at least 1.

    Returns:
        What was found; at slots without a unit it means nothing.
    """
    last = rewards.shape[1] - 1
    at = torch.arange(last + 1, device=rewards.device).expand(rewards.shape)
    total, product = torch.zeros_like(rewards), torch.ones_like(rewards)
    for _ in range(n):
        goes_on = (slots & ~bootstrap).gather(1, at)
        total = total + torch.where(goes_on, product * rewards.gather(1, at), 0.0)
        product = torch.where(goes_on, product * discounts.gather(1, at), product)
        behind = goes_on & ((at == last) | ~slots.gather(1, (at + 1).clamp(max=last)))
        product = product.masked_fill(behind, 0.0)
        at = torch.where(goes_on & ~behind, at + 1, at)
    return Ahead(total, product, at)


def v_trace(
    log_ratios: Tensor,
    rewards: Tensor,
    values: Tensor,
    discounts: Tensor,
    slots: Tensor,
    bootstrap: Tensor,
    *,
    lam: float = 1.0,
    cap: float = 1.0,
    known: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what values should be for the policy there is now, and advantages, each [B, T].

        delta_t = rho_t (r_t + d_t V_{t+1} - V_t)
        v_t     = V_t + delta_t + d_t c_t (v_{t+1} - V_{t+1})
        A_t     = r_t + d_t (lambda v_{t+1} + (1 - lambda) V_{t+1}) - V_t

    with rho_t = min(cap, pi / h) and c_t = lambda min(1, pi / h), h being who acted. Source:
    Espeholt et al., arXiv 1802.01561, equation 1, remark 1 and section 4.2; lambda below 1 as in
    DeepMind's rlax. Where pi = h the advantages are :func:`generalised_advantages`, and v is
    those plus the value.

    The policy gradient weighs A_t by min(cap, pi / h), too; the advantages here are not weighted
    yet: :func:`heedful.objectives.reinforce` does that.

    Args:
        log_ratios: [B, T], log pi - log h of what was done.
        rewards: [B, T].
        values: [B, T].
        discounts: [B, T].
        slots: bool [B, T], everything but padding; padding stands at the end of a row.
        bootstrap: bool [B, T], slots with a value and no unit.
        lam: lambda in [0, 1].
        cap: the highest rho. The lower, the nearer v is to the value of who acted.
        known: bool [B, T], as in :func:`generalised_advantages`.
    """
    ratios = log_ratios.exp().to(values.dtype)
    rho, trace = ratios.clamp(max=cap), lam * ratios.clamp(max=1.0)
    errors, advantages = torch.zeros_like(values), torch.zeros_like(values)
    following_value = torch.zeros_like(values[:, 0])
    following = torch.zeros_like(values[:, 0])
    counts = slots & ~bootstrap if known is None else slots & ~bootstrap & known
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + discounts[:, t] * following_value - values[:, t]
        advantage = delta + discounts[:, t] * lam * following
        advantages[:, t] = torch.where(counts[:, t], advantage, 0.0)
        error = rho[:, t] * delta + discounts[:, t] * trace[:, t] * following
        following = torch.where(counts[:, t], error, 0.0)
        following_value = torch.where(slots[:, t], values[:, t], 0.0)
        errors[:, t] = following
    return values + errors, advantages
