"""What was done and what came of it, remembered to be learned from again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from heedful.loop.vectorised import contexts
from heedful.objectives import n_step
from heedful.policy import Batch, Choices, EventKind, Events, Schema


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """M decisions, and what came of each some steps later.

    Attributes:
        seen: float [M, F], the numbers of the context it was made in.
        units: int64 [M], what was done.
        rewards: float [M], what that and the steps after it earned, discounted.
        discounts: float [M], of what follows these steps; 0 where the episode terminated in them.
        following: float [M, F], the numbers of the context they led to.
        possible: bool [M, V], what could be done there.
    """

    seen: Tensor
    units: Tensor
    rewards: Tensor
    discounts: Tensor
    following: Tensor
    possible: Tensor

    @classmethod
    def empty(cls, n: int, schema: Schema) -> Steps:
        """Return room for ``n``."""
        return cls(
            torch.zeros(n, schema.features),
            torch.zeros(n, dtype=torch.int64),
            torch.zeros(n),
            torch.zeros(n),
            torch.zeros(n, schema.features),
            torch.ones(n, schema.size, dtype=torch.bool),
        )

    @classmethod
    def of(cls, batch: Batch, *, n: int) -> Steps:
        """Return every decision of a round with its next ``n`` steps, row by row.

        An episode that terminated has nothing behind it. Where it was cut off, or the round ended
        in the midst of it, fewer steps are looked at, and what was observed there is what follows.

        Args:
            batch: rows of decisions of one unit each, every one made in a context of its own, as
                :class:`~heedful.loop.vectorised.Vectorised` lays them out.
            n: at least 1.

        Raises:
            ValueError: a decision has several units.
        """
        slots, rewards = batch.slots, batch.rewards
        row, slot = torch.nonzero(batch.mask, as_tuple=True)
        at = batch.positions
        kinds = batch.events.kind.gather(1, at)
        if bool((slots & (kinds != int(EventKind.CONTEXT))).any()):
            raise ValueError(
                'decisions of several units have no action values: use objective = "ppo", or '
                "number the moves in a wrapper"
            )
        ahead = n_step(rewards, batch.discounts, slots, batch.bootstrap, n=n)
        then = ahead.slots[row, slot]
        return cls(
            batch.events.features[row, at[row, slot]],
            batch.units[row, slot],
            ahead.rewards[row, slot],
            ahead.discounts[row, slot],
            batch.events.features[row, at[row, then]],
            _possible(batch)[row, then],
        )

    def __len__(self) -> int:
        """Return M."""
        return len(self.units)

    def select(self, rows: Tensor) -> Steps:
        """Return the steps numbered in ``rows``."""
        return Steps(*(getattr(self, f.name)[rows] for f in fields(self)))

    def batch(self, schema: Schema) -> Batch:
        """Return the decisions as rows of one slot each."""
        n = len(self)
        ones = torch.ones(n, 1)
        return Batch(
            events=replace(contexts(n), features=self.seen[:, None]),
            positions=torch.zeros(n, 1, dtype=torch.int64),
            units=self.units[:, None],
            decisions=torch.arange(n)[:, None],
            mask=ones.bool(),
            bootstrap=torch.zeros(n, 1, dtype=torch.bool),
            choices=Choices.everything(schema.size, n),
            behaviour_logps=torch.full((n, 1), torch.nan, dtype=torch.float64),
            rewards=self.rewards[:, None],
            discounts=self.discounts[:, None],
            weights=ones,
            feedback=torch.full((n, 1, len(schema.channels)), torch.nan),
        )

    def led_to(self) -> Events:
        """Return the contexts the steps led to, one a row."""
        return replace(contexts(len(self)), features=self.following[:, None])


class Memory:
    """The last decisions, each as likely to be learned from as any other.

    Experience replay: Lin 1992; Mnih et al., Nature 518, 2015.
    """

    def __init__(self, size: int, schema: Schema) -> None:
        """Remember up to ``size`` decisions."""
        self._steps, self._size = Steps.empty(size, schema), size
        self._next = self._n = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return self._n

    def add(self, steps: Steps) -> None:
        """Take in ``steps``; the oldest ones make room."""
        if len(steps) > self._size:
            steps = steps.select(torch.arange(len(steps) - self._size, len(steps)))
        places = (self._next + torch.arange(len(steps))) % self._size
        for f in fields(Steps):
            kept = getattr(self._steps, f.name)
            kept[places] = getattr(steps, f.name).to(kept.dtype)
        self._next = (self._next + len(steps)) % self._size
        self._n = min(self._size, self._n + len(steps))

    def draw(self, rng: np.random.Generator, n: int) -> Steps:
        """Return ``n`` of them, drawn with replacement."""
        return self._steps.select(torch.from_numpy(rng.integers(self._n, size=n)))

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that has to survive, as tensors with names."""
        found = {f.name: getattr(self._steps, f.name)[: self._n] for f in fields(Steps)}
        return {**found, "next": torch.tensor(self._next)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        self._n, self._next = len(tensors["units"]), int(tensors["next"])
        for f in fields(Steps):
            getattr(self._steps, f.name)[: self._n] = tensors[f.name]


def _possible(batch: Batch) -> Tensor:
    """Return what was possible at each slot, bool [B, T, V]."""
    slots = batch.slots
    found = torch.ones(*slots.shape, batch.choices.size, dtype=torch.bool)
    possible = batch.choices.mask(slots)
    if possible is not None:
        found[slots] = possible
    return found
