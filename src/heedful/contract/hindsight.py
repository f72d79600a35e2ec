"""What a domain offers beside :class:`~heedful.contract.Domain` where outcomes are asked for."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from heedful.contract.streams import Streams
from heedful.store.snapshot import Snapshot


@runtime_checkable
class Hindsight(Protocol):
    """A domain whose contexts may say what the episode shall come to.

    Nobody asked for anything when most of a log was made. What an episode came to may stand for it
    when a policy is pre-trained, and nowhere else: it was not known at the moment of choice, so
    whoever replays or judges reads what was recorded.
    """

    def in_hindsight(
        self, streams: Streams, snapshot: Snapshot, share: float, rng: np.random.Generator
    ) -> Streams:
        """Return streams as if what an episode came to had been asked for.

        Where something was asked for, that stays.

        Args:
            streams: of ``snapshot``, as encoded.
            snapshot: what happened.
            share: of the episodes; in the others nobody asks, so that unknown is at home.
            rng: draws which.
        """
        ...
