"""A shop in which everybody's tastes change, and policies that learn from it in different ways."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful import demo
from heedful.config import ConfigWarning
from heedful.domains.recommendation.shop import ShopParameters, oracle
from heedful.loop import steps
from heedful.loop.forever import look
from heedful.loop.forgetting import forgetting
from heedful.loop.turn import newest_network
from heedful.store.registry import Version
from heedful.workspace import Workspace

GATED, WARM, ANEW, FROZEN = "gated", "warm", "anew", "frozen"
FLOOR = 0.02
SETTINGS: dict[str, object] = {
    "serve.floor": FLOOR,
    "reinforce.replay": 0.5,
    "reinforce.entropy": 0.02,
}


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        people: who come in every round, new ones each time; they come in groups.
        groups: the loop looks after each.
        decisions: slates each of them sees.
        before, after: rounds before and after tastes change.
        over: rounds that the change takes; 0 is at once.
    """

    people: int = 200
    groups: int = 4
    decisions: int = 10
    before: int = 5
    after: int = 6
    over: int = 0

    @property
    def rows(self) -> int:
        """Decisions in a round."""
        return self.people * self.decisions

    def shop(self, world: int, number: int) -> ShopParameters:
        """Return the shop as the people of round ``number`` (from 0) find it.

        Nearly all have the same favourite genre, and nobody tires of anything: what there is to
        follow is what everybody likes.
        """
        return ShopParameters(
            world_seed=world,
            genre_skew=5.0,
            taste_spread=0.2,
            item_boredom=0.0,
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


def served(
    arms: Sequence[str], world: int, scale: Scale, changes: Mapping[str, object]
) -> dict[str, dict[str, Any]]:
    """Let all rounds pass in the life of each arm.

    Until tastes change all arms are the first one; there its workspace is copied for the others.

    Returns:
        By arm: the exact click rate of each round, and its candidates beside their parents.
    """
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)  # a high rate, knowingly, as in the demo
        folder = Path(place) / arms[0]
        life = Life(folder, world, scale, changes)
        with opened(folder, world, scale, changes) as workspace:
            workspace.clock = life.clock
            workspace.promote(workspace.pretrain(), by="benchmark")
        for number in range(scale.before):
            life.round(number, arms[0])
        lives = {arms[0]: life} | {arm: life.copied(Path(place) / arm) for arm in arms[1:]}
        for arm, one in lives.items():
            for number in range(scale.before, scale.before + scale.after):
                one.round(number, arm)
    return {
        arm: {"clicks": one.clicks, "all": one.all_clicks, "past": one.past}
        for arm, one in lives.items()
    }


def opened(folder: Path, world: int, scale: Scale, changes: Mapping[str, object]) -> Workspace:
    """Return a workspace with what people bought before the shop had a policy.

    A trial that has not convinced ends after the people of one round: what its candidate learned
    from may be what people liked before. The loop trains as soon as half a round is new.
    """
    size = demo.Scale(people=max(100, scale.people), decisions=scale.decisions, history=(400, 15))
    return demo.prepared(folder, scale.shop(world, 0), size, world, settings(scale, changes))


def settings(scale: Scale, changes: Mapping[str, object]) -> dict[str, object]:
    """Return what is other than in the demo."""
    own = {
        "gate.minimum_subjects": scale.people // 4,
        "gate.maximum_subjects": scale.people,
        "loop.rows": scale.rows // 2,
    }
    return {**own, **SETTINGS, **changes}


