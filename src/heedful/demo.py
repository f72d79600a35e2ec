"""The circle, turning: a small shop that improves itself, with simulated people before it.

Everything happens through the code that real people would meet: their visits go through the
service, a candidate is trained from the log alone, tried on a share of the subjects, judged,
promoted or refused. Only the people are made up; what they like is read for reference lines and
by nothing else.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.config import ConfigWarning
from heedful.domains.recommendation.domain import item_id, item_number
from heedful.domains.recommendation.shop import (
    ShopEnv,
    ShopParameters,
    expected_clicks,
    oracle,
    popular,
    visits,
)
from heedful.loop.collect import Collector
from heedful.loop.turn import Turn
from heedful.policy import load
from heedful.record import Kind
from heedful.serve import DecisionAnswer, DecisionRequest, EndRequest, FeedbackRequest, Service
from heedful.workspace import Workspace

SECONDS_PER_DECISION = 60.0
OPENING = 1_790_000_000.0  # in the shop's own time
BEHIND = 5
Floats = npt.NDArray[np.float64]

SETTINGS = """\
# The shop of `heedful demo`. `heedful init` writes a file with every key and its meaning.

[workspace]
domain = "recommendation"
seed = {seed}

[import]
subject = "person"
unit = "item"
click = "chosen"
rating = "rating"
time = "time"

[domain]
catalogue = "catalogue.txt"
repeat_seen = true

[policy]
kind = "recurrent"
width = 48
dropout = 0.1
layers = 1
window = 200
prior = false

[pretrain]
epochs = 6
learning_rate = 0.003
feedback_dropout = 0.0

[reinforce]
epochs = 6
batch = 32
learning_rate = 0.005
kl = 0.0
lam = 0.0
replay = 2.0
feedback_weight = 1.0

[gate]
window = {window}
minimum_subjects = 100
maximum_subjects = {people}

[serve]
floor = 0.05
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How big the shop is.

    Attributes:
        people: who visit it in every round.
        decisions: slates each of them sees in a round.
        rounds: candidates that get a chance.
        groups: people come in so many groups; the judge looks after each.
        history: people whose purchases are known from before, and how many of each.
    """

    people: int = 1000
    decisions: int = 8
    rounds: int = 5
    groups: int = 10
    history: tuple[int, int] = (800, 20)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round brought.

    Attributes:
        number: from 1.
        clicks: what people clicked, per item shown, for each decision: [people, decisions].
        opened: the version that was live when the round began.
        closed: the version that was live when it ended.
        turn: what became of the candidate.
    """

    number: int
    clicks: Floats
    opened: str
    closed: str
    turn: Turn


@dataclass(frozen=True, slots=True)
class Measured:
    """Clicks per item shown that three policies get from the same new people.

    Exact expectations over decisions with at least five behind them.

    Attributes:
        popularity: always the most popular items.
        oracle: the best slate, by somebody who sees the tastes.
        live: the last live version, its exploration included.
    """

    popularity: float
    oracle: float
    live: float

    @property
    def closed(self) -> float:
        """The share of the gap between popularity and oracle that the live version closes."""
        return (self.live - self.popularity) / (self.oracle - self.popularity)


@dataclass(frozen=True, slots=True)
class Story:
    """The whole demo.

    Attributes:
        folder: the workspace, to be looked at.
        rounds: in order.
        measured: what it came to.
        files: what to open, with a few words each.
    """

    folder: Path
    rounds: list[Round]
    measured: Measured
    files: dict[str, Path]


