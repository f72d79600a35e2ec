"""The circle of games: players' log, clone, self-play, paired games, promotion, people."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from benchmarks import Table
from heedful.cli.playing import Table as Played
from heedful.contract.playing import Playing
from heedful.domains.games import Games
from heedful.domains.games.boards import TIC_TAC_TOE, one_ply, uniform
from heedful.evaluate import ASSIGNMENT_FRACTIONS, log_evidence
from heedful.loop.form import without_floor
from heedful.loop.leave import register
from heedful.loop.paired import bounds_of, returns
from heedful.loop.steps import reinforced
from heedful.policy import load
from heedful.record import ALL_UNITS, UNKNOWN, ChoiceSet, Decision, Feedback, Kind
from heedful.serve import Service
from heedful.store import Snapshot
from heedful.workspace import Workspace

SKILL = 0.3  # of the people's moves, those that look one move ahead; the others are any
SETTINGS: dict[str, object] = {
    "domain.options": ["opponent=one-ply", "seat=null", "openings=3"],
    "policy.width": 64,
    "pretrain.epochs": 20,
    "reinforce.objective": "ppo",
    "interact.opponents": "prioritised",
    "interact.pool_every": 5,
    "interact.rounds": 60,
    "interact.environments": 128,
    "interact.decisions": 8,
    "interact.batch": 256,
    "interact.learning_rate": 0.003,
    "interact.gamma": 1.0,
    "interact.entropy": 0.1,
    "interact.keep": "last",
    "interact.save": 1000,
}
MATCHES, GAMES, TURNS = 300, 100, 3
GATES, PAIRS = 2000, 2000
ALPHA = 0.05
GAINS = (0.0, 0.02, 0.05, 0.1, 0.2)


def run(quick: bool) -> list[Table]:
    """Turn the circle a few times, then let candidates that are no better try the gate."""
    with tempfile.TemporaryDirectory() as folder:
        Workspace.create(Path(folder) / "arcade", domain="games", secret="5e" * 32).close()
        settings = {**SETTINGS, "interact.rounds": 2} if quick else SETTINGS
        with Workspace.open(Path(folder) / "arcade", settings) as arcade:
            turns = _turns(arcade, games=4 if quick else GAMES)
            copied = _copy(arcade)
            earned = _earned(arcade, 64 if quick else 2048)
    return [turns, _gates(earned, 20 if quick else GATES, copied)]


def _turns(arcade: Workspace, games: int) -> Table:
    _log_players(arcade)
    first = arcade.pretrain()
    arcade.promote(first, by="benchmark")
    rows = [_row("clone of the players", arcade, games, "", "", "the first version")]
    for number in range(1, TURNS + 1):
        live = arcade.registry.live()
        assert live is not None
        candidate = reinforced(arcade.bench(), live)
        done = arcade.turn(by="benchmark")
        verdict = done.verdict
        assert verdict is not None
        assert done.policy == candidate.name
        evidence = f"{verdict.evidence:,.1f}" if verdict.evidence < 1e6 else "over a million"
        pairs = f"{verdict.rows:,}"
        told = f"{candidate.name} {done.action}"
        rows.append(_row(f"turn {number}", arcade, games, evidence, pairs, told))
    return Table(
        "The circle, turn by turn (tic-tac-toe)",
        (
            "what was done",
            "verdict",
            "evidence",
            "pairs played",
            "live",
            f"people against it, {games} games: won / drawn / lost",
        ),
        tuple(rows),
        f"{MATCHES} matches of players were cloned (they look one move ahead in {SKILL:.0%} of "
        "their moves and else move by chance). Each turn: a candidate learns from the live "
        "version on by playing itself and its past; candidate and live version play the same games "
        "against the one-ply player from either side, each begun with up to three moves by chance, "
        "and the gate promotes or refuses. Then "
        "people of the players' skill play the live version, move by move through the service; "
        "their games are in the log.",
    )


def _row(
    what: str, arcade: Workspace, games: int, evidence: str, pairs: str, told: str
) -> tuple[str, ...]:
    live = arcade.registry.live()
    assert live is not None
    met = people(arcade, games, seed=len(arcade.registry.versions()))
    shown = f"{met['won']} / {met['drawn']} / {met['lost']}"
    print(f"{what}: {told}; people {shown}", file=sys.stderr, flush=True)
    return (what, told, evidence, pairs, live.name, shown)


class Person:
    """Somebody at the board, who reads it off the screen; see ``heedful.cli.playing.Pipe``."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._cells = rng, [""] * 9
        self.sign = "x"

    def show(self, board: str) -> None:
        """Look."""
        self._cells = board.split()

    def ask(self, question: str) -> str:
        """Move: look one move ahead, or do anything."""
        bits = TIC_TAC_TOE.cells.ravel()
        mine = np.array([c == self.sign for c in self._cells])
        theirs = np.array([c in "xo" and c != self.sign for c in self._cells])
        stones = [np.array([bits[where].sum()], np.uint64) for where in (mine, theirs)]
        player = one_ply if self._rng.random() < SKILL else uniform
        return str(int(player(TIC_TAC_TOE, *stones, self._rng)[0]) + 1)

    def note(self, words: str) -> None:
        """Hear which stones are one's own."""
        if words.startswith("You are "):
            self.sign = words[len("You are ")]

    def moved(self, key: str, version: str) -> None:
        """See it on the board."""


