"""The drifting shop: everybody's tastes change, and a loop that goes on learning follows them.

One genre is the favourite of most people, and from one decision on another one is. New people come
in every round, through the service; what is learned from is the log. Beside the loop stand the same
first version frozen, one retrained from it at every round, the oracle, which sees tastes, and
slates drawn at random.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful import demo
from heedful.config import ConfigWarning
from heedful.domains.recommendation.shop import ShopParameters, oracle
from heedful.loop import steps
from heedful.loop.forgetting import forgetting
from heedful.loop.turn import newest_network
from heedful.serve import Service
from heedful.store.registry import Version
from heedful.workspace import Workspace

WARM, GATED, ANEW, FROZEN = "warm", "gated", "anew", "frozen"
ARMS = (GATED, WARM, ANEW, FROZEN)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        people: who come in every round, new ones each time; they come in groups.
        groups: the judge looks after each.
        decisions: slates each of them sees.
        before, after: rounds before and after tastes change.
        over: rounds that the change takes; 0 is at once.
    """

    people: int = 200
    groups: int = 4
    decisions: int = 10
    before: int = 6
    after: int = 8
    over: int = 0

    @property
    def rows(self) -> int:
        """Decisions in a round."""
        return self.people * self.decisions

    def shop(self, world: int, number: int) -> ShopParameters:
        """Return the shop as the people of round ``number`` (from 0) find it."""
        return ShopParameters(
            world_seed=world,
            genre_skew=3.0,
            item_boredom=0.1,
            genre_boredom=0.0,
            turn_at=(self.before - number) * self.decisions,
            turn_over=max(1, self.over * self.decisions),
        )


class Visitors(demo.People):
    """People whose exact click rate is noted, whatever they happen to click."""

    def __init__(self, parameters: ShopParameters, n: int, seed: int, name: str) -> None:
        """Draw ``n`` people from ``seed``."""
        super().__init__(parameters, n, seed, name)
        self.shop: demo.Watched = demo.Watched(n, parameters)
        self.shop.reset(seed=seed)


def served(arm: str, world: int, scale: Scale, changes: Mapping[str, object]) -> dict[str, Any]:
    """Let all rounds pass; return the exact click rate of each, and what became of the past."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)  # a high rate, knowingly, as in the demo
        with opened(Path(folder) / "shop", world, scale, changes) as workspace:
            clock = demo.Clock(demo.OPENING)
            workspace.clock = clock
            first = workspace.pretrain()
            workspace.promote(first, by="benchmark")
            clicks, past, seen = [], [], 0
            for number in range(scale.before + scale.after):
                with workspace.serving() as service:
                    clicks.append(one_round(workspace, service, number, world, scale, clock, arm))
                version = learned(workspace, arm, first, seen)
                seen = workspace.log.watermark()
                found = None if version is None else forgetting(workspace.bench(), version)
                past.append(None if found is None else found.to_dict())
    return {"clicks": clicks, "past": past}


def opened(folder: Path, world: int, scale: Scale, changes: Mapping[str, object]) -> Workspace:
    """Return a workspace with what people bought before the shop had a policy."""
    size = demo.Scale(people=scale.people, decisions=scale.decisions, history=(400, 15))
    overrides: dict[str, object] = {
        "gate.maximum_subjects": 3 * scale.people,
        "serve.floor": 0.02,
        **changes,
    }
    return demo.prepared(folder, scale.shop(world, 0), size, world, overrides)


def one_round(
    workspace: Workspace,
    service: Service,
    number: int,
    world: int,
    scale: Scale,
    clock: demo.Clock,
    arm: str,
) -> float:
    """Let the people of a round come; return the clicks per item that were to be expected."""
    seen = []
    for group in range(scale.groups):
        people = Visitors(*visitors(number, group, world, scale))
        for _ in range(scale.decisions):
            people.visit(service)
            clock.now += demo.SECONDS_PER_DECISION
        seen.append(np.mean(people.shop.expected))
        if arm == GATED and workspace.registry.trial() is not None:
            workspace.turn()
    return float(np.mean(seen))


def visitors(
    number: int, group: int, world: int, scale: Scale
) -> tuple[ShopParameters, int, int, str]:
    """Return what a group of people is drawn from: the same ones for all arms."""
    seed = 100_000 * world + 1000 * number + group
    n = scale.people // scale.groups
    return scale.shop(world, number), n, seed, f"person-{number}-{group}"


def learned(workspace: Workspace, arm: str, first: Version, seen: int) -> Version | None:
    """Learn from the round that is over, as ``arm`` does; return the new version, if there is one.

    Args:
        workspace: the arm's own.
        arm: which of them.
        first: the version that was pre-trained on purchases.
        seen: the log's watermark at the end of the round before.
    """
    bench = workspace.bench()
    if arm == FROZEN:
        return None
    if arm == GATED:
        done = None if workspace.registry.trial() is not None else workspace.turn()
        begun = done is not None and done.action == "trial begun" and done.policy is not None
        return workspace.registry.version(str(done.policy)) if begun and done else None
    if arm == WARM:
        version = steps.reinforced(bench, newest_network(bench) or first)
    else:
        version = steps.reinforced(bench, first, after=seen)
    return workspace.promote(version, by="benchmark", why="every candidate is served at once")


def references(world: int, scale: Scale) -> dict[str, list[float]]:
    """Return the click rates of the oracle and of slates drawn at random, on the same people."""
    found: dict[str, list[float]] = {"oracle": [], "random": []}
    for number in range(scale.before + scale.after):
        for name, rates in found.items():
            seen = []
            for group in range(scale.groups):
                parameters, n, seed, _ = visitors(number, group, world, scale)
                shop = demo.Watched(n, parameters)
                shop.reset(seed=seed)
                shop.action_space.seed(seed)
                for _ in range(scale.decisions):
                    shop.step(oracle(shop) if name == "oracle" else shop.action_space.sample())
                seen.append(np.mean(shop.expected))
            rates.append(float(np.mean(seen)))
    return found
