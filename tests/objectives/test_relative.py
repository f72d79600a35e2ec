from typing import Any

import numpy as np
import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, check_objective, random_batch
from heedful.objectives import (
    DIRECT_NEEDS,
    NEEDS,
    Loss,
    compare,
    grpo,
    live,
    prepare,
    reinforce,
    relative_advantages,
)
from heedful.policy import Batch, TabularQ, Transformer
from tests.objectives.replies import ANSWERS, PROMPTS, gradient, log_p, replies, slope, table

REWARDS = [2.0, 0.0, 1.0, 1.0, 3.0, -1.0]
GROUPS = [0, 0, 1, 1, 0, 2]  # 1 is all alike, 2 is alone
PER: list[dict[str, Any]] = [
    {"per": "decisions"},
    {"per": "units"},
    {"per": "constant", "longest": 5},
]


def prepared(policy: TabularQ, batch: Batch, **options: Any) -> Batch:
    return compare(prepare(policy, [batch]), **options).batches[0]


def found(policy: TabularQ, batch: Batch, **options: Any) -> Loss:
    return grpo(policy.forward(batch, DIRECT_NEEDS), batch, **options)


def advantages(rewards: list[float], groups: list[int], **options: Any) -> list[float]:
    r = torch.tensor(rewards, dtype=torch.float64)
    options = {"baseline": "leave_one_out", **options}
    return relative_advantages(r, torch.tensor(groups), **options).tolist()


@pytest.mark.parametrize("deviation", [False, True])
@pytest.mark.parametrize("baseline", ["leave_one_out", "mean"])
def test_advantages_are_those_of_loops_without_torch(baseline: str, deviation: bool) -> None:
    rng = np.random.default_rng(0)
    rewards, groups = rng.normal(size=20), rng.integers(0, 4, size=20)
    expected = []
    for i in range(20):
        same = [j for j in range(20) if groups[j] == groups[i]]
        others = [j for j in same if j != i] if baseline == "leave_one_out" else same
        a = rewards[i] - np.mean(rewards[others])
        expected.append(a / np.std(rewards[same], ddof=1) if deviation else a)
    got = advantages(rewards.tolist(), groups.tolist(), baseline=baseline, deviation=deviation)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_groups_alike_alone_or_not_scored_are_dead() -> None:
    nan = float("nan")
    rewards = [0.1, 0.1, 0.1, 5.0, 1.0, nan, 2.0, 0.0, 3.0]
    groups = [4, 4, 4, 0, 1, 1, 2, 2, -1]
    for deviation in (False, True):
        got = advantages(rewards, groups, deviation=deviation)
        assert got[:6] == [0.0] * 6
        assert got[6] == -got[7] > 0
        assert got[8] == 0.0
    alive = live(torch.tensor(rewards), torch.tensor(groups))
    assert alive.tolist() == [False] * 6 + [True, True, False]
    assert np.std([0.1, 0.1, 0.1]) != 0.0, "rounding: equal rewards, and a deviation all the same"


def test_a_decision_that_was_not_scored_is_not_one_with_reward_0() -> None:
    got = advantages([1.0, 2.0, float("nan")], [0, 0, 0], baseline="mean")
    assert got == [-0.5, 0.5, 0.0]


def test_a_baseline_is_independent_of_the_reward_it_is_held_against() -> None:
    first, moved = (advantages([r, 1.0, 3.0], [0, 0, 0])[0] - r for r in (0.0, 7.0))
    assert first == moved == -2.0


def test_compare_counts_and_looks_at_all_batches() -> None:
    batch = replies(PROMPTS, ANSWERS, [*REWARDS[:5], float("nan")], groups=GROUPS)
    whole = compare([batch], baseline="mean")
    assert (whole.groups, whole.dead, whole.unscored) == (3, 2, 1)
    parts = compare(batch.split(2), baseline="mean")
    assert (parts.groups, parts.dead, parts.unscored) == (3, 2, 1)
    pieces = torch.cat([b.advantages for b in parts.batches])  # type: ignore[misc]
    assert torch.equal(pieces, whole.batches[0].advantages)
    expected = torch.tensor([2 - 5 / 3, -5 / 3, 0, 0, 3 - 5 / 3, 0], dtype=torch.float64)
    filled = whole.batches[0]
    torch.testing.assert_close(filled.advantages, expected[:, None] * filled.mask)
    assert batch.advantages is None, "batches are values"
    nothing = compare([])
    assert (nothing.batches, nothing.groups) == ([], 0)


