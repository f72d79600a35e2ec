"""Rollouts as records: what a vector environment and a domain make of a policy's round."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from heedful.contract import Domain, Environment
from heedful.loop.collect import Collector
from heedful.loop.interact import Rollout
from heedful.policy import Batch, Policy, Vocabulary
from heedful.reward import Given, Reward
from heedful.store.snapshot import Snapshot

GIVEN = Given()
SAMPLES = 4
"""Decisions of a round that are shown to people."""


class Recorded:
    """Plays a policy with a :class:`~heedful.loop.collect.Collector`, and encodes what happened.

    The same records, the same ``encode`` and the same batches as for a log: whatever a domain can
    be served in, it can be played in. A decision that ``reward`` says nothing of is not scored.
    """

    def __init__(
        self,
        domain: Domain,
        vocabulary: Vocabulary,
        environment: Environment,
        *,
        decisions: int,
        window: int,
        gamma: float,
        seed: int,
        fresh: bool,
        reward: Reward = GIVEN,
        text: Callable[[Sequence[str]], str] = " ".join,
    ) -> None:
        """Reset ``environment``.

        Args:
            domain: what a unit is.
            vocabulary: what the policy may choose.
            environment: where it is played.
            decisions: of each environment in a round.
            window: events a stream is long; even.
            gamma: discount between decisions.
            seed: of the environment and of the draws.
            fresh: reset the environment for every round, with a seed of its own. Rounds then do not
                depend on each other, so learning can be taken up with the same bits; it suits
                episodes that are over within a round, as those of one reply are.
            reward: reads what was said of decisions; by default the numbers the environment gives.
            text: makes a text of units, for samples.
        """
        self._domain, self._vocabulary = domain, vocabulary
        self._decisions, self._window, self._gamma = decisions, window, gamma
        self._seed, self._fresh = seed, fresh
        self._reward, self._text = reward, text
        self._collector = Collector(domain, vocabulary, environment, window=window, seed=seed)

    def play(self, policy: Policy, number: int) -> Rollout:
        """Play ``policy`` for a round; see :class:`heedful.loop.interact.Rollouts`."""
        snapshot = self.record(policy, number)
        earned = self._earned(snapshot)
        streams = self._domain.encode(
            snapshot, self._vocabulary, rewards=np.nan_to_num(earned), gamma=self._gamma
        )
        batch = streams.batch(streams.windows(self._window))
        batch = self._grouped(_scored(batch, _unscored(snapshot, earned)))
        totals = np.add.reduceat(earned, snapshot.decisions.offsets[:-1])
        known = ~np.isnan(totals)
        return Rollout(
            batch,
            score=float(totals[known].mean()) if known.any() else float("nan"),
            metrics={"unscored": float((~known).sum()), **self._unfinished(snapshot)},
            samples=self._samples(snapshot, totals),
        )

    def record(self, policy: Policy, number: int) -> Snapshot:
        """Play ``policy`` for a round; return what happened as it would stand in a log."""
        if self._fresh:
            seeds = np.random.SeedSequence([self._seed, number])
            self._collector.restart(int(seeds.generate_state(1)[0]))
        return self._collector.play(policy, self._decisions)

    def _earned(self, snapshot: Snapshot) -> npt.NDArray[np.float64]:
        """Return what each unit earned, [M]; NaN for all units of a decision with no reward."""
        earned = self._reward(snapshot)
        heard = np.zeros(snapshot.decisions.n, bool)
        np.logical_or.at(heard, snapshot.decisions.of_unit, ~np.isnan(earned))
        return np.where(heard[snapshot.decisions.of_unit], np.nan_to_num(earned), np.nan)

    def _grouped(self, batch: Batch) -> Batch:
        groups = np.array(self._collector.groups, np.int64)
        if not (groups >= 0).any():
            return batch
        found = torch.from_numpy(groups)[batch.decisions.clamp(min=0)]
        return batch.filled(groups=torch.where(batch.mask, found, -1))

    def _unfinished(self, snapshot: Snapshot) -> dict[str, float]:
        """Return the share of decisions without their end; nothing where decisions have none."""
        decisions, sets = snapshot.decisions, snapshot.names.choice_sets
        ends = [sets[int(code)].end for code in decisions.choices]
        if not any(ends):
            return {}
        units, last = snapshot.names.units, decisions.units[decisions.offsets[1:] - 1]
        cut = [units[int(u)] != end for u, end in zip(last, ends, strict=True)]
        return {"unfinished": float(np.mean(cut))}

    def _samples(
        self, snapshot: Snapshot, totals: npt.NDArray[np.float64]
    ) -> list[dict[str, object]]:
        decisions, names = snapshot.decisions, snapshot.names.units
        shown = []
        for row in range(min(SAMPLES, decisions.n)):
            units = decisions.units[decisions.offsets[row] : decisions.offsets[row + 1]]
            shown.append(
                {
                    "context": json.loads(decisions.contexts[row] or "{}"),
                    "decision": self._text([names[int(unit)] for unit in units]),
                    "reward": None if np.isnan(totals[row]) else float(totals[row]),
                }
            )
        return shown


def _unscored(snapshot: Snapshot, earned: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which decisions nobody scored, bool [N]."""
    silent = np.zeros(snapshot.decisions.n, bool)
    np.logical_or.at(silent, snapshot.decisions.of_unit, np.isnan(earned))
    return silent


def _scored(batch: Batch, unscored: npt.NDArray[np.bool_]) -> Batch:
    """Return the batch in which rewards of decisions nobody scored are not known (NaN)."""
    if not unscored.any():
        return batch
    silent = torch.from_numpy(unscored)[batch.decisions.clamp(min=0)] & batch.mask
    return batch.filled(rewards=batch.rewards.masked_fill(silent, torch.nan))
