"""A recurrent policy: the source's RNN, with a state that follows the batch and the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from heedful.policy.batch import Schema
from heedful.policy.network import Network


@dataclass(frozen=True, slots=True, eq=False)
class HiddenState:
    """The hidden vectors of each layer, [layers, B, D], and what is known now, [B, D]."""

    hidden: Tensor
    last: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.last)

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams."""
        return type(self)(self.hidden[:, rows], self.last[rows])

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states."""
        states = [self, *others]
        return type(self)(
            torch.cat([state.hidden for state in states], dim=1),
            torch.cat([state.last for state in states]),
        )


class Recurrent(Network):
    """Gated recurrent units over events (Cho et al., arXiv 1406.1078): O(1) memory a stream."""

    kind = "recurrent"

    def __init__(
        self,
        schema: Schema,
        *,
        width: int = 64,
        layers: int = 1,
        dropout: float = 0.0,
        plain: bool = False,
    ) -> None:
        """Make a network of D = ``width``; ``plain``: without memory, time and unit biases."""
        super().__init__(schema, width=width, dropout=dropout, plain=plain)
        self.layers = layers
        self.gru = nn.GRU(
            width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )

    def spec(self) -> dict[str, object]:
        """Return the arguments this network was made with."""
        return {
            "kind": self.kind,
            "schema": self.schema.to_dict(),
            "width": self.width,
            "layers": self.layers,
            "dropout": self.dropout.p,
            "plain": self.plain,
        }

    def _last_block(self) -> list[nn.Parameter]:
        last = f"_l{self.layers - 1}"
        return [p for name, p in self.gru.named_parameters() if name.endswith(last)]

    def _empty(self, n: int) -> HiddenState:
        hidden = self.bias.new_zeros(self.layers, n, self.width)
        return HiddenState(hidden, self.bias.new_zeros(n, self.width))

    def _read(self, x: Tensor, at: Tensor, lengths: Tensor) -> Tensor:
        output, _ = self.gru(x)
        return torch.as_tensor(self.norm(self.dropout(output)))

    def _extend(
        self, state: HiddenState, x: Tensor, at: Tensor, lengths: Tensor
    ) -> tuple[HiddenState, Tensor]:
        if x.shape[1] == 0 or not bool(lengths.any()):
            return state, state.last
        hidden, last = state.hidden.clone(), state.last.clone()
        order = torch.argsort(lengths, descending=True, stable=True)
        for index in range(x.shape[1]):
            rows = order[: int((lengths > index).sum())]
            output, hidden[:, rows] = self.gru(
                x[rows, index : index + 1], hidden[:, rows].contiguous()
            )
            last[rows] = self.norm(self.dropout(output[:, 0]))
        return HiddenState(hidden, last), last
