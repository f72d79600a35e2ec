import math

import pytest
import torch
from torch import Tensor

from heedful.checks import EXAMPLE_SCHEMA, check_objective, random_batch
from heedful.objectives import (
    NEEDS,
    Loss,
    UnknownProbabilityError,
    importance,
    ppo,
    prepare,
    reinforce,
)
from heedful.policy import Recurrent, TabularQ, Transformer
from tests.objectives.bandit import REWARDS, every_arm, policy

PLAIN = {"value_weight": 0.0}


def gradient(loss: Loss, table: TabularQ) -> Tensor:
    return torch.autograd.grad(loss.value, table.q)[0][0]


def probabilities(table: TabularQ) -> Tensor:
    return torch.softmax(table.q[0], 0).detach()


def gain(p: Tensor) -> Tensor:
    """Return the gradient of E[R] = p . r with respect to the logits: p_i (r_i - E[R])."""
    r = REWARDS[:, 0]
    return p * (r - (p * r).sum())


@pytest.mark.parametrize("q", [(0.0, 0.0), (1.0, -0.5), (-2.0, 1.0)])
def test_on_policy_the_gradient_is_that_of_the_expected_reward(q: tuple[float, float]) -> None:
    table = policy(*q)
    p = probabilities(table)
    batch = every_arm(p)
    loss = reinforce(table.forward(batch, NEEDS), batch, **PLAIN)
    torch.testing.assert_close(gradient(loss, table), -gain(p), rtol=1e-12, atol=1e-12)
    assert gradient(reinforce(table.forward(batch, NEEDS), batch, **PLAIN), table)[1] < 0, "uphill"


def test_off_policy_the_weights_make_it_the_same_gradient() -> None:
    table, behaviour = policy(0.3, -0.2), torch.tensor([0.9, 0.1])
    batch = every_arm(behaviour)
    loss = reinforce(table.forward(batch, NEEDS), batch, cap=100.0, **PLAIN)
    torch.testing.assert_close(
        gradient(loss, table), -gain(probabilities(table)), rtol=1e-9, atol=1e-9
    )


def test_a_cap_bounds_the_weight_of_what_was_rarely_shown() -> None:
    table, behaviour = policy(0.0, 0.0), torch.tensor([0.9, 0.1])
    batch = every_arm(behaviour)
    loss = reinforce(table.forward(batch, NEEDS), batch, cap=2.0, **PLAIN)
    w = torch.tensor([0.5 / 0.9, 2.0], dtype=torch.float64)
    arms = torch.eye(2, dtype=torch.float64) - 0.5  # the gradient of log p(x), row by row
    by_hand = ((behaviour.double() * w * REWARDS[:, 0])[:, None] * arms).sum(0)
    torch.testing.assert_close(gradient(loss, table), -by_hand, rtol=1e-6, atol=1e-6)
    assert float(loss.metrics["capped"]) == pytest.approx(0.1)
    assert float(loss.metrics["weight"]) == pytest.approx(0.9 * 0.5 / 0.9 + 0.1 * 2.0)


def test_importance_is_bounded_before_the_exponential() -> None:
    logps, mask = torch.tensor([[0.0, 0.0]]), torch.tensor([[True, False]])
    behaviour = torch.tensor([[-1000.0, math.nan]], dtype=torch.float64)
    assert importance(logps, behaviour, mask, cap=math.inf).tolist() == [
        [pytest.approx(math.exp(20)), 0.0]
    ]


def test_unknown_probabilities_are_refused_with_their_number() -> None:
    table = policy(0.0, 0.0)
    batch = every_arm(torch.tensor([0.5, 0.5]))
    unknown = batch.filled(behaviour_logps=torch.full_like(batch.behaviour_logps, math.nan))
    with pytest.raises(UnknownProbabilityError, match="2 units carry UNKNOWN"):
        reinforce(table.forward(unknown, NEEDS), unknown)


def kl(p: Tensor, reference: Tensor) -> Tensor:
    return (p * (p.log() - reference.log())).sum()


@pytest.mark.parametrize("behaviour", [(0.25, 0.75), (0.6, 0.4)], ids=["on", "off"])
def test_the_kl_term_has_the_gradient_of_kl_to_the_reference(behaviour) -> None:
    table = policy(0.0, math.log(3.0))  # p = (1/4, 3/4)
    reference = torch.tensor([[0.7], [0.3]], dtype=torch.float64)
    batch = every_arm(torch.tensor(behaviour), advantages=torch.zeros(2, 1)).filled(
        reference_logps=reference.log()
    )
    loss = reinforce(table.forward(batch, NEEDS), batch, cap=100.0, kl=0.5, **PLAIN)
    q = table.q[0].detach().requires_grad_()
    exact = torch.autograd.grad(0.5 * kl(torch.softmax(q, 0), reference[:, 0]), q)[0]
    torch.testing.assert_close(gradient(loss, table), exact, rtol=1e-6, atol=1e-7)


