"""What heedful asks of a domain, for orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.contract import Environment, Observed, Streams, encode
from heedful.policy import Channel, Schema, Vocabulary
from heedful.record import ChoiceSet, Context
from heedful.store import Snapshot
from heedful_demand.series import LAGS, MOST, Bakeries

WEEK = 7


class Demand:
    """Units are amounts, a decision is one amount, the context a weekday and recent sales."""

    name = "demand"
    length = 1
    channels = (Channel("reward", binary=False, low=0.0, high=1.0),)
    features = WEEK + LAGS + 1
    suits = {"reward.kind": "mixture", "reward.weights": {"reward": 1.0}}  # noqa: RUF012

    def __init__(self, options: Mapping[str, object], folder: Path) -> None:
        for option in options:
            raise ValueError(f"[domain] {option} is unknown; demand has no options")

    def vocabulary(self, snapshot: Snapshot) -> Vocabulary:
        """Return the amounts, whatever was ordered so far."""
        return Vocabulary([f"order-{amount}" for amount in range(MOST + 1)])

    def schema(self, vocabulary: Vocabulary) -> Schema:
        """Return what the events look like."""
        return Schema(len(vocabulary), self.channels, self.features)

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        """Read a context as one event: the weekday as an indicator, sales in tens, their mean.

        Raises:
            ValueError: it has no weekday, or not a week of sales.
        """
        day, sold = context.get("weekday"), context.get("sold")
        if not isinstance(day, int) or not 0 <= day < WEEK:
            raise ValueError(f"weekday is {day!r}: give 0 (Monday) to 6")
        if not isinstance(sold, list) or len(sold) != LAGS:
            raise ValueError(f"sold is {sold!r}: give the last {LAGS} days' sales")
        recent = np.array(sold, np.float32) / 10.0
        numbers = np.concatenate([np.eye(WEEK, dtype=np.float32)[day], recent, [recent.mean()]])
        return np.full(1, -1, np.int32), numbers[None].astype(np.float32)

    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        """Use the core's encoder."""
        return encode(self, snapshot, vocabulary, **options)

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        """Allow every amount."""
        return ChoiceSet()

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Environment:
        """Return ``n`` shops."""
        return Bakeries(n, seed)

    def context(self, observation: npt.NDArray[Any]) -> Context:
        """Return what a shop observes."""
        day, *sold = observation.tolist()
        return {"weekday": day, "sold": sold}

    def action(self, units: Sequence[str], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        """Return the amount."""
        return vocabulary.indexes(list(units))
