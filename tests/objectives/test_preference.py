from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from heedful.checks import CheckFailure, check_objective
from heedful.objectives import DIRECT_NEEDS, Loss, Optimiser, Schedule, descend, dpo, prepare
from heedful.policy import Batch, Outputs, TabularQ
from tests.objectives.replies import ANSWERS, PROMPTS, WORLD, gradient, log_p, replies, slope, table

BETA = 0.4
FORMS: list[dict[str, Any]] = [
    {},
    {"form": "ipo"},
    {"noise": 0.2},
    {"margin": 0.3},
    {"form": "ipo", "margin": 0.3},
    {"noise": 0.1, "margin": 0.2},
]


def found(policy: TabularQ, batch: Batch, **options: Any) -> Loss:
    return dpo(policy.forward(batch, DIRECT_NEEDS), batch, beta=BETA, **options)


def referred(batch: Batch, reference: TabularQ) -> Batch:
    logps = reference.forward(batch, DIRECT_NEEDS).logps
    assert logps is not None
    return batch.filled(reference_logps=logps.detach())


def by_hand(
    q: np.ndarray,
    reference: np.ndarray,
    rewards: list[float],
    weights: list[float],
    **options: Any,
) -> float:
    """The loss of three pairs (rows 0 1, 2 3, 4 5), in loops and without torch."""
    noise, margin = options.get("noise", 0.0), options.get("margin", 0.0)

    def one_way(g: float) -> float:
        if options.get("form") == "ipo":
            return (g - 0.5 / BETA) ** 2
        return float(np.log1p(np.exp(-BETA * g)))

    total = 0.0
    for a, b in ((0, 1), (2, 3), (4, 5)):
        w, lost = (a, b) if rewards[a] >= rewards[b] else (b, a)
        r = [
            log_p(q, PROMPTS[i], ANSWERS[i]) - log_p(reference, PROMPTS[i], ANSWERS[i])
            for i in (w, lost)
        ]
        h, offset = r[0] - r[1], margin * (rewards[w] - rewards[lost]) / BETA
        kept, turned = one_way(h - offset), one_way(-h - offset)
        value = ((1 - noise) * kept - noise * turned) / (1 - 2 * noise)
        if rewards[w] == rewards[lost]:
            value = 0.5 * (kept + turned)
        total += 0.5 * (weights[a] + weights[b]) * value
    return total


@pytest.mark.parametrize("options", FORMS)
@pytest.mark.parametrize("rewards", [[1, 0, 0, 1, 1, 0], [4, 1, 2, 2, 3, 5]])
def test_value_and_gradient_are_those_of_loops_without_torch(
    options: dict[str, Any], rewards: list[float]
) -> None:
    policy, reference = table(0), table(1)
    weights = [1.0, 1.0, 0.5, 2.0, 3.0, 3.0]
    batch = replies(PROMPTS, ANSWERS, rewards, pairs=[0, 0, 7, 7, 3, 3], weights=weights)
    loss = found(policy, referred(batch, reference), **options)
    ref = reference.q.detach().numpy()
    q = policy.q.detach().numpy()
    assert float(loss.value.detach()) == pytest.approx(by_hand(q, ref, rewards, weights, **options))
    assert float(loss.count) == pytest.approx(1.0 + 1.25 + 3.0)
    expected = slope(lambda q: by_hand(q, ref, rewards, weights, **options), policy)
    torch.testing.assert_close(gradient(loss.value, policy), expected, rtol=1e-6, atol=1e-8)


def world(p: float, reference: TabularQ) -> Batch:
    """Two one-token replies to nothing; token 0 is preferred in a share ``p`` of comparisons."""
    batch = replies(
        [[]] * 4,
        [[0], [1], [0], [1]],
        [1, 0, 0, 1],
        pairs=[0, 0, 1, 1],
        weights=[p, p, 1 - p, 1 - p],
    )
    return referred(batch, reference)


def at(reference: TabularQ, h: float) -> TabularQ:
    """A policy whose log-ratio of token 0 to token 1 is ``h`` above the reference's."""
    policy = TabularQ(WORLD, states=4, look="unit").double().eval()
    policy.q.data = reference.q.data.clone()
    policy.q.data[0, 0] += h
    return policy