class Clock:
    """The time in the shop."""

    def __init__(self, now: float) -> None:
        """Start at ``now``, seconds since the epoch."""
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class People:
    """A group of simulated people, who visit the shop through the service."""

    def __init__(self, parameters: ShopParameters, n: int, seed: int, name: str) -> None:
        """Draw ``n`` people from ``seed``."""
        self.shop = ShopEnv(n, parameters)
        self.shop.reset(seed=seed)
        self.names = [f"{name}-{i}" for i in range(n)]
        self._decisions: list[deque[str]] = [deque(maxlen=64) for _ in range(n)]

    def visit(self, service: Service) -> Floats:
        """See one slate each and answer it; return the share of it they clicked, [n]."""
        answers = service.decide([DecisionRequest(user=name) for name in self.names])
        slates = np.array([self._slate(answer) for answer in answers])
        for decisions, answer in zip(self._decisions, answers, strict=True):
            assert isinstance(answer, DecisionAnswer)
            decisions.appendleft(answer.id)
        _, rewards, terminated, truncated, info = self.shop.step(slates)
        service.feedback(self._said(info["feedback"]))
        over = np.flatnonzero(terminated | truncated)
        service.end([EndRequest(user=self.names[i], terminated=bool(terminated[i])) for i in over])
        return np.asarray(rewards, dtype=np.float64)

    def _slate(self, answer: object) -> list[int]:
        if not isinstance(answer, DecisionAnswer):
            raise RuntimeError(f"the shop could not decide: {answer}")
        return [item_number(unit) for unit in answer.units]

    def _said(self, feedback: Sequence[Sequence[dict[str, object]]]) -> list[FeedbackRequest]:
        rows = []
        for decisions, said in zip(self._decisions, feedback, strict=True):
            for answer in said:
                age, kind = int(str(answer["decision_age"])), Kind(str(answer["kind"]))
                value, unit = answer["value"], int(str(answer["unit"]))
                number = float(value) if kind is Kind.RATING else value  # type: ignore[arg-type]
                rows.append(
                    FeedbackRequest(
                        decision=decisions[age],
                        kind=kind,
                        value=number,  # type: ignore[arg-type]
                        unit=unit,
                        id=f"{decisions[age]}/{unit}/{kind}",
                    )
                )
        return rows


