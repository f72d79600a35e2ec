"""What a table of action values moves towards after one step, as pure functions.

All three learn by the same rule (Sutton & Barto 2018, equation 6.1), and differ in the target G:

    Q(s, a) <- Q(s, a) + step_size (G - Q(s, a))

The discount d is gamma, and 0 where the episode terminated. Where it was only cut off, the game
would have gone on: d stays gamma, and s' is the last observation of the old episode.
"""

from __future__ import annotations

import torch
from torch import Tensor


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


def _discounted(discounts: Tensor, values: Tensor) -> Tensor:
    """Return d V, 0 where d is: after the end even a value of minus infinity counts nothing."""
    return torch.where(discounts > 0.0, discounts * values, 0.0)
