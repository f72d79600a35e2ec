"""Training on units moved for the worse, against over-fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from heedful.objectives.loss import Loss
from heedful.policy import Batch, EventKind


def adversarial(
    loss: Callable[[Batch], Loss], batch: Batch, reader: nn.Module, epsilon: float
) -> Loss:
    """Return the mean of the loss and of the loss where units' vectors are moved for the worse.

        r = epsilon |x| g / |g|,   g = gradient of L by x
        1/2 L(x) + 1/2 L(x + r)

    with x the vectors of all units of one stream, written as one (Miyato et al., arXiv 1605.07725,
    equations 1, 2 and 5). Each stream has its own g, so the micro-batches it is worked off in do
    not matter. Miyato et al. standardise the table so that epsilon has a scale; ours is the output
    layer as well and keeps its own, so epsilon is a share of |x|. It costs one more pass forwards
    and two backwards.

    Args:
        loss: a batch to its loss.
        batch: what to learn from.
        reader: the part of the network that gives events [B, L] their vectors [B, L, D].
        epsilon: how far to move; 0.05 is a twentieth of the length.

    Raises:
        ValueError: ``loss`` did not read ``batch`` through ``reader``.
    """
    vectors: list[Tensor] = []
    with _tapped(reader, vectors.append):
        clean = loss(batch)
    if not vectors or vectors[0].shape[:2] != batch.events.kind.shape:
        raise ValueError(
            "pretrain.adversarial moves the vectors a network reads events as, and this one has no "
            "such part: set it to 0"
        )
    (gradient,) = torch.autograd.grad(clean.value, vectors[:1], retain_graph=True)
    move = _worse(vectors[0].detach(), gradient, batch.events.kind == EventKind.UNIT, epsilon)
    with _tapped(reader, lambda x: x + move):
        moved = loss(batch)
    metrics = {**clean.metrics, "adversarial_loss": moved.value.detach()}
    return Loss(0.5 * (clean.value + moved.value), clean.count, metrics)


def _worse(vectors: Tensor, gradient: Tensor, units: Tensor, epsilon: float) -> Tensor:
    """Return how each stream's vectors [B, L, D] are moved; 0 at what is no unit."""
    x, g = vectors * units[..., None], gradient * units[..., None]
    length, steepness = x.flatten(1).norm(dim=1), g.flatten(1).norm(dim=1)
    scale = epsilon * length / steepness.clamp(min=torch.finfo(g.dtype).tiny)
    return torch.as_tensor(g * scale[:, None, None])


@contextmanager
def _tapped(reader: nn.Module, tap: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Show ``tap`` what ``reader`` returns, inside; what it gives back takes its place."""
    hook = reader.register_forward_hook(lambda _module, _arguments, output: tap(output))
    try:
        yield
    finally:
        hook.remove()
