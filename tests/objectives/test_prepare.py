import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.objectives import drift, generalised_advantages, ppo, prepare, reinforce, v_trace
from heedful.policy import Outputs, Recurrent, replay
from tests.objectives import bandit


def networks() -> list[Recurrent]:
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = Recurrent(EXAMPLE_SCHEMA, width=8).eval()
        torch.nn.init.normal_(network.value_head.weight)
        made.append(network)
    return made


def test_what_is_filled_in_is_the_policys_own() -> None:
    policy, reference = networks()
    batch = random_batch(EXAMPLE_SCHEMA)
    filled = prepare(policy, [batch], reference=reference, lam=0.9)[0]
    assert torch.equal(filled.old_logps, replay(policy, batch).detach())
    assert torch.equal(filled.reference_logps, replay(reference, batch).detach())
    values = policy.forward(batch, frozenset({"values"})).values.detach()
    expected = generalised_advantages(
        batch.rewards, values, batch.discounts, batch.slots, batch.bootstrap, lam=0.9
    )
    assert torch.equal(filled.old_values, values)
    assert torch.equal(filled.advantages, expected)
    assert torch.equal(filled.returns[batch.mask], (expected + values)[batch.mask])
    assert bool((filled.returns[~batch.mask] == 0).all())
    assert not any(t.requires_grad for t in (filled.old_logps, filled.advantages))
    assert batch.old_logps is None, "batches are values"


def test_without_a_reference_the_old_policy_is_it() -> None:
    policy, _ = networks()
    filled = prepare(policy, [random_batch(EXAMPLE_SCHEMA)])[0]
    assert torch.equal(filled.reference_logps, filled.old_logps)


def test_whitening_looks_at_all_batches_and_leaves_returns() -> None:
    policy, _ = networks()
    batches = [random_batch(EXAMPLE_SCHEMA, seed=seed) for seed in (0, 1)]
    plain, white = (prepare(policy, batches, whiten=w) for w in (False, True))
    every = torch.cat([b.advantages[b.mask] for b in white])
    assert abs(float(every.mean())) < 1e-5
    assert abs(float(every.std()) - 1.0) < 1e-5
    for before, after in zip(plain, white, strict=True):
        assert torch.equal(before.returns, after.returns)
        assert bool((after.advantages[~after.mask] == 0).all())


def test_one_unit_is_not_whitened() -> None:
    policy, _ = networks()
    batch = random_batch(EXAMPLE_SCHEMA, rows=1)
    only = torch.zeros_like(batch.mask)
    only[0, 0] = True
    batch = batch.filled(mask=only, bootstrap=torch.zeros_like(only))
    plain, white = (prepare(policy, [batch], whiten=w)[0] for w in (False, True))
    assert torch.equal(plain.advantages, white.advantages)


def test_what_nobody_scored_has_no_advantage_and_no_weight() -> None:
    """C24: not known is not 0. What came before leans on the value of what was not scored."""
    policy, _ = networks()
    batch = random_batch(EXAMPLE_SCHEMA)
    row, slot = torch.nonzero(batch.mask)[4].tolist()
    silent = (batch.decisions == batch.decisions[row, slot]) & batch.mask
    silent &= torch.arange(len(batch))[:, None] == row
    rewards = batch.rewards.clone()
    rewards[row, slot] = torch.nan
    found = prepare(policy, [batch.filled(rewards=rewards)], lam=0.9)[0]
    assert bool((found.advantages[silent] == 0).all())
    assert bool((found.weights[silent] == 0).all())
    assert bool(torch.isfinite(found.advantages).all())
    assert bool(torch.isfinite(found.returns).all())
    assert torch.equal(found.weights[~silent], batch.weights[~silent])
    scored = prepare(policy, [batch], lam=0.9)[0]
    rows = torch.arange(len(batch)) != row
    assert torch.equal(found.advantages[rows], scored.advantages[rows])
    white = prepare(policy, [batch.filled(rewards=rewards)], whiten=True)[0]
    counted = white.advantages[white.mask & ~silent]
    assert abs(float(counted.mean())) < 1e-5
    assert abs(float(counted.std()) - 1.0) < 1e-5


def test_before_what_was_not_scored_its_value_stands_for_the_rest() -> None:
    one = torch.ones(1, 3, dtype=torch.float64)
    slots = torch.ones(1, 3, dtype=torch.bool)
    values = torch.tensor([[0.0, 5.0, 7.0]], dtype=torch.float64)
    known = torch.tensor([[True, False, True]])
    found = generalised_advantages(one, values, one, slots, ~slots, lam=1.0, known=known)
    assert found.tolist() == [[1.0 + 5.0, 0.0, 1.0 - 7.0]]


