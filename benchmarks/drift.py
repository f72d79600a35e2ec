"""The drifting shop: everybody's tastes change, and a loop that goes on learning follows them.

One genre is the favourite of most people, and from one decision on another one is. New people come
in every round, through the service; what is learned from is the log. Beside the loop stand the same
first version frozen, one retrained from it at every round, the oracle, which sees tastes, and
slates drawn at random.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import Table
from benchmarks._kept import keep
from heedful import demo
from heedful.config import ConfigWarning
from heedful.domains.recommendation.shop import ShopParameters, oracle
from heedful.loop import steps
from heedful.loop.forgetting import forgetting
from heedful.loop.turn import newest_network
from heedful.store.registry import Version
from heedful.workspace import Workspace

WORLDS = (21, 22, 23)
WARM, GATED, ANEW, FROZEN = "warm", "gated", "anew", "frozen"
ARMS = {
    GATED: "warm start, through the gate",
    WARM: "warm start, served at once",
    ANEW: "begun anew every round, served at once",
    FROZEN: "frozen at the change",
}
REGAINED = 0.9  # of the oracle's click rate
SETTLED = 2  # rounds before the change that say where a policy stood
FLOOR = 0.02
SETTINGS: dict[str, object] = {
    "serve.floor": FLOOR,
    "reinforce.replay": 0.5,
    "reinforce.entropy": 0.02,
}
REMEDIES: Mapping[str, Mapping[str, object]] = {
    "no old rows (replay 0)": {"reinforce.replay": 0.0},
    "a higher floor (0.05)": {"serve.floor": 0.05},
}
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "drift.png"
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
    before: int = 5
    after: int = 7
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


QUICK = Scale(people=40, groups=2, decisions=6, before=2, after=2)


def run(quick: bool) -> list[Table]:
    """Let every arm live through the change in every world; what is done is kept."""
    scale, worlds = (QUICK, WORLDS[:1]) if quick else (Scale(), WORLDS)
    beside = [references(world, scale) for world in worlds]
    best, random = (np.array([one[name] for one in beside]) for name in ("oracle", "random"))
    lives = [
        _lives((GATED,), world, scale) | _lives((WARM, ANEW, FROZEN), world, scale)
        for world in worlds
    ]
    shares = {arm: np.array([one[arm]["clicks"] for one in lives]) / best for arm in ARMS}
    whole = np.array([one["oracle, all"] for one in beside])
    everything = {arm: np.array([one[arm]["all"] for one in lives]) / whole for arm in ARMS}
    tables = [
        _over_time(shares, everything, random / best, scale, worlds),
        _regained(shares, scale, worlds),
        _remembered([one[WARM] for one in lives], scale),
    ]
    if not quick:
        PICTURE.write_bytes(_picture(shares, random / best, scale))
        tables.append(_remedies(shares[WARM][:1], best[:1], scale, worlds[:1]))
    return tables


def _lives(
    arms: Sequence[str], world: int, scale: Scale, changes: Mapping[str, object] | None = None
) -> dict[str, dict[str, Any]]:
    changes = changes or {}

    def measured() -> dict[str, dict[str, Any]]:
        return served(arms, world, scale, changes)

    settings = {"arms": list(arms), "world": world, "scale": asdict(scale)}
    found: dict[str, dict[str, Any]] = keep(
        measured, code=[__name__], settings=settings | {"changes": dict(changes)}
    )
    return found


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

    A trial that has not convinced ends after the people of three rounds.
    """
    size = demo.Scale(people=3 * scale.people, decisions=scale.decisions, history=(400, 15))
    return demo.prepared(folder, scale.shop(world, 0), size, world, SETTINGS | dict(changes))


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
        past: the candidate of each round on past cohorts; ``None`` where there was none.
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
        with Workspace.open(self.folder, SETTINGS | dict(self.changes)) as workspace:
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
                if arm == GATED and workspace.registry.trial() is not None:
                    workspace.turn()
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
    bench = workspace.bench()
    if arm == FROZEN:
        return None
    if arm == GATED:
        done = None if workspace.registry.trial() is not None else workspace.turn()
        if done is None or done.policy is None or done.action != "trial begun":
            return None
        return workspace.registry.version(done.policy)
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


def _over_time(
    shares: Mapping[str, Floats],
    everything: Mapping[str, Floats],
    random: Floats,
    scale: Scale,
    worlds: Sequence[int],
) -> Table:
    """Say what each arm's click rate is as a share of the oracle's, round by round."""
    rows = {ARMS[arm]: share for arm, share in shares.items()}
    rows |= {f"{ARMS[arm]}, all slates": everything[arm] for arm in (GATED, WARM)}
    rows |= {"random slates": random}
    head = ["last before", *(f"{number * scale.rows:,}" for number in range(scale.after))]

    def cells(share: Floats) -> list[str]:
        before = share[:, scale.before - SETTLED : scale.before].mean()
        return [f"{before:.2f}", *(f"{x:.2f}" for x in share[:, scale.before :].mean(0))]

    return Table(
        "Click rate over the oracle's, by decisions that were logged after tastes changed",
        ("policy", *head),
        tuple((name, *cells(share)) for name, share in rows.items()),
        f"Means over worlds {list(worlds)}. In each, {scale.before} rounds of {scale.rows:,} "
        f"decisions before the change and {scale.after} after it; new people every round, who see "
        f"{scale.decisions} slates of 5 each. Counted are their slates from the sixth on, as in "
        "the other tables of this shop: the oracle knows somebody at the first slate, and nobody "
        "else can; two rows count all slates. Click rates are exact expectations for what was "
        f'shown. "Last before" are the last {SETTLED} rounds.',
    )


