"""Learning from several decisions for one asking: each is compared with the others of its group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from heedful.objectives.loss import Loss
from heedful.objectives.policy_gradient import LOG_RATIO_BOUND
from heedful.objectives.preference import given_logps, given_reference
from heedful.objectives.whole import Whole
from heedful.policy import Batch, Outputs

Baseline = Literal["leave_one_out", "mean"]
Per = Literal["units", "decisions", "constant"]


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What :func:`compare` found.

    Attributes:
        batches: with advantages.
        groups: how many groups there are.
        dead: how many of them teach nothing: one scored decision, or all scored alike.
        unscored: how many decisions carry no reward, or belong to no group.
    """

    batches: list[Batch]
    groups: int
    dead: int
    unscored: int


def compare(
    batches: Sequence[Batch], *, baseline: Baseline = "leave_one_out", deviation: bool = False
) -> Compared:
    """Fill in advantages: by how much a decision's reward exceeds that of others for its asking.

    With baseline "leave_one_out" those of RLOO, with "mean" those of Dr. GRPO, and with
    ``deviation`` too those of GRPO: :func:`relative_advantages`. All units of a decision have the
    same; its reward is the total over its units, undiscounted.

    Decisions of dead groups, in no group, or with a reward that is not known (NaN, which is not 0)
    get advantage 0 *and weight 0*: no KL or entropy term pulls at them either, and they are not in
    the count a gradient is divided by. Returns stay what :func:`heedful.objectives.prepare` made of
    them: they belong to a learned value, which :func:`grpo` does without.

    Args:
        batches: all batches of a pass, so that a group may be spread over several; ``groups`` go by
            the instance of asking, not by the prompt's text.
        baseline: see above.
        deviation: see above.

    Raises:
        ValueError: a batch has no groups.
    """
    wholes = [Whole(batch) for batch in batches]
    if not batches:
        return Compared([], 0, 0, 0)
    numbers = torch.cat([w.number(_groups(b)) for w, b in zip(wholes, batches, strict=True)])
    rewards = torch.cat([w.total(b.rewards.double()) for w, b in zip(wholes, batches, strict=True)])
    advantages = relative_advantages(rewards, numbers, baseline=baseline, deviation=deviation)
    alive = live(rewards, numbers)
    numbered = [len(whole) for whole in wholes]
    filled = [
        _filled(batch, whole, a, on)
        for batch, whole, a, on in zip(
            batches,
            wholes,
            torch.split(advantages, numbered),
            torch.split(alive, numbered),
            strict=True,
        )
    ]
    n_groups = len(torch.unique(numbers[numbers >= 0]))
    unscored = int((torch.isnan(rewards) | (numbers < 0)).sum())
    return Compared(filled, n_groups, n_groups - len(torch.unique(numbers[alive])), unscored)


def relative_advantages(
    rewards: Tensor, groups: Tensor, *, baseline: Baseline, deviation: bool = False
) -> Tensor:
    """Return advantages within groups, float64 [N]; 0 for what :func:`live` leaves out.

        leave_one_out:  A_i = r_i - mean of r_j over the others j     (RLOO)
        mean:           A_i = r_i - mean of r_j over all j            (Dr. GRPO)
        deviation:      A_i / s, s^2 the sample variance, n - 1       (GRPO, with mean)

    Sources: Ahmadian et al., arXiv 2402.14740; Shao et al. (DeepSeekMath), arXiv
    2402.03300, section 4.1.2; Liu et al. (Dr. GRPO), arXiv 2503.20783, section 3. The first is
    n / (n - 1) times the second, and unbiased: no reward is its own baseline. Dividing by s weighs
    askings that are too easy or too hard more, so it is off by default.

    >>> r, g = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0]), torch.tensor([0, 0, 0, 1, 1])
    >>> relative_advantages(r, g, baseline="leave_one_out").tolist()
    [1.0, -0.5, -0.5, 0.0, 0.0]

    Args:
        rewards: [N], one for each decision; NaN not scored.
        groups: int64 [N], -1 for none.
        baseline: see above.
        deviation: see above.

    Raises:
        ValueError: there is no such baseline.
    """
    if baseline not in ("leave_one_out", "mean"):
        raise ValueError(f"baseline {baseline!r} is unknown: use 'leave_one_out' or 'mean'")
    advantages = torch.zeros(len(rewards), dtype=torch.float64, device=rewards.device)
    alive = live(rewards, groups)
    if not bool(alive.any()):
        return advantages
    _, group, sizes = torch.unique(groups[alive], return_inverse=True, return_counts=True)
    scored, n = rewards[alive].double(), sizes.double()
    mean = torch.zeros_like(n).index_add(0, group, scored) / n
    above = scored - mean[group]
    if deviation:
        square = torch.zeros_like(n).index_add(0, group, above**2) / (n - 1.0)
        above = above / square.sqrt()[group]
    if baseline == "leave_one_out":
        above = above * (n / (n - 1.0))[group]
    return advantages.masked_scatter(alive, above)


