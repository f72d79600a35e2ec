import torch

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.objectives import generalised_advantages, prepare
from heedful.policy import Recurrent, replay


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