def run(
    folder: Path,
    *,
    seed: int = 0,
    scale: Scale | None = None,
    overrides: Mapping[str, object] | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> Story:
    """Let the circle turn in a new workspace at ``folder`` (an old demo's is replaced).

    Args:
        folder: where the workspace is made.
        seed: of the shop's world, its people, and the training.
        scale: how much of everything.
        overrides: other settings than the shop's own, by ``section.key``.
        tell: is told what happens, line by line.
    """
    scale = scale or Scale()
    parameters = ShopParameters(world_seed=seed)
    with prepared(folder, parameters, scale, seed, overrides) as workspace:
        clock = Clock(OPENING)
        workspace.clock = clock
        first = workspace.popularity()
        workspace.promote(first, by="demo")
        tell(f"{workspace.log.counts().decisions:,} purchases imported; {first.name} is live")
        groups = [
            People(parameters, scale.people // scale.groups, 1000 * seed + g, f"person-{g}")
            for g in range(scale.groups)
        ]
        rounds = []
        with workspace.serving() as service:
            for number in range(1, scale.rounds + 1):
                rounds.append(one_round(workspace, service, groups, number, scale, clock))
                tell(in_words(rounds[-1]))
        measured = measure(workspace, parameters, scale, seed)
        files = drawn(workspace, rounds, measured)
        return Story(folder, rounds, measured, files)


def prepared(
    folder: Path,
    parameters: ShopParameters,
    scale: Scale,
    seed: int,
    overrides: Mapping[str, object] | None = None,
) -> Workspace:
    """Return a workspace with the purchases people made before the shop had a policy."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = SETTINGS.format(
        seed=seed, people=scale.people, window=scale.decisions * SECONDS_PER_DECISION
    )
    folder.mkdir(parents=True)
    catalogue = "\n".join(item_id(i) for i in range(parameters.items))
    (folder / "catalogue.txt").write_text(catalogue + "\n", "utf-8")
    secret = hashlib.sha256(f"demo {seed}".encode()).hexdigest()
    Workspace.create(folder, settings=settings, secret=secret).close()
    workspace = Workspace.open(folder, overrides)
    with (folder / "purchases.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["person", "item", "chosen", "rating", "time"])
        for one in visits(parameters, *scale.history, seed=seed + 1):
            rows.writerow([f"early-{one.user}", item_id(one.item), 1, one.rating, one.time])
    workspace.import_file(folder / "purchases.csv")
    return workspace


def one_round(
    workspace: Workspace,
    service: Service,
    groups: Sequence[People],
    number: int,
    scale: Scale,
    clock: Clock,
) -> Round:
    """Train a candidate, if there is something to learn from; let people come; judge it."""
    opened = _live(workspace)
    turn = _turn(workspace)
    clicks = []
    for people in groups:
        seen = []
        for _ in range(scale.decisions):
            seen.append(people.visit(service))
            clock.now += SECONDS_PER_DECISION
        clicks.append(np.stack(seen, axis=1))
        if workspace.registry.trial() is not None:
            turn = _turn(workspace)
    return Round(number, np.concatenate(clicks), opened, _live(workspace), turn)


def _turn(workspace: Workspace) -> Turn:
    """Take a turn without the doubt about the rate of reinforcement, which is high knowingly.

    There is little to undo here: what people choose by themselves says less than what they click.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)
        return workspace.turn()


def _live(workspace: Workspace) -> str:
    version = workspace.registry.live()
    return "" if version is None else version.name


class Watched(ShopEnv):
    """A shop that notes the exact click rate of what it is shown."""

    def __init__(self, n: int, parameters: ShopParameters) -> None:
        """Open with nothing noted."""
        super().__init__(n, parameters)
        self.expected: list[float] = []

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[Any, Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Note, then show the slates."""
        self.expected.append(float(expected_clicks(self, actions).mean()))
        return super().step(actions)

    def late(self) -> float:
        """Return the mean over the decisions with at least five behind them."""
        return float(np.mean(self.expected[BEHIND:]))


def measure(workspace: Workspace, parameters: ShopParameters, scale: Scale, seed: int) -> Measured:
    """Let popularity, oracle and the live version decide for the same new people."""
    n, turns, people = scale.people // 2, 3 * BEHIND, 7_000_003 + seed
    shops = [Watched(n, parameters) for _ in range(3)]
    for shop, choose in zip(shops, (_popular_slates, oracle), strict=False):
        shop.reset(seed=people)
        for _ in range(turns):
            shop.step(choose(shop))
    loaded = load(workspace.registry.folder(_live(workspace)))
    collector = Collector(
        workspace.domain,
        loaded.vocabulary,
        shops[2],
        window=workspace.config.policy.window,
        seed=people,
    )
    collector.play(loaded.policy, turns)
    return Measured(*(shop.late() for shop in shops))


def _popular_slates(shop: ShopEnv) -> npt.NDArray[np.int64]:
    return np.tile(popular(shop)[: shop.parameters.slate], (shop.num_envs, 1))


def drawn(workspace: Workspace, rounds: Sequence[Round], measured: Measured) -> dict[str, Path]:
    """Draw the click rate by round, write the report, and return what to open."""
    from heedful.loop.plots import Line, png, reward_by_round

    x = [done.number for done in rounds]
    means = np.array([done.clicks.mean() for done in rounds])
    # One person's decisions belong together: the error is that of a mean over people.
    error = np.array(
        [1.96 * done.clicks.mean(1).std() / len(done.clicks) ** 0.5 for done in rounds]
    )
    lines = [
        Line("people in the shop", x, means, means - error, means + error),
        Line("oracle", x, [measured.oracle] * len(x), reference=True),
        Line("popularity", x, [measured.popularity] * len(x), reference=True),
    ]
    promoted = [(d.number, d.closed) for d in rounds if d.turn.action == "promoted"]
    picture = workspace.folder / "runs" / "click-rate.png"
    picture.parent.mkdir(exist_ok=True)
    picture.write_bytes(png(reward_by_round(lines, events=promoted)))
    return {
        "the report: versions, evidence, verdicts, curves": workspace.report(),
        "the click rate by round": picture,
        "what was asked for": workspace.folder / "heedful.toml",
    }


def in_words(done: Round) -> str:
    """Say in a line what a round brought."""
    return (
        f"round {done.number}: {done.clicks.mean():.3f} clicks per item shown; {done.turn.action}"
        f" {done.turn.policy or ''}; live: {done.closed}"
    )
