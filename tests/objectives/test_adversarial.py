import pytest
import torch
from torch import Tensor, nn

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.objectives import Loss, adversarial, next_unit
from heedful.policy import Batch, EventKind, Recurrent

EPSILON = 0.2
BATCH = random_batch(EXAMPLE_SCHEMA)


@pytest.fixture
def network() -> Recurrent:
    torch.manual_seed(0)
    made = Recurrent(EXAMPLE_SCHEMA, width=8).double().eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def loss_of(policy: Recurrent):
    need = frozenset({"logps"})
    return lambda batch: next_unit(policy.forward(batch, need), batch, channels=())


def moved_by(policy: Recurrent, batch: Batch, move: Tensor) -> Tensor:
    """Return the loss with the events' vectors moved, by another way than a hook."""
    plain = policy.embed.forward
    policy.embed.forward = lambda *arguments: plain(*arguments) + move  # type: ignore[method-assign]
    try:
        return loss_of(policy)(batch).value
    finally:
        policy.embed.forward = plain  # type: ignore[method-assign]


def vectors_of(policy: Recurrent, batch: Batch) -> Tensor:
    """Return what the events are read as."""
    plain, read = policy.embed.forward, []
    policy.embed.forward = lambda *arguments: read.append(plain(*arguments)) or read[-1]  # type: ignore[method-assign]
    try:
        loss_of(policy)(batch)
    finally:
        policy.embed.forward = plain  # type: ignore[method-assign]
    return read[0].detach()


def test_it_is_the_mean_of_the_loss_and_of_the_loss_moved(network: Recurrent) -> None:
    found = adversarial(loss_of(network), BATCH, network.embed, EPSILON)
    move = torch.zeros(*BATCH.events.kind.shape, 8, dtype=torch.float64, requires_grad=True)
    clean = moved_by(network, BATCH, move)
    (gradient,) = torch.autograd.grad(clean, move)
    vectors = vectors_of(network, BATCH)
    worse = torch.zeros_like(gradient)
    for row in range(len(BATCH)):
        units = BATCH.events.kind[row] == EventKind.UNIT
        g, x = gradient[row, units], vectors[row, units]
        worse[row, units] = EPSILON * x.norm() * g / g.norm()
    expected = 0.5 * (clean + moved_by(network, BATCH, worse))
    torch.testing.assert_close(found.value, expected, rtol=1e-10, atol=1e-10)
    assert float(found.count) == float(loss_of(network)(BATCH).count)
    assert set(found.metrics) == {"nll", "adversarial_loss"}


def test_a_small_move_is_for_the_worse(network: Recurrent) -> None:
    found = adversarial(loss_of(network), BATCH, network.embed, 1e-4)
    assert float(found.metrics["adversarial_loss"]) > float(found.metrics["nll"])


def test_the_network_is_left_as_it_was(network: Recurrent) -> None:
    before = loss_of(network)(BATCH).value
    adversarial(loss_of(network), BATCH, network.embed, EPSILON)
    assert torch.equal(loss_of(network)(BATCH).value, before)


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_micro_batches_change_nothing(network: Recurrent, micro_batch: int) -> None:
    def gradient(parts: list[Batch]) -> Tensor:
        network.zero_grad()
        for part in parts:
            adversarial(loss_of(network), part, network.embed, EPSILON).value.backward()
        found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        return torch.cat(found)

    whole, parts = gradient([BATCH]), gradient(BATCH.split(micro_batch))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-11)


def test_a_stream_that_teaches_nothing_is_not_moved(network: Recurrent) -> None:
    weights = BATCH.weights.clone()
    weights[0] = 0.0
    batch = BATCH.filled(weights=weights)
    assert bool(torch.isfinite(adversarial(loss_of(network), batch, network.embed, 0.5).value))


def test_who_does_not_read_events_there_is_told(network: Recurrent) -> None:
    with pytest.raises(ValueError, match="adversarial"):
        adversarial(loss_of(network), BATCH, nn.Identity(), EPSILON)


def test_the_loss_may_have_any_parts(network: Recurrent) -> None:
    plain = loss_of(network)

    def doubled(batch: Batch) -> Loss:
        return plain(batch).plus(plain(batch))

    found = adversarial(doubled, BATCH, network.embed, EPSILON)
    assert float(found.metrics["nll"]) == pytest.approx(2 * float(plain(BATCH).metrics["nll"]))
