"""Learning from reward: REINFORCE from a log or on policy, and PPO."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from heedful.objectives.loss import Loss
from heedful.policy import Batch, Outputs

NEEDS = frozenset({"logps", "values", "entropy"})
LOG_RATIO_BOUND = 20.0


class UnknownProbabilityError(ValueError):
    """Off-policy learning was asked of decisions whose probabilities nobody wrote down."""


def importance(logps: Tensor, behaviour_logps: Tensor, mask: Tensor, *, cap: float) -> Tensor:
    """Return capped importance weights min(cap, pi / h), [B, T], without gradient; 0 off the mask.

    Raises:
        UnknownProbabilityError: the log has no probability for one of the units.
    """
    if bool((torch.isnan(behaviour_logps) & mask).any()):
        n = int((torch.isnan(behaviour_logps) & mask).sum())
        raise UnknownProbabilityError(
            f"{n} units carry UNKNOWN log-probabilities: they serve pre-training and reward "
            "models; leave them out of off-policy learning, or log with probabilities"
        )
    log_ratio = (logps.detach().double() - behaviour_logps).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    weights = log_ratio.exp().clamp(max=cap)
    return torch.where(mask, weights, 0.0).to(logps.dtype)


def reinforce(
    outputs: Outputs,
    batch: Batch,
    *,
    cap: float = 2.0,
    kl: float = 0.0,
    entropy: float = 0.0,
    value_weight: float = 0.5,
) -> Loss:
    """Maximise E[R]: the log-probability of what paid more than was expected.

        L = - sum_t w_t A_t log pi(x_t) + kl * w_t (log pi - log ref)^2 / 2
            + value_weight * (R - V)^2 / 2 - entropy * H(pi)

    w_t = min(cap, pi / h), h being the policy that acted: capped importance weights per unit
    (Chen et al., arXiv 1812.02353, section 4.2 without the top-K factor: slates are logged with
    exact conditionals of drawing without replacement, so it would correct twice). The KL term is
    the k2 estimator, whose gradient is that of KL(pi || ref); off policy it carries w_t.
    The source writes E[sum log M(x_i)], which without the reward clones the log.

    Raises:
        UnknownProbabilityError: a unit carries no behaviour log-probability.
    """
    logps = _given(outputs.logps)
    weights = importance(logps, batch.behaviour_logps, batch.mask, cap=cap)
    scale = batch.weights * batch.mask
    gain = weights * _given(batch.advantages) * logps
    value, metrics = _shared(
        outputs, batch, weights, kl=kl, entropy=entropy, value_weight=value_weight
    )
    metrics["weight"] = (weights * scale).sum().detach()
    metrics["capped"] = ((weights >= cap) * scale).sum().detach()
    return Loss(value - (gain * scale).sum(), scale.sum(dtype=torch.float64), metrics)


def ppo(
    outputs: Outputs,
    batch: Batch,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    value_clip: float = math.inf,
    kl: float = 0.0,
    entropy: float = 0.0,
    value_weight: float = 0.5,
) -> Loss:
    """Proximal policy optimisation.

        L = - sum_t min(r_t A_t, clip(r_t, 1 - clip_low, 1 + clip_high) A_t)
            + the other terms of REINFORCE

    with r_t = pi / old. Source: Schulman et al., arXiv 1707.06347, equation 7; unequal clips after
    DAPO, arXiv 2503.14476, section 3.1.

    With ``value_clip`` = c the error of the value is the larger of those of V and of V held within
    c of what it was when the batch was prepared (OpenAI baselines, ppo2): a value that has gone far
    is not rewarded for going on.
    """
    logps, advantages = _given(outputs.logps), _given(batch.advantages)
    log_ratio = (logps - _given(batch.old_logps)).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    ratio = torch.where(batch.mask, log_ratio.exp(), 1.0)
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    gain = torch.minimum(ratio * advantages, clipped * advantages)
    scale = batch.weights * batch.mask
    ones = torch.ones_like(ratio)
    value, metrics = _shared(
        outputs,
        batch,
        ones,
        kl=kl,
        entropy=entropy,
        value_weight=value_weight,
        value_clip=value_clip,
    )
    log_ratio = log_ratio.detach()
    metrics["ratio"] = (ratio.detach() * scale).sum()
    metrics["clipped"] = ((ratio != clipped) * scale).sum().detach()
    metrics["approx_kl"] = ((ratio.detach() - 1.0 - log_ratio) * scale).sum()
    return Loss(value - (gain * scale).sum(), scale.sum(dtype=torch.float64), metrics)


def _shared(
    outputs: Outputs,
    batch: Batch,
    weights: Tensor,
    *,
    kl: float,
    entropy: float,
    value_weight: float,
    value_clip: float = math.inf,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the terms that REINFORCE and PPO have in common."""
    scale = batch.weights * batch.mask
    # What has no weight is shown, and costs no gradient.
    logps, spread = _given(outputs.logps), _given(outputs.entropy)
    logps, spread = logps if kl else logps.detach(), spread if entropy else spread.detach()
    drift = 0.5 * weights * (logps - _given(batch.reference_logps)) ** 2
    error = _value_error(outputs, batch, value_clip)
    value = ((kl * drift + value_weight * error - entropy * spread) * scale).sum()
    metrics = {
        "kl": (drift * scale).sum().detach(),
        "value_error": (error * scale).sum().detach(),
        "entropy": (spread * scale).sum().detach(),
        "reward": (batch.rewards.nan_to_num(nan=0.0) * scale).sum(),
        "advantage": (_given(batch.advantages) * scale).sum(),
    }
    return value, metrics


def _value_error(outputs: Outputs, batch: Batch, clip: float) -> Tensor:
    """Return half the squared error of the value, [B, T]; the larger one of two where clipped."""
    values, returns = _given(outputs.values), _given(batch.returns)
    error = 0.5 * (values - returns) ** 2
    if math.isinf(clip):
        return error
    old = _given(batch.old_values)
    near = old + (values - old).clamp(-clip, clip)
    return torch.maximum(error, 0.5 * (near - returns) ** 2)


def _given(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError(
            "a policy-gradient loss needs log-probabilities, values and entropy from the policy, "
            "and a batch that went through objectives.prepare"
        )
    return tensor
