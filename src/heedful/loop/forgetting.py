"""Learning goes on without forgetting: every candidate is compared with its parent on the past.

The past is cut into cohorts: the subjects in the order of their first decisions, in equal parts.
In each, what is looked at are units that people liked, or chose themselves, and that neither
version was trained on: with ``[pretrain] split = "leave-one-out"`` the last two units of each
subject. No ancestor was trained on them either, as a subject's record only grows at its end.

The measure is the loss of the policy as it is served, exploration included,

    L(c) = mean over subjects s in c of mean over liked units u of s of  -log p(x_u | c, x_<u, y_<u)

in nats per liked unit. A rise of log 2 = 0.69 over the parent's means that what a cohort liked has
become half as likely. The exploration floor bounds it: no loss is above log(V / floor), for V
units. It tells what of the past is still chosen, not what it would earn: where tastes have changed,
a policy that follows them *has to* lose on those who have not come back, and a limit slows it down.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from heedful.contract import Streams
from heedful.evaluate import Interval, bootstrap
from heedful.evaluate.held_out import decisions, subject_means
from heedful.loop import start
from heedful.loop.bench import Bench
from heedful.loop.lessons import chosen_by_people, split_of, split_on
from heedful.policy import Loaded, Policy, load, replay
from heedful.store.registry import Version
from heedful.store.snapshot import Snapshot

FOLDER = "forgetting"
MOST = (
    1000  # subjects of a cohort that are looked at: the cost of a look does not grow with the log
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cohort:
    """Subjects who came at about the same time, and what two versions think of what they liked.

    Attributes:
        since, until: when the first and the last of them came, in the log's seconds.
        subjects: how many of them there are to look at.
        units: what they liked, held out.
        candidate, parent: the loss of each version, in nats per liked unit.
        rise: candidate minus parent, paired by subject.
    """

    since: float
    until: float
    subjects: int
    units: int
    candidate: float
    parent: float
    rise: Interval


@dataclass(frozen=True, slots=True)
class Forgetting:
    """A candidate beside its parent on every past cohort, the oldest first.

    Attributes:
        candidate, parent: names of versions.
        held_out: neither version was trained on what is looked at; False where nothing was held
            out, so that a small rise is less than people of that time would see.
        cohorts: those with anything to look at.
    """

    candidate: str
    parent: str
    held_out: bool
    cohorts: tuple[Cohort, ...]

    def beyond(self, limit: float) -> Cohort | None:
        """Return the cohort whose rise is shown to be above ``limit`` most clearly, if any is."""
        worst = max(self.cohorts, key=lambda cohort: cohort.rise.low, default=None)
        return worst if worst is not None and worst.rise.low > limit else None

    def words(self) -> str:
        """Say it in a sentence."""
        if not self.cohorts:
            return "Past cohorts: nobody's answers are held out to look at."
        kind = "held-out liked unit" if self.held_out else "liked unit, trained on"
        rises = "; ".join(
            f"{c.rise.mean:+.3f} [{c.rise.low:+.3f}, {c.rise.high:+.3f}]" for c in self.cohorts
        )
        return (
            f"Past cohorts, the oldest first: loss of {self.candidate} over that of its parent "
            f"{self.parent}, in nats per {kind}: {rises}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "candidate": self.candidate,
            "parent": self.parent,
            "held_out": self.held_out,
            "cohorts": [asdict(cohort) for cohort in self.cohorts],
            "words": self.words(),
        }


def forgetting(bench: Bench, version: Version) -> Forgetting | None:
    """Compare ``version`` with its parent on the past, as the log stood when it was trained.

    Returns:
        ``None`` where it has no parent, or one that cannot be grown to its units any more.
    """
    card = bench.registry.card(version.name)
    if card.parent is None or card.snapshot is None:
        return None
    snapshot = bench.log.snapshot(card.snapshot.watermark)
    own = load(bench.registry.folder(version.name))
    streams = bench.encode(snapshot, own.vocabulary, earned=bench.earned(snapshot, card.reward))
    before = _parent(bench, card.parent, own, streams, snapshot)
    if before is None:
        return None
    split = split_of(split_on(card, bench.config.pretrain), streams, snapshot)
    liked = chosen_by_people(streams) > 0
    held_out = np.sort(np.concatenate([split.validation, split.test]))
    slots = held_out[liked[held_out]] if len(held_out) else np.flatnonzero(liked)
    pair, window = (own.policy, before), bench.config.policy.window
    cohorts = tuple(
        _cohort(pair, streams, chosen, came, window=window)
        for chosen, came in _parts(bench, streams, snapshot, slots)
    )
    return Forgetting(version.name, card.parent, bool(len(held_out)), cohorts)


def keep_forgetting(runs: Path, found: Forgetting) -> Path:
    """Write it down for the report, in the place of what was found of that version before."""
    folder = runs / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{found.candidate}.json"
    new = folder / f".{found.candidate}.{os.getpid()}.new"
    new.write_text(json.dumps(found.to_dict()), "utf-8")
    return new.replace(place)


def kept_forgetting(runs: Path) -> Iterator[Mapping[str, Any]]:
    """Yield what was written down, the newest version first."""
    for file in sorted((runs / FOLDER).glob("[0-9]*.json"), reverse=True):
        yield json.loads(file.read_text("utf-8"))


def _parent(
    bench: Bench, name: str, own: Loaded, streams: Streams, snapshot: Snapshot
) -> Policy | None:
    """Return the parent over the units of ``own``, knowing what is known of them by now."""
    try:
        grown = start.grown(load(bench.registry.folder(name)), bench.domain, snapshot)
    except ValueError:
        return None
    if grown.vocabulary.units != own.vocabulary.units:
        return None
    chosen = np.unique(streams.slots.unit[chosen_by_people(streams) > 0])
    start.describe([grown.policy], grown.vocabulary, snapshot, chosen)
    return grown.policy


def _parts(
    bench: Bench, streams: Streams, snapshot: Snapshot, slots: Ints
) -> Iterator[tuple[Ints, Floats]]:
    """Yield the slots of each cohort, and when its subjects came.

    Cut are all subjects; those of whom nothing is held out and liked are then left out.
    """
    filled = np.flatnonzero(np.diff(streams.slot_offsets))
    first = streams.slot_offsets[filled]
    order = np.argsort(streams.slots.seq[first], kind="stable")
    came = snapshot.decisions.made_at[streams.slots.decision[first]]
    rng = np.random.default_rng(bench.config.workspace.seed)
    for members in np.array_split(order, bench.config.loop.cohorts):
        there = np.intersect1d(filled[members], streams.slots.stream[slots])
        if len(there) > MOST:
            there = np.sort(rng.choice(there, MOST, replace=False))
        if len(there):
            yield slots[np.isin(streams.slots.stream[slots], there)], came[members]


def _cohort(
    policies: tuple[Policy, Policy], streams: Streams, slots: Ints, came: Floats, *, window: int
) -> Cohort:
    candidate, parent = (losses(policy, streams, slots, window=window) for policy in policies)
    mine, before = (subject_means(streams, slots, loss) for loss in (candidate, parent))
    return Cohort(
        since=float(came.min()),
        until=float(came.max()),
        subjects=len(mine),
        units=len(slots),
        candidate=float(mine.mean()),
        parent=float(before.mean()),
        rise=bootstrap(mine - before, seed=0),
    )


@torch.no_grad()
def losses(policy: Policy, streams: Streams, slots: Ints, *, window: int) -> Floats:
    """Return ``-log p`` of the unit in each of ``slots``, chosen from what was possible then, [n].

    A unit that a rule of today's domain forbids would count as infinitely unlikely for every
    version; it is as unlikely as the least likely of the others instead.
    """
    found = np.zeros(len(streams.slots.unit))
    for decided, part in decisions(streams, slots, window=window, seen=None):
        found[decided] = -replay(policy, part)[part.mask].double().numpy()
    wanted = found[slots]
    finite = np.isfinite(wanted)
    return np.where(finite, wanted, wanted[finite].max(initial=0.0))
