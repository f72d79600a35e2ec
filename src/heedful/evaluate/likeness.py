"""How like people a policy plays: how often it would have done the same, and how it can be told.

Beside skill, for play that is to stay human: a policy that wins more and is nothing like anybody is
another opponent than the one that was asked for. What is compared are whole matches; people's own
are held out, and the policy has never seen them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from heedful.contract import Streams
from heedful.evaluate.checked import FloatArray, vector
from heedful.evaluate.held_out import LOGITS, decisions
from heedful.evaluate.intervals import Interval, ratio
from heedful.evaluate.ranking import hit_rate, ranks
from heedful.evaluate.two_samples import Discriminator, discriminate
from heedful.policy import Policy, draw

Ints = NDArray[np.int64]

MOST_CROSSED = 4096
"""Products of an observation's numbers and units up to which behaviour has each of them."""


@dataclass(frozen=True, slots=True)
class Match:
    """How a policy foretells what people chose, over n units; the intervals are by subject.

    Attributes:
        top1: share of the units that were the policy's likeliest; ties count half a place.
        top3: share that were among its first three.
        nll: - log p(unit), nats.
        n: units.
    """

    top1: Interval
    top3: Interval
    nll: Interval
    n: int

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON."""
        named = {"top1": self.top1, "top3": self.top3, "nll": self.nll}
        found: dict[str, object] = {name: one.mean for name, one in named.items()}
        bounds = {name: [one.low, one.high] for name, one in named.items()}
        return {**found, "n": self.n, "intervals": bounds}


def match(places: ArrayLike, nats: ArrayLike, subjects: ArrayLike, *, seed: int = 0) -> Match:
    """Return how often people's choices were foretold.

    Units count alike; subjects are drawn for the intervals, as what one person does is alike.

    Args:
        places: [n], the rank of what people chose among all that was possible, from 1.
        nats: [n], - log p of it.
        subjects: [n] codes.
        seed: of the draws.

    Raises:
        ValueError: nothing was chosen.

    >>> found = match([1, 2, 5, 1], [0.1, 1.0, 3.0, 0.3], [0, 0, 1, 1])
    >>> found.top1.mean, found.top3.mean, round(found.nll.mean, 2)
    (0.5, 0.75, 1.1)
    """
    place = vector("places", places)
    lost = vector("nats", nats, length=len(place))
    _, who = np.unique(np.asarray(subjects), return_inverse=True)
    size = np.bincount(who).astype(np.float64)

    def by_subject(values: FloatArray) -> Interval:
        return ratio(np.bincount(who, weights=values), size, seed=seed)

    hits = (hit_rate(place, 1), hit_rate(place, 3))
    return Match(by_subject(hits[0]), by_subject(hits[1]), by_subject(lost), len(place))


def behaviour(
    units: ArrayLike, matches: ArrayLike, size: int, observed: ArrayLike | None = None
) -> FloatArray:
    """Return what was done in each match as a row of numbers, [M, D], matches in ascending order.

    - how often each unit was chosen, [V];
    - how often each was followed by each other, [V V], while those are few;
    - what was observed where each was chosen, the mean over the match, [F V], while that is few.

    Args:
        units: [n], unit numbers in the order of time within a match.
        matches: [n], codes, ascending.
        size: V.
        observed: [n, F], what was seen when the unit was chosen; ``None`` leaves that part out.

    Raises:
        ValueError: shapes that do not fit, or matches out of order.

    >>> behaviour([0, 1, 0], [7, 7, 9], 2).tolist()
    [[1.0, 1.0, 0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    chosen = np.asarray(units, np.int64)
    names, row = np.unique(np.asarray(matches), return_inverse=True)
    if len(chosen) != len(row) or (np.diff(row) < 0).any():
        raise ValueError("matches: expected a code for each unit, in ascending order")
    n = len(names)
    parts = [_counted(row, chosen, n, size)]
    if size * size <= MOST_CROSSED:
        inside = np.flatnonzero(np.diff(row) == 0)
        pairs = chosen[inside] * size + chosen[inside + 1]
        parts.append(_counted(row[inside], pairs, n, size * size))
    if observed is not None:
        seen = np.asarray(observed, np.float64)
        if seen.ndim != 2 or len(seen) != len(chosen):
            raise ValueError(f"observed: expected [{len(chosen)}, F], got shape {seen.shape}")
        if seen.shape[1] * size <= MOST_CROSSED:
            crossed = np.zeros((n, size, seen.shape[1]))
            np.add.at(crossed, (row, chosen), seen)
            length = np.bincount(row, minlength=n)[:, None]
            parts.append(crossed.reshape(n, -1) / length)
    return np.concatenate(parts, axis=1)


def _counted(row: Ints, what: Ints, n: int, size: int) -> FloatArray:
    counts: FloatArray = np.bincount(row * size + what, minlength=n * size).astype(np.float64)
    return counts.reshape(n, size)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a policy makes of units that people chose.

    Attributes:
        places: [n], the rank of each among what was possible then, from 1, ties half.
        nats: [n], - log p of each.
        drawn: [n], what the policy would have chosen in its place, once.
    """

    places: FloatArray
    nats: FloatArray
    drawn: Ints


@torch.no_grad()
def foreseen(policy: Policy, streams: Streams, slots: Ints, *, window: int, seed: int) -> Foreseen:
    """Ask ``policy`` what it would have done where people chose, given all that came before.

    Args:
        policy: in evaluation mode.
        streams: what was encoded.
        slots: int64 [n], slot numbers.
        window: events a stream is long.
        seed: of what it draws.
    """
    rng = torch.Generator().manual_seed(seed)
    unit = streams.slots.unit
    places, nats = np.full(len(unit), np.nan), np.full(len(unit), np.nan)
    drawn = np.zeros(len(unit), np.int64)
    for rows, batch in decisions(streams, slots, window=window, seen=None):
        logits = policy.forward(batch, LOGITS).logits
        assert logits is not None
        logps = torch.log_softmax(logits.double(), -1)
        chosen = torch.from_numpy(unit[rows])
        places[rows] = ranks(logits.numpy(), unit[rows])
        nats[rows] = -logps.gather(1, chosen[:, None])[:, 0].numpy()
        drawn[rows] = draw(logits, rng)[0].numpy()
    return Foreseen(places[slots], nats[slots], drawn[slots])


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like people a policy is, on what it was not trained on.

    Attributes:
        protocol: what was held out, in words.
        match: how it foretells what they chose.
        discriminator: told by what it would have done in the same places, match by match, beside
            what they did; ``None`` with too few matches to learn that from.
    """

    protocol: str
    match: Match
    discriminator: Discriminator | None

    def words(self) -> str:
        """Return it as sentences."""
        of = self.match
        said = (
            f"of {of.n:,} moves of people {of.top1.mean:.1%} were its likeliest "
            f"({of.top1.low:.1%} to {of.top1.high:.1%}) and {of.top3.mean:.1%} among its first "
            f"three; {of.nll.mean:.3f} nats a move ({of.nll.low:.3f} to {of.nll.high:.3f}), "
            f"by subject; {self.protocol}."
        )
        if self.discriminator is None:
            return f"{said} Too few matches to tell its moves from theirs."
        auc = self.discriminator.auc
        return (
            f"{said} In the same places its moves are told from theirs, match by match, with an "
            f"AUC of {auc.mean:.3f} ({auc.low:.3f} to {auc.high:.3f}; 0.5: not at all)."
        )

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON."""
        told = self.discriminator
        auc = None if told is None else {"auc": told.auc.mean, "low": told.auc.low}
        if auc is not None and told is not None:
            auc |= {"high": told.auc.high, "matches": told.n[0]}
        return {**self.match.to_dict(), "discriminator": auc, "protocol": self.protocol}


FEWEST_MATCHES, MOST_MATCHES = 20, 300
"""Matches that a discriminator takes, and those beyond which more cost time and tell little."""


def in_the_same_places(
    found: Foreseen,
    units: Ints,
    matches: Ints,
    size: int,
    observed: FloatArray | None = None,
    *,
    seed: int,
) -> Discriminator | None:
    """Tell what people did from what a policy would have done in the same places.

    Both versions of a match are one group: learned from together or judged together. The policy
    never sees where its own moves would have led, so this asks about single choices and not about
    style over a match; for that let it play, and give both to
    :func:`~heedful.evaluate.two_samples.discriminate`.

    Args:
        found: what it would have done, n units.
        units: [n], what they did.
        matches: [n], codes, ascending.
        size: V.
        observed: [n, F], what was seen, or ``None``.
        seed: of the parts.

    Returns:
        ``None`` where there are fewer than :data:`FEWEST_MATCHES` matches; of more than
        :data:`MOST_MATCHES` so many are drawn.
    """
    names = np.unique(matches)
    if len(names) < FEWEST_MATCHES:
        return None
    if len(names) > MOST_MATCHES:
        drawn = np.random.default_rng(seed).choice(names, MOST_MATCHES, replace=False)
        names = np.sort(drawn)
    kept = np.isin(matches, names)
    seen = None if observed is None else observed[kept]
    rows = [behaviour(part[kept], matches[kept], size, seen) for part in (units, found.drawn)]
    second = np.repeat([0.0, 1.0], len(names))
    return discriminate(np.concatenate(rows), second, np.tile(names, 2), seed=seed)
