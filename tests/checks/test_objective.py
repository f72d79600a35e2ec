from collections.abc import Callable

import pytest
import torch

from heedful.checks import CheckFailure, check_objective
from heedful.objectives import NEEDS, Loss, reinforce
from heedful.policy import Batch, Outputs


def honest(outputs: Outputs, batch: Batch) -> Loss:
    return reinforce(outputs, batch)


def of_means(outputs: Outputs, batch: Batch) -> Loss:
    """The classical fault: a mean over the micro-batch, not a sum (TRL #6024)."""
    loss = honest(outputs, batch)
    return Loss(loss.value / loss.count, loss.count)


def one_a_batch(outputs: Outputs, batch: Batch) -> Loss:
    loss = honest(outputs, batch)
    return Loss(loss.value, torch.ones((), dtype=torch.float64))


def without_a_gradient(outputs: Outputs, batch: Batch) -> Loss:
    """The chapter's listing: a reward that does not depend on the policy's log-probability."""
    return Loss(-batch.rewards.sum(), honest(outputs, batch).count)


def counts_padding(outputs: Outputs, batch: Batch) -> Loss:
    loss = honest(outputs, batch)
    value = loss.value + 0.1 * (outputs.values - batch.returns).square().sum()
    return Loss(value, loss.count)


def of_zero(outputs: Outputs, batch: Batch) -> Loss:
    return Loss(0.0 * honest(outputs, batch).value, honest(outputs, batch).count)


def of_nan(outputs: Outputs, batch: Batch) -> Loss:
    return Loss(honest(outputs, batch).value * torch.nan, honest(outputs, batch).count)


def shows_the_graph(outputs: Outputs, batch: Batch) -> Loss:
    loss = honest(outputs, batch)
    return Loss(loss.value, loss.count, {"loss": loss.value})


def of_rows(outputs: Outputs, batch: Batch) -> Loss:
    loss = honest(outputs, batch)
    return Loss((outputs.logps * batch.mask).sum(1), loss.count)


def whitens(outputs: Outputs, batch: Batch) -> Loss:
    """Whitening within the micro-batch: another objective for every size of it."""
    advantages = batch.advantages - batch.advantages[batch.mask].mean()
    return honest(outputs, batch.filled(advantages=advantages * batch.mask))


def test_an_honest_loss_passes() -> None:
    for seed in range(3):
        check_objective(honest, NEEDS, seed=seed)


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        (of_means, "the same gradient in 2 micro-batches"),
        (whitens, "the same gradient in 2 micro-batches"),
        (one_a_batch, r"micro-batches \(count\)"),
        (without_a_gradient, "the loss has a gradient"),
        (counts_padding, "padding does not matter"),
        (of_zero, "somewhere not 0"),
        (of_nan, "value is one finite number"),
        (shows_the_graph, "loss carries no gradient"),
        (of_rows, "value is one finite number"),
    ],
)
def test_a_planted_fault_is_found(fault: Callable[[Outputs, Batch], Loss], promise: str) -> None:
    with pytest.raises(CheckFailure, match=promise):
        check_objective(fault, NEEDS)