def rows_until(share: Floats, scale: Scale) -> int | None:
    """Return how many decisions had been logged since the change when ``share`` was regained.

    Args:
        share: [rounds], the click rate over the oracle's.
        scale: says which rounds are after the change.

    Returns:
        Those before the first round that reached it; ``None`` where none did.
    """
    reached = np.flatnonzero(share[scale.before :] >= REGAINED)
    return int(reached[0]) * scale.rows if len(reached) else None


def _regained(shares: Mapping[str, Floats], scale: Scale, worlds: Sequence[int]) -> Table:
    """Say after how many rows each arm was back at nine tenths of the oracle's click rate."""

    def cell(share: Floats) -> str:
        rows = rows_until(share, scale)
        best = share[scale.before :].max()
        return f"not in {scale.after * scale.rows:,}; {best:.2f}" if rows is None else f"{rows:,}"

    return Table(
        f"Decisions after the change until {REGAINED:.0%} of the oracle's click rate",
        ("policy", *(f"world {world}" for world in worlds), "best round, mean"),
        tuple(
            (ARMS[arm], *(cell(one) for one in share), f"{_best(share, scale):.2f}")
            for arm, share in shares.items()
        ),
        "Logged before the first round that reached it. Where none did: the best round's share.",
    )


def _best(share: Floats, scale: Scale) -> float:
    return float(share[:, scale.before :].max(axis=1).mean())


def _remembered(arm: Sequence[Mapping[str, Any]], scale: Scale) -> Table:
    """Say what the candidates of the warm-started loop lost on the past, cohort by cohort."""
    n = max(len(one["cohorts"]) for world in arm for one in world["past"] if one)
    rounds = {"before the change": slice(1, scale.before), "after it": slice(scale.before, None)}
    rows = []
    for name, part in rounds.items():
        for place in range(n):
            cohorts = [
                one["cohorts"][place]
                for world in arm
                for one in world["past"][part]
                if one and len(one["cohorts"]) == n
            ]
            rises = [cohort["rise"]["mean"] for cohort in cohorts]
            losses = [cohort["candidate"] for cohort in cohorts]
            rise = (f"{np.mean(rises):+.2f}", f"{np.max(rises):+.2f}")
            loss = (f"{np.mean(losses):.2f}", f"{np.max(losses):.2f}")
            rows.append((name, str(place + 1), *rise, *loss))
    bound = math.log(scale.shop(0, 0).items / FLOOR)
    return Table(
        "What candidates of the warm-started loop lost on past cohorts",
        ("candidates", "cohort", "mean rise", "largest", "mean loss", "largest"),
        tuple(rows),
        "In nats per held-out liked unit; a rise is over the candidate's parent. Cohort 1 came "
        "first and holds those who bought before there was a policy. No loss can be above "
        f"{bound:.2f}, which the exploration floor sees to.",
    )


def _remedies(warm: Floats, best: Floats, scale: Scale, worlds: Sequence[int]) -> Table:
    """Say what was tried to follow faster, on the same worlds."""
    rows = [("as above", warm)]
    for name, changes in REMEDIES.items():
        clicks = [_lives((WARM,), world, scale, changes)[WARM]["clicks"] for world in worlds]
        rows.append((name, np.array(clicks) / best))

    def cells(share: Floats) -> tuple[str, ...]:
        after = share[:, scale.before :]
        until = [rows_until(one, scale) for one in share]
        found = ", ".join("never" if rows is None else f"{rows:,}" for rows in until)
        return (f"{after[:, : scale.after // 2].mean():.3f}", f"{after.mean():.3f}", found)

    return Table(
        "Remedies: warm start, served at once",
        ("setting", "first half after the change", "all of it", "decisions until 90%"),
        tuple((name, *cells(share)) for name, share in rows),
        f"Mean click rate over the oracle's, in world {worlds[0]}.",
    )


def _picture(shares: Mapping[str, Floats], random: Floats, scale: Scale) -> bytes:
    """Draw the click rate over time, with the range of the worlds."""
    from heedful.loop.plots import Line, png, reward_by_round

    x = (np.arange(scale.before + scale.after) - scale.before) * scale.rows
    lines = [
        Line(ARMS[arm], x, share.mean(0), share.min(0), share.max(0))
        for arm, share in shares.items()
    ]
    lines.append(Line(f"{REGAINED:.0%} of the oracle", x, [REGAINED] * len(x), reference=True))
    lines.append(Line("random slates", x, random.mean(0), reference=True))
    return png(
        reward_by_round(
            lines,
            reward="click rate over the oracle's",
            x="decisions since tastes changed",
            events=[(0.0, "tastes change")],
        )
    )
