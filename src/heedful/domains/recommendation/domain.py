"""What a recommender's contexts, items and feedback look like to a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from heedful.config import FILE_NAME, checked_options
from heedful.contract import (
    Environment,
    Observed,
    Streams,
    described,
    encode,
    groups_of,
    schema_of,
)
from heedful.domains.recommendation.shop import ShopEnv, ShopParameters
from heedful.policy import Channel, Schema, Vocabulary
from heedful.record import ChoiceSet, Context, Described
from heedful.store.snapshot import Snapshot


class Options(BaseModel):
    """The keys under ``[domain]`` in heedful.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slate: int = Field(5, ge=1, le=1000, description="items in a slate")
    repeat_seen: bool = Field(False, description="whether an item may be shown to somebody twice")
    rating_min: float = Field(1.0, description="the lowest rating people can give")
    rating_max: float = Field(5.0, description="the highest")
    numbers: tuple[str, ...] = Field((), description="keys of the context read as numbers")
    catalogue: str = Field("", description="file with one item id a line, shown though never seen")


class Recommendation:
    """Units are items, a decision is a slate, feedback is clicks, ratings and comments.

    A policy reads all three kinds and predicts clicks and ratings; of comments it sees for now that
    one was made.
    """

    name = "recommendation"
    keys = Options

    def __init__(
        self, options: Mapping[str, object] | None = None, folder: Path | None = None
    ) -> None:
        """Check ``options``; a relative catalogue is looked up in ``folder``.

        Raises:
            ConfigError: an unknown or ill-typed option.
        """
        self.folder = folder or Path()
        self.options = checked_options(Options, options or {}, str(self.folder / FILE_NAME))
        self.length = self.options.slate
        self.features = len(self.options.numbers)
        self.channels = (
            Channel("click", binary=True, silence=0.0),
            Channel(
                "rating", binary=False, low=self.options.rating_min, high=self.options.rating_max
            ),
            Channel("comment", binary=True),
        )

    def vocabulary(self, snapshot: Snapshot) -> Vocabulary:
        """Return the catalogue's items, then those of the log, then those that are described.

        Raises:
            ValueError: there are none.
        """
        units = dict.fromkeys(self._catalogue())
        units.update(dict.fromkeys(snapshot.names.units))
        units.update(dict.fromkeys(snapshot.descriptions.latest(Described.UNIT)))
        if not units:
            raise ValueError(
                "there are no items: the log names none, describes none, and no catalogue is "
                "given; import history or items, or name a file with one item id a line under "
                "[domain] catalogue"
            )
        return described(Vocabulary(units), snapshot)

    def schema(self, vocabulary: Vocabulary) -> Schema:
        """Return what the events look like."""
        return schema_of(self, vocabulary)

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        """Read the numbers named in the options, as one event; a missing one is 0."""
        if not self.features:
            return np.empty(0, np.int32), np.empty((0, 0), np.float32)
        numbers = [_number(context.get(key, 0.0)) for key in self.options.numbers]
        return np.full(1, -1, np.int32), np.array([numbers], np.float32)

    def encode(
        self,
        snapshot: Snapshot,
        vocabulary: Vocabulary,
        *,
        rewards: npt.NDArray[np.float64] | None = None,
        matured: npt.NDArray[np.bool_] | None = None,
        gamma: float = 0.0,
    ) -> Streams:
        """Turn a snapshot or a rollout into streams, with the core's encoder."""
        return encode(self, snapshot, vocabulary, rewards=rewards, matured=matured, gamma=gamma)

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        """Return the catalogue minus what was seen (unless repeats are fine) and what is forbidden.

        ``request`` may hold ``allowed`` and ``forbidden``, lists of item ids, and ``require``,
        ``cap`` and ``diversity``; see :mod:`heedful.contract.rules`.
        """
        allowed, forbidden = request.get("allowed"), request.get("forbidden", ())
        return ChoiceSet(
            allowed=None if allowed is None else _ids("allowed", allowed),
            forbidden=_ids("forbidden", forbidden),
            seen=self.options.repeat_seen,
            groups=groups_of(request),
        )

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Environment:
        """Return ``n`` simulated people in ``heedful/Shop-v0``; options are its parameters."""
        parameters = ShopParameters(**{"slate": self.options.slate, **options})
        return ShopEnv(n, parameters)

    def context(self, observation: npt.NDArray[Any]) -> Context:
        """Return the shop's observation under its names."""
        names = ("log_visit", "hour_sin", "hour_cos")
        return {name: float(value) for name, value in zip(names, observation, strict=True)}

    def action(self, units: Sequence[str], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        """Return the shop's numbers of the items: ``item-017`` is 17."""
        return np.array([item_number(unit) for unit in units], dtype=np.int64)

    def _catalogue(self) -> list[str]:
        if not self.options.catalogue:
            return []
        path = self.folder / self.options.catalogue
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]


def item_id(number: int) -> str:
    """Return the id of one of the simulated shop's items.

    >>> item_id(17), item_number("item-017")
    ('item-017', 17)
    """
    return f"item-{number:03d}"


def item_number(unit: str) -> int:
    """Return the simulated shop's number of an item."""
    return int(unit.removeprefix("item-"))


def _number(value: object) -> float:
    return float(value) if isinstance(value, bool | int | float) else 0.0


def _ids(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(unit, str) for unit in value):
        raise ValueError(f"{name}: expected a list of item ids")
    return tuple(value)
