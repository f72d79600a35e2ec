"""The likelihood of chosen units without a table of logits: full softmax in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 1 << 19  # numbers: 2 MiB of logits, which stay in a core's cache between two passes


def log_likelihood(known: Tensor, weight: Tensor, bias: Tensor, units: Tensor) -> Tensor:
    """Return log softmax(known weight^T + bias) at ``units``, [N], with gradient.

    The same as ``log_softmax`` and ``gather`` on [N, V] logits, which never exist at once: a chunk
    of rows is scored, normalised and dropped, and scored again for the gradient. Memory is
    O(N + V) instead of O(N V), and reading from cache more than pays for the second product
    (the idea of Wijmans et al., Cut Your Losses, arXiv 2411.09009, without skipping small terms).

        d log p(u) / d logits_v = [v = u] - p(v)

    Args:
        known: [N, D].
        weight: [V, D].
        bias: [V]; minus infinity takes a unit out of the softmax.
        units: int64 [N].
    """
    found = _LogLikelihood.apply(known, weight, bias, units)  # type: ignore[no-untyped-call]
    return torch.as_tensor(found)


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, known: Tensor, weight: Tensor, bias: Tensor, units: Tensor) -> Tensor:
        found = known.new_empty(len(known))
        log_total = known.new_empty(len(known))
        for rows, logits in _chunks(known, weight, bias):
            chosen = units[rows, None]
            score = logits.gather(1, chosen)[:, 0]
            found[rows] = torch.log_softmax(logits, dim=1).gather(1, chosen)[:, 0]
            log_total[rows] = score - found[rows]
        ctx.save_for_backward(known, weight, bias, units, log_total)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        known, weight, bias, units, log_total = ctx.saved_tensors
        of_known = torch.empty_like(known)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for rows, logits in _chunks(known, weight, bias):
            scale = gradient[rows, None]
            pull = logits.sub_(log_total[rows, None]).exp_().mul_(-scale)
            pull.scatter_add_(1, units[rows, None], scale)
            torch.mm(pull, weight, out=of_known[rows])
            of_weight.addmm_(pull.T, known[rows])
            of_bias += pull.sum(0)
        return of_known, of_weight, of_bias, None


def _chunks(known: Tensor, weight: Tensor, bias: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of rows and their logits; the tensor is reused for the next chunk."""
    size = max(1, CHUNK // max(1, len(weight)))
    room = known.new_empty(min(size, len(known)), len(weight))
    for low in range(0, len(known), size):
        part = known[low : low + size]
        logits = torch.addmm(bias, part, weight.T, out=room[: len(part)])
        yield slice(low, low + len(part)), logits
