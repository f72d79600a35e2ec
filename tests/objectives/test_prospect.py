from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, check_objective, random_batch
from heedful.objectives import DIRECT_NEEDS, Loss, kto, mismatched, mismatched_drift, prepare
from heedful.policy import Batch, Recurrent, Schema, TabularQ
from tests.objectives.replies import ANSWERS, PROMPTS, gradient, log_p, replies, slope, table

BETA = 0.4
REWARDS = [1, -1, 1, 1, 0, -1]
WEIGHTS = [1.0, 2.0, 0.5, 1.0, 9.0, 1.0]


def zero() -> torch.Tensor:
    return torch.zeros((), dtype=torch.float64)


def referred(batch: Batch, reference: TabularQ) -> Batch:
    return prepare(reference, [batch])[0]


def found(policy: TabularQ, batch: Batch, **options: Any) -> Loss:
    return kto(policy.forward(batch, DIRECT_NEEDS), batch, **{"beta": BETA, **options})


def by_hand(q: np.ndarray, reference: np.ndarray, drift: float) -> float:
    total = 0.0
    for i, (reward, weight) in enumerate(zip(REWARDS, WEIGHTS, strict=True)):
        r = log_p(q, PROMPTS[i], ANSWERS[i]) - log_p(reference, PROMPTS[i], ANSWERS[i])
        side = {1: r - drift, -1: drift - r}.get(reward)
        if side is not None:
            worth = 1.5 if reward > 0 else 0.75
            total += weight * worth * (1 - 1 / (1 + np.exp(-BETA * side)))
    return total


def test_value_and_gradient_are_those_of_loops_without_torch() -> None:
    policy, reference = table(0), table(1)
    batch = referred(replies(PROMPTS, ANSWERS, REWARDS, weights=WEIGHTS), reference)
    drift = torch.tensor(0.3, dtype=torch.float64)
    loss = found(policy, batch, drift=drift, desirable=1.5, undesirable=0.75)
    q, ref = policy.q.detach().numpy(), reference.q.detach().numpy()
    assert float(loss.value.detach()) == pytest.approx(by_hand(q, ref, 0.3))
    assert float(loss.count) == pytest.approx(5.5), "what was neither liked nor disliked is not in"
    expected = slope(lambda q: by_hand(q, ref, 0.3), policy)
    torch.testing.assert_close(gradient(loss.value, policy), expected, rtol=1e-6, atol=1e-8)


def test_the_drift_is_that_of_replies_to_another_asking() -> None:
    policy, reference = table(3), table(1)
    batch = mismatched(replies(PROMPTS, ANSWERS, REWARDS))
    q, ref = policy.q.detach().numpy(), reference.q.detach().numpy()
    moved = [
        log_p(q, prompt, answer) - log_p(ref, prompt, answer)
        for prompt, answer in zip(PROMPTS, ANSWERS[1:] + ANSWERS[:1], strict=True)
    ]
    for a, b, sign in ((policy, reference, 1.0), (reference, policy, -1.0)):
        filled = referred(batch, b)
        drift = mismatched_drift(a.forward(filled, DIRECT_NEEDS), filled)
        assert float(drift) == pytest.approx(max(0.0, sign * float(np.mean(moved))))
        assert not drift.requires_grad
    assert np.mean(moved) != 0.0


