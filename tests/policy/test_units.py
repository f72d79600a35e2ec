"""Units that are described: warm, cold, and left out in training."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.objectives import next_unit
from heedful.policy import Recurrent, Schema, Transformer, TransitionPrior
from heedful.policy.network import Network

DESCRIBED = replace(EXAMPLE_SCHEMA, unit_features=3)
CHOSEN = torch.tensor([True, True, False, True, True, True, False])
COLD = ~CHOSEN
LOGPS, LOGITS = frozenset({"logps"}), frozenset({"logits"})
kinds = pytest.mark.parametrize("kind", [Transformer, Recurrent])


def network(
    kind: type[Network] = Recurrent, schema: Schema = DESCRIBED, *, dropout: float = 0.0
) -> Network:
    torch.manual_seed(0)
    policy = kind(schema, width=8)
    for parameter in policy.parameters():
        nn.init.normal_(parameter, std=0.5)
    features = torch.eye(3)[torch.arange(schema.size) % 3]
    policy.describe(features, CHOSEN[: schema.size], dropout)
    return policy.eval()


def gradients(policy: Network, *, train: bool) -> dict[str, Tensor]:
    policy.train(train)
    batch = random_batch(DESCRIBED)
    weights = CHOSEN[batch.units].float()
    outputs = policy.forward(batch, LOGPS)
    loss = next_unit(outputs, batch.filled(weights=weights), channels=())
    assert torch.isfinite(loss.value)
    loss.value.backward()
    return {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}


def test_without_descriptions_there_is_not_a_number_more() -> None:
    torch.manual_seed(0)
    names = set(Recurrent(EXAMPLE_SCHEMA, width=8).state_dict())
    assert not any("project" in name or "cold" in name for name in names)
    assert "unit_features" not in EXAMPLE_SCHEMA.to_dict()
    assert Schema.from_dict(DESCRIBED.to_dict()) == DESCRIBED


@kinds
@pytest.mark.parametrize("train", [True, False])
def test_training_does_not_push_cold_units(kind: type[Network], train: bool) -> None:
    """Neither pre-training, which leaves them out, nor reinforcement, which scores them."""
    policy = network(kind)
    found = gradients(policy, train=train)
    assert not found["embed.unit.weight"][:-1][COLD].any()
    assert not found["bias"][COLD].any()
    assert found["embed.unit.weight"][:-1][CHOSEN].any(1).all()
    assert found["embed.unit.project.weight"].any(0).all()


@kinds
def test_the_softmax_of_training_leaves_cold_units_out(kind: type[Network]) -> None:
    policy, batch = network(kind), random_batch(DESCRIBED)
    trained = policy.train().forward(batch, LOGITS).logits.softmax(-1)
    served = policy.eval().forward(batch, LOGITS).logits.softmax(-1)
    free = torch.isfinite(policy.forward(batch, LOGITS).logits)[:, COLD]
    assert trained[:, COLD].max() == 0
    assert (served[:, COLD][free] > 0).all()


def test_a_cold_unit_is_scored_by_its_description_alone() -> None:
    """Unit 6 is described as units 0 and 3 are; unit 2 as unit 5 is."""
    policy = network()
    unit = policy.embed.unit
    expected = unit.project.weight.T[torch.tensor([2, 0])]
    torch.testing.assert_close(policy.embed.units()[COLD], expected)
    assert not unit.weight[:-1][COLD].any()
    assert not policy.memory.key.weight[:-1][COLD].any()
    biases = unit.biases(policy.bias)
    torch.testing.assert_close(biases[COLD], policy.bias[CHOSEN].mean().expand(2))
    torch.testing.assert_close(biases[CHOSEN], policy.bias[CHOSEN])


def test_a_unit_that_is_chosen_goes_on_from_where_it_was_scored() -> None:
    policy, batch = network(), random_batch(DESCRIBED)
    before = policy.forward(batch, LOGITS).logits
    everybody = torch.ones_like(CHOSEN)
    policy.describe(policy.embed.unit.features[:-1].clone(), everybody)
    assert not policy.embed.unit.cold.any()
    torch.testing.assert_close(policy.forward(batch, LOGITS).logits, before)
    assert gradients(policy, train=True)["embed.unit.weight"][:-1][COLD].any(1).all()
    policy.describe(policy.embed.unit.features[:-1].clone(), ~everybody)
    assert not policy.embed.unit.cold.any(), "who was chosen once is not cold again"


def test_units_left_out_in_training_speak_by_their_description() -> None:
    policy = network(dropout=0.5).train()
    torch.manual_seed(1)
    rows = torch.stack([policy.embed.units() for _ in range(400)])
    described = policy.embed.unit.project(policy.embed.unit.features[:-1])
    alone = (rows == described).all(-1).double().mean(0)
    torch.testing.assert_close(alone[COLD], torch.ones(2).double())
    assert ((alone[CHOSEN] - 0.5).abs() < 0.1).all()  # four standard errors of 400 draws
    policy.eval()
    assert torch.equal(policy.embed.units(), policy.embed.units())


def test_what_was_kept_is_forgotten_when_a_number_changes() -> None:
    policy = network()
    with torch.no_grad():
        for tensor in (policy.embed.unit.weight, policy.embed.unit.project.weight):
            before = policy.embed.units().clone()
            tensor += 1.0
            assert (policy.embed.units() - before)[CHOSEN].abs().min() > 0.5
        before = policy.embed.units().clone()
        policy.describe(policy.embed.unit.features[:-1] + 1.0, CHOSEN)
        assert not torch.allclose(policy.embed.units(), before)
    wider = policy.double().embed.units()
    assert wider.dtype == torch.float64


def test_the_prior_has_no_opinion_on_cold_units() -> None:
    """Of a unit that could not be chosen, not having been chosen says nothing."""
    taken = torch.nonzero(CHOSEN).flatten().numpy()
    prior = TransitionPrior(network(), weight=1.0).fit([taken, taken[::-1].copy()])
    recent = torch.tensor([[0, 1, -1, -1, -1, -1, -1, -1, -1, -1]])
    scores = prior._log_score(recent)[0]
    torch.testing.assert_close(scores[COLD], scores[CHOSEN].mean().expand(2))
    bare = TransitionPrior(network(schema=replace(DESCRIBED, unit_features=0)))
    assert bare.fit([taken]).cold == ()
