from dataclasses import replace

import pytest
import torch
from torch import nn

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.policy import Choices, Outputs, Recurrent, Transformer

NETWORKS = [
    Transformer(EXAMPLE_SCHEMA, width=16, layers=2, heads=2, dropout=0.5),
    Recurrent(EXAMPLE_SCHEMA, width=8, layers=2, dropout=0.5),
]
networks = pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.kind)
ALL = frozenset({"logps", "entropy", "values", "feedback", "logits"})


@networks
def test_dropout_only_in_training(network: nn.Module) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)

    def twice() -> list[torch.Tensor]:
        return [network.forward(batch, frozenset({"logps"})).logps for _ in range(2)]

    network.train()
    assert not torch.equal(*twice())
    network.eval()
    assert torch.equal(*twice())


@networks
def test_the_value_of_a_new_network_is_zero(network: nn.Module) -> None:
    values = network.eval().forward(random_batch(EXAMPLE_SCHEMA), frozenset({"values"})).values
    assert values is not None
    assert values.abs().max() == 0


@networks
def test_nothing_is_computed_that_was_not_asked_for(network: nn.Module) -> None:
    outputs = network.eval().forward(random_batch(EXAMPLE_SCHEMA), frozenset({"values"}))
    given = {name for name in Outputs.__slots__ if getattr(outputs, name) is not None}
    assert given == {"values"}


@networks
def test_log_probabilities_alone_are_those_of_the_logits(network: nn.Module) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)
    free = replace(batch, choices=Choices.everything(EXAMPLE_SCHEMA.size, *batch.mask.shape))
    scale = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for need in ({"logps"}, {"logps", "logits"}):
        logps = network.eval().forward(free, frozenset(need)).logps
        found.append((logps, *torch.autograd.grad((logps * scale).sum(), [network.bias])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@networks
@pytest.mark.parametrize("name", ["kind", "unit", "channel", "value", "features"])
def test_every_part_of_an_event_is_read(network: nn.Module, name: str) -> None:
    """Another kind, unit, channel, value or feature in the first event changes what follows."""
    torch.manual_seed(0)
    network = network.eval()
    for table in (
        network.embed.kind,
        network.embed.unit,
        network.embed.channel,
        network.embed.value,
    ):
        nn.init.normal_(table.weight)
    batch = random_batch(EXAMPLE_SCHEMA, rows=1)
    column = getattr(batch.events, name).clone()
    column[0, 1] = column[0, 1] + 1 if name != "unit" else (column[0, 1] + 1) % 7
    batch.events.channel[0, 1] = 1  # so that a value is read
    before = network.forward(batch, ALL).logps
    getattr(batch.events, name)[0, 1] = column[0, 1]
    if name == "channel":
        batch.events.channel[0, 1] = 2
    after = network.forward(batch, ALL).logps
    assert before is not None
    assert after is not None
    late = batch.mask[0] & (batch.positions[0] >= 1)
    assert (before - after)[0, late].abs().min() > 1e-6


@networks
def test_the_feedback_head_speaks_of_the_unit_that_was_chosen(network: nn.Module) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)
    other = batch.filled(units=(batch.units + 1) % 7)
    need = frozenset({"feedback", "values"})
    first, second = (network.eval().forward(b, need) for b in (batch, other))
    assert not torch.allclose(first.feedback[batch.mask], second.feedback[batch.mask], atol=1e-4)
    assert torch.equal(first.values, second.values)


def test_a_width_that_does_not_split_into_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 2"):
        Transformer(EXAMPLE_SCHEMA, width=10, heads=2)
