"""What a candidate thinks of every unit that was shown, for the doubly robust estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heedful.contract import Streams
from heedful.evaluate.cross_fitting import CrossFitted, TooFewSubjectsError, cross_fit
from heedful.reward import parts_of
from heedful.store.snapshot import Snapshot

SHORT_SLATE = 10
"""Units of a decision beyond which the product of their weights says nothing worth showing."""


@dataclass(frozen=True, slots=True)
class LoggedUnits:
    """The units of n decisions, K places each; what is not there has numbers that add nothing.

    A unit counts with its part of the decision's reward.

    Attributes:
        candidate, behaviour: float64 [n, K], log-probability of the unit given those before it.
        rewards: float64 [n, K].
        q_logged: float64 [n, K], what a reward model expects of the unit.
        q_policy: float64 [n, K], what it expects of the candidate's choice in that place.
        fitted_on: rows that each of the cross-fitted models had, the fewest.
    """

    candidate: np.ndarray
    behaviour: np.ndarray
    rewards: np.ndarray
    q_logged: np.ndarray
    q_policy: np.ndarray
    fitted_on: int


class UnitReader:
    """Reads the candidate's probabilities at logged units as they are replayed, block by block."""

    def __init__(self, streams: Streams, wanted: np.ndarray, snapshot: Snapshot) -> None:
        """Fit the reward model, each fold of subjects left out once.

        Args:
            streams: what is replayed.
            wanted: bool [U], the slots that count.
            snapshot: what they were encoded from.
        """
        slots = streams.slots
        self._at = np.flatnonzero(wanted)
        self._of = np.full(len(wanted), -1)
        self._of[self._at] = np.arange(len(self._at))
        self._streams, self._parts = streams, parts_of(snapshot)
        self._logp = np.zeros(len(self._at))
        self._expected = np.zeros(len(self._at))
        self._model: CrossFitted | None = None
        decision = slots.decision[self._at]
        if np.diff(snapshot.decisions.offsets)[decision].max(initial=0) > SHORT_SLATE:
            return
        place = np.eye(SHORT_SLATE)[slots.position[self._at]]
        try:
            self._model = cross_fit(
                slots.unit[self._at],
                slots.reward[self._at],
                snapshot.decisions.subject[decision],
                streams.schema.size,
                context=place,
            )
        except TooFewSubjectsError:  # an estimate less is shown, and the others are
            return

    @property
    def wants_logits(self) -> bool:
        """Whether there is a reward model to weigh the candidate's choices with."""
        return self._model is not None

    def read(self, slots: np.ndarray, logps: Tensor, logits: Tensor | None) -> None:
        """Take what the candidate says at ``slots`` [n]: logps [n], and logits [n, V] if wanted."""
        kept = self._of[slots] >= 0
        at = self._of[slots[kept]]
        self._logp[at] = logps.double().numpy()[kept]
        if self._model is None or logits is None:
            return
        probabilities = torch.softmax(logits[torch.from_numpy(kept)].double(), dim=-1).numpy()
        for fold in np.unique(self._model.folds[at]).tolist():
            rows = self._model.folds[at] == fold
            self._expected[at[rows]] = probabilities[rows] @ self._model.of_action[fold]

    def units(self) -> LoggedUnits | None:
        """Return the units of all decisions that were wanted, ``None`` without a reward model."""
        if self._model is None:
            return None
        slots, model = self._streams.slots, self._model
        decision, place = slots.decision[self._at], slots.position[self._at]
        _, row = np.unique(decision, return_inverse=True)
        shape = (int(row.max()) + 1, int(place.max()) + 1)
        share = 1.0 / self._parts[decision]

        def table(values: np.ndarray) -> np.ndarray:
            filled = np.zeros(shape)
            filled[row, place] = values
            return filled

        return LoggedUnits(
            candidate=table(self._logp),
            behaviour=table(slots.behaviour_logp[self._at]),
            rewards=table(slots.reward[self._at] * share),
            q_logged=table(model.logged(slots.unit[self._at]) * share),
            q_policy=table((model.beside_action() + self._expected) * share),
            fitted_on=int(model.fitted_on.min()),
        )
