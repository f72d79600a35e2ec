"""How like the people in the log a version chooses, on what was held out when it was trained."""

from __future__ import annotations

import numpy as np

from heedful.contract import Streams
from heedful.contract.clips import Showing
from heedful.evaluate.checked import FloatArray
from heedful.evaluate.likeness import Likeness, foreseen, in_the_same_places, match
from heedful.loop.bench import Bench
from heedful.loop.form import without_floor
from heedful.loop.lessons import chosen_by_people, split_of, split_on
from heedful.policy import EventKind, load
from heedful.store.registry import Version


def likeness(bench: Bench, version: Version) -> Likeness | None:
    """Compare what ``version`` would have chosen with what people did, in the same places.

    Returns:
        ``None`` where nothing of people's own choice was held out, and where choices are no play,
        which a domain could show (:class:`~heedful.contract.clips.Showing`).
    """
    if not isinstance(bench.domain, Showing):
        return None
    card, loaded = bench.registry.card(version.name), load(bench.registry.folder(version.name))
    snapshot = bench.log.snapshot(None if card.snapshot is None else card.snapshot.watermark)
    streams = bench.encode(snapshot, loaded.vocabulary)
    section = split_on(card, bench.config.pretrain)
    test = split_of(section, streams, snapshot).test
    slots = test[chosen_by_people(streams)[test] > 0]
    if not len(slots):
        return None
    episodes = snapshot.decisions.episode[streams.slots.decision[slots]]
    _, matches = np.unique(episodes, return_inverse=True)
    order = np.argsort(matches, kind="stable")  # match by match, each in the order of time
    slots, matches = slots[order], matches[order]
    window = bench.config.policy.window
    found = foreseen(without_floor(loaded.policy), streams, slots, window=window, seed=0)
    told = in_the_same_places(
        found,
        streams.slots.unit[slots],
        matches,
        streams.schema.size,
        _observed(streams, slots),
        seed=0,
    )
    protocol = f'split "{section.split}", {len(np.unique(matches)):,} matches held out'
    by_subject = match(found.places, found.nats, streams.slots.stream[slots])
    return Likeness(protocol, by_subject, told)


def _observed(streams: Streams, slots: np.ndarray) -> FloatArray | None:
    """Return the numbers of the context in which each of ``slots`` was decided, [n, F]."""
    if not streams.schema.features:
        return None
    columns = streams.slots
    # What others moved stands before what was seen, and the decision's earlier units behind it.
    ahead = columns.event[slots] - columns.position[slots] - 1
    at = streams.offsets[columns.stream[slots]] + np.maximum(ahead, 0)
    own = (ahead >= columns.start[slots]) & (streams.events.kind[at] == EventKind.CONTEXT)
    return np.where(own[:, None], streams.events.features[at], 0.0).astype(np.float64)
