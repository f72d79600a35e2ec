"""Which units of the log are learned from, how much each counts, and what is held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import cast

import numpy as np

from heedful.config import Pretrain
from heedful.contract import Hindsight, Streams
from heedful.evaluate.held_out import (
    Split,
    by_episode,
    by_time,
    fresh_targets,
    leave_one_out,
)
from heedful.loop.bench import Bench
from heedful.loop.pretrain import Reread, as_recorded
from heedful.record import TOGETHER, Kind
from heedful.store.registry import Card
from heedful.store.snapshot import Snapshot


def chosen_by_people(streams: Streams) -> np.ndarray:
    """Return weights [U]: 1 for units people chose themselves, or liked when they were shown.

    History without probabilities is people's own doing, unless it says that a unit was shown and
    not clicked. What a policy showed, ours or one whose probabilities were imported, and nobody
    liked is not imitated: pre-training on it would clone the log. Nor is what a person let through,
    whose probability is unknown for another reason.
    """
    own = np.isnan(streams.slots.behaviour_logp) & ~streams.slots.reviewed
    kinds = [channel.kind for channel in streams.schema.channels]
    for number in (n for n, kind in enumerate(kinds) if kind == Kind.CLICK):
        own &= streams.slots.feedback[:, number] != 0  # an explicit no; silence is NaN
    return (own | (streams.slots.reward > 0)).astype(np.float64)


def by_reward(streams: Streams, share: float) -> np.ndarray:
    """Return weights [U]: (1 - share) + share * reward, the reward cut off to [0, 1].

    The likelihood of what people chose, weighted by how they liked it: reward-weighted regression
    (Peters & Schaal, ICML 2007, equation 8) with the log as its only rollout.
    """
    return np.asarray(1.0 - share + share * np.clip(streams.slots.reward, 0.0, 1.0))


def without_answers(streams: Streams, slots: np.ndarray) -> Streams:
    """Return ``streams`` in which nobody knows what was answered to ``slots``, bool [U].

    Held-out units stand in the same rows as those that are learned from, and the feedback head
    learns from every answer there is: what was answered to them would tell what they are.
    """
    feedback = streams.slots.feedback.copy()
    feedback[slots] = np.nan
    return replace(streams, slots=replace(streams.slots, feedback=feedback))


def to_reinforce(streams: Streams, train: np.ndarray) -> Streams:
    """Return ``streams`` as reinforcement may see them.

    What is held out counts for nothing, and returns end before it: a unit's return is of the
    rewards that follow it, too. So it is with what a person let through, which no policy answers
    for. The joint term, which keeps history likely, imitates no more of it than pre-training does.

    Args:
        streams: with rewards.
        train: bool [U], False for what is held out.
    """
    slots = streams.slots
    train = train & ~slots.reviewed
    history = np.isnan(slots.behaviour_logp)
    weight = np.where(history, chosen_by_people(streams), 1.0) * train
    followed = np.append(train[1:], True) | (np.diff(slots.stream, append=-1) != 0)
    slots = replace(
        slots,
        weight=weight.astype(np.float64),
        discount=np.where(followed, slots.discount, 0.0),
    )
    return replace(streams, slots=slots)


def split_of(section: Pretrain, streams: Streams, snapshot: Snapshot) -> Split:
    """Return what is held out by ``[pretrain] split``, or nothing if so configured.

    Raises:
        ValueError: a split by time was asked for, and there are no times to split by.
    """
    if not section.validation or not len(streams.slots.unit):
        nothing = np.empty(0, dtype=np.int64)
        return Split(np.ones(len(streams.slots.unit), dtype=bool), nothing, nothing)
    if section.split == "time":
        return by_time(streams, snapshot.decisions.made_at, section.split_share)
    if section.split == "episode":
        return by_episode(
            streams, places_of(snapshot, by_context=streams.by_episode), section.split_share
        )
    if section.split == "subject":
        return by_episode(streams, subjects_of(snapshot), section.split_share)
    return leave_one_out(streams)


def places_of(snapshot: Snapshot, *, by_context: bool = True) -> np.ndarray:
    """Return a number within [0, 1) for each decision, [N], alike for what belongs together.

    That is an episode, and with it all that began with the same context: a prompt that was answered
    several times is wholly learned from, or wholly held out. The number is a hash of that context,
    or where there is none (a document's text begins with nothing) of the episode's name.

    Args:
        snapshot: what happened.
        by_context: False where episodes begin alike and have nothing else to do with each other, as
            matches do: then only the sides of one match belong together.
    """
    decisions = snapshot.decisions
    episodes, first = np.unique(decisions.episode, return_index=True)
    place = np.empty(len(snapshot.names.episodes))
    for episode, row in zip(episodes.tolist(), first.tolist(), strict=True):
        known = decisions.contexts[row]
        shared = known if by_context else json.loads(known or "{}").get(TOGETHER)
        # Whoever asks over HTTP may call a match what they like, by a number too.
        place[episode] = _place(str(shared) if shared else snapshot.names.episodes[episode])
    return place[decisions.episode]


def subjects_of(snapshot: Snapshot) -> np.ndarray:
    """Return a number within [0, 1) for each decision, [N], alike for all of one subject's."""
    place = np.array([_place(name) for name in snapshot.names.subjects])
    return place[snapshot.decisions.subject]


def _place(name: str) -> float:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def split_on(card: Card, section: Pretrain) -> Pretrain:
    """Return what was held out by the settings on ``card``: those of today may say otherwise."""
    then = cast(Mapping[str, object], card.configuration.get("pretrain", {}))
    names = ("validation", "split", "split_share", "criterion")
    keys = {key: then[key] for key in names if key in then}
    return section.model_copy(update=keys)


def reread_of(bench: Bench, snapshot: Snapshot) -> Reread:
    """Return what pre-training reads in each pass: in hindsight, where outcomes can be asked for.

    See :class:`heedful.contract.Hindsight`.
    """
    domain, share = bench.domain, bench.config.pretrain.hindsight
    if not (share and isinstance(domain, Hindsight)):
        return as_recorded
    return lambda streams, rng: domain.in_hindsight(streams, snapshot, share, rng)


def sequences_of(streams: Streams, weights: np.ndarray) -> list[np.ndarray]:
    """Return the units each subject chose, those of weight 0 left out."""
    kept = weights > 0
    bounds = streams.slot_offsets
    return [streams.slots.unit[low:high][kept[low:high]] for low, high in pairwise(bounds)]


def validation_of(streams: Streams, split: Split, *, seen: bool) -> np.ndarray:
    """Return the validation slots that are people's own choice and may be ranked."""
    chosen = chosen_by_people(streams) > 0
    slots = split.validation[chosen[split.validation]]
    return slots if seen else fresh_targets(streams, slots)
