"""Tic-tac-toe and Connect Four by playing oneself, then against exact and simple opponents."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.utils.tensorboard  # here, so that no clock sees how long it takes

from benchmarks import Table
from benchmarks._matches import Record, record_of, round_robin
from benchmarks._ppo import PLAIN
from heedful.config import Interact
from heedful.domains.games import Games
from heedful.domains.games.boards import (
    BOARDS,
    CONNECT_FOUR,
    TIC_TAC_TOE,
    Board,
    Learned,
    Opponent,
    one_ply,
    uniform,
    worst_case,
)
from heedful.domains.games.boards import minimax as exact
from heedful.evaluate import Ratings, elo
from heedful.loop.interact import interact
from heedful.loop.run import Run
from heedful.loop.self_play import Pool, SelfPlay
from heedful.policy import Feedforward, Policy, clone
from heedful.store import Snapshot

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "self-play.png"
NAMES = {TIC_TAC_TOE.name: "heedful/TicTacToe-v0", CONNECT_FOUR.name: "heedful/ConnectFour-v0"}
SIDE = 40  # games of each side in which two versions of one seed meet


@dataclass(frozen=True)
class Task:
    """A board, and how it is learned.

    Attributes:
        board: what is played on.
        settings: of ``[interact]``, beside plain PPO.
        width: of the network's layers.
        rival: the environment's own opponent, met in a share ``others`` of the games.
        others: that share.
        every: rounds between two versions in the pool.
        openings: moves by chance that games begin with while learning, at most.
        seeds: from which it is learned.
    """

    board: Board
    settings: Mapping[str, Any]
    width: int
    rival: str
    others: float
    every: int
    openings: int
    seeds: Sequence[int]


SMALL = Task(
    TIC_TAC_TOE,
    {
        **{"rounds": 200, "environments": 256, "decisions": 8, "batch": 512, "epochs": 4},
        **{"learning_rate": 0.004, "gamma": 1.0, "entropy": 0.1},
    },
    width=128,
    rival="uniform",
    others=0.0,
    every=10,
    openings=3,
    seeds=(10, 11, 12),  # settings were chosen on others
)
LARGE = Task(
    CONNECT_FOUR,
    {
        **{"rounds": 420, "environments": 128, "decisions": 32, "batch": 1024, "epochs": 4},
        **{"learning_rate": 0.002, "gamma": 0.99, "entropy": 0.03},
    },
    width=256,
    rival="one-ply",
    others=0.6,
    every=20,
    openings=0,
    seeds=(10, 11),
)


@dataclass(frozen=True)
class Learnt:
    """What came of one seed.

    Attributes:
        policy: as it was left.
        past: versions of its past, by the decisions after which they stood.
        decisions: how many it made.
        seconds: of the CPU, imports and judging excluded.
    """

    policy: Policy
    past: Mapping[int, Policy] = field(default_factory=dict)
    decisions: int = 0
    seconds: float = 0.0


def run(quick: bool) -> list[Table]:
    """Learn both boards, judge the policies, and rate the versions of the first seeds."""
    torch.set_num_threads(1)
    tasks = [_brief(task) for task in (SMALL, LARGE)] if quick else [SMALL, LARGE]
    found = {task.board.name: [_told(task, seed) for seed in task.seeds] for task in tasks}
    rated = {name: rate(BOARDS[name], learnt[0]) for name, learnt in found.items()}
    if not quick:
        draw(rated)
    small, large = (found[task.board.name] for task in tasks)
    return [_exactly(small), _simply(large), _rated(rated)]


def _brief(task: Task) -> Task:
    """Return the task with little to do: that it runs, not what it learns."""
    settings = {**task.settings, "rounds": 3, "environments": 16}
    return replace(task, settings=settings, width=16, every=1, seeds=task.seeds[:1])


def learn(task: Task, seed: int) -> Learnt:
    """Learn ``task`` by playing oneself."""
    started = time.process_time()
    section = Interact(**{**PLAIN, "keep": "last", **task.settings})
    options = {"opponent": task.rival, "openings": task.openings}
    games = Games({"game": NAMES[task.board.name], "options": options})
    torch.manual_seed(seed)
    schema = games.schema(games.vocabulary(Snapshot.of([])))
    policy = cast(Policy, Feedforward(schema, width=task.width).eval())
    environment = games.environment(section.environments, seed, {})
    pool = Pool(every=task.every, others=task.others)
    rollouts = SelfPlay(
        environment, steps=section.decisions, gamma=section.gamma, seed=seed, pool=pool
    )
    with tempfile.TemporaryDirectory() as folder:
        run_ = Run(Path(folder), {})
        interact(
            policy,
            policy,
            rollouts,
            section,
            run_,
            objective="ppo",
            seed=seed,
            cut=rollouts.single,
        )
        run_.close()
    seconds = time.process_time() - started
    each = section.environments * section.decisions
    past = {entry.number * each: pool.policy(i, policy) for i, entry in enumerate(pool.past)}
    return Learnt(clone(policy), past, section.rounds * each, seconds)


def _told(task: Task, seed: int) -> Learnt:
    learnt = learn(task, seed)
    met = exact if task is SMALL else one_ply
    found = [record_of(task.board, Learned(learnt.policy), met, 100, s, seed=1) for s in (0, 1)]
    print(
        f"{task.board.name}, seed {seed}: {learnt.decisions:,} decisions, "
        f"{learnt.seconds:.0f} CPU s; from either side {' and '.join(map(_shown, found))}",
        file=sys.stderr,
        flush=True,
    )
    return learnt


def rate(board: Board, learnt: Learnt) -> tuple[list[int], Ratings]:
    """Let all versions of one seed play each other; return when they stood, and their Elo."""
    stages = {**learnt.past, learnt.decisions: learnt.policy}
    players = [Learned(policy, greedy=False) for policy in stages.values()]
    return list(stages), elo(round_robin(board, players, SIDE, seed=0))


def draw(rated: Mapping[str, tuple[list[int], Ratings]]) -> None:
    """Plot the ratings over the decisions made, with 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, len(rated))
    for axis, (name, (stages, ratings)) in zip(np.atleast_1d(axes), rated.items(), strict=True):
        axis.errorbar(
            stages,
            ratings.ratings,
            yerr=1.96 * ratings.standard_errors,
            capsize=2,
            marker="o",
            ms=3,
        )
        axis.set(title=name, xlabel="decisions made while learning", ylabel="Elo")
        axis.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:,.0f}k")
        axis.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=120)


