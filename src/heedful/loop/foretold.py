"""How well a version foretells what people will answer: its feedback head, on fresh rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import torch

from heedful.contract import Streams
from heedful.evaluate import reliability
from heedful.evaluate.held_out import decisions
from heedful.loop import start
from heedful.loop.bench import Bench
from heedful.policy import Channel, Policy, load
from heedful.policy.network import Network
from heedful.reward.answers import FEEDBACK
from heedful.store.registry import Version

FEWEST = 100
"""Answers below which a reliability table is noise."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """What a version expected of units that were shown since its data end, and what came.

    Attributes:
        kind: of feedback.
        predicted, observed: mean of each bin, on the scale from 0 to 1.
        counts: answers in it.
        error: expected calibration error.
    """

    kind: str
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]
    error: float

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON."""
        return asdict(self)


def foretold(bench: Bench, version: Version) -> tuple[Foretold, ...]:
    """Compare expectations with answers, for each kind of feedback the version predicts.

    Only answers count that have matured, to units that were shown after the version's training
    data end. The version reads what came before each unit, as a server would.

    Returns:
        Nothing where the version has no network, or too few answers came.
    """
    registry = bench.registry
    card, loaded = registry.card(version.name), load(registry.folder(version.name))
    try:
        network = cast(Network, start.network_within(loaded.policy))
    except ValueError:
        return ()
    snapshot = bench.log.snapshot()
    matured = bench.earned(snapshot, card.reward).matured
    streams = bench.domain.encode(snapshot, loaded.vocabulary, matured=matured)
    fresh = streams.slots.seq > (0 if card.snapshot is None else card.snapshot.watermark)
    fresh &= ~np.isnan(streams.slots.behaviour_logp)
    said = _said(network, streams, fresh, bench.config.policy.window)
    found = (
        _compared(channel, said[:, number], streams.slots.feedback[:, number], fresh)
        for number, channel in enumerate(streams.schema.channels)
    )
    return tuple(one for one in found if one is not None)


@torch.no_grad()
def _said(network: Network, streams: Streams, fresh: np.ndarray, window: int) -> np.ndarray:
    """Return what the network expects of the slots ``fresh`` [U], [U, C]; NaN elsewhere."""
    channels = streams.schema.channels
    found = np.full((len(fresh), len(channels)), np.nan)
    for decided, batch in decisions(streams, np.flatnonzero(fresh), window=window, seen=True):
        said = cast(Policy, network).forward(batch, FEEDBACK).feedback
        assert said is not None
        found[decided] = said[batch.mask].double().numpy()
    return found


def _compared(
    channel: Channel, said: np.ndarray, came: np.ndarray, fresh: np.ndarray
) -> Foretold | None:
    """Return one kind's table; binary channels are said as log-odds."""
    rows = np.flatnonzero(fresh & ~np.isnan(came))
    if len(rows) < FEWEST or np.ptp(came[rows]) == 0:  # of a comment only a yes is ever said
        return None
    expected = said[rows]
    expected = 1 / (1 + np.exp(-expected)) if channel.binary else np.clip(expected, 0.0, 1.0)
    table = reliability(expected, came[rows].astype(np.float64))
    return Foretold(
        kind=channel.kind,
        predicted=tuple(table.predicted.tolist()),
        observed=tuple(table.observed.tolist()),
        counts=tuple(table.counts.tolist()),
        error=table.error,
    )