def test_the_price_of_divergence_is_in_advantages_and_not_in_rewards() -> None:
    policy, reference = networks()
    batch = random_batch(EXAMPLE_SCHEMA)
    found = prepare(policy, [batch], reference=reference, lam=0.9, kl=0.5)[0]
    charged = batch.rewards - 0.5 * drift(found)
    expected = generalised_advantages(
        charged, found.old_values, batch.discounts, batch.slots, batch.bootstrap, lam=0.9
    )
    assert torch.equal(found.advantages, expected)
    assert torch.equal(found.rewards, batch.rewards)
    with pytest.raises(ValueError, match="prepare the batch first"):
        drift(batch)


def test_charged_to_the_reward_k1_has_the_gradient_of_kl_to_the_reference() -> None:
    """In a world of two units, in closed form: of E[R] - c KL(pi || ref)."""
    policy, near, c = bandit.policy(0.3, -0.4), bandit.policy(1.0, 0.2), 0.7
    p, ref = (torch.softmax(table.q[0], 0).detach() for table in (policy, near))
    batch = bandit.every_arm(p).filled(reference_logps=ref.log()[:, None])
    advantages = (bandit.REWARDS - c * drift(batch)).detach()
    batch = batch.filled(advantages=advantages)
    outputs = policy.forward(batch, frozenset({"logps", "values", "entropy"}))
    loss = reinforce(outputs, batch, value_weight=0.0)
    (found,) = torch.autograd.grad(loss.value, policy.q)
    q = policy.q.detach().clone().requires_grad_()
    pi = torch.softmax(q[0], 0)
    worth = (pi * bandit.REWARDS[:, 0]).sum() - c * (pi * (pi / ref).log()).sum()
    (expected,) = torch.autograd.grad(-worth, q)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "error", "slope"),
    [(0.2, 1.62, -1.8), (1.0, 1.125, 0.0), (4.0, 2.0, 2.0), (-1.5, 6.125, -3.5)],
)
def test_a_value_that_has_gone_far_is_not_rewarded_for_going_on(
    value: float, error: float, slope: float
) -> None:
    """Old value 0, return 2, clip 0.5: beyond 0.5 the error is at least that of 0.5."""
    batch = bandit.every_arm(torch.tensor([0.5, 0.5])).select(torch.tensor([0]))
    two = torch.full_like(batch.rewards, 2.0)
    batch = batch.filled(returns=two, weights=torch.ones_like(two))
    values = torch.full_like(two, value, requires_grad=True)
    flat = torch.zeros_like(two)
    outputs = Outputs(logps=batch.old_logps, values=values, entropy=flat)
    loss = ppo(outputs, batch.filled(advantages=flat), value_clip=0.5, value_weight=1.0)
    assert loss.value.item() == pytest.approx(error)
    (found,) = torch.autograd.grad(loss.value, values)
    assert float(found) == pytest.approx(slope)


def test_off_policy_returns_are_those_of_the_policy_there_is_now() -> None:
    one, other = networks()
    batch = random_batch(EXAMPLE_SCHEMA, seed=1)
    with torch.no_grad():
        theirs = replay(other, batch).double()
    batch = batch.filled(rewards=torch.randn(batch.mask.shape) * batch.mask)
    (mine,) = prepare(one, [batch.filled(behaviour_logps=replay(one, batch).detach().double())])
    (same,) = prepare(
        one,
        [batch.filled(behaviour_logps=replay(one, batch).detach().double())],
        off_policy=2.0,
    )
    torch.testing.assert_close(same.returns, mine.returns)
    torch.testing.assert_close(same.advantages, mine.advantages)
    logged = batch.filled(behaviour_logps=theirs)
    (found,) = prepare(one, [logged], off_policy=2.0, lam=0.7)
    assert found.old_logps is not None
    assert found.old_values is not None
    returns, advantages = v_trace(
        (found.old_logps.double() - theirs) * batch.mask,
        batch.rewards,
        found.old_values,
        batch.discounts,
        batch.slots,
        batch.bootstrap,
        lam=0.7,
        cap=2.0,
    )
    torch.testing.assert_close(found.returns, returns * batch.mask)
    torch.testing.assert_close(found.advantages, advantages)
    (plain,) = prepare(one, [logged], lam=0.7)
    assert not torch.allclose(plain.returns, found.returns, atol=1e-3)
    nobody = batch.filled(behaviour_logps=torch.full_like(theirs, torch.nan))
    (unknown,) = prepare(one, [nobody], off_policy=2.0, lam=0.7)
    torch.testing.assert_close(unknown.returns, plain.returns)
