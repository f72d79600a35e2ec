"""What an objective compares with, computed once before the gradient steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heedful.objectives.returns import generalised_advantages
from heedful.policy import Batch, Policy

OLD = frozenset({"logps", "values"})
REFERENCE = frozenset({"logps"})


@torch.no_grad()
def prepare(
    policy: Policy,
    batches: Sequence[Batch],
    *,
    reference: Policy | None = None,
    lam: float = 1.0,
    whiten: bool = False,
) -> list[Batch]:
    """Return the batches with old and reference log-probabilities, values, advantages, returns.

    Args:
        policy: the policy as it stands, in evaluation mode: its log-probabilities are the old ones.
        batches: all batches of one pass; whitening looks at all of them.
        reference: the policy to stay near; the old one by default.
        lam: lambda of the advantages.
        whiten: scale advantages to mean 0 and variance 1 over all units. Returns never are.
    """
    filled = []
    for batch in batches:
        outputs = policy.forward(batch, OLD)
        assert outputs.logps is not None
        assert outputs.values is not None
        advantages = generalised_advantages(
            batch.rewards, outputs.values, batch.discounts, batch.slots, batch.bootstrap, lam=lam
        )
        near = outputs.logps if reference is None else reference.forward(batch, REFERENCE).logps
        assert near is not None
        filled.append(
            batch.filled(
                old_logps=outputs.logps,
                old_values=outputs.values,
                reference_logps=near,
                advantages=advantages,
                returns=advantages + outputs.values * batch.mask,
            )
        )
    return _whitened(filled) if whiten else filled


def _whitened(batches: list[Batch]) -> list[Batch]:
    every = torch.cat([_advantages(batch)[batch.mask] for batch in batches])
    if len(every) < 2:
        return batches
    mean, scale = every.mean(), every.std() + 1e-8
    return [
        batch.filled(advantages=(_advantages(batch) - mean) / scale * batch.mask)
        for batch in batches
    ]


def _advantages(batch: Batch) -> Tensor:
    assert batch.advantages is not None
    return batch.advantages
