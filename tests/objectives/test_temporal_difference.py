import math

import pytest
import torch

from heedful.objectives import (
    double_q_target,
    expected_sarsa_target,
    q_learning_target,
    q_loss,
    sarsa_target,
)
from heedful.policy import Outputs, Schema
from tests.policy.batches import slates_as_batch

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


def test_one_chooses_and_another_says_what_it_is_worth() -> None:
    judged = torch.tensor([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]])
    target = double_q_target(REWARDS, DISCOUNTS, FOLLOWING, judged)
    assert torch.allclose(target, torch.tensor([1.0 + 10.0, -1.0 + 36.0, 2.0]))
    assert torch.equal(
        double_q_target(REWARDS, DISCOUNTS, FOLLOWING, FOLLOWING),
        q_learning_target(REWARDS, DISCOUNTS, FOLLOWING),
    )


def test_the_impossible_is_never_chosen_however_much_it_is_said_to_be_worth() -> None:
    following = torch.tensor([[1.0, -math.inf]])
    judged = torch.tensor([[3.0, 1000.0]])
    target = double_q_target(torch.zeros(1), torch.ones(1), following, judged)
    assert target.tolist() == [3.0]


def test_a_double_target_is_not_too_high_where_the_maximum_is() -> None:
    """All actions are worth 0 and both estimates are noise: van Hasselt et al., section 2."""
    rng = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 4000, 10, generator=rng)
    zeros, ones = torch.zeros(4000), torch.ones(4000)
    assert float(q_learning_target(zeros, ones, one).mean()) > 1.4
    assert abs(float(double_q_target(zeros, ones, one, other).mean())) < 0.06


def test_the_loss_is_hubers_of_what_was_done() -> None:
    batch = slates_as_batch(Schema(5), torch.tensor([[0, 3], [4, 1], [2, 0]]))
    n = int(batch.mask.sum())
    logits = torch.arange(n * 5.0).view(n, 5).requires_grad_()
    chosen = logits.detach().gather(1, batch.units[batch.mask][:, None])[:, 0]
    errors = torch.linspace(-3, 3, n)
    returns = torch.zeros(batch.mask.shape).masked_scatter(batch.mask, chosen - errors)
    weights = torch.rand(batch.mask.shape)
    loss = q_loss(Outputs(logits=logits), batch.filled(returns=returns, weights=weights))
    loss.value.backward()
    weight = weights[batch.mask]
    slopes = logits.grad.gather(1, batch.units[batch.mask][:, None])[:, 0]
    torch.testing.assert_close(slopes, errors.clamp(-1, 1) * weight, atol=1e-5, rtol=1e-5)
    assert int((logits.grad != 0).sum()) == int((errors != 0).sum())
    assert float(loss.count) == pytest.approx(float(weight.sum()))
    assert float(loss.metrics["td_error"]) == pytest.approx(float((errors.abs() * weight).sum()))
