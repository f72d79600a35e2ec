from dataclasses import replace

import pytest
import torch
from torch import nn

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.policy import Choices, Outputs, Recurrent, Transformer, build
from heedful.policy.network import CheapDropout

NETWORKS = [
    Transformer(EXAMPLE_SCHEMA, width=16, layers=2, heads=2, dropout=0.5),
    Recurrent(EXAMPLE_SCHEMA, width=8, layers=2, dropout=0.5),
    Transformer(EXAMPLE_SCHEMA, width=16, layers=2, heads=2, dropout=0.5, plain=True),
    Recurrent(EXAMPLE_SCHEMA, width=8, layers=2, dropout=0.5, plain=True),
]
networks = pytest.mark.parametrize(
    "network", NETWORKS, ids=lambda n: f"plain {n.kind}" if n.plain else n.kind
)
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
    batch = batch.filled(units=torch.where(batch.units == 3, 4, batch.units))
    free = replace(batch, choices=Choices.everything(EXAMPLE_SCHEMA.size, *batch.mask.shape))
    everywhere = torch.tensor([[row, 3, 0, batch.mask.shape[1]] for row in range(len(batch))])
    one_out = replace(free, choices=replace(free.choices, forbidden=everywhere))
    scale = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(0))
    weights = [network.embed.unit.weight, network.norm.weight]
    found = []
    for need in ({"logps"}, {"logps", "logits"}):
        for read in (free, one_out):
            logps = network.eval().forward(read, frozenset(need)).logps
            found.append((logps, *torch.autograd.grad((logps * scale).sum(), weights)))
    assert not torch.allclose(found[0][0], found[1][0])
    for one, other in zip(sum(found[:2], ()), sum(found[2:], ()), strict=True):
        torch.testing.assert_close(one, other)


@networks
@pytest.mark.parametrize("name", ["kind", "unit", "channel", "value", "features"])
def test_every_part_of_an_event_is_read(network: nn.Module, name: str) -> None:
    """Another kind, unit, channel, value or feature in the first event changes what follows."""
    torch.manual_seed(0)
    network = network.eval()
    for parameter in network.parameters():
        if not parameter.any():  # a block that adds nothing yet reads nothing
            nn.init.normal_(parameter, std=0.1)
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


def test_a_plain_network_has_no_sense_of_time_and_no_memory_beside_its_body() -> None:
    for network in NETWORKS[2:]:
        batch = random_batch(EXAMPLE_SCHEMA)
        before = network.eval().forward(batch, ALL).logps
        batch.events.time.add_(9e4)
        batch.choices.now.add_(1e5)
        assert torch.equal(before, network.forward(batch, ALL).logps)
        names = {name.partition(".")[0] for name, _ in network.named_parameters()}
        assert not names & {"memory", "asked", "bias"}
        assert {id(p) for p in network.parameters_of("heads")} <= set(map(id, network.parameters()))


def test_a_form_written_before_networks_could_be_plain_is_read_as_it_was_meant() -> None:
    spec = {k: v for k, v in NETWORKS[0].spec().items() if k != "plain"}
    again = build(spec)
    again.load_state_dict(NETWORKS[0].state_dict(), strict=True)
    batch = random_batch(EXAMPLE_SCHEMA)
    need = frozenset({"logps"})
    assert torch.equal(
        again.eval().forward(batch, need).logps, NETWORKS[0].forward(batch, need).logps
    )


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_cheap_dropout_keeps_the_mean_and_drops_its_share(share: float) -> None:
    torch.manual_seed(0)
    dropout = CheapDropout(share)
    x = torch.full((300, 333), 2.0, requires_grad=True)
    found = dropout(x)
    assert float((found == 0).float().mean()) == pytest.approx(round(share * 256) / 256, abs=0.01)
    assert float(found.detach().mean()) == pytest.approx(2.0, abs=0.03)
    assert len(found.detach().unique()) == 2
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(gradient * 2.0, found)
    assert torch.equal(dropout.eval()(x), x)


def test_the_blocks_of_a_new_plain_transformer_add_nothing_yet() -> None:
    network = Transformer(EXAMPLE_SCHEMA, width=16, layers=2, heads=2, plain=True).eval()
    batch = random_batch(EXAMPLE_SCHEMA)
    x = network.embed(batch.events, None)
    read = network._read(x, batch.events.time, batch.events.lengths)
    torch.testing.assert_close(read, network.norm(x))
    network.forward(batch, frozenset({"logps"})).logps.sum().backward()
    assert all(block.out.weight.grad.abs().max() > 0 for block in network.blocks)