def by_hand(
    q: np.ndarray, old: np.ndarray, clips: tuple[float, float, float], options: dict[str, Any]
) -> float:
    low, high, dual = clips
    a = advantages(REWARDS, GROUPS, baseline="mean")
    total = 0.0
    for i in (0, 1, 4):
        prompt, answer = list(PROMPTS[i]), ANSWERS[i]
        for t, token in enumerate(answer):
            seen = [*prompt, *answer[:t]]
            r = np.exp(log_p(q, seen, [token]) - log_p(old, seen, [token]))
            gain = min(r * a[i], float(np.clip(r, 1 - low, 1 + high)) * a[i])
            gain = max(gain, dual * a[i]) if a[i] < 0 else gain
            scale = {"units": 1.0, "decisions": 1 / len(answer), "constant": 1 / 5}[options["per"]]
            total -= scale * gain
    return total


@pytest.mark.parametrize("options", PER)
@pytest.mark.parametrize("clips", [(0.2, 0.2, 3.0), (0.2, 0.28, np.inf), (0.05, 0.05, 1.1)])
def test_value_and_gradient_are_those_of_loops_without_torch(
    options: dict[str, Any], clips: tuple[float, float, float]
) -> None:
    old, policy = table(0), table(0)
    policy.q.data += 0.3 * table(1).q.data
    batch = prepared(old, replies(PROMPTS, ANSWERS, REWARDS, groups=GROUPS), baseline="mean")
    low, high, dual = clips
    loss = found(policy, batch, clip_low=low, clip_high=high, dual_clip=dual, **options)
    before = old.q.detach().numpy()

    def plain(q: np.ndarray) -> float:
        return by_hand(q, before, clips, options)

    assert float(loss.value.detach()) == pytest.approx(plain(policy.q.detach().numpy()))
    assert float(loss.count) == (5.0 if options["per"] == "units" else 3.0)
    torch.testing.assert_close(
        gradient(loss.value, policy), slope(plain, policy), rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("options", PER)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ratio_is_1_at_the_first_step(options: dict[str, Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = Transformer(EXAMPLE_SCHEMA, width=16, layers=1, heads=2).to(dtype).eval()
    batch = random_batch(EXAMPLE_SCHEMA)
    batch = batch.filled(groups=torch.where(batch.mask, 0, -1))
    batch = compare(prepare(network, [batch])).batches[0]
    loss = grpo(network.forward(batch, DIRECT_NEEDS), batch, kl=0.1, **options)
    assert float(loss.metrics["ratio"] / loss.count) == pytest.approx(1.0, abs=1e-6)
    assert float(loss.metrics["clipped"]) == 0.0
    assert float(loss.metrics["kl"]) == pytest.approx(0.0, abs=1e-10)


def test_the_first_loss_is_0_for_equal_lengths_and_its_gradient_is_not() -> None:
    policy = table(0)
    batch = replies([[1]] * 3, [[0, 2], [1, 1], [2, 0]], [1.0, 0.0, 4.0], groups=[0, 0, 0])
    loss = found(policy, prepared(policy, batch))
    assert float(loss.value.detach()) == pytest.approx(0.0, abs=1e-12)
    assert gradient(loss.value, policy).abs().max() > 0.1


def test_in_a_world_of_two_tokens_the_gradient_is_that_of_the_expected_reward() -> None:
    """Every group of two draws, weighted by its probability: RLOO is unbiased; grad p r."""
    policy = table(2)
    p = torch.softmax(policy.q[0].detach(), 0)
    earned = torch.tensor([1.0, 3.0, -2.0], dtype=torch.float64)
    draws = [(x, y) for x in range(3) for y in range(3)]
    tokens = [[token] for draw in draws for token in draw]
    chances = [float(p[x] * p[y]) for x, y in draws for _ in range(2)]
    batch = replies(
        [[]] * 18,
        tokens,
        [float(earned[token[0]]) for token in tokens],
        groups=[g for g in range(9) for _ in range(2)],
        weights=chances,
    )
    loss = found(policy, prepared(policy, batch), per="constant")
    expected = p * (earned - (p * earned).sum())
    got = gradient(loss.value, policy)[0] / 2  # two draws a group
    torch.testing.assert_close(got, -expected, rtol=1e-6, atol=1e-7)


def test_at_ratio_1_rloo_is_reinforce_with_its_advantages() -> None:
    policy = table(0)
    batch = prepared(policy, replies(PROMPTS, ANSWERS, REWARDS, groups=GROUPS))
    assert batch.old_logps is not None
    batch = batch.filled(behaviour_logps=batch.old_logps.double())
    plain = reinforce(policy.forward(batch, NEEDS), batch, value_weight=0.0)
    loss = found(policy, batch, per="constant")
    torch.testing.assert_close(gradient(loss.value, policy), gradient(plain.value, policy))
    assert float(loss.count) == 3.0, "three replies of a living group"


def test_a_dead_group_gives_no_gradient_not_even_towards_the_reference() -> None:
    policy, reference = table(0), table(1)
    batch = replies(PROMPTS, ANSWERS, [1.0] * 6, groups=[0, 0, 1, 1, 2, 3])
    filled = compare(prepare(policy, [batch], reference=reference)).batches[0]
    for options in PER:
        loss = found(policy, filled, kl=1.0, **options)
        assert gradient(loss.value, policy).abs().max() == 0.0
        assert float(loss.count) == 0.0


def test_the_kl_term_has_the_gradient_of_kl_to_the_reference_off_policy_too() -> None:
    old, policy, reference = table(0), table(3), table(1)
    p_old, ref = (torch.softmax(t.q[0].detach(), 0) for t in (old, reference))
    batch = replies([[]] * 3, [[0], [1], [2]], [0.0] * 3, weights=p_old.tolist())
    batch = prepare(old, [batch], reference=reference)[0]
    batch = batch.filled(advantages=torch.zeros_like(batch.rewards))
    loss = found(policy, batch, kl=0.5)
    q = policy.q[0].detach().requires_grad_()
    p = torch.softmax(q, 0)
    exact = torch.autograd.grad(0.5 * (p * (p.log() - ref.log())).sum(), q)[0]
    torch.testing.assert_close(gradient(loss.value, policy)[0], exact, rtol=1e-6, atol=1e-7)


def test_the_higher_clip_lets_a_good_reply_rise_further() -> None:
    old, policy = table(0), table(0)
    old.q.data[0] = policy.q.data[0] = 0.0
    batch = replies([[], []], [[0], [1]], [1.0, 0.0], groups=[0, 0])
    batch = prepared(old, batch)
    policy.q.data[0, 0] = np.log(2 * 1.24 / (3 - 1.24))  # from probability 1/3 to 1.24 / 3
    good = batch.select(torch.tensor([0]))
    for high, moves in ((0.2, False), (0.28, True)):
        down = gradient(found(policy, good, clip_high=high).value, policy)
        assert bool(down.abs().max() > 0) == moves


def test_dual_clip_bounds_what_a_bad_reply_that_became_likely_costs() -> None:
    old, policy = table(0), table(0)
    policy.q.data[0, 2] += 6.0
    batch = prepared(old, replies([[], []], [[2], [1]], [0.0, 1.0], groups=[0, 0]))
    bad = batch.select(torch.tensor([0]))
    ratio = float(found(policy, bad).metrics["ratio"])
    assert ratio > 3.0
    assert float(found(policy, bad, dual_clip=np.inf).value.detach()) == pytest.approx(ratio)
    assert float(found(policy, bad).value.detach()) == pytest.approx(3.0)


@pytest.mark.parametrize("options", PER)
def test_grpo_keeps_the_promises_of_a_loss(options: dict[str, Any]) -> None:
    for seed in range(3):
        check_objective(lambda o, b: grpo(o, b, kl=0.1, **options), DIRECT_NEEDS, seed=seed)


@pytest.mark.parametrize("options", PER)
def test_the_same_gradient_in_1_2_and_4_micro_batches(options: dict[str, Any]) -> None:
    policy = table(3)
    batch = replies(PROMPTS[:4], ANSWERS[:4], REWARDS[:4], groups=[0, 0, 0, 0])
    batch = prepared(table(0), batch)
    whole = found(policy, batch, kl=0.1, **options)
    for rows in (4, 2, 1):
        parts = [found(policy, part, kl=0.1, **options) for part in batch.split(rows)]
        summed = sum(gradient(part.value, policy) for part in parts)
        torch.testing.assert_close(summed, gradient(whole.value, policy), rtol=1e-12, atol=1e-12)
        assert float(sum(part.count for part in parts)) == pytest.approx(float(whole.count))


def test_what_is_missing_is_named() -> None:
    policy = table(0)
    batch = replies(PROMPTS, ANSWERS, REWARDS, groups=GROUPS)
    with pytest.raises(ValueError, match=r"Batch\.groups is None"):
        compare([replies(PROMPTS, ANSWERS, REWARDS)])
    with pytest.raises(ValueError, match=r"objectives\.prepare and then objectives\.compare"):
        found(policy, batch)
    with pytest.raises(ValueError, match="baseline 'median' is unknown"):
        compare([batch], baseline="median")  # type: ignore[arg-type]
    ready = prepared(policy, batch)
    for options in ({"per": "rows"}, {"longest": 0}, {"dual_clip": 1.0}):
        with pytest.raises(ValueError, match="has to be 'units', 'decisions' or 'constant'"):
            found(policy, ready, **options)
