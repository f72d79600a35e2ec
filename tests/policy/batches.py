"""Batches written by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.policy import Batch, Choices, Events, Schema


def slates_as_batch(schema: Schema, units: Tensor) -> Batch:
    """Return B new streams in each of which one slate of different units [B, K] was shown."""
    n, slate = units.shape
    shape = (n, slate)
    lines = [
        (row, int(units[row, place]), place + 1, slate)
        for row in range(n)
        for place in range(slate)
    ]
    kinds = torch.cat([torch.ones(n, 1), torch.full(shape, 3.0)], dim=1).long()
    events = Events(
        kind=kinds,
        unit=torch.cat([torch.full((n, 1), -1), units], dim=1),
        channel=torch.zeros_like(kinds),
        value=torch.zeros(n, slate + 1),
        features=torch.zeros(n, slate + 1, schema.features),
        time=torch.full((n, slate + 1), torch.nan, dtype=torch.float64),
        lengths=torch.full((n,), slate + 1),
    )
    return Batch(
        events=events,
        positions=torch.arange(slate).expand(shape),
        units=units,
        decisions=torch.arange(n)[:, None].expand(shape),
        mask=torch.ones(shape, dtype=torch.bool),
        bootstrap=torch.zeros(shape, dtype=torch.bool),
        choices=Choices(schema.size, shape, forbidden=torch.tensor(lines)),
        behaviour_logps=torch.zeros(shape, dtype=torch.float64),
        rewards=torch.zeros(shape),
        discounts=torch.zeros(shape),
        weights=torch.ones(shape),
        feedback=torch.full((*shape, len(schema.channels)), torch.nan),
    )
