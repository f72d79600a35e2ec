"""Several policies that decide together: their probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from heedful.policy.batch import Batch, Events, Outputs, Schema, outputs_from_logits
from heedful.policy.choices import IMPOSSIBLE, Choices
from heedful.policy.growth import grow
from heedful.policy.protocol import LOGPS, Policy


@dataclass(frozen=True, slots=True, eq=False)
class EnsembleState:
    """The state of each member, over the same B streams."""

    members: tuple[Any, ...]

    def __len__(self) -> int:
        """Return B."""
        return len(self.members[0])

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams."""
        return type(self)(tuple(member.select(rows) for member in self.members))

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states."""
        columns = zip(self.members, *(other.members for other in others), strict=True)
        return type(self)(tuple(head.stack(tail) for head, *tail in columns))


class Ensemble(nn.Module):
    """The mean of its members' probabilities: p(x) = (1 / K) sum_k p_k(x).

    A mixture, so its log-probabilities are exact and it is drawn from and replayed like any other
    policy. Members that err differently lift the mean above the best of them (Dietterich, Ensemble
    Methods in Machine Learning, 2000). Values and predicted answers (logits where binary) are means
    too.
    """

    kind = "ensemble"

    def __init__(self, members: Sequence[Policy]) -> None:
        """Stand around ``members``.

        Raises:
            ValueError: there is none, or they do not read the same events.
        """
        super().__init__()
        if not members or any(member.schema != members[0].schema for member in members):
            raise ValueError(
                f"an ensemble of {len(members)} members: give at least one, all of one schema"
            )
        self.members = nn.ModuleList(cast(Any, member) for member in members)

    @property
    def schema(self) -> Schema:
        """The schema of the members."""
        return self._each()[0].schema

    def spec(self) -> dict[str, object]:
        """Return the forms of the members."""
        return {"kind": self.kind, "members": [member.spec() for member in self._each()]}

    def grown(self, schema: Schema) -> Self:
        """Return an ensemble of the members grown."""
        larger = type(self)([grow(member, schema) for member in self._each()])
        larger.training = self.training  # train() would reach the members too
        return larger

    def start(self, n: int) -> EnsembleState:
        """Return ``n`` streams."""
        return EnsembleState(tuple(member.start(n) for member in self._each()))

    def step(
        self, state: EnsembleState, events: Events, choices: Choices
    ) -> tuple[EnsembleState, Tensor]:
        """Append events and score the next unit."""
        pairs = zip(self._each(), state.members, strict=True)
        moved = [member.step(own, events, choices) for member, own in pairs]
        states, logits = zip(*moved, strict=True)
        return EnsembleState(states), _mean_log(torch.log_softmax(torch.stack(logits), -1))

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need`` at the slots of ``batch``, with gradient."""
        chosen_alone = need & {"logps", "entropy", "logits"} == LOGPS
        asked = need if chosen_alone else need - {"logps", "entropy"}
        if need & {"entropy", "logits"}:
            asked |= {"logits"}
        given = [member.forward(batch, asked) for member in self._each()]
        shared = Outputs(
            logps=_mean_log(_stacked(given, "logps")) * batch.mask if chosen_alone else None,
            values=_stacked(given, "values").mean(0) if "values" in need else None,
            feedback=_stacked(given, "feedback").mean(0) if "feedback" in need else None,
        )
        if "logits" not in asked:
            return shared
        logits = _mean_log(torch.log_softmax(_stacked(given, "logits"), -1))
        return outputs_from_logits(logits, batch, need, shared)

    def _each(self) -> list[Policy]:
        return [cast(Policy, member) for member in self.members]


def _stacked(outputs: Sequence[Outputs], name: str) -> Tensor:
    return torch.stack([cast(Tensor, getattr(given, name)) for given in outputs])


def _mean_log(log_p: Tensor) -> Tensor:
    """Return log mean_k exp of [K, ...]; impossible (for all alike) stays so, with gradient 0."""
    impossible = torch.isneginf(log_p).all(0)
    mixed = torch.logsumexp(log_p.masked_fill(impossible, 0.0), 0) - math.log(len(log_p))
    return mixed.masked_fill(impossible, IMPOSSIBLE)
