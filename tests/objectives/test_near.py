"""Tuning a table of preferences, where the best answer is known in closed form."""

import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, check_objective
from heedful.objectives import (
    IMITATE_NEEDS,
    PARENT_NEEDS,
    Loss,
    Optimiser,
    Schedule,
    descend,
    divergence,
    imitate,
)
from heedful.policy import Batch, Recurrent, Schema, TabularQ, clone
from tests.policy.batches import slates_as_batch

SCHEMA, N_UNITS, WANTED = Schema(4), 4, 2


def table() -> TabularQ:
    """Return preferences after each unit; row 0 is the state before any."""
    made = TabularQ(SCHEMA, states=N_UNITS + 1, look="unit").double().eval()
    made.q.data = torch.tensor([[0.5, 0.0, -1.0, 0.2]]).repeat(N_UNITS + 1, 1).double()
    return made


def first_units(units: list[int], weights: list[float]) -> Batch:
    batch = slates_as_batch(SCHEMA, torch.tensor(units)[:, None])
    return batch.filled(weights=torch.tensor(weights)[:, None])


@pytest.mark.parametrize("kl", [0.25, 1.0, 9.0])
def test_the_optimum_lies_between_the_label_and_the_parent(kl: float) -> None:
    """-log q(a) + kl KL(p || q) is least at q = (1[a] + kl p) / (1 + kl)."""
    parent, policy = table(), table()
    before = torch.softmax(parent.q[0], 0).detach()
    batch = first_units([WANTED], [1.0])
    optimiser = Optimiser(list(policy.parameters()), Schedule(peak=0.05, steps=400))

    def loss(part: Batch) -> Loss:
        outputs = policy.forward(part, IMITATE_NEEDS)
        return imitate(outputs, parent.forward(part, PARENT_NEEDS), part, kl=kl)

    descend(loss, [batch] * 400, optimiser=optimiser)
    label = torch.nn.functional.one_hot(torch.tensor(WANTED), N_UNITS).double()
    expected = (label + kl * before) / (1.0 + kl)
    after = torch.softmax(policy.q[0], 0).detach()
    torch.testing.assert_close(after, expected, atol=2e-3, rtol=0.0)
    others = before[[0, 1, 3]] / before[[0, 1, 3]].sum()
    torch.testing.assert_close(
        after[[0, 1, 3]] / after[[0, 1, 3]].sum(), others, atol=2e-3, rtol=0.0
    )


def test_moments_of_weight_zero_pull_nowhere_and_hold_what_the_parent_did() -> None:
    parent, policy = table(), table()
    batch = first_units([WANTED, 0], [0.0, 0.0])
    loss = imitate(
        policy.forward(batch, IMITATE_NEEDS), parent.forward(batch, PARENT_NEEDS), batch, kl=1.0
    )
    (gradient,) = torch.autograd.grad(loss.value, policy.q)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    with torch.no_grad():
        policy.q[0, 1] += 2.0
    loss = imitate(
        policy.forward(batch, IMITATE_NEEDS), parent.forward(batch, PARENT_NEEDS), batch, kl=1.0
    )
    (gradient,) = torch.autograd.grad(loss.value, policy.q)
    assert float(gradient[0, 1]) > 0.1, "downhill is back"


def test_the_divergence_is_that_of_the_two_distributions() -> None:
    of, to = torch.randn(5, 6).double(), torch.randn(5, 6).double()
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=of), torch.distributions.Categorical(logits=to)
    )
    torch.testing.assert_close(divergence(of, to), expected)


def test_what_is_impossible_for_both_has_no_part_and_no_bad_gradient() -> None:
    of = torch.tensor([[0.0, 1.0, -torch.inf]], dtype=torch.float64)
    to = torch.tensor([[1.0, 0.0, -torch.inf]], dtype=torch.float64, requires_grad=True)
    found = divergence(of, to).sum()
    torch.testing.assert_close(found, divergence(of[:, :2], to[:, :2]).sum())
    (gradient,) = torch.autograd.grad(found, to)
    assert bool(torch.isfinite(gradient).all())


def test_imitating_keeps_the_promises_of_a_loss() -> None:
    torch.manual_seed(1)
    parent = clone(Recurrent(EXAMPLE_SCHEMA, width=8).double().eval())
    check_objective(
        lambda o, b: imitate(o, parent.forward(b, PARENT_NEEDS), b, kl=0.5), IMITATE_NEEDS
    )