def test_the_optimum_of_a_world_of_two_tokens_is_where_bradley_and_terry_say() -> None:
    reference = table(2)
    optimum = at(reference, np.log(0.8 / 0.2) / BETA)
    loss = found(optimum, world(0.8, reference))
    assert gradient(loss.value, optimum).abs().max() < 1e-12
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    assert float(loss.value.detach()) == pytest.approx(entropy)


def test_the_optimiser_loop_finds_that_optimum_with_the_same_bits_each_time() -> None:
    reference = table(2)
    ends = []
    for _ in range(2):
        policy = at(reference, 0.0)
        batch = world(0.8, reference)
        optimiser = Optimiser([policy.q], Schedule(peak=0.1, steps=300, decay="cosine"))
        shown: list[float] = []
        descend(
            lambda part, policy=policy: found(policy, part),
            [batch] * 300,
            optimiser=optimiser,
            on_step=lambda _, metrics, shown=shown: shown.append(metrics["loss"]),
        )
        ends.append(policy.q.detach())
        assert shown[0] == pytest.approx(np.log(2))
        h = policy.q[0].detach() - reference.q[0].detach()
        assert float(h[0] - h[1]) == pytest.approx(np.log(4) / BETA, rel=1e-3)
    assert torch.equal(*ends)


def test_the_slope_in_a_world_of_two_tokens() -> None:
    reference = table(2)
    policy = at(reference, 0.7)
    down = gradient(found(policy, world(1.0, reference)).value, policy)[0]
    sigmoid = 1 / (1 + np.exp(BETA * 0.7))
    expected = torch.tensor([-BETA * sigmoid, BETA * sigmoid, 0.0], dtype=torch.float64)
    torch.testing.assert_close(down, expected)


def test_ipo_stops_where_people_always_agree_and_dpo_does_not() -> None:
    reference = table(2)
    optimum = at(reference, 1 / (2 * BETA))
    ipo = found(optimum, world(1.0, reference), form="ipo")
    assert gradient(ipo.value, optimum).abs().max() < 1e-12
    assert gradient(found(optimum, world(1.0, reference)).value, optimum)[0, 0] < -0.1


@pytest.mark.parametrize("form", ["sigmoid", "ipo"])
def test_with_its_share_of_reversed_comparisons_robust_is_the_loss_without_them(form: Any) -> None:
    reference = table(2)
    policy = at(reference, 0.7)
    clean = found(policy, world(1.0, reference), form=form).value
    noisy = found(policy, world(0.7, reference), form=form, noise=0.3).value
    torch.testing.assert_close(noisy, clean)
    torch.testing.assert_close(gradient(noisy, policy), gradient(clean, policy))


@pytest.mark.parametrize("options", FORMS)
def test_a_tie_pulls_back_to_the_reference(options: dict[str, Any]) -> None:
    reference = table(2)
    tie = referred(replies([[], []], [[0], [1]], [2, 2], pairs=[0, 0]), reference)
    here = at(reference, 0.0)
    assert gradient(found(here, tie, **options).value, here).abs().max() < 1e-12
    away = at(reference, 1.0)
    assert gradient(found(away, tie, **options).value, away)[0, 0] > 0
    assert float(found(away, tie, **options).metrics["ties"]) == 1.0


def test_a_pair_with_an_unknown_reward_says_nothing() -> None:
    policy = table(0)
    batch = replies(PROMPTS, ANSWERS, [1, 0, 0, 1, 1, np.nan], pairs=[0, 0, 1, 1, 2, 2])
    loss = found(policy, referred(batch, table(1)))
    kept = batch.select(torch.arange(4))
    torch.testing.assert_close(loss.value, found(policy, referred(kept, table(1))).value)
    assert float(loss.count) == 2.0
    assert all(bool(torch.isfinite(value)) for value in loss.metrics.values())


def test_the_reference_itself_loses_log_2_and_shows_both_log_probabilities() -> None:
    policy = table(0)
    batch = replies(PROMPTS, ANSWERS, [1, 0, 0, 1, 1, 0], pairs=[0, 0, 1, 1, 2, 2])
    loss = found(policy, referred(batch, policy))
    assert float(loss.value.detach() / loss.count) == pytest.approx(np.log(2))
    q = policy.q.detach().numpy()
    chosen = sum(log_p(q, PROMPTS[i], ANSWERS[i]) for i in (0, 3, 4))
    rejected = sum(log_p(q, PROMPTS[i], ANSWERS[i]) for i in (1, 2, 5))
    assert float(loss.metrics["chosen_logps"]) == pytest.approx(chosen)
    assert float(loss.metrics["rejected_logps"]) == pytest.approx(rejected)
    assert float(loss.metrics["chosen_longer"]) == 1.0


