"""A policy over more units keeps what it learned of the old ones."""

from __future__ import annotations

from dataclasses import replace

import torch

from heedful.checks.failure import CheckFailure, expect, expect_equal, tolerance
from heedful.policy import Batch, Policy, grow

NEW = 2
KEPT = ("logps", "values", "feedback")


def check_growth(policy: Policy, batch: Batch) -> None:
    """Grow by two units; where those are forbidden, nothing that is said may change."""
    schema = replace(policy.schema, size=policy.schema.size + NEW)
    try:
        grown = grow(policy, schema)
    except ValueError as error:
        raise CheckFailure(
            "the policy grows", expected="a policy over more units", found=error, why=_WHY
        ) from error
    expect(
        grown.schema == schema, "schema of what grew", expected=schema, found=grown.schema, why=_WHY
    )
    need = frozenset(KEPT)
    before, after = policy.forward(batch, need), grown.forward(_larger(batch), need)
    for name in KEPT:
        old, new = getattr(before, name), getattr(after, name)
        assert old is not None
        assert new is not None
        promise = f"{name} of old units after growth"
        expect_equal(promise, old, new, within=tolerance(old.dtype), why=_WHY)


_WHY = "a catalogue grows between versions, and what was learned must not be lost"


def _larger(batch: Batch) -> Batch:
    """Return the same batch among more units, the new ones forbidden everywhere."""
    n_rows, n_slots = batch.choices.shape
    size = batch.choices.size
    rows, units = torch.arange(n_rows), torch.arange(size, size + NEW)
    lines = torch.cartesian_prod(rows, units, torch.tensor([0]), torch.tensor([n_slots]))
    forbidden = torch.cat([batch.choices.forbidden, lines])
    return replace(batch, choices=replace(batch.choices, size=size + NEW, forbidden=forbidden))
