"""What people said of whole decisions, as rows that direct objectives learn from.

A row is one decision as it was asked for: the stream up to that moment, then its units. The two
decisions of a pair are two rows behind the same events, token for token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from heedful.contract import Label, Streams, labelled
from heedful.record import ALL_UNITS, Kind, Outcome
from heedful.reward.rewards import said
from heedful.store.snapshot import Snapshot

KINDS = list(Kind)
NUMBERED = (Kind.CLICK, Kind.RATING, Kind.REWARD, Kind.COMMENT)
"""What ``[reward]`` can read a number from."""
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Sort = Literal["pairs", "thumbs", "numbers"]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Rows to learn from, R of them.

    Attributes:
        streams: R streams, each with the units of one decision as its slots.
        rewards: float64 [R]: of pairs 1 and 0, or the ratings that stand beside them, on [0, 1],
            and 1/2 for ties; of thumbs 1 and 0; else the number.
        pairs: int64 [R], rows 2 p and 2 p + 1 are pair p; ``None`` where nothing was compared.
        decisions: int64 [R], rows of the snapshot.
        held_out: bool [R], whole conversations, on which learning is judged.
        left_out: how many were not used, by reason, for the card.
    """

    streams: Streams
    rewards: Floats
    pairs: Ints | None
    decisions: Ints
    held_out: Flags
    left_out: dict[str, int]

    def __len__(self) -> int:
        """Return R."""
        return len(self.rewards)


