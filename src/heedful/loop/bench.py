"""What every step works with: what is known, where results go, and what was asked for."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heedful.config import Config
from heedful.config import Reward as RewardSection
from heedful.contract import Domain, Streams
from heedful.loop.progress import Reporter, Silent
from heedful.policy import (
    Vocabulary,
)
from heedful.record import pseudonym
from heedful.reward import (
    Earned,
    Fitted,
    ReadRatings,
    Reward,
    RewardError,
    earn,
    from_config,
)
from heedful.reward.answers import Answers
from heedful.reward.ensemble import pessimistic
from heedful.reward.fitted import ANSWERS
from heedful.store.log import Log
from heedful.store.registry import (
    Registry,
    Shelf,
)
from heedful.store.snapshot import Snapshot

NEWEST = "newest"
SPOKEN = {"clicks": "click", "ratings": "rating"}
"""The kind of feedback by the kind of reward that a model can expect."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every step works with: what is known, where results go, and what was asked for.

    Attributes:
        domain: what a unit is.
        log: read only.
        registry: written.
        config: what was asked for.
        runs: the folder of training runs.
        rewards: the folder of fitted rewards.
        secret: the workspace's; who is assigned to what follows from it, and nobody else can tell.
        clock: seconds since the epoch; the log's time in simulations.
        reporter: makes what shows progress, from a title.
    """

    domain: Domain
    log: Log
    registry: Registry
    config: Config
    runs: Path
    rewards: Path
    secret: bytes
    clock: Callable[[], float] = time.time
    reporter: Callable[[str], Reporter] = lambda _title: Silent()

    def __post_init__(self) -> None:
        """Use as many threads as were asked for: the bits of the result depend on it."""
        torch.set_num_threads(self.config.workspace.threads)

    @property
    def folder(self) -> Path:
        """The workspace's."""
        return self.runs.parent

    def salt(self, purpose: str) -> str:
        """Return 32 hexadecimal digits for ``purpose``, the same for the same purpose."""
        return hmac.new(self.secret, purpose.encode(), hashlib.sha256).hexdigest()[:32]

    @property
    def trusted(self) -> list[str]:
        """Return the pseudonyms of the people under ``[tune] trusted``."""
        return [pseudonym(user, self.secret) for user in self.config.tune.trusted]

    def asked_for(self) -> dict[str, dict[str, Any]]:
        """Return the configuration for a card: no user id of anybody stands in one."""
        asked = self.config.canonical()
        asked["tune"]["trusted"] = self.trusted
        return asked

    @property
    def shelf(self) -> Shelf:
        """The fitted rewards."""
        return Shelf(self.rewards)

    def earned(self, snapshot: Snapshot, reward: str | None = NEWEST) -> Earned:
        """Return what the units of ``snapshot`` earned by what people said: what is judged by.

        Comments are read where that was asked for, as they are people's words. What a model makes
        of silence does not count here: a policy would be judged by what it was trained to please.

        Args:
            snapshot: what happened.
            reward: the fitted reward that reads comments, ``None`` for none; the newest by default,
                if there is one. A trial is judged by its candidate's, so that what earlier subjects
                earned stays what it was.
        """
        return self._earn(snapshot, self.reads(reward))

    def reads(self, reward: str | None = NEWEST) -> Reward:
        """Return what reads people's words and numbers as ``[reward]`` asks; see :meth:`earned`."""
        section = self.config.reward
        name = self.shelf.newest() if reward == NEWEST else reward
        ratings = None
        if section.comments and name is not None:
            reader = Fitted.load(self.shelf.folder(name)).comments
            ratings = ReadRatings(section, reader)
        return from_config(section, ratings)

    def learned(self, snapshot: Snapshot, reward: str | None) -> Earned:
        """Return what the units of ``snapshot`` earned for the purpose of learning.

        Over what :meth:`earned` says: ratings are made comparable between subjects, and a model
        says what silence is worth, where those were asked for.

        Args:
            snapshot: what happened.
            reward: the fitted reward; ``None`` to learn from what people said alone.

        Raises:
            RewardError: the fitted reward lacks a part that ``[reward]`` asks for.
        """
        section = self.config.reward
        if reward is None or not section.fitted:
            return self._earn(snapshot, from_config(section))
        folder = self.shelf.folder(reward)
        fitted = Fitted.load(folder)
        _require_parts(reward, fitted, section)
        scales = fitted.scales if section.normalise == "subject" else None
        reader = fitted.comments if section.comments else None
        numbers = from_config(section, ReadRatings(section, reader, scales))
        if section.silence == "zero":
            return self._earn(snapshot, numbers)
        expected, silence = self._expected(snapshot, folder / ANSWERS)
        return self._earn(snapshot, numbers, expected, silence)

    def encode(
        self,
        snapshot: Snapshot,
        vocabulary: Vocabulary,
        *,
        gamma: float = 0.0,
        earned: Earned | None = None,
    ) -> Streams:
        """Return the streams of ``snapshot`` with ``earned`` (by default, what people said)."""
        earned = self.earned(snapshot, None) if earned is None else earned
        return self.domain.encode(
            snapshot, vocabulary, rewards=earned.units, matured=earned.matured, gamma=gamma
        )

    def _earn(
        self,
        snapshot: Snapshot,
        reward: Reward,
        expected: np.ndarray | None = None,
        silence: float | None = 0.0,
    ) -> Earned:
        return earn(
            snapshot,
            reward,
            maturity=self.config.reward.maturity,
            now=self.clock(),
            expected=expected,
            silence=silence,
        )

    def _expected(self, snapshot: Snapshot, folder: Path) -> tuple[np.ndarray, float | None]:
        """Return what a model expects of each unit, [M], and what silence says of its kind."""
        section, kind = self.config.reward, SPOKEN[self.config.reward.kind]
        answers = Answers.load(folder, self.config.policy.window)
        streams = self.domain.encode(snapshot, answers.vocabulary)
        mean, spread = answers.expected(streams, kind)
        expected = np.full(len(snapshot.decisions.units), np.nan)
        expected[units_of(streams, snapshot)] = pessimistic(mean, spread, section.pessimism)
        [channel] = (one for one in self.domain.channels if one.kind == kind)
        return expected, channel.silence


def units_of(streams: Streams, snapshot: Snapshot) -> np.ndarray:
    """Return the flat unit of ``snapshot`` in each slot of ``streams``, int64 [U]."""
    flat: np.ndarray = snapshot.decisions.offsets[streams.slots.decision] + streams.slots.position
    return flat


def _require_parts(name: str, fitted: Fitted, section: RewardSection) -> None:
    lacks = [("comments = true", section.comments and fitted.comments is None)]
    lacks += [('normalise = "subject"', section.normalise != "none" and fitted.scales is None)]
    for asked, missing in lacks:
        if missing:
            raise RewardError(
                f"the fitted reward {name} was made without {asked}, which [reward] asks for now: "
                "fit it anew with heedful reward"
            )


def repeats(bench: Bench) -> bool:
    """Say whether the domain lets a subject have a unit twice."""
    return bench.domain.choices({}).seen