def test_mismatched_rows_are_the_rows_that_would_have_been_written() -> None:
    batch = mismatched(replies(PROMPTS, ANSWERS, REWARDS))
    expected = replies(PROMPTS, ANSWERS[1:] + ANSWERS[:1], [0.0] * 6)
    for name in ("positions", "units", "decisions", "mask", "weights", "rewards"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name
    for name in ("kind", "unit", "channel", "value", "features", "lengths"):
        assert torch.equal(getattr(batch.events, name), getattr(expected.events, name)), name


def test_a_reply_to_another_asking_is_as_if_written_then() -> None:
    """The clock of a mismatched reply is that of the asking it stands behind."""
    batch = replies(PROMPTS, ANSWERS, REWARDS)
    time = torch.where(batch.events.unit >= 0, 100.0 * torch.arange(6)[:, None], torch.nan)
    events = replace(batch.events, time=time.double())
    now = torch.where(batch.mask, 100.0 * torch.arange(6)[:, None], torch.nan).double()
    choices = replace(batch.choices, now=now)
    moved = mismatched(replace(batch, events=events, choices=choices))
    known = moved.events.unit >= 0
    expected = (100.0 * torch.arange(6)[:, None]).expand(known.shape).double()
    assert torch.equal(moved.events.time[known], expected[known])
    assert moved.choices.now is not None
    assert torch.equal(moved.choices.now[moved.mask], expected[:, :3][moved.mask])


def test_thumbs_as_ones_and_zeros_go_with_a_threshold_of_a_half() -> None:
    policy = table(0)
    signed = referred(replies(PROMPTS, ANSWERS, [1, -1, 1, 1, -1, -1]), table(1))
    counted = referred(replies(PROMPTS, ANSWERS, [1, 0, 1, 1, 0, 0]), table(1))
    a = found(policy, signed, drift=zero())
    b = found(policy, counted, drift=zero(), threshold=0.5)
    torch.testing.assert_close(a.value, b.value)
    assert float(b.metrics["liked"]) == 3.0


def test_in_a_world_of_two_tokens_the_slope_is_that_of_the_sigmoid() -> None:
    reference = table(2)
    policy = table(2)
    policy.q.data[0, 0] += 0.7
    batch = referred(replies([[]], [[0]], [1.0]), reference)
    p0, p = (torch.softmax(t.q[0].detach(), 0) for t in (reference, policy))
    r = float(p[0].log() - p0[0].log())
    s = 1 / (1 + np.exp(-BETA * (r - 0.2)))
    arm = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    expected = -BETA * s * (1 - s) * (arm - p)
    loss = found(policy, batch, drift=torch.tensor(0.2, dtype=torch.float64))
    torch.testing.assert_close(gradient(loss.value, policy)[0], expected)


def test_at_the_reference_the_drift_is_zero_and_each_decision_loses_a_half() -> None:
    policy = table(0)
    other = referred(mismatched(replies(PROMPTS, ANSWERS, REWARDS)), policy)
    drift = mismatched_drift(policy.forward(other, DIRECT_NEEDS), other)
    assert float(drift) == 0.0
    batch = referred(replies(PROMPTS, ANSWERS, REWARDS), policy)
    loss = found(policy, batch, drift=drift)
    assert float(loss.value.detach() / loss.count) == pytest.approx(0.5)


def test_an_unknown_reward_says_nothing() -> None:
    policy = table(0)
    batch = referred(replies(PROMPTS, ANSWERS, [1, np.nan, 1, 1, 1, -1]), table(1))
    loss = found(policy, batch, drift=zero())
    kept = batch.select(torch.tensor([0, 2, 3, 4, 5]))
    torch.testing.assert_close(loss.value, found(policy, kept, drift=zero()).value)
    assert bool(torch.isfinite(gradient(loss.value, policy)).all())


def test_the_same_gradient_in_1_2_and_4_micro_batches() -> None:
    """The drift is that of the whole window; one for each micro-batch would be another loss."""
    policy, reference = table(1), table(3)
    batch = replies(PROMPTS[:4], ANSWERS[:4], REWARDS[:4])

    def drift(part: Batch) -> torch.Tensor:
        other = referred(mismatched(part), reference)
        return mismatched_drift(policy.forward(other, DIRECT_NEEDS), other)

    filled, window = referred(batch, reference), drift(batch)
    assert float(window) > 0
    whole = gradient(found(policy, filled, drift=window).value, policy)
    for rows in (4, 2, 1):
        parts = filled.split(rows)
        summed = sum(gradient(found(policy, p, drift=window).value, policy) for p in parts)
        torch.testing.assert_close(summed, whole, rtol=1e-12, atol=1e-12)
    own = sum(gradient(found(policy, p, drift=drift(p)).value, policy) for p in filled.split(2))
    assert not torch.allclose(torch.as_tensor(own), whole, rtol=1e-3)


def test_kto_keeps_the_promises_of_a_loss() -> None:
    drift = torch.tensor(0.2, dtype=torch.float64)
    for seed in range(3):
        check_objective(
            lambda o, b: kto(o, b, drift=drift, undesirable=1.3), DIRECT_NEEDS, seed=seed
        )


def test_what_cannot_be_mismatched_is_refused() -> None:
    batch = replies(PROMPTS, ANSWERS, REWARDS)
    with pytest.raises(ValueError, match="batch of 1 has no second reply"):
        mismatched(batch.select(torch.arange(1)))
    with pytest.raises(ValueError, match="one decision each"):
        mismatched(random_batch(EXAMPLE_SCHEMA))
    with pytest.raises(ValueError, match="one decision each"):
        mismatched(batch.filled(units=torch.where(batch.mask, 2 - batch.units, 0)))
    bound = replace(batch.choices, forbidden=torch.tensor([[0, 1, 0, 1]]))
    with pytest.raises(ValueError, match="the same units are possible"):
        mismatched(replace(batch, choices=bound))


def test_a_drift_that_is_no_number_or_carries_a_gradient_is_refused() -> None:
    policy = table(0)
    batch = referred(replies(PROMPTS, ANSWERS, REWARDS), policy)
    for drift in (torch.tensor(-1.0), torch.tensor(torch.nan), torch.zeros((), requires_grad=True)):
        with pytest.raises(ValueError, match="mismatched_drift"):
            found(policy, batch, drift=drift)


def test_a_network_reads_mismatched_rows() -> None:
    torch.manual_seed(0)
    network = Recurrent(Schema(3), width=8).eval()
    batch = mismatched(replies(PROMPTS, ANSWERS, REWARDS))
    filled = prepare(network, [batch])[0]
    assert float(mismatched_drift(network.forward(filled, DIRECT_NEEDS), filled)) == 0.0