def standing(snapshot: Snapshot, kind: Kind, after: int = 0) -> Ints:
    """Return the feedback of ``kind`` about decisions that nobody took back, rows, [F'].

    Args:
        snapshot: what happened.
        kind: of what.
        after: only feedback after this sequence number.
    """
    feedback = snapshot.feedback
    stands = (feedback.kind == KINDS.index(kind)) & ~feedback.retracted
    stands &= (feedback.retracts < 0) & (feedback.decision >= 0) & (feedback.seq > after)
    return np.flatnonzero(stands)


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Which decisions were compared, [P, 2]; the first is the one that was preferred, or as good.

    Attributes:
        decisions: int64 [P, 2], rows of the snapshot.
        ties: bool [P].
        clips: how many comparisons were of clips, which have no decision.
    """

    decisions: Ints
    ties: Flags
    clips: int

    def __len__(self) -> int:
        """Return P."""
        return len(self.ties)


def comparisons(snapshot: Snapshot, after: int = 0) -> Comparisons:
    """Return the comparisons in ``snapshot`` that stand, those said after row ``after``."""
    feedback, seq = snapshot.feedback, snapshot.decisions.seq
    pairs, ties, clips = [], [], 0
    for row in standing(snapshot, Kind.PREFERENCE, after).tolist():
        value = json.loads(feedback.texts[row])
        if not isinstance(value["over"], int):
            clips += 1
            continue
        about, over = int(feedback.decision[row]), int(np.searchsorted(seq, value["over"]))
        rejected = value["outcome"] == Outcome.REJECTED
        pairs.append((over, about) if rejected else (about, over))
        ties.append(value["outcome"] == Outcome.TIE)
    return Comparisons(np.array(pairs, np.int64).reshape(-1, 2), np.array(ties, bool), clips)


def thumbs(snapshot: Snapshot, after: int = 0) -> tuple[Ints, Floats]:
    """Return the decisions with a thumb, [N'], and what it says, 1 or 0; of several the last one.

    A click on one unit of several is none: it says nothing of the whole. Nor is one that was given
    up to row ``after``.
    """
    feedback = snapshot.feedback
    rows = standing(snapshot, Kind.CLICK, after)
    rows = rows[feedback.unit[rows] == ALL_UNITS]
    last = dict(zip(feedback.decision[rows].tolist(), feedback.value[rows].tolist(), strict=True))
    decided = np.array(sorted(last), np.int64)
    return decided, np.array([last[int(d)] for d in decided], np.float64)


def numbers(snapshot: Snapshot, earned: Floats, after: int = 0) -> tuple[Ints, Floats]:
    """Return the decisions of which somebody said a number, [N'], and what they earned in all.

    Args:
        snapshot: what happened.
        earned: float64 [M], what each unit earned by what was said; NaN where nothing was.
        after: only decisions after this sequence number, and those of which something was said
            after it that stands: people rate late.
    """
    decisions = snapshot.decisions
    late = np.concatenate([standing(snapshot, kind, after) for kind in NUMBERED])
    fresh = decisions.seq > after
    fresh[snapshot.feedback.decision[late]] = True
    heard = np.bincount(decisions.of_unit, weights=~np.isnan(earned), minlength=decisions.n) > 0
    totals = np.bincount(decisions.of_unit, weights=np.nan_to_num(earned), minlength=decisions.n)
    decided: Ints = np.flatnonzero(heard & fresh).astype(np.int64)
    return decided, totals[decided].astype(np.float64)


def gather(
    snapshot: Snapshot,
    streams: Streams,
    sort: Sort,
    *,
    earned: Floats,
    ratings: tuple[float, float],
    spared: Flags,
    held_out: float,
    seed: int,
    after: int = 0,
) -> Told:
    """Return what was said of decisions, as rows to learn from.

    Left out and counted: a decision with a unit that the vocabulary does not know, or with none
    that is left (its reply vanished), one that the split of pre-training holds out, and a pair
    whose decisions were not made for the same asking. The same asking is the same context in the
    same conversation, or after the same events.

    Args:
        snapshot: everything up to a watermark.
        streams: of it, with no reward that waits.
        sort: which rows: "pairs", "thumbs" or "numbers".
        earned: float64 [M], for "numbers": what was said of each unit; NaN where nothing was.
        ratings: the ratings that count as 0 and as 1, for the gap between two decisions.
        spared: bool [U], slots that may be learned from.
        held_out: share of the conversations that learning is judged on.
        seed: of that share.
        after: only what was said after this sequence number.
    """
    whole = _Whole(snapshot, streams, spared)
    left_out: dict[str, int] = {}
    pairs = None
    if sort == "pairs":
        compared = comparisons(snapshot, after)
        kept, reasons = _usable(compared.decisions, whole)
        left_out = {"pairs_of_clips": compared.clips, **reasons}
        decided = compared.decisions[kept].reshape(-1)
        rewards = _gaps(snapshot, compared, ratings)[kept].reshape(-1)
        pairs = np.repeat(np.arange(len(kept)), 2)
        asked = np.repeat(compared.decisions[kept, 0], 2)
    else:
        decided, rewards = (
            thumbs(snapshot, after) if sort == "thumbs" else numbers(snapshot, earned, after)
        )
        problems = [whole.problem(int(d)) for d in decided]
        left_out = _counted([problem for problem in problems if problem])
        fine = np.array([not problem for problem in problems], bool)
        decided, rewards = decided[fine], rewards[fine]
        asked = decided
    labels = [
        Label(int(of), 0, whole.units(int(made))) for of, made in zip(asked, decided, strict=True)
    ]
    sides = _sides(snapshot, held_out, seed)
    made = _to_the_last(labelled(streams, labels))
    return Told(made, rewards, pairs, decided, sides[asked], left_out)


def _to_the_last(streams: Streams) -> Streams:
    """Return ``streams`` whose rows hold the event of their last unit, too.

    Nobody has to read it to say how likely it is; but whoever takes the reply to another asking,
    as KTO does, takes it from the events.
    """
    slots = streams.slots
    ones = np.ones(len(slots.unit))
    return replace(streams, slots=replace(slots, discount=ones, after=slots.event))


class _Whole:
    """Decisions as wholes: are all their units known, and what was there when they were made?"""

    def __init__(self, snapshot: Snapshot, streams: Streams, spared: Flags) -> None:
        self._snapshot, self._streams = snapshot, streams
        n = snapshot.decisions.n
        slots = streams.slots
        self._order = np.argsort(slots.decision, kind="stable")
        self._bounds = np.searchsorted(slots.decision[self._order], np.arange(n + 1))
        self._known = np.bincount(slots.decision, minlength=n)
        self._spared = np.bincount(slots.decision, weights=spared, minlength=n)
        self._lengths = np.diff(snapshot.decisions.offsets)

    def problem(self, decision: int) -> str:
        """Return why ``decision`` cannot be learned from, as the name of a count, or nothing."""
        if self._known[decision] == 0:
            return "decisions_vanished"
        if self._known[decision] < self._lengths[decision]:
            return "decisions_with_unknown_units"
        return "" if self._spared[decision] == self._known[decision] else "decisions_held_out"

    def slots(self, decision: int) -> Ints:
        return self._order[self._bounds[decision] : self._bounds[decision + 1]]

    def units(self, decision: int) -> tuple[int, ...]:
        return tuple(self._streams.slots.unit[self.slots(decision)].tolist())

    def same_asking(self, one: int, other: int) -> bool:
        """Whether two decisions answer the same: the same context, after the same events."""
        decisions = self._snapshot.decisions
        if decisions.contexts[one] != decisions.contexts[other]:
            return False
        same = decisions.episode[one] == decisions.episode[other]
        return bool(same) or self._before(one) == self._before(other)

    def _before(self, decision: int) -> bytes:
        """Return all that stood in the stream before the first unit of ``decision``."""
        slots, events = self._streams.slots, self._streams.events
        first = int(self.slots(decision)[0])
        base = int(self._streams.offsets[slots.stream[first]])
        seen = slice(base, base + int(slots.event[first]))
        columns = (events.kind, events.unit, events.channel, events.value, events.features)
        return b"|".join(np.ascontiguousarray(column[seen]).tobytes() for column in columns)


def _usable(pairs: Ints, whole: _Whole) -> tuple[Ints, dict[str, int]]:
    """Return the pairs that can be learned from, and how many cannot, by reason."""
    kept, reasons = [], []
    for number, (one, other) in enumerate(pairs.tolist()):
        problem = whole.problem(one) or whole.problem(other)
        problem = problem and problem.replace("decisions", "pairs")
        if not problem and not whole.same_asking(one, other):
            problem = "pairs_of_other_askings"
        if not problem and one == other:
            problem = "pairs_of_one_decision"
        (reasons.append(problem) if problem else kept.append(number))
    return np.array(kept, np.int64), _counted(reasons)


def _counted(reasons: Sequence[str]) -> dict[str, int]:
    return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def _gaps(snapshot: Snapshot, compared: Comparisons, ratings: tuple[float, float]) -> Floats:
    """Return rewards of pairs, [P, 2]: their ratings where both have one that agrees, else 1, 0."""
    low, high = ratings
    rated = np.clip((said(snapshot, Kind.RATING) - low) / (high - low), 0.0, 1.0)
    last = snapshot.decisions.offsets[1:] - 1
    beside = rated[last[compared.decisions]]
    agree = beside[:, 0] > beside[:, 1]  # not where one of them is NaN
    found = np.where(agree[:, None], beside, [[1.0, 0.0]])
    return np.where(compared.ties[:, None], 0.5, found)


def _sides(snapshot: Snapshot, share: float, seed: int) -> Flags:
    """Return which decisions are held out, bool [N]: by what their episode began with.

    Whole episodes, and those that began alike are on the same side: a reply that was learned for a
    prompt says nothing of how other prompts are answered.
    """
    decisions = snapshot.decisions
    first = np.full(len(snapshot.names.episodes), decisions.n, np.int64)
    np.minimum.at(first, decisions.episode, np.arange(decisions.n))
    out = np.zeros(len(first), bool)
    for episode in np.unique(decisions.episode).tolist():
        context = decisions.contexts[int(first[episode])]
        name = context or snapshot.names.episodes[episode]  # without a context, each for itself
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        out[episode] = int.from_bytes(digest[:8], "big") < share * 2.0**64
    held: Flags = out[decisions.episode]
    return held