def test_the_kl_term_is_zero_at_the_reference() -> None:
    table = policy(0.4, -0.4)
    p = probabilities(table)
    batch = every_arm(p, advantages=torch.zeros(2, 1))
    loss = reinforce(table.forward(batch, NEEDS), batch, kl=1.0, **PLAIN)
    assert float(loss.metrics["kl"]) == pytest.approx(0.0, abs=1e-15)
    assert gradient(loss, table).abs().max() < 1e-12


def test_entropy_is_a_bonus() -> None:
    table = policy(1.0, 0.0)
    batch = every_arm(torch.tensor([0.5, 0.5]), advantages=torch.zeros(2, 1))
    loss = reinforce(table.forward(batch, NEEDS), batch, entropy=1.0, **PLAIN)
    down = gradient(loss, table)
    assert down[0] > 0 > down[1], "the likelier arm loses, the other gains"


def test_the_value_is_learned_by_squared_error() -> None:
    torch.manual_seed(0)
    network = Recurrent(EXAMPLE_SCHEMA, width=8).double().eval()
    batch = prepare(network, [random_batch(EXAMPLE_SCHEMA)])[0]
    loss = reinforce(network.forward(batch, NEEDS), batch, value_weight=2.0)
    found = torch.autograd.grad(loss.value, network.value_head.bias)[0]
    error = (0.0 - batch.returns) * batch.weights * batch.mask
    torch.testing.assert_close(found[0], 2.0 * error.sum(), rtol=1e-6, atol=1e-6)


def prepared(network: Transformer):
    return prepare(network, [random_batch(EXAMPLE_SCHEMA)], lam=0.9)[0]


@pytest.fixture
def network() -> Transformer:
    torch.manual_seed(0)
    return Transformer(EXAMPLE_SCHEMA, width=16, layers=1, heads=2).eval()


def test_the_ratio_is_1_at_the_first_step(network: Transformer) -> None:
    batch = prepared(network)
    loss = ppo(network.forward(batch, NEEDS), batch)
    assert float(loss.metrics["ratio"] / loss.count) == pytest.approx(1.0, abs=1e-6)
    assert float(loss.metrics["approx_kl"]) == pytest.approx(0.0, abs=1e-6)
    assert float(loss.metrics["clipped"]) == 0.0


def test_at_the_first_step_ppo_is_reinforce_on_policy(network: Transformer) -> None:
    network.double()
    batch = prepared(network)
    batch = batch.filled(behaviour_logps=batch.old_logps.double())
    outputs = network.forward(batch, NEEDS)
    parameters = list(network.parameters())
    grads = [
        torch.autograd.grad(
            loss(outputs, batch, kl=0.1, entropy=0.01).value,
            parameters,
            retain_graph=True,
            allow_unused=True,
        )
        for loss in (ppo, reinforce)
    ]
    for a, b in zip(*grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("q", "advantage", "moves"),
    [
        (1.0, 1.0, False),  # already likelier than 1 + clip: nothing more to gain
        (-1.0, 1.0, True),  # too unlikely, and good: back up
        (1.0, -1.0, True),  # too likely, and bad: back down
        (-1.0, -1.0, False),
        (0.05, 1.0, True),  # within the clip
    ],
)
def test_ppo_clips_only_what_goes_too_far(q: float, advantage: float, moves: bool) -> None:
    table = policy(q, 0.0)
    batch = every_arm(torch.tensor([0.5, 0.5]), advantages=torch.tensor([[advantage], [0.0]]))
    down = gradient(ppo(table.forward(batch, NEEDS), batch, **PLAIN), table)
    assert bool(down.abs().max() > 0) == moves
    if moves:
        assert math.copysign(1.0, -float(down[0])) == advantage


def test_unequal_clips() -> None:
    table = policy(0.5, 0.0)  # ratio 1.24: above 1.2, below 1.28
    batch = every_arm(torch.tensor([0.5, 0.5]), advantages=torch.tensor([[1.0], [0.0]]))
    for high, moves in ((0.2, False), (0.28, True)):
        loss = ppo(table.forward(batch, NEEDS), batch, clip_high=high, **PLAIN)
        assert bool(gradient(loss, table).abs().max() > 0) == moves


@pytest.mark.parametrize("loss", [reinforce, ppo])
def test_policy_gradients_keep_the_promises_of_a_loss(loss) -> None:
    check_objective(lambda o, b: loss(o, b, kl=0.1, entropy=0.01), NEEDS)


@pytest.mark.parametrize("loss", [reinforce, ppo])
def test_a_batch_that_was_not_prepared_is_refused(loss, network: Transformer) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)
    with pytest.raises(ValueError, match=r"objectives\.prepare"):
        loss(network.forward(batch, NEEDS), batch)
