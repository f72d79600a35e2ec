"""What a newcomer must offer so that everything else works for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from heedful.contract.environment import Environment
from heedful.contract.streams import Streams
from heedful.policy import Channel, Schema, Vocabulary
from heedful.record import ChoiceSet, Context
from heedful.store.snapshot import Snapshot

Observed = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""A context as events: the unit each speaks of, int32 [n] (-1: none), and numbers, [n, F]."""


@runtime_checkable
class Reader(Protocol):
    """How one domain's contexts and feedback become events."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The kinds of feedback a policy reads and predicts."""
        ...

    @property
    def features(self) -> int:
        """F, how many numbers a context event carries."""
        ...

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        """Return the events a context is read as; none is a good answer."""
        ...


@runtime_checkable
class Domain(Reader, Protocol):
    """What a unit is. A domain supplies data, not control: nothing here trains, judges or serves.

    Found by name through the entry-point group ``heedful.domains``; made with the options under
    ``[domain]`` in heedful.toml.
    """

    @property
    def name(self) -> str:
        """Under which it is known."""
        ...

    @property
    def length(self) -> int:
        """The longest decision, in units."""
        ...

    def vocabulary(self, snapshot: Snapshot) -> Vocabulary:
        """Return the units that a policy trained on ``snapshot`` may choose."""
        ...

    def schema(self, vocabulary: Vocabulary) -> Schema:
        """Return what the events look like."""
        ...

    def encode(
        self,
        snapshot: Snapshot,
        vocabulary: Vocabulary,
        *,
        rewards: npt.NDArray[np.float64] | None = None,
        matured: npt.NDArray[np.bool_] | None = None,
        gamma: float = 0.0,
    ) -> Streams:
        """Turn a snapshot or a rollout into streams, from which batches are cut.

        Args:
            snapshot: everything that happened, up to a watermark.
            vocabulary: unit ids to indexes; units it does not know are read as unknown ones.
            rewards: number earned by each unit of the snapshot, [M]; NaN while it waits.
            matured: bool [N], whether silence about each decision may be read as an answer.
            gamma: discount at the end of a decision.
        """
        ...

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        """Return what is possible in a decision that was asked for with ``request``.

        A domain whose callers may give rules about groups of units reads them with
        ``groups=groups_of(request)``; see :mod:`heedful.contract.rules`.
        """
        ...

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Environment | None:
        """Return ``n`` simulated people or games side by side, or ``None`` where there are none."""
        ...

    def context(self, observation: npt.NDArray[Any]) -> Context:
        """Return one environment's observation as a context."""
        ...

    def action(self, units: Sequence[str], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        """Return the environment's action for a decision, [length]."""
        ...
