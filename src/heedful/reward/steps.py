"""The steps of logged episodes, how a model sees them, and the clips that people compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from heedful.contract import Reader
from heedful.contract.clips import Step
from heedful.policy import Vocabulary
from heedful.record import Kind, Outcome, Span
from heedful.reward.clips import ClipPairs
from heedful.reward.rewards import RewardError
from heedful.store.snapshot import Snapshot

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_CROSSED = 4096
"""Products of features and units up to which a model sees each of them."""

_PREFERENCE = list(Kind).index(Kind.PREFERENCE)
_SAID = {Outcome.CHOSEN: 1.0, Outcome.REJECTED: 0.0, Outcome.TIE: 0.5}


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparison of clips as it stands in the log.

    Attributes:
        left: the clip that was asked about.
        right: what it was compared with.
        outcome: 1 where the left one is better, 0 where the right one is, 1/2 where neither.
        by: who said so, a pseudonym.
    """

    left: Span
    right: Span
    outcome: float
    by: str


@dataclass(frozen=True, eq=False)
class Episodes:
    """The episodes of a snapshot, step by step.

    Attributes:
        snapshot: what happened.
    """

    snapshot: Snapshot

    @cached_property
    def rows(self) -> dict[str, Ints]:
        """The decisions of each episode in the order of their steps; only of those without gaps."""
        made = self.snapshot.decisions
        order = np.lexsort((made.step, made.episode))
        cuts = np.flatnonzero(np.diff(made.episode[order])) + 1
        found = {}
        for rows in np.split(order, cuts):
            if len(rows) and (made.step[rows] == np.arange(len(rows))).all():
                found[self.snapshot.names.episodes[int(made.episode[rows[0]])]] = rows
        return found

    def holds(self, span: Span) -> bool:
        """Say whether all steps of a clip are here."""
        return span.episode in self.rows and span.stop <= len(self.rows[span.episode])

    def until(self, span: Span) -> list[Step]:
        """Return the steps of a clip and all before them, from the beginning of the episode."""
        return [self.step(row) for row in self.rows[span.episode][: span.stop].tolist()]

    def step(self, row: int) -> Step:
        """Return a decision of the snapshot."""
        made, names = self.snapshot.decisions, self.snapshot.names.units
        units = made.units[made.offsets[row] : made.offsets[row + 1]].tolist()
        return Step(json.loads(made.contexts[row] or "{}"), tuple(names[unit] for unit in units))

    def judged(self) -> list[Judged]:
        """Return every comparison of clips in the log that was not taken back."""
        said, found = self.snapshot.feedback, []
        standing = (said.kind == _PREFERENCE) & (said.decision < 0) & ~said.retracted
        for row in np.flatnonzero(standing & (said.retracts < 0)).tolist():
            told = json.loads(said.texts[row])
            over = told["value"]["over"]
            if isinstance(over, list):
                outcome = _SAID[Outcome(told["value"]["outcome"])]
                by = self.snapshot.names.people[int(said.by[row])]
                found.append(Judged(Span(*told["span"]), Span(*over), outcome, by))
        return found


@dataclass(frozen=True, eq=False)
class StepReader:
    """How a reward model sees the steps of logged episodes, in any domain.

    A step is the sum of its context's numbers, how often each unit was chosen, and, while they are
    few, the products of both.

    Attributes:
        reader: the domain.
        vocabulary: its units; one that it does not know is not seen.
    """

    reader: Reader
    vocabulary: Vocabulary

    @property
    def crossed(self) -> bool:
        """Whether products are seen."""
        return self.reader.features * len(self.vocabulary) <= MOST_CROSSED

    @property
    def width(self) -> int:
        """F."""
        seen, units = self.reader.features, len(self.vocabulary)
        return seen + units + (seen * units if self.crossed else 0)

    def __call__(self, steps: Sequence[Step]) -> Floats:
        """Return float64 [n, F]."""
        seen = np.zeros((len(steps), self.reader.features))
        units = np.zeros((len(steps), len(self.vocabulary)))
        for number, step in enumerate(steps):
            seen[number] = self.reader.observe(step.context, self.vocabulary)[1].sum(0)
            for unit in step.units:
                if unit in self.vocabulary:
                    units[number, self.vocabulary[unit]] += 1.0
        return self.features(seen, units)

    def features(self, seen: Floats, units: Floats) -> Floats:
        """Return float64 [n, F] of the numbers observed, [n, f], and how often units were chosen.

        Args:
            seen: what the domain reads of each context.
            units: [n, V].
        """
        parts = [seen, units]
        if self.crossed:
            parts.append((seen[:, :, None] * units[:, None, :]).reshape(len(seen), -1))
        return np.concatenate(parts, axis=1)

    def clips(self, episodes: Episodes, spans: Sequence[Span]) -> Floats:
        """Return clips as features, [n, T, F], shorter ones filled up with zeros.

        Raises:
            RewardError: a step of one is not in the log.
        """
        gone = next((span for span in spans if not episodes.holds(span)), None)
        if gone is not None:
            raise RewardError(f"{gone} is not, or not all, in the log")
        length = max((span.stop - span.start for span in spans), default=0)
        made = np.zeros((len(spans), length, self.width))
        for number, span in enumerate(spans):
            rows = episodes.rows[span.episode][span.start : span.stop].tolist()
            made[number, : len(rows)] = self([episodes.step(row) for row in rows])
        return made

    def pairs(self, episodes: Episodes, judged: Sequence[Judged]) -> ClipPairs:
        """Return comparisons as features; those of clips that are not all here are left out."""
        held = [one for one in judged if episodes.holds(one.left) and episodes.holds(one.right)]
        both = self.clips(episodes, [one.left for one in held] + [one.right for one in held])
        outcomes = np.array([one.outcome for one in held], np.float64)
        return ClipPairs(both[: len(held)], both[len(held) :], outcomes)
