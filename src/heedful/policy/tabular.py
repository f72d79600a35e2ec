"""A table of action values, read as logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn

from heedful.policy.batch import (
    Batch,
    EventKind,
    Events,
    Outputs,
    Schema,
    outputs_from_logits,
    scatter,
)
from heedful.policy.choices import Choices
from heedful.policy.growth import widened

Look = Literal["context", "unit"]


@dataclass(frozen=True, slots=True, eq=False)
class TableState:
    """The row of the table each stream is in, int64 [B]."""

    row: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.row)

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams."""
        return type(self)(self.row[rows])

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states."""
        return type(self)(torch.cat([self.row, *(other.row for other in others)]))


class TabularQ(nn.Module):
    """Q(s, a) in a table (Watkins, 1989); a wrapper turns the values into probabilities.

    The state s is the number in the first feature of the last context (``look="context"``), or the
    last unit plus one (``look="unit"``); 0 before there was any.
    """

    kind = "tabular"

    def __init__(self, schema: Schema, *, states: int, look: Look = "context") -> None:
        """Make a table of zeros, [states, V].

        Raises:
            ValueError: ``look="context"`` without a feature, ``look="unit"`` with too few states.
        """
        super().__init__()
        if look == "context" and schema.features < 1:
            raise ValueError("a table over contexts needs the state's number in feature 0")
        if look == "unit" and states < schema.size + 1:
            raise ValueError(f"a table over units needs {schema.size + 1} states, not {states}")
        self.schema, self.states = schema, states
        self.look: Look = look
        self.q = nn.Parameter(torch.zeros(states, schema.size))

    def spec(self) -> dict[str, object]:
        """Return the arguments this table was made with."""
        schema = self.schema.to_dict()
        return {"kind": self.kind, "schema": schema, "states": self.states, "look": self.look}

    def grown(self, schema: Schema) -> Self:
        """Return a copy over more units, each worth a state's mean: the best stays the best."""
        states = self.states
        if self.look == "unit":  # a state a unit, and the new ones' behind the old
            states = max(states, schema.size + 1)
        larger = type(self)(schema, states=states, look=self.look).to(self.q)
        new = self.q.detach().mean(1, keepdim=True).expand(-1, schema.size - self.schema.size)
        q = widened(torch.cat([self.q.detach(), new], dim=1), states, schema.size)
        larger.load_state_dict({"q": q})
        return larger.train(self.training)

    def start(self, n: int) -> TableState:
        """Return ``n`` streams in state 0."""
        return TableState(torch.zeros(n, dtype=torch.int64))

    def step(
        self, state: TableState, events: Events, choices: Choices
    ) -> tuple[TableState, Tensor]:
        """Move to the state the events lead to; the values there are the logits."""
        if events.kind.shape[1]:
            before = torch.cat([state.row[:, None], self._rows(events)], dim=1)
            last = _latest(before)[:, -1]
            state = TableState(last)
        return state, choices.apply(self.q[state.row])

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need``: the value of a slot is the best Q there; feedback is not predicted."""
        rows = _latest(
            torch.cat([torch.zeros(len(batch), 1).long(), self._rows(batch.events)], dim=1)
        )
        at_slots = rows.gather(1, batch.positions + 1)
        logits = batch.choices.apply(self.q[at_slots[batch.mask]], batch.mask)
        given = Outputs(
            values=scatter(self.q[at_slots[batch.slots]].amax(1), batch.slots)
            if "values" in need
            else None,
            feedback=torch.zeros(*batch.mask.shape, len(self.schema.channels))
            if "feedback" in need
            else None,
        )
        return outputs_from_logits(logits, batch, need, given)

    def _rows(self, events: Events) -> Tensor:
        """Return the table row each event leads to, -1 where it leads nowhere, [B, L]."""
        if self.look == "unit":
            return torch.where(events.kind == EventKind.UNIT, events.unit + 1, -1)
        row = events.features[..., 0].round().long()
        context = events.kind == EventKind.CONTEXT
        if bool((context & ((row < 0) | (row >= self.states))).any()):
            raise ValueError(f"a context's first feature must number a state 0..{self.states - 1}")
        return torch.where(context, row, -1)


def _latest(rows: Tensor) -> Tensor:
    """Return, at each column, the last entry so far that is not -1; column 0 never is."""
    column = torch.arange(rows.shape[1]).expand_as(rows)
    at = torch.where(rows >= 0, column, 0).cummax(dim=1).values
    return rows.gather(1, at)
