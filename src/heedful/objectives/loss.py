"""What an objective returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Loss:
    """A sum over units, how many there were, and what to show.

    The value is a *sum*: the optimiser loop divides the gradient by the count of the whole
    accumulation window, so that the same rows in 1, 2 or 4 micro-batches give the same gradient.

    Attributes:
        value: scalar, to be minimised.
        count: the weight it is a sum over, added up in float64.
        metrics: name -> sum over the same units, divided by the count where they are shown.
    """

    value: Tensor
    count: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)

    def plus(self, other: Loss) -> Loss:
        """Return the loss over the units of both; metrics of one name add up."""
        metrics = dict(self.metrics)
        for name, value in other.metrics.items():
            metrics[name] = metrics[name] + value if name in metrics else value
        return Loss(self.value + other.value, self.count + other.count, metrics)
