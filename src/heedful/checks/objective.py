"""The promises of a loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from heedful.checks.examples import EXAMPLE_SCHEMA, random_batch
from heedful.checks.failure import CheckFailure, expect, expect_equal
from heedful.objectives import Loss, prepare
from heedful.policy import Batch, Outputs, Recurrent, Schema, clone

MICRO_BATCHES = (1, 2, 4)
WITHIN = 1e-12


def check_objective(
    loss: Callable[[Outputs, Batch], Loss],
    needs: frozenset[str],
    *,
    schema: Schema = EXAMPLE_SCHEMA,
    seed: int = 0,
) -> None:
    """Check that ``loss`` keeps the promises of :class:`heedful.objectives.Loss`.

    Checked, on a random batch and a small network in float64: value and count are finite scalars;
    there is a gradient, and it is finite; the same rows in 1, 2 and 4 micro-batches give the same
    gradient and count to 1e-12, pairs staying together; what stands in padding does not matter;
    metrics carry no gradient. The batch holds pairs and groups (``Batch.pairs``, ``groups``).

    Args:
        loss: outputs and a prepared batch to a loss, options bound.
        needs: what it asks of the policy, e.g. ``heedful.objectives.NEEDS``.
        schema: what the batch looks like.
        seed: of everything random.

    Raises:
        CheckFailure: says which promise is broken, and how.
    """
    policy, batch = _example(schema, seed)
    whole = loss(policy.forward(batch, needs), batch)
    _check_scalars(whole)
    gradient = _gradient(whole.value, policy)
    _check_gradient(gradient)
    for n_micro in MICRO_BATCHES:
        _check_micro_batches(loss, needs, policy, batch, n_micro)
    _check_padding(loss, needs, policy, batch, whole)


def _example(schema: Schema, seed: int) -> tuple[Recurrent, Batch]:
    """Return a network and a batch prepared by another one, so that no ratio is 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Recurrent(schema, width=8).double().eval()
        torch.nn.init.normal_(policy.value_head.weight)
        before = clone(policy)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    batch = _compared(random_batch(schema, seed=seed, rows=2 * max(MICRO_BATCHES)))
    return policy, prepare(before, [batch], lam=0.95)[0]


def _compared(batch: Batch) -> Batch:
    """Return the batch with decisions of up to two units, compared in pairs and in groups of two.

    The two stand in rows that are far apart, so that no micro-batch of neighbours holds both.
    """
    half = len(batch) // 2
    width = batch.mask.shape[1]
    place = torch.arange(width) // 2
    number = torch.arange(len(batch))[:, None] * width + place
    both = batch.mask[:half] & batch.mask[half:]
    whole = both[:, 2 * place].repeat(2, 1)
    pair = torch.where(batch.mask & whole, number % (half * width), -1)
    return batch.filled(decisions=torch.where(batch.mask, number, -1), pairs=pair, groups=pair)


def _check_scalars(loss: Loss) -> None:
    for name, tensor in {"value": loss.value, "count": loss.count, **loss.metrics}.items():
        expect(
            tensor.dim() == 0 and math.isfinite(float(tensor.detach())),
            f"{name} is one finite number",
            expected="a finite scalar",
            found=tensor.detach(),
            why="the optimiser loop adds it up over micro-batches",
        )
        expect(
            name == "value" or not tensor.requires_grad,
            f"{name} carries no gradient",
            expected=f"{name}.detach()",
            found=tensor,
            why="what is only shown must not keep the graph alive",
        )


def _gradient(value: Tensor, policy: Recurrent) -> Tensor:
    """Return d value / d parameters as one vector; 0 where a parameter has no part in it."""
    if not value.requires_grad:
        raise CheckFailure(
            "the loss has a gradient",
            expected="a value computed from the policy's outputs",
            found="no gradient",
            why="a reward that is not multiplied by a log-probability teaches nothing",
        )
    parameters = list(policy.parameters())
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    parts = zip(parameters, found, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in parts])


def _check_gradient(gradient: Tensor) -> None:
    expect(
        bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any()),
        "the gradient is finite and somewhere not 0",
        expected="finite numbers",
        found=gradient,
        why="NaN ends a training run, 0 teaches nothing",
    )


def _check_micro_batches(
    loss: Callable[[Outputs, Batch], Loss],
    needs: frozenset[str],
    policy: Recurrent,
    batch: Batch,
    n_micro: int,
) -> None:
    """The gradient divided by the count of the whole window is the same however it was cut."""
    whole = loss(policy.forward(batch, needs), batch)
    parts = [loss(policy.forward(part, needs), part) for part in batch.split(len(batch) // n_micro)]
    summed = torch.stack([_gradient(part.value, policy) for part in parts]).sum(0)
    why = "a value is a sum over units: a mean within micro-batches weighs short rows too much"
    promise = f"the same gradient in {n_micro} micro-batches"
    expect_equal(promise, _gradient(whole.value, policy), summed, within=WITHIN, why=why)
    count = torch.stack([part.count for part in parts]).sum()
    why = "the gradient is divided by it: add it up in float64"
    expect_equal(f"{promise} (count)", whole.count, count, within=WITHIN, why=why)


def _check_padding(
    loss: Callable[[Outputs, Batch], Loss],
    needs: frozenset[str],
    policy: Recurrent,
    batch: Batch,
    whole: Loss,
) -> None:
    """Numbers at places where no unit stands change nothing."""
    outside = ~batch.mask
    names = ("rewards", "advantages", "returns", "old_logps", "reference_logps", "old_values")
    noise = {}
    for name in names:
        tensor = getattr(batch, name)
        noise[name] = torch.where(outside, tensor + 3.0, tensor)
    noisy = batch.filled(**noise)
    found = loss(policy.forward(noisy, needs), noisy)
    why = "padding and bootstraps hold no unit, so there is nothing to learn from there"
    expect_equal("padding does not matter", whole.value, found.value, within=WITHIN, why=why)