@dataclass
class Life:
    """One workspace through the rounds.

    Attributes:
        folder: the workspace.
        world, scale: of the shop.
        changes: settings of the arm.
        clock: the shop's.
        clicks: clicks per item that were to be expected, by round, from people's sixth slate on.
        all_clicks: the same of all their slates.
        past: the candidate of each round on past cohorts; ``None`` where the round made none.
        seen: the log's watermark at the end of the last round.
    """

    folder: Path
    world: int
    scale: Scale
    changes: Mapping[str, object]
    clock: demo.Clock = field(default_factory=lambda: demo.Clock(demo.OPENING))
    clicks: list[float] = field(default_factory=list)
    all_clicks: list[float] = field(default_factory=list)
    past: list[dict[str, Any] | None] = field(default_factory=list)
    seen: int = 0

    def copied(self, folder: Path) -> Life:
        """Return the same life so far, in a workspace of its own."""
        shutil.copytree(self.folder, folder)
        clock = demo.Clock(self.clock.now)
        return replace(
            self,
            folder=folder,
            clock=clock,
            clicks=self.clicks[:],
            all_clicks=self.all_clicks[:],
            past=self.past[:],
        )

    def round(self, number: int, arm: str) -> None:
        """Let people come, then learn from them as ``arm`` does."""
        with Workspace.open(self.folder, settings(self.scale, self.changes)) as workspace:
            workspace.clock = self.clock
            late, all_of_them = self._come(workspace, number, arm)
            self.clicks.append(late)
            self.all_clicks.append(all_of_them)
            version = learned(workspace, arm, self.seen)
            self.seen = workspace.log.watermark()
            found = None if version is None else forgetting(workspace.bench(), version)
            self.past.append(None if found is None else found.to_dict())

    def _come(self, workspace: Workspace, number: int, arm: str) -> tuple[float, float]:
        late, seen = [], []
        with workspace.serving(seed=number) as service:
            for group in range(self.scale.groups):
                people = Visitors(*visitors(number, group, self.world, self.scale))
                for _ in range(self.scale.decisions):
                    people.visit(service)
                    self.clock.now += demo.SECONDS_PER_DECISION
                late.append(people.shop.late())
                seen.append(np.mean(people.shop.expected))
                if arm == GATED:
                    look(workspace.bench())  # settles what is on trial
                    look(workspace.bench())  # then trains, if there is enough to learn from
        return float(np.mean(late)), float(np.mean(seen))


def visitors(
    number: int, group: int, world: int, scale: Scale
) -> tuple[ShopParameters, int, int, str]:
    """Return what a group of people is drawn from: the same ones for all arms."""
    seed = 100_000 * world + 1000 * number + group
    n = scale.people // scale.groups
    return scale.shop(world, number), n, seed, f"person-{number}-{group}"


def learned(workspace: Workspace, arm: str, seen: int) -> Version | None:
    """Learn from the round that is over, as ``arm`` does; return the new version, if there is one.

    Args:
        workspace: the arm's own.
        arm: which of them.
        seen: the log's watermark at the end of the round before.
    """
    if arm in (GATED, FROZEN):
        return None  # the loop has learned while people came
    bench = workspace.bench()
    first = workspace.registry.versions()[0]  # pre-trained on purchases
    if arm == WARM:
        version = steps.reinforced(bench, newest_network(bench) or first)
    else:
        version = steps.reinforced(bench, first, after=seen)
    return workspace.promote(version, by="benchmark", why="every candidate is served at once")


def references(world: int, scale: Scale) -> dict[str, list[float]]:
    """Return the click rates of the oracle and of slates drawn at random, on the same people.

    Returns:
        By round, from people's sixth slate on; under "oracle, all" of all their slates.
    """
    found: dict[str, list[float]] = {"oracle": [], "oracle, all": [], "random": []}
    for number in range(scale.before + scale.after):
        knowing, blind = _shops(number, world, scale, oracle), _shops(number, world, scale, _drawn)
        found["oracle"].append(float(np.mean([shop.late() for shop in knowing])))
        found["oracle, all"].append(float(np.mean([shop.expected for shop in knowing])))
        found["random"].append(float(np.mean([shop.late() for shop in blind])))
    return found


def _shops(
    number: int, world: int, scale: Scale, choose: Callable[[demo.Watched], NDArray[np.int64]]
) -> list[demo.Watched]:
    """Let the people of a round see slates that are chosen without a policy."""
    shops = []
    for group in range(scale.groups):
        parameters, n, seed, _ = visitors(number, group, world, scale)
        shop = demo.Watched(n, parameters)
        shop.reset(seed=seed)
        shop.action_space.seed(seed)
        for _ in range(scale.decisions):
            shop.step(choose(shop))
        shops.append(shop)
    return shops


def _drawn(shop: demo.Watched) -> NDArray[np.int64]:
    return shop.action_space.sample()
