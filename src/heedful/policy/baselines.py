"""Policies with counts and no parameters: what any learned policy has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from heedful.policy.batch import Batch, Events, Outputs, Schema, outputs_from_logits, scatter
from heedful.policy.choices import Choices
from heedful.policy.growth import widened


@dataclass(frozen=True, slots=True)
class NoState:
    """A policy that does not look at its streams remembers only how many there are."""

    n: int

    def __len__(self) -> int:
        """Return B."""
        return self.n

    def select(self, rows: Tensor) -> Self:
        """Return as many streams as ``rows`` has numbers."""
        return type(self)(len(rows))

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states."""
        return type(self)(self.n + sum(other.n for other in others))


class Popularity(nn.Module):
    """p(x) proportional to how often people liked x, plus one; uniform before anybody came.

    ``sharpness`` s gives p(x) ~ (n_x + 1)^s: 1 samples in proportion, large s ranks by count.
    """

    kind = "popularity"
    counts: Tensor

    def __init__(self, schema: Schema, *, sharpness: float = 1.0) -> None:
        """Start with no counts."""
        super().__init__()
        self.schema, self.sharpness = schema, sharpness
        self.register_buffer("counts", torch.zeros(schema.size, dtype=torch.float64))

    def fit(self, counts: Tensor) -> Self:
        """Take ``counts`` [V]: likes per unit, of any non-negative size."""
        if counts.shape != self.counts.shape or bool((counts < 0).any()):
            raise ValueError(f"counts must be {len(self.counts)} non-negative numbers")
        self.counts.copy_(counts)
        return self

    def spec(self) -> dict[str, object]:
        """Return the arguments this policy was made with."""
        return {"kind": self.kind, "schema": self.schema.to_dict(), "sharpness": self.sharpness}

    def grown(self, schema: Schema) -> Self:
        """Return a copy over more units, which nobody has liked yet."""
        larger = type(self)(schema, sharpness=self.sharpness).to(self.counts)
        return larger.fit(widened(self.counts, schema.size)).train(self.training)

    def start(self, n: int) -> NoState:
        """Return ``n`` streams."""
        return NoState(n)

    def step(self, state: NoState, events: Events, choices: Choices) -> tuple[NoState, Tensor]:
        """Score the next unit, whatever happened before."""
        return state, choices.apply(self._score(len(state)))

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need``; values and feedback are zero: counts know nothing of them."""
        logits = batch.choices.apply(self._score(int(batch.mask.sum())), batch.mask)
        zeros = torch.zeros(batch.mask.shape)
        n_channels = len(self.schema.channels)
        given = Outputs(
            values=zeros if "values" in need else None,
            feedback=scatter(torch.zeros(len(logits), n_channels), batch.mask)
            if "feedback" in need
            else None,
        )
        return outputs_from_logits(logits, batch, need, given)

    def _score(self, rows: int) -> Tensor:
        return (self.sharpness * torch.log1p(self.counts)).expand(rows, -1)