def people(arcade: Workspace, games: int, *, seed: int) -> dict[str, int]:
    """Let people play the live version, each a few games; return how they ended for them."""
    person = Person(np.random.default_rng(seed))
    counts: dict[str, int] = {}
    with arcade.serving() as service:
        for number in range(games):
            table = Played(cast(Service, service), f"person {number // 4}", cast(Any, person))
            table.game(cast(Playing, arcade.domain).match(), person=number % 2)
            counts = {name: counts.get(name, 0) + n for name, n in table.counts.items()}
    return counts


def _log_players(arcade: Workspace) -> None:
    said = list(matches(cast(Games, arcade.domain)))
    with arcade.writing() as log:
        log.append(
            [record for record in said if not isinstance(record, ChoiceSet)],
            choice_sets=[record for record in said if isinstance(record, ChoiceSet)],
        )


def matches(games: Games) -> Iterator[Decision | Feedback | ChoiceSet]:
    """Yield what players did; nobody wrote down with which probabilities."""
    rng = np.random.default_rng(0)
    game, vocabulary = games.environment(1, 0, {}), games.vocabulary(Snapshot.of([]))
    rows, _ = game.reset(seed=0)
    for match in range(MATCHES):
        over, step = False, 0
        while not over:
            context = games.context(rows[0])
            choices = games.choices(context)
            planes = rows[:, :18].reshape(2, 9) > 0
            bits = TIC_TAC_TOE.cells.ravel()
            stones = [np.array([bits[plane].sum()], np.uint64) for plane in planes]
            player = one_ply if rng.random() < SKILL else uniform
            unit = str(int(player(TIC_TAC_TOE, *stones, rng)[0]))
            decision = Decision(
                id=f"{match}/{step}",
                episode=f"match-{match}",
                step=step,
                subject=f"player-{match // 5}",
                units=(unit,),
                logps=UNKNOWN,
                policy="players",
                made_at=float(match * 10 + step),
                context=context,
                choices=choices.digest(),
                vocabulary=vocabulary.digest(),
            )
            yield choices
            yield decision
            move = games.action([unit], vocabulary)[None]
            rows, rewards, terminated, truncated, _ = game.step(move)
            over, step = bool(terminated[0] | truncated[0]), step + 1
            yield Feedback(
                id=f"{decision.id}/reward",
                by=decision.subject,
                about=decision.id,
                unit=ALL_UNITS,
                kind=Kind.REWARD,
                value=float(rewards[0]),
                given_at=decision.made_at,
                received_at=decision.made_at,
            )


def _copy(arcade: Workspace) -> str:
    """Register a copy of the live version and let it try; say what came of it."""
    bench, live = arcade.bench(), arcade.registry.live()
    assert live is not None
    loaded = load(bench.registry.folder(live.name))
    policy, snapshot = without_floor(loaded.policy), bench.log.snapshot()  # it is given a new one
    register(bench, policy, loaded.vocabulary, snapshot, step="pretrain", metrics={})
    done = arcade.turn(by="benchmark")
    assert done.verdict is not None
    return f"{done.action}, evidence {done.verdict.evidence:.1f} after {done.verdict.rows:,} pairs"


def _earned(arcade: Workspace, games: int) -> npt.NDArray[np.float64]:
    """Return what the live version earns in games of its own, scaled, [N]."""
    bench, live = arcade.bench(), arcade.registry.live()
    assert live is not None
    loaded, at_once = load(bench.registry.folder(live.name)), 64
    environment = bench.domain.environment(at_once, 0, {})
    assert environment is not None
    low, high = bounds_of(bench)
    rounds = [returns(bench, loaded, environment, seed) for seed in range(games // at_once)]
    return np.clip((np.concatenate(rounds) - low) / (high - low), 0.0, 1.0)


def _gates(earned: npt.NDArray[np.float64], gates: int, copied: str) -> Table:
    rng = np.random.default_rng(0)
    rows = [_gate(earned, gain, gates, rng.choice) for gain in GAINS]
    return Table(
        "Gates on resampled games",
        ("candidate earns more by", f"promoted, of {gates:,} gates", "median pairs until then"),
        tuple(rows),
        f"Returns of the last live version (mean {earned.mean():.3f} of 1), drawn again for each "
        "side of each pair independently, so that luck is not shared; as many of the candidate's "
        f"games become wins as the gain asks. Looked at after every pair up to {PAIRS:,}, all of "
        f"alpha = {ALPHA} spent on one candidate. A copy of the live version in the workspace "
        f"itself, with the same games and the same luck: {copied}.",
    )


def _gate(
    earned: npt.NDArray[np.float64], gain: float, gates: int, choice: Callable[..., Any]
) -> tuple[str, ...]:
    """Return a row: how often a candidate that is better by ``gain`` is promoted, and when."""
    crossed = []
    worth = float((1.0 - earned).mean())  # what could be gained at most
    for _ in range(gates // 20):
        mine, theirs = (choice(earned, size=(20, PAIRS)) for _ in range(2))
        lifted = choice(
            [True, False], p=[min(1.0, gain / worth), 1 - min(1.0, gain / worth)], size=mine.shape
        )
        path = log_evidence(np.where(lifted, 1.0, mine) - theirs, -1.0, ASSIGNMENT_FRACTIONS)
        over = path >= math.log(1 / ALPHA)
        crossed += np.where(over.any(axis=1), over.argmax(axis=1) + 1, np.inf).tolist()
    promoted = float(np.isfinite(crossed).mean())
    median = float(np.median(crossed))
    when = f"{median:,.0f}" if math.isfinite(median) else "not by then"
    return (f"{gain:.2f}", f"{promoted:.1%}", when)
