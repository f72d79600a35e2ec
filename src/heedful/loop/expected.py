"""How likely a version finds what was held out: what counts where units are words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from heedful.contract import Conversation, Streams
from heedful.evaluate import Interval, ratio
from heedful.evaluate.held_out import held_out_nll
from heedful.loop.bench import Bench
from heedful.loop.form import without_floor
from heedful.loop.lessons import chosen_by_people, split_of, split_on
from heedful.policy import Policy, Popularity, load
from heedful.store.registry import Version

POPULARITY = "popularity"


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The negative log-likelihood of held-out units, in nats, with 95 % intervals over streams.

    Attributes:
        protocol: what was held out, in words.
        per_unit: nats per unit.
        per_character: nats per character of the text that the units are, where the domain can say
            it; comparable between tokenizers.
        n: units.
        beside: nats per unit of what costs nothing, by name.
    """

    protocol: str
    per_unit: Interval
    per_character: Interval | None
    n: int
    beside: Mapping[str, float]

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON."""
        measured = {"nll": self.per_unit, "nll_per_character": self.per_character}
        found = {name: one for name, one in measured.items() if one is not None}
        return {
            **{name: one.mean for name, one in found.items()},
            "intervals": {name: [one.low, one.high] for name, one in found.items()},
            "protocol": self.protocol,
            "n": self.n,
            "beside": dict(self.beside),
        }

    def words(self) -> str:
        """Return it in a sentence."""
        text = f"{self.per_unit} nats per unit of {self.n:,} held out"
        if self.per_character is not None:
            text += f", {self.per_character} per character"
        others = "".join(f"; {name}: {nats:.4f} per unit" for name, nats in self.beside.items())
        return f"{text} ({self.protocol}){others}."


def likelihood(bench: Bench, version: Version) -> Likelihood | None:
    """Return how likely ``version`` finds its test units, as the log stood when it was trained.

    Returns:
        ``None`` where nothing was held out.
    """
    card = bench.registry.card(version.name)
    loaded = load(bench.registry.folder(version.name))
    snapshot = bench.log.snapshot(None if card.snapshot is None else card.snapshot.watermark)
    streams = bench.encode(snapshot, loaded.vocabulary)
    section = split_on(card, bench.config.pretrain)
    split = split_of(section, streams, snapshot)
    chosen = chosen_by_people(streams)
    slots = split.test[chosen[split.test] > 0]
    if not len(slots):
        return None
    counts = np.bincount(
        streams.slots.unit, weights=chosen * split.train, minlength=len(loaded.vocabulary)
    )
    policies: dict[str, Policy] = {
        version.name: without_floor(loaded.policy),
        POPULARITY: Popularity(streams.schema).fit(torch.from_numpy(counts)),
    }
    window = bench.config.policy.window
    nats = {
        name: held_out_nll(policy, streams, slots, window=window)
        for name, policy in policies.items()
    }
    own, stream = nats.pop(version.name), streams.slots.stream[slots]
    edges = [*np.flatnonzero(np.diff(stream, prepend=-1)).tolist(), len(slots)]
    total = [float(own[low:high].sum()) for low, high in pairwise(edges)]
    per_character = None
    if isinstance(bench.domain, Conversation):
        told = _characters(bench.domain, streams, loaded.vocabulary.units, slots, edges)
        per_character = ratio(total, told, seed=0) if sum(told) else None
    return Likelihood(
        protocol=f'split "{section.split}", {len(edges) - 1:,} streams',
        per_unit=ratio(total, [float(high - low) for low, high in pairwise(edges)], seed=0),
        per_character=per_character,
        n=len(slots),
        beside={name: float(found.mean()) for name, found in nats.items()},
    )


def _characters(
    domain: Conversation,
    streams: Streams,
    units: tuple[str, ...],
    slots: np.ndarray,
    edges: list[int],
) -> list[float]:
    """Return how many characters the held-out units of each stream are."""
    said = streams.slots.unit[slots].tolist()
    texts = [domain.text([units[unit] for unit in said[low:high]]) for low, high in pairwise(edges)]
    return [float(len(text)) for text in texts]
