"""A workspace made by hand, and the proof that the log says what the policies did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heedful.config import Serve
from heedful.contract import Observed, Streams, encode, groups_of
from heedful.policy import Channel, Loaded, Schema, Transformer, Vocabulary, load, replay, save
from heedful.record import ChoiceSet, Context, is_reviewed
from heedful.serve import Limits, Service, with_floor
from heedful.store import Log, Snapshot
from heedful.store.registry import Card, Code, Environment, Registry

KEY = b"a key for pseudonyms"
OPTIONS = Serve(slate=3, session_gap=100.0)
WINDOW = 12


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Shop:
    """24 items, slates of up to 4, clicks and ratings, the hour as a number of the context."""

    name, length, features = "shop", 4, 1
    channels = (
        Channel("click", binary=True, silence=0.0),
        Channel("rating", binary=False, low=1.0, high=5.0),
    )
    units = tuple(f"item-{i}" for i in range(24))

    def vocabulary(self, snapshot: Snapshot) -> Vocabulary:
        return Vocabulary(self.units)

    def schema(self, vocabulary: Vocabulary) -> Schema:
        return Schema(len(vocabulary), self.channels, self.features)

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        hour = context["hour"]
        assert isinstance(hour, int | float)
        return np.full(1, -1, np.int32), np.array([[hour / 24]], np.float32)

    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        return encode(self, snapshot, vocabulary, **options)

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        allowed, forbidden = request.get("allowed"), request.get("forbidden", ())
        return ChoiceSet(
            allowed=None if allowed is None else tuple(allowed),  # type: ignore[arg-type]
            forbidden=tuple(forbidden),  # type: ignore[arg-type]
            seen=not request.get("fresh", False),
            groups=groups_of(request),
        )


def opinionated(vocabulary: Vocabulary, *, seed: int, domain: Any) -> Transformer:
    """Return a small transformer with random weights, large enough to have opinions."""
    torch.manual_seed(seed)
    policy = Transformer(domain.schema(vocabulary), width=16, layers=1, heads=2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(4.0)
    return policy


def add_version(
    registry: Registry,
    *,
    seed: int,
    units: tuple[str, ...] = Shop.units,
    domain: Any = None,
    policy: Any = None,
) -> str:
    """Register ``policy``, or a small transformer."""
    vocabulary = Vocabulary(units)
    policy = policy or opinionated(vocabulary, seed=seed, domain=domain or Shop())
    card = Card(
        kind="transformer",
        step="test",
        parent=None,
        snapshot=None,
        configuration={},
        seed=seed,
        code=Code(version="test", revision=None, digest="0"),
        environment=Environment(python="3", platform="test", device="cpu", threads=1, packages={}),
        created_at=0.0,
    )
    with registry.new(card) as draft:
        save(policy, vocabulary, draft.folder)
    return draft.version.name


def load_exactly(folder: Path) -> Loaded:
    """Return a policy that computes in float64, where a replay leaves no room for excuses."""
    loaded = load(folder)
    loaded.policy.double()  # type: ignore[attr-defined]
    return loaded


class Workspace:
    """A folder with a log, a registry and one live version."""

    def __init__(self, folder: Path, *, live: bool = True, domain: Any = None) -> None:
        self.folder, self.domain, self.clock = folder, domain or Shop(), Clock()
        self.registry = Registry.open(folder)
        if live and self.registry.live() is None:
            version = add_version(
                self.registry,
                seed=1,
                units=self.domain.vocabulary(Snapshot.of([])).units,
                domain=self.domain,
            )
            self.registry.promote(version, by="test", why="the first")
        self.log = Log.open(folder / "log.db", write=True)

    def serve(self, **options: Any) -> Service:
        limits = options.pop("limits", Limits(subjects=64))
        settings = {"options": OPTIONS, "window": WINDOW, "clock": self.clock, **options}
        return Service(self.log, self.registry, self.domain, key=KEY, limits=limits, **settings)

    def close(self) -> None:
        self.log.close()
        self.registry.close()


def replay_error(
    workspace: Workspace,
    *,
    floor: float = OPTIONS.floor,
    window: int = WINDOW,
    load: Callable[[Path], Loaded] = load,
) -> float:
    """Return the largest difference between a logged and a replayed log-probability.

    Raises:
        AssertionError: some logged unit was not replayed.
    """
    snapshot = workspace.log.snapshot()
    worst, n_replayed = 0.0, 0
    for code, version in enumerate(snapshot.names.policies):
        if is_reviewed(version):  # a person was in between: nobody's probability
            continue
        loaded = load(workspace.registry.folder(version))
        streams = workspace.domain.encode(snapshot, loaded.vocabulary)
        mine = snapshot.decisions.policy[streams.slots.decision] == code
        batch = streams.batch(streams.windows(window))
        with torch.no_grad():
            logps = replay(with_floor(loaded.policy, floor), batch)
        wanted = batch.mask & torch.from_numpy(
            snapshot.decisions.policy[batch.decisions.numpy().clip(min=0)] == code
        )
        n_replayed += int(wanted.sum())
        assert int(wanted.sum()) == int(mine.sum())
        difference = (logps - batch.behaviour_logps)[wanted].abs()
        worst = max(worst, float(difference.max()))
    reviewed = [is_reviewed(name) for name in snapshot.names.policies]
    own = ~np.array(reviewed)[snapshot.decisions.policy[snapshot.decisions.of_unit]]
    assert n_replayed == own.sum()
    return worst
