import math

import torch

from heedful.objectives import expected_sarsa_target, q_learning_target, sarsa_target

REWARDS = torch.tensor([1.0, -1.0, 2.0])
DISCOUNTS = torch.tensor([0.5, 0.9, 0.0])  # the third episode terminated
FOLLOWING = torch.tensor([[2.0, 4.0], [-3.0, -1.0], [7.0, 8.0]])


def test_q_learning_follows_the_best() -> None:
    target = q_learning_target(REWARDS, DISCOUNTS, FOLLOWING)
    assert torch.allclose(target, torch.tensor([3.0, -1.9, 2.0]))


def test_sarsa_follows_what_is_done() -> None:
    target = sarsa_target(REWARDS, DISCOUNTS, FOLLOWING, torch.tensor([0, 0, 1]))
    assert torch.allclose(target, torch.tensor([2.0, -3.7, 2.0]))


def test_expected_sarsa_is_the_mean_of_sarsa() -> None:
    p = torch.tensor([[0.25, 0.75], [0.6, 0.4], [1.0, 0.0]])
    target = expected_sarsa_target(REWARDS, DISCOUNTS, FOLLOWING, p)
    mean = sum(
        p[:, a] * sarsa_target(REWARDS, DISCOUNTS, FOLLOWING, torch.full((3,), a)) for a in (0, 1)
    )
    assert torch.allclose(target, torch.as_tensor(mean))


def test_expected_sarsa_around_a_greedy_policy_is_q_learning() -> None:
    p = torch.nn.functional.one_hot(FOLLOWING.argmax(1), 2).float()
    assert torch.equal(
        expected_sarsa_target(REWARDS, DISCOUNTS, FOLLOWING, p),
        q_learning_target(REWARDS, DISCOUNTS, FOLLOWING),
    )


def test_the_impossible_counts_nothing() -> None:
    following = torch.tensor([[1.0, -math.inf], [-math.inf, -math.inf]])
    rewards, discounts = torch.zeros(2), torch.tensor([1.0, 0.0])
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    wanted = torch.tensor([1.0, 0.0])
    assert torch.equal(q_learning_target(rewards, discounts, following), wanted)
    assert torch.equal(expected_sarsa_target(rewards, discounts, following, p), wanted)
    actions = torch.tensor([0, 1])
    assert torch.equal(sarsa_target(rewards, discounts, following, actions), wanted)
