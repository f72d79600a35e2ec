"""What every policy offers: a network, a baseline with counts, or a wrapper around one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

from torch import Tensor

from heedful.policy.batch import Batch, Events, Outputs, Schema
from heedful.policy.choices import Choices

LOGPS = frozenset({"logps"})


class State(Protocol):
    """What a policy remembers of n streams: nothing, a hidden state, a key-value cache.

    States are values: ``step`` gives a new one and leaves the old one as it was, so that a
    decision that is not kept costs nothing to forget.
    """

    def __len__(self) -> int:
        """Return the number of streams."""
        ...

    def select(self, rows: Tensor) -> Self:
        """Return the streams numbered in ``rows`` (a row may stand twice)."""
        ...

    def stack(self, others: Sequence[Self]) -> Self:
        """Return this state's streams followed by those of ``others``."""
        ...


@runtime_checkable
class Policy(Protocol):
    """p(x_i | c, x_<i, y_<i): the one interface between what decides and everything else."""

    @property
    def schema(self) -> Schema:
        """What the events look like."""
        ...

    def start(self, n: int) -> State:
        """Return ``n`` streams that have seen nothing but their START."""
        ...

    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        """Append ``events`` (none, or several, per row) and score the next unit.

        ``state`` is one that this policy's ``start`` or ``step`` gave.

        Returns:
            The new state, and logits [B, V] with minus infinity where ``choices`` forbid, lowered
            where they say so (:meth:`heedful.policy.Choices.apply` does both). After
            any split of the same events into steps the logits are those of a full pass.
        """
        ...

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Say what ``need`` asks at the slots: logps, entropy, values, feedback, logits."""
        ...

    def grown(self, schema: Schema) -> Policy:
        """Return a copy over the units of ``schema``, this policy's own first and in their order.

        :func:`heedful.policy.grow` asks for it, after it has checked that ``schema`` is larger
        and nothing else. Old units keep what was learned of them, their odds among themselves
        unchanged; new ones start without any, as the kind of policy thinks best.
        """
        ...

    def spec(self) -> dict[str, object]:
        """Return JSON from which :func:`heedful.policy.build` makes a policy of the same form."""
        ...
