"""What action values move towards, as pure functions: those of a table, and those of a network.

The three of a table learn by the same rule (Sutton & Barto 2018, equation 6.1), and differ in the
target G:

    Q(s, a) <- Q(s, a) + step_size (G - Q(s, a))

The discount d is gamma, and 0 where the episode terminated. Where it was only cut off, the game
would have gone on: d stays gamma, and s' is the last observation of the old episode.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from heedful.objectives.loss import Loss
from heedful.policy import Batch, Outputs

Q_NEEDS = frozenset({"logits"})


def q_learning_target(rewards: Tensor, discounts: Tensor, following: Tensor) -> Tensor:
    """Return G = r + d max_a Q(s', a), [N]: what follows is the best, whatever will be done.

    Source: Watkins 1989; Sutton & Barto 2018, equation 6.8.

    Args:
        rewards: [N].
        discounts: [N], d.
        following: [N, A], Q(s', .); minus infinity where an action is impossible.
    """
    return rewards + _discounted(discounts, following.amax(-1))


def sarsa_target(
    rewards: Tensor, discounts: Tensor, following: Tensor, following_actions: Tensor
) -> Tensor:
    """Return G = r + d Q(s', a'), [N]: what follows is what will be done.

    Source: Rummery & Niranjan 1994; Sutton & Barto 2018, equation 6.7.

    Args:
        rewards: [N].
        discounts: [N], d.
        following: [N, A], Q(s', .).
        following_actions: int64 [N], a', drawn in s' by the policy that acts.
    """
    chosen = following.gather(-1, following_actions[:, None])[:, 0]
    return rewards + _discounted(discounts, chosen)


def expected_sarsa_target(
    rewards: Tensor, discounts: Tensor, following: Tensor, following_p: Tensor
) -> Tensor:
    """Return G = r + d sum_a p(a | s') Q(s', a), [N]: the mean of SARSA's, without its noise.

    Source: van Seijen et al. 2009; Sutton & Barto 2018, equation 6.9.

    Args:
        rewards: [N].
        discounts: [N], d.
        following: [N, A], Q(s', .); an action of probability 0 counts nothing, whatever its value.
        following_p: [N, A], the probabilities of the policy that acts, in s'.
    """
    weighted = torch.where(following_p > 0.0, following_p * following, 0.0)
    return rewards + _discounted(discounts, weighted.sum(-1))


def double_q_target(
    rewards: Tensor, discounts: Tensor, following: Tensor, judged: Tensor
) -> Tensor:
    """Return G = r + d Q'(s', argmax_a Q(s', a)), [N]: one chooses, another says what it is worth.

    The maximum of numbers with errors is too high on the average; where the errors of Q and Q' are
    not the same, what Q chooses is not what Q' overrates. Source: van Hasselt, Guez and Silver,
    arXiv 1509.06461, equation 4.

    Args:
        rewards: [N], of one step or of several.
        discounts: [N], d; of several steps their product.
        following: [N, A], Q(s', .) of the network that learns; minus infinity where an action is
            impossible, so that it is never chosen.
        judged: [N, A], Q'(s', .) of the one that is kept for a while.
    """
    chosen = following.argmax(-1, keepdim=True)
    return rewards + _discounted(discounts, judged.gather(-1, chosen)[:, 0])


def q_loss(outputs: Outputs, batch: Batch) -> Loss:
    """Move Q(s, a) of what was done towards the target in ``batch.returns``.

        L = sum_t w_t huber(Q(s_t, x_t) - G_t)

    with slopes of at most 1: a single surprise does not upset what was learned (Mnih et al., Nature
    518, 2015, methods). Logits are action values here.

    Args:
        outputs: with logits.
        batch: with ``returns``, G.
    """
    assert outputs.logits is not None
    assert batch.returns is not None
    mask = batch.mask
    chosen = outputs.logits.gather(1, batch.units[mask][:, None])[:, 0]
    targets, weights = batch.returns[mask].to(chosen), batch.weights[mask].to(chosen)
    errors = functional.huber_loss(chosen, targets, reduction="none")
    metrics = {
        "q": (chosen.detach() * weights).sum(),
        "td_error": ((chosen.detach() - targets).abs() * weights).sum(),
    }
    return Loss((errors * weights).sum(), weights.sum(dtype=torch.float64), metrics)


def _discounted(discounts: Tensor, values: Tensor) -> Tensor:
    """Return d V, 0 where d is: after the end even a value of minus infinity counts nothing."""
    return torch.where(discounts > 0.0, discounts * values, 0.0)
