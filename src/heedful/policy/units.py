"""The table of units: a row each, learned, and where units are described a projection beside it.

    e_u = own_u + W f_u                       read on input, and tied to the output layer

``f_u`` is what the catalogue says of the unit and ``own_u`` what people's choices say beyond it, as
in the hybrid factorisation of LightFM (Kula, arXiv 1507.08439, equation 1). Who was never chosen is
*cold*: ``own_u`` is exactly 0, so that it is scored by its description alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SHUT_OUT = -1e4
"""The bias of a cold unit in training: exp() of it is 0, and times a weight of 0 it stays 0."""


class Units(nn.Embedding):
    """A table [V + 1, D] of learned rows alone; the last is a unit nobody knows."""

    def __init__(self, size: int, width: int) -> None:
        """Make V = ``size`` rows and one more."""
        super().__init__(size + 1, width)

    def vectors(self) -> Tensor:
        """Return the vectors of the V known units, [V, D]: the weight of the output layer."""
        return self.weight[:-1]

    def biases(self, own: Tensor) -> Tensor:
        """Return the biases of the output layer [V], given each unit's ``own``."""
        return own


class DescribedUnits(Units):
    """A table in which units also have the vector of their description, [V + 1, F].

    *Cold* units, those never chosen in what a policy learned from, count with their description
    alone. The softmax of training leaves them out: being one of those that were not chosen says
    nothing about what could not be chosen, and would only push them down. Out of training they
    stand beside all others, with the mean bias of those.

    In training a ``dropout`` of all rows is left out anew each time, on input and on output, so
    that the projection learns to speak for units by itself (DropoutNet, Volkovs et al., NIPS
    2017, section 4.1).
    """

    features: Tensor
    cold: Tensor

    def __init__(self, size: int, width: int, n_features: int) -> None:
        """Make a table whose units are all cold and have no description yet."""
        super().__init__(size, width)
        self.project = nn.Linear(n_features, width, bias=False)
        nn.init.normal_(self.project.weight, std=0.02)
        self.register_buffer("features", torch.zeros(size + 1, n_features))
        self.register_buffer("cold", torch.ones(size + 1, dtype=torch.bool))
        self.cold[-1] = False
        self.dropout = 0.0
        self._kept: tuple[tuple[object, ...], Tensor] | None = None

    @torch.no_grad()
    def describe(self, features: Tensor, chosen: Tensor, dropout: float) -> Tensor:
        """Take in descriptions, and who is not cold any more; who was chosen once never is again.

        Args:
            features: [V, F].
            chosen: bool [V], in what the policy learns from.
            dropout: share of rows left out in training.

        Returns:
            bool [V], who was cold till now.
        """
        self.features[:-1] = features.to(self.features)
        warmed = self.cold[:-1] & chosen.to(self.cold.device)
        self.cold[:-1] &= ~warmed
        self.weight[self.cold] = 0.0
        self.dropout = dropout
        return warmed

    def forward(self, unit: Tensor) -> Tensor:
        """Return the vectors of ``unit``, any shape of indexes to [..., D]."""
        return functional.embedding(unit, self._rows())

    def vectors(self) -> Tensor:
        """Return the vectors of the V known units, [V, D]."""
        return self._rows()[:-1]

    def biases(self, own: Tensor) -> Tensor:
        """Return [V]: in training, cold units are shut out; else they get the mean of the warm."""
        cold = self.cold[:-1]
        if self.training:
            return own.masked_fill(cold, SHUT_OUT)
        return torch.where(cold, self.mean(own), own)

    def mean(self, own: Tensor) -> Tensor:
        """Return the mean of a number each unit has, [V, ...], over those that are not cold."""
        warm = own.detach()[~self.cold[:-1]]
        return warm.mean(0) if len(warm) else own.new_zeros(own.shape[1:])

    def _rows(self) -> Tensor:
        """Return the whole table [V + 1, D]; without gradient it is computed once and kept."""
        if self.training or torch.is_grad_enabled():
            return self._computed()
        tables = (self.weight, self.project.weight, self.features, self.cold)
        stamp = tuple((t.data_ptr(), t._version, t.dtype) for t in tables)
        if self._kept is None or self._kept[0] != stamp:
            self._kept = (stamp, self._computed())
        return self._kept[1]

    def _computed(self) -> Tensor:
        left_out = self.cold
        if self.training and self.dropout:
            dropped = torch.rand(len(left_out), device=left_out.device) < self.dropout
            dropped[-1] = False
            left_out = left_out | dropped
        own = self.weight.masked_fill(left_out[:, None], 0.0)
        return torch.as_tensor(own + self.project(self.features))


def units_table(size: int, width: int, n_features: int) -> Units:
    """Return the table of V = ``size`` units; with descriptions where there are any."""
    return DescribedUnits(size, width, n_features) if n_features else Units(size, width)
