"""A two-armed bandit: one state, two units, everything known by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.policy import Batch, Schema, TabularQ
from tests.policy.batches import slates_as_batch

ARMS = torch.tensor([[0], [1]])
REWARDS = torch.tensor([[1.0], [3.0]], dtype=torch.float64)


def policy(*q: float) -> TabularQ:
    """Return a table whose first row, the only one used, is ``q``."""
    table = TabularQ(Schema(2), states=3, look="unit").double().eval()
    table.q.data[0] = torch.tensor(q)
    return table


def every_arm(behaviour: Tensor, advantages: Tensor = REWARDS) -> Batch:
    """Return each arm once, weighted by how often ``behaviour`` [2] plays it: expectations."""
    column = behaviour.double()[:, None]
    batch = slates_as_batch(Schema(2), ARMS)
    return batch.filled(
        behaviour_logps=column.log(),
        old_logps=column.log(),
        reference_logps=column.log(),
        weights=column,
        rewards=REWARDS,
        advantages=advantages,
        returns=REWARDS,
        old_values=torch.zeros_like(column),
    )