def live(rewards: Tensor, groups: Tensor) -> Tensor:
    """Return which decisions teach something, bool [N]: scored, in a group not all scored alike.

    Rewards are compared, not their deviation with 0: rounding makes that of equal ones positive.
    """
    scored = ~torch.isnan(rewards) & (groups >= 0)
    known, group = torch.unique(groups, return_inverse=True)
    empty = torch.zeros(len(known), dtype=torch.float64, device=rewards.device)
    high, low = (
        (empty + end).scatter_reduce(0, group, torch.where(scored, rewards.double(), end), kind)
        for end, kind in ((-torch.inf, "amax"), (torch.inf, "amin"))
    )
    return scored & (high > low)[group]


def _groups(batch: Batch) -> Tensor:
    if batch.groups is None:
        raise ValueError(
            "decisions are compared within groups, and Batch.groups is None: number the asking "
            "that each was made for"
        )
    return batch.groups


def _filled(batch: Batch, whole: Whole, advantages: Tensor, alive: Tensor) -> Batch:
    on = whole.spread(alive)
    return batch.filled(
        advantages=whole.spread(advantages).to(batch.rewards.dtype),
        weights=torch.where(on, batch.weights, 0.0),
        rewards=torch.nan_to_num(batch.rewards, nan=0.0),
    )


def grpo(
    outputs: Outputs,
    batch: Batch,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float = 3.0,
    kl: float = 0.0,
    per: Per = "decisions",
    longest: int = 1,
) -> Loss:
    """Group-relative policy optimisation: PPO's clipped step without a learned value.

        r_t = pi / old,   g_t = min(r_t A, clip(r_t, 1 - clip_low, 1 + clip_high) A)
        L = - sum_t s_t g_t + kl * s_t r_t (log pi - log ref)^2 / 2     (r_t there without gradient)

    How much a unit counts, and what the sum is divided by over the accumulation window:

    - ``per="decisions"``: s_t = w_t / n_d, by decisions: GRPO (arXiv 2402.03300, equation 3). Units
      of long replies count less.
    - ``per="units"``: s_t = w_t, by units: DAPO (arXiv 2503.14476, equation 8, there with
      ``clip_high=0.28``).
    - ``per="constant"``: s_t = w_t / longest, by decisions: Dr. GRPO (arXiv 2503.20783, section 3).
      With ``longest=1`` and RLOO's advantages, at ratio 1, the gradient of RLOO (arXiv 2402.14740).

    For A < 0 the gain is at least ``dual_clip`` A (Ye et al., arXiv 1912.09729). The KL
    term is the k2 estimator, weighted back to the current policy; DeepSeek's k3 has the gradient of
    the other direction. At the first step every ratio is 1, so the shown loss is about 0, and 0 but
    for rounding where replies are equally long and weigh the same: that is right, the gradient is
    not 0.

    Args:
        outputs: with "logps", at the temperature of the sampler.
        batch: prepared, then :func:`compare`.
        clip_low: how far a ratio may fall.
        clip_high: how far it may rise.
        dual_clip: above 1; infinity for none.
        kl: weight of the divergence; the reference is needed only where it is not 0.
        per: see above.
        longest: the number of units to divide by with "constant".

    Raises:
        ValueError: the batch is not prepared, or an option is out of range.
    """
    if per not in ("units", "decisions", "constant") or longest < 1 or not dual_clip > 1.0:
        raise ValueError(
            f"grpo: per {per!r} has to be 'units', 'decisions' or 'constant', longest ({longest}) "
            f"at least 1, dual_clip ({dual_clip}) above 1"
        )
    if batch.advantages is None or batch.old_logps is None:
        raise ValueError("grpo needs objectives.prepare and then objectives.compare: do both first")
    logps, (scale, shown) = given_logps(outputs), _scales(batch, per, longest)
    log_ratio = (logps - batch.old_logps).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    ratio = torch.where(batch.mask, log_ratio.exp(), 1.0)
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    gain = torch.minimum(ratio * batch.advantages, clipped * batch.advantages)
    floor = torch.where(batch.advantages < 0.0, dual_clip * batch.advantages, -torch.inf)
    value = -(torch.maximum(gain, floor) * scale).sum()
    seen = ratio.detach()
    metrics = {
        "ratio": (seen * shown).sum(),
        "clipped": ((seen != clipped.detach()) * shown).sum(),
        "approx_kl": ((seen - 1.0 - log_ratio.detach()) * shown).sum(),
    }
    if kl:
        drift = 0.5 * seen * (logps - given_reference(batch)) ** 2
        value = value + kl * (drift * scale).sum()
        metrics["kl"] = (drift * shown).sum().detach()
    return Loss(value, shown.sum(), metrics)


def _scales(batch: Batch, per: Per, longest: int) -> tuple[Tensor, Tensor]:
    """Return how much each unit counts, [B, T], in the loss and in what is shown of it.

    What the second one adds up to is what both are divided by.
    """
    weights = batch.weights.double() * batch.mask
    if per == "units":
        return weights, weights
    whole = Whole(batch)
    share = weights / whole.spread(whole.lengths).clamp(min=1.0)
    return (share if per == "decisions" else weights / longest), share
