"""What follows what: item-to-item transitions as a prior on a policy's logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from heedful.policy.batch import Batch, EventKind, Events, Outputs, Schema, outputs_from_logits
from heedful.policy.choices import Choices
from heedful.policy.growth import grow, widened
from heedful.policy.protocol import Policy

GAP = 10
MAX_UNITS = 20_000
EPSILON = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class PriorState:
    """The state of the policy inside, and the last units of each stream, newest first, [B, k]."""

    inner: Any
    recent: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.recent)

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams."""
        return type(self)(self.inner.select(rows), self.recent[rows])

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states."""
        inner = self.inner.stack([other.inner for other in others])
        return type(self)(inner, torch.cat([self.recent, *(other.recent for other in others)]))


class TransitionPrior(nn.Module):
    """Adds ``weight`` times the log-score of decayed transitions to another policy's logits.

        T[i, j] = sum of 1 / gap over pairs i ... j at most 10 units apart, rows times n_i^-0.5
        score_j = sum_{k <= depth} (1 / k) T[h_{-k}, j] / (n_j + 5)^0.2

    with h_{-k} the k-th last unit of the history and n the counts. Alone (around a policy without
    preferences) it is the floor that every learned recommender has to beat. It keeps V x V numbers:
    vocabularies above 20,000 units are refused.

    Of ``cold`` units, which came after the counting or which the policy inside knows by their
    description alone, it has no opinion: they get the mean log-score of the others.
    """

    kind = "prior"
    transitions: Tensor
    damping: Tensor

    def __init__(
        self, inner: Policy, *, weight: float = 1.0, depth: int = GAP, cold: Sequence[int] = ()
    ) -> None:
        """Stand around ``inner``; :meth:`fit` before use."""
        super().__init__()
        size = inner.schema.size
        if size > MAX_UNITS:
            raise ValueError(
                f"the transition prior keeps {size}^2 numbers; it serves up to {MAX_UNITS} units: "
                "set prior = false under [policy]"
            )
        self.inner = cast(Any, inner)
        self.weight, self.depth = weight, depth
        self.cold = tuple(cold)
        self.register_buffer("transitions", torch.zeros(size, size))
        self.register_buffer("damping", torch.ones(size))

    @property
    def schema(self) -> Schema:
        """The schema of the policy inside."""
        return cast(Schema, self.inner.schema)

    def fit(self, sequences: Sequence[npt.NDArray[np.int64]]) -> Self:
        """Count the transitions in ``sequences`` of unit indexes, one array a subject."""
        size = self.schema.size
        counts = np.zeros(size)
        table = np.zeros(size * size)
        flat = np.concatenate([np.empty(0, np.int64), *sequences])
        owner = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
        counts += np.bincount(flat, minlength=size)
        for gap in range(1, GAP + 1):
            together = owner[:-gap] == owner[gap:]
            pairs = flat[:-gap][together] * size + flat[gap:][together]
            where, how_often = np.unique(pairs, return_counts=True)
            table[where] += how_often / gap
        scale = np.maximum(counts, 1.0) ** -0.5
        self.transitions.copy_(torch.from_numpy(table.reshape(size, size) * scale[:, None]))
        self.damping.copy_(torch.from_numpy(_damping(counts)))
        # Without descriptions nothing else speaks for a unit that was never chosen either.
        described = self.schema.unit_features > 0
        self.cold = tuple(np.flatnonzero(counts == 0).tolist()) if described else ()
        return self

    def grown(self, schema: Schema) -> Self:
        """Return a copy over more units, which are cold."""
        old, new = self.schema.size, schema.size
        cold = (*self.cold, *range(old, new))
        larger = type(self)(
            grow(self.inner, schema), weight=self.weight, depth=self.depth, cold=cold
        )
        uncounted = float(_damping(np.zeros(1))[0])
        larger.transitions = widened(self.transitions, new, new)
        larger.damping = widened(self.damping, new, fill=uncounted)
        larger.training = self.training  # train() would reach what is inside too
        return larger

    def spec(self) -> dict[str, object]:
        """Return the form of the prior and of what is inside."""
        inner = self.inner.spec()
        spec = {"kind": self.kind, "weight": self.weight, "depth": self.depth, "inner": inner}
        return {**spec, "cold": list(self.cold)} if self.cold else spec

    def start(self, n: int) -> PriorState:
        """Return ``n`` streams without history."""
        return PriorState(self.inner.start(n), torch.full((n, self.depth), -1))

    def step(
        self, state: PriorState, events: Events, choices: Choices
    ) -> tuple[PriorState, Tensor]:
        """Append events and score the next unit."""
        inner, logits = self.inner.step(state.inner, events, choices)
        units = torch.where(events.kind == EventKind.UNIT, events.unit, -1)
        line = torch.cat([state.recent.flip(1), units], dim=1)
        end = torch.full((len(state), 1), line.shape[1])
        recent = _recent(line, end, self.depth)[:, 0]
        return PriorState(inner, recent), logits + self._log_score(recent).to(logits.dtype)

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need`` at the slots of ``batch``, with gradient for the policy inside."""
        if not need & {"logps", "entropy", "logits"}:
            return cast(Outputs, self.inner(batch, need))
        given = self.inner(batch, (need - {"logps", "entropy"}) | {"logits"})
        logits = given.logits + self.bonus(batch).to(given.logits.dtype)
        return outputs_from_logits(
            logits, batch, need, Outputs(values=given.values, feedback=given.feedback)
        )

    def bonus(self, batch: Batch) -> Tensor:
        """Return what is added to the logits at the N slots of ``batch.mask``, [N, V]."""
        units = torch.where(batch.events.kind == EventKind.UNIT, batch.events.unit, -1)
        return self._log_score(_recent(units, batch.positions + 1, self.depth)[batch.mask])

    def score(self, recent: Tensor) -> Tensor:
        """Return scores [N, V] after the units ``recent`` [N, k], newest first, -1: none."""
        weight = 1.0 / torch.arange(1, self.depth + 1, dtype=self.transitions.dtype)
        weights = weight.expand(len(recent), -1) * (recent >= 0)
        summed = nn.functional.embedding_bag(
            recent.clamp(min=0), self.transitions, per_sample_weights=weights, mode="sum"
        )
        return summed * self.damping

    def _log_score(self, recent: Tensor) -> Tensor:
        scores = self.weight * torch.log(self.score(recent) + EPSILON)
        if not self.cold or len(self.cold) == self.schema.size:
            return scores
        warm = torch.ones(self.schema.size, dtype=torch.bool, device=scores.device)
        warm[list(self.cold)] = False
        return torch.where(warm, scores, scores[:, warm].mean(1, keepdim=True))


def _damping(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how much a score counts for a unit that was chosen ``counts`` times."""
    return np.asarray((counts + 5.0) ** -0.2)


def _recent(units: Tensor, before: Tensor, depth: int) -> Tensor:
    """Return the last ``depth`` units ahead of each place, newest first, -1 where there are fewer.

    Args:
        units: int64 [B, L], -1 where an event is no unit (or one that is not known).
        before: int64 [B, T], the place in L each slot looks back from.
        depth: k.
    """
    is_unit = units >= 0
    rank = torch.cumsum(is_unit, dim=1)
    compact = torch.full((len(units), units.shape[1] + depth), -1)
    row, column = torch.nonzero(is_unit, as_tuple=True)
    compact[row, rank[row, column] - 1 + depth] = units[row, column]
    padded = torch.cat([torch.zeros(len(units), 1).long(), rank], dim=1)
    seen = padded.gather(1, before)  # [B, T] units ahead of each slot
    at = seen[..., None] + depth - 1 - torch.arange(depth)  # [B, T, k]
    return compact.gather(1, at.flatten(1)).view(at.shape)