def _exactly(found: Sequence[Learnt]) -> Table:
    rows = []
    for seed, learnt in zip(SMALL.seeds, found, strict=False):
        player = Learned(learnt.policy)
        cells = [
            _shown(record_of(TIC_TAC_TOE, player, exact, 100, seat, seed=1)) for seat in (0, 1)
        ]
        lines = [worst_case(TIC_TAC_TOE, player, seat) for seat in (0, 1)]
        told = [f"{one.lost} of {one.won + one.drawn + one.lost}" for one in lines]
        made = (f"{learnt.decisions:,}", f"{learnt.seconds:.0f}")
        rows.append((f"{seed}", *cells, *told, *made))
    return Table(
        "Tic-tac-toe against perfect play",
        (
            "seed",
            "won / drawn / lost as first, 100 games",
            "as second, 100 games",
            "lines lost as first",
            "as second",
            "decisions",
            "CPU s",
        ),
        tuple(rows),
        "The likeliest move of the policy alone, without a search. Perfect play draws among its "
        "best moves. Lines: every sequence of legal answers that the other side can choose, "
        "followed to its end.",
    )


def _simply(found: Sequence[Learnt]) -> Table:
    rows = []
    rivals: tuple[tuple[str, Opponent], ...] = (("uniform", uniform), ("one-ply", one_ply))
    for name, rival in rivals:
        for seat, word in ((0, "first"), (1, "second")):
            played = [
                record_of(CONNECT_FOUR, Learned(one.policy), rival, 500, seat, seed=1)
                for one in found
            ]
            shares = [record.won / record.games for record in played]
            intervals = [f"{low:.3f} to {high:.3f}" for low, high in map(Record.interval, played)]
            target = "0.95" if name == "uniform" else "0.70"
            cells = [
                f"{share:.3f} ({within})" for share, within in zip(shares, intervals, strict=True)
            ]
            rows.append((name, word, target, f"{statistics.median(shares):.3f}", "; ".join(cells)))
    decisions, seconds = found[0].decisions, ", ".join(f"{one.seconds:.0f}" for one in found)
    return Table(
        "Connect Four against simple opponents: share of games won",
        ("opponent", "policy plays", "target", "median", "by seed, with 95 % intervals"),
        tuple(rows),
        f"After {decisions:,} decisions and {seconds} CPU s; two in five games while learning "
        "were against itself and its past, the others against the one-ply player. 500 games a "
        "cell, the likeliest move of the policy alone, without a search; openings differ by the "
        "opponent's luck.",
    )


def _rated(rated: Mapping[str, tuple[list[int], Ratings]]) -> Table:
    rows = []
    for name, (stages, ratings) in rated.items():
        some = np.unique(np.linspace(0, len(stages) - 1, 5).astype(int))
        for at in some:
            low, high = (
                ratings.ratings[at] + z * ratings.standard_errors[at] for z in (-1.96, 1.96)
            )
            within = f"{low:,.0f} to {high:,.0f}"
            rows.append((name, f"{stages[at]:,}", f"{ratings.ratings[at]:,.0f}", within))
    return Table(
        "Elo of versions, each against all others",
        ("board", "after decisions", "Elo", "95 % interval"),
        tuple(rows),
        f"Seed {SMALL.seeds[0]}; {2 * SIDE} games a pair, half from each side, moves drawn as the "
        "policy draws them. The first version, which knows nothing, is 0. Some of those in the "
        "picture.",
    )


def _shown(record: Record) -> str:
    return f"{record.won} / {record.drawn} / {record.lost}"
