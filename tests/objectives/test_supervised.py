import pytest
import torch
from torch.nn import functional

from heedful.checks import EXAMPLE_SCHEMA, check_objective, random_batch
from heedful.objectives import NEXT_UNIT_NEEDS, feedback_loss, next_unit
from heedful.policy import Channel, Outputs, Recurrent

CHANNELS = EXAMPLE_SCHEMA.channels


@pytest.fixture
def network() -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(EXAMPLE_SCHEMA, width=8).double().eval()


def test_next_unit_is_cross_entropy(network: Recurrent) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)
    outputs = network.forward(batch, frozenset({"logps", "logits"}))
    expected = functional.cross_entropy(outputs.logits, batch.units[batch.mask], reduction="none")
    weights = batch.weights[batch.mask].double()
    loss = next_unit(outputs, batch, channels=CHANNELS)
    torch.testing.assert_close(loss.value, (expected * weights).sum(), rtol=1e-9, atol=1e-9)
    assert float(loss.count) == pytest.approx(float(weights.sum()))


def test_answers_are_learned_where_there_are_any(network: Recurrent) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)
    predicted = network.forward(batch, frozenset({"feedback"})).feedback.detach()
    found = feedback_loss(Outputs(feedback=predicted), batch, CHANNELS)
    for row, slot in torch.nonzero(batch.mask).tolist():
        expected = 0.0
        for number, channel in enumerate(CHANNELS):
            target, guess = batch.feedback[row, slot, number].double(), predicted[row, slot, number]
            if target.isnan():
                continue
            if channel.binary:
                p = torch.sigmoid(guess)
                expected += float(-(target * p.log() + (1 - target) * (1 - p).log()))
            else:
                expected += float((guess - target) ** 2 / 2)
        assert float(found[row, slot]) == pytest.approx(expected)
    assert bool((found[~batch.mask] == 0).all())


def test_unknown_answers_have_no_gradient(network: Recurrent) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)
    batch = batch.filled(feedback=torch.full_like(batch.feedback, torch.nan))
    outputs = network.forward(batch, NEXT_UNIT_NEEDS)
    loss = feedback_loss(outputs, batch, CHANNELS).sum()
    head = list(network.feedback_head.parameters())
    grads = torch.autograd.grad(loss, head, allow_unused=True)
    assert loss.item() == 0.0
    assert all(g is None or bool((g == 0).all()) for g in grads), "and no NaN"


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_next_unit_keeps_the_promises_of_a_loss(weight: float) -> None:
    check_objective(
        lambda o, b: next_unit(o, b, channels=CHANNELS, feedback_weight=weight), NEXT_UNIT_NEEDS
    )


def test_without_channels_only_units_are_learned(network: Recurrent) -> None:
    batch = random_batch(EXAMPLE_SCHEMA)
    outputs = network.forward(batch, frozenset({"logps"}))
    none: tuple[Channel, ...] = ()
    loss = next_unit(outputs, batch, channels=none, feedback_weight=1.0)
    assert set(loss.metrics) == {"nll"}
