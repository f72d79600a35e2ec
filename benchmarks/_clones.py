"""Clones of players, trained and asked about what they were not trained on."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from heedful.config import Pretrain
from heedful.contract import Reading, Streams
from heedful.domains.games import Games
from heedful.evaluate import Interval, bootstrap
from heedful.evaluate.held_out import Split, by_episode, held_out_nll
from heedful.loop.lessons import without_answers
from heedful.loop.pretrain import Reread, as_recorded, pretrain
from heedful.loop.run import Run
from heedful.policy import Policy, Vocabulary, maker
from heedful.store.importing import Findings
from heedful.store.snapshot import Snapshot

KEY = bytes(16)


def snapshot_of(games: Games, rows: Iterable[Mapping[str, Any]]) -> Snapshot:
    """Return what ``heedful import`` makes of rows in a file.

    Raises:
        ValueError: a row is refused.
    """
    findings, how = Findings(), Reading(key=KEY, made_by="players", now=2e9)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "matches.jsonl"
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(f"{json.dumps(row)}\n" for row in rows)
        read = list(games.read_file(file, findings, how))
    bad = next((row.problem for row in read if row.problem is not None), None)
    if bad is not None:
        raise ValueError(str(bad))
    sets = {choices.digest(): choices for row in read for choices in row.choice_sets}
    records = (record for row in read for record in row.records)
    return Snapshot.of(records, choice_sets=list(sets.values()))


@dataclass(frozen=True, slots=True)
class Held:
    """Streams, and what is held out of them.

    Attributes:
        streams: everything that was played.
        split: what is learned from, and what is not.
        window: events a policy looks back.
    """

    streams: Streams
    split: Split
    window: int

    @classmethod
    def of(
        cls,
        games: Games,
        snapshot: Snapshot,
        vocabulary: Vocabulary,
        place: np.ndarray,
        *,
        share: float,
        window: int,
    ) -> Held:
        """Hold out a ``share`` twice, by ``place`` [N], within [0, 1) and alike in a group."""
        streams = games.encode(snapshot, vocabulary)
        return cls(streams, by_episode(streams, place, share), window)

    def trained(
        self,
        kind: str,
        section: Pretrain,
        *,
        seed: int,
        reread: Reread = as_recorded,
        **options: object,
    ) -> Policy:
        """Return a network of ``kind`` after pre-training on what is not held out."""
        torch.manual_seed(seed)
        policy = maker(kind)(self.streams.schema, **options)
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder), {})
            pretrain(
                policy,
                without_answers(self.streams, ~self.split.train),
                section,
                run,
                train=self.split.train.astype(np.float64),
                validation=self.split.validation,
                window=self.window,
                seed=seed,
                seen=True,
                reread=reread,
            )
            run.close()
        if isinstance(policy, nn.Module):
            policy.eval()
        return policy

    def nll(self, policy: Policy, streams: Streams | None = None) -> np.ndarray:
        """Return -log p of each move of the test, in nats, [n]; of other streams if given."""
        streams = self.streams if streams is None else streams
        return held_out_nll(policy, streams, self.split.test, window=self.window)


def spread(place: np.ndarray, names: np.ndarray, seed: int) -> np.ndarray:
    """Return a place within [0, 1) for each of ``names[place]``, evenly spread, in random order."""
    order = np.random.default_rng(seed).permutation(len(names))
    return ((order + 0.5) / len(names))[place]


def by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the mean of ``values`` [n] in each group that has any."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    means: np.ndarray = np.bincount(place, weights=values) / counts
    return means


def paired(one: np.ndarray, other: np.ndarray, groups: np.ndarray) -> Interval:
    """Return by how much ``one`` is above ``other``, groups counting alike, with its interval."""
    return bootstrap(by_group(one - other, groups), seed=0)


def signed(interval: Interval, digits: int = 3) -> str:
    """Return a difference and its interval as text."""
    return f"{interval.mean:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"