def test_the_last_token_gets_gradient_and_padding_none() -> None:
    policy = table(0)
    batch = referred(
        replies(PROMPTS, ANSWERS, [1, 0, 0, 1, 1, 0], pairs=[0, 0, 1, 1, 2, 2]), table(1)
    )
    logps = policy.forward(batch, DIRECT_NEEDS).logps.detach().requires_grad_()
    down = torch.autograd.grad(dpo(Outputs(logps=logps), batch).value, logps)[0]
    assert bool((down[batch.mask] != 0).all()), "every unit, the last one too"
    assert bool((down[~batch.mask] == 0).all())


def test_prepare_fills_in_the_reference() -> None:
    policy = table(0)
    batch = replies(PROMPTS, ANSWERS, [1, 0, 0, 1, 1, 0], pairs=[0, 0, 1, 1, 2, 2])
    filled = prepare(policy, [batch], reference=table(1))[0]
    assert torch.equal(found(policy, filled).value, found(policy, referred(batch, table(1))).value)


@pytest.mark.parametrize("options", FORMS)
def test_dpo_keeps_the_promises_of_a_loss(options: dict[str, Any]) -> None:
    for seed in range(3):
        check_objective(lambda o, b: dpo(o, b, **options), DIRECT_NEEDS, seed=seed)


def test_a_mean_over_the_pairs_of_a_micro_batch_is_found() -> None:
    def of_means(outputs: Outputs, batch: Batch) -> Loss:
        loss = dpo(outputs, batch)
        return Loss(loss.value / loss.count, loss.count)

    with pytest.raises(CheckFailure, match="the same gradient in 2 micro-batches"):
        check_objective(of_means, DIRECT_NEEDS)


def test_the_same_gradient_in_1_2_and_4_micro_batches() -> None:
    """Rows of a pair stand far apart, and replies are unequally long."""
    policy = table(0)
    order = [0, 2, 4, 0, 1, 3, 5, 1]
    batch = referred(
        replies(
            [PROMPTS[i] for i in order],
            [ANSWERS[i] for i in order],
            [1, 0, 3, 2, 0, 1, 0, 2],
            pairs=[0, 1, 2, 3, 0, 1, 2, 3],
        ),
        table(1),
    )
    whole = gradient(found(policy, batch).value, policy)
    for rows, n_micro in ((8, 1), (4, 2), (2, 4), (1, 4)):
        parts = batch.split(rows)
        assert len(parts) == n_micro
        assert sum(len(part) for part in parts) == len(batch)
        summed: Tensor = sum(gradient(found(policy, part).value, policy) for part in parts)  # type: ignore[assignment]
        torch.testing.assert_close(summed, whole, rtol=1e-12, atol=1e-12)


def test_what_is_missing_is_named() -> None:
    policy = table(0)
    batch = referred(
        replies(PROMPTS, ANSWERS, [1, 0, 0, 1, 1, 0], pairs=[0, 0, 1, 1, 2, 2]), table(1)
    )
    with pytest.raises(ValueError, match=r"pair 2 has 1 decision.*needs 2.*Batch\.split"):
        found(policy, batch.select(torch.arange(5)))
    with pytest.raises(ValueError, match=r"Batch\.pairs is None"):
        found(policy, referred(replies(PROMPTS, ANSWERS, [0.0] * 6), table(1)))
    with pytest.raises(ValueError, match="reference_logps is None"):
        found(policy, replies(PROMPTS, ANSWERS, [0.0] * 6, pairs=[0, 0, 1, 1, 2, 2]))
    with pytest.raises(ValueError, match="not asked for 'logps'"):
        dpo(Outputs(), batch)
    assert batch.pairs is not None
    uneven = batch.filled(pairs=batch.pairs + torch.arange(batch.mask.shape[1]))
    with pytest.raises(ValueError, match="units of one decision"):
        found(policy, uneven)
    with pytest.raises(ValueError, match="form 'hinge' is unknown"):
        found(policy, batch, form="hinge")
    with pytest.raises(ValueError, match=r"noise is 0\.5"):
        found(policy, batch, noise=0.5)
    with pytest.raises(ValueError, match="beta is 0"):
        dpo(policy.forward(batch, DIRECT_NEEDS), batch, beta=0.0)
