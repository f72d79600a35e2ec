"""Decisions as wholes: what is judged, compared and weighted as one, though it has many units."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.policy import Batch, scatter


class Whole:
    """The D decisions of a batch, in the order in which they stand there.

    A decision that stands in two rows is two: it was put there to be compared twice.
    """

    def __init__(self, batch: Batch) -> None:
        """Number the decisions that have a unit."""
        self._mask = batch.mask
        row, slot = torch.nonzero(batch.mask, as_tuple=True)
        key = torch.stack([row, batch.decisions[row, slot]])
        found, self._of_unit = torch.unique(key, dim=1, return_inverse=True)
        self._n = int(found.shape[1])

    def __len__(self) -> int:
        """Return D."""
        return self._n

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` [B, T] over the units of each decision, [D]."""
        return values.new_zeros(self._n).index_add(0, self._of_unit, values[self._mask])

    @property
    def lengths(self) -> Tensor:
        """How many units each decision has, float64 [D]."""
        return self.total(self._mask.double())

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of ``values`` [B, T] over the units of each decision, float64 [D]."""
        return self.total(values.double()) / self.lengths

    def number(self, numbers: Tensor) -> Tensor:
        """Return the one number of ``numbers``, int64 [B, T], that each decision carries, [D].

        Raises:
            ValueError: the units of a decision do not agree.
        """
        of_units = numbers[self._mask]
        found = of_units.new_zeros(self._n).scatter(0, self._of_unit, of_units)
        if not torch.equal(found[self._of_unit], of_units):
            raise ValueError(
                "units of one decision carry different numbers in Batch.pairs or Batch.groups: "
                "decisions are compared whole, so give all their units the same"
            )
        return found

    def spread(self, values: Tensor) -> Tensor:
        """Return ``values`` [D] at every unit of their decision, [B, T]; 0 elsewhere."""
        return scatter(values[self._of_unit], self._mask)
