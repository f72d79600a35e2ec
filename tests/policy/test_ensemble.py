import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.policy import Ensemble, Recurrent, Schema, Transformer

ALL = frozenset({"logps", "entropy", "values", "feedback", "logits"})


@pytest.fixture
def members() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    found = [Transformer(EXAMPLE_SCHEMA, width=16), Recurrent(EXAMPLE_SCHEMA, width=8)]
    for parameter in (p for member in found for p in member.parameters()):
        torch.nn.init.normal_(parameter, std=0.5)
    return [member.double().eval() for member in found]


def test_probabilities_are_averaged(members) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)
    apart = [m.forward(batch, frozenset({"logits"})).logits.softmax(-1) for m in members]
    given = Ensemble(members).forward(batch, ALL)
    mean = torch.stack(apart).mean(0)
    torch.testing.assert_close(given.logits.exp(), mean)
    chosen = mean.gather(1, batch.units[batch.mask][:, None])[:, 0].log()
    torch.testing.assert_close(given.logps[batch.mask], chosen)


def test_log_probabilities_alone_need_no_logits(members) -> None:
    batch, ensemble = random_batch(EXAMPLE_SCHEMA), Ensemble(members)
    alone = ensemble.forward(batch, frozenset({"logps"}))
    assert alone.logits is None
    torch.testing.assert_close(alone.logps, ensemble.forward(batch, ALL).logps)


def test_every_member_learns(members) -> None:
    ensemble = Ensemble(members)
    ensemble.forward(random_batch(EXAMPLE_SCHEMA), frozenset({"logps"})).logps.sum().backward()
    for member in members:
        assert member.bias.grad.abs().max() > 0


def test_members_of_different_schemas_are_refused() -> None:
    with pytest.raises(ValueError, match="one schema"):
        Ensemble([Transformer(Schema(3), width=8), Transformer(Schema(4), width=8)])
    with pytest.raises(ValueError, match="0 members"):
        Ensemble([])
