import numpy as np
import pytest
import torch

from heedful.checks import check_objective
from heedful.objectives import DIRECT_NEEDS, Loss, compare, prepare, weighted_regression
from heedful.policy import Batch, TabularQ
from tests.objectives.replies import ANSWERS, PROMPTS, gradient, log_p, replies, slope, table

REWARDS = [2.0, 0.0, 1.0, 1.5, 3.0, -1.0]
WEIGHTS = [1.0, 2.0, 0.5, 1.0, 3.0, 1.0]


def found(policy: TabularQ, batch: Batch, temperature: float = 0.7, cap: float = 20.0) -> Loss:
    outputs = policy.forward(batch, DIRECT_NEEDS)
    return weighted_regression(outputs, batch, temperature=temperature, cap=cap)


def logged(rewards: list[float], shift: float = 0.0) -> Batch:
    """Replies with a reward and no probability, their reward being the advantage of each token."""
    batch = replies(PROMPTS, ANSWERS, rewards, weights=WEIGHTS)
    assert bool(torch.isnan(batch.behaviour_logps).all())
    return batch.filled(advantages=(torch.tensor(rewards).double()[:, None] + shift) * batch.mask)


@pytest.mark.parametrize("cap", [20.0, 3.0])
def test_value_and_gradient_are_those_of_loops_without_torch(cap: float) -> None:
    policy = table(0)
    weight = [w * min(cap, np.exp(r / 0.7)) for w, r in zip(WEIGHTS, REWARDS, strict=True)]

    def by_hand(q: np.ndarray) -> float:
        return -sum(
            w * log_p(q, prompt, answer)
            for w, prompt, answer in zip(weight, PROMPTS, ANSWERS, strict=True)
        )

    loss = found(policy, logged(REWARDS), cap=cap)
    assert float(loss.value.detach()) == pytest.approx(by_hand(policy.q.detach().numpy()))
    n = sum(w * len(answer) for w, answer in zip(weight, ANSWERS, strict=True))
    assert float(loss.count) == pytest.approx(n)
    torch.testing.assert_close(
        gradient(loss.value, policy), slope(by_hand, policy), rtol=1e-6, atol=1e-7
    )


def test_the_optimum_of_a_world_of_tokens_is_the_log_times_what_pays() -> None:
    """pi(x) = mu(x) exp(r(x) / temperature) / Z, with mu unknown to the loss."""
    mu = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    earned = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    batch = replies([[]] * 3, [[0], [1], [2]], earned.tolist(), weights=mu.tolist())
    batch = batch.filled(advantages=earned[:, None])
    policy = table(0)
    policy.q.data[0] = mu.log() + earned / 0.7
    assert gradient(found(policy, batch).value, policy).abs().max() < 1e-6
    policy.q.data[0] = mu.log()
    down = gradient(found(policy, batch).value, policy)[0]
    assert down[0] > 0 > down[1], "away from the log, towards what paid"


def test_a_constant_in_the_reward_does_not_matter() -> None:
    policy = table(0)
    a, b = (found(policy, logged(REWARDS, shift), cap=1e9) for shift in (0.0, 2.5))
    torch.testing.assert_close(
        gradient(a.value, policy) / a.count, gradient(b.value, policy) / b.count
    )


def test_what_is_capped_is_shown() -> None:
    loss = found(table(0), logged(REWARDS), cap=np.exp(2.5 / 0.7))
    assert float(loss.metrics["capped"]) == pytest.approx(3.0 * 2 * np.exp(2.5 / 0.7))


def test_advantages_may_come_from_a_group_of_all_that_was_logged() -> None:
    batch = replies(PROMPTS, ANSWERS, REWARDS, groups=[0] * 6)
    filled = compare([batch], baseline="mean").batches[0]
    policy = table(0)
    expected = batch.filled(
        advantages=(torch.tensor(REWARDS).double() - np.mean(REWARDS))[:, None] * batch.mask
    )
    torch.testing.assert_close(found(policy, filled).value, found(policy, expected).value)


def test_the_same_gradient_in_1_2_and_4_micro_batches() -> None:
    policy = table(0)
    batch = logged(REWARDS).select(torch.arange(4))
    whole = gradient(found(policy, batch).value, policy)
    for rows in (4, 2, 1):
        summed = sum(gradient(found(policy, part).value, policy) for part in batch.split(rows))
        torch.testing.assert_close(summed, whole, rtol=1e-12, atol=1e-12)


def test_weighted_regression_keeps_the_promises_of_a_loss() -> None:
    for seed in range(3):
        check_objective(
            lambda o, b: weighted_regression(o, b, temperature=1.0), DIRECT_NEEDS, seed=seed
        )


def test_what_is_missing_is_named() -> None:
    policy = table(0)
    batch = replies(PROMPTS, ANSWERS, REWARDS)
    with pytest.raises(ValueError, match=r"Batch\.advantages is None"):
        found(policy, batch)
    ready = prepare(policy, [batch])[0]
    with pytest.raises(ValueError, match=r"temperature \(0\.0\)"):
        found(policy, ready, temperature=0.0)
