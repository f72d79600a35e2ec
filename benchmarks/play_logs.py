"""Players' logs: what history, feedback and asking are worth to a clone, and two sets of people's.

Three skills are simulated, so that what is there to be known is known. Overcooked and chess are
people's own, beside baselines that count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import Table
from benchmarks._clones import by_group, paired, signed
from benchmarks._data import real
from benchmarks._kept import keep
from benchmarks._mixed import (
    FULL,
    MATCH,
    MOVE,
    SHUFFLED,
    SILENT,
    TARGETS,
    TRUTH,
    measured,
)
from benchmarks._people import PEOPLE, People
from benchmarks._skills import SKILLS, TILT, World
from heedful.config import Pretrain

SEEDS = (10, 11, 12)  # settings were chosen on others
PLAYERS, MATCHES = 80, 8
GAMES, DECISIONS = 64, 60
MIXED = {"epochs": 16, "batch": 4, "learning_rate": 0.003, "feedback_weight": 0.0}
SIMULATED = ["benchmarks._mixed", "benchmarks._skills", "benchmarks._clones", "benchmarks._asked"]
PEOPLES = [
    *("benchmarks._people", "benchmarks._overcooked", "benchmarks._pgn", "benchmarks._clones"),
]

Kept = dict[str, Any]


def run(quick: bool) -> list[Table]:
    """Measure simulated players, then people's logs where the data are there."""
    seeds, players, games = (SEEDS[:1], 20, 8) if quick else (SEEDS, PLAYERS, GAMES)
    mixed = [_mixed(seed, players, games) for seed in seeds]
    tables = [_knows(mixed, players), _asks(mixed, games)]
    return tables + [_people(people, quick=quick) for people in PEOPLE]


# Three skills


def _mixed(seed: int, players: int, games: int) -> Kept:
    """Return what one world showed; a world is kept."""

    def compute() -> Kept:
        world = World(seed, players, MATCHES)
        found = measured(world, Pretrain(**MIXED), games=games, decisions=DECISIONS)
        return {
            "nll": {name: values.tolist() for name, values in found.nll.items()},
            "player": found.player.tolist(),
            "match": found.match.tolist(),
            "outcomes": found.achieved.outcomes.mean(axis=1).tolist(),
            "correlation": found.achieved.correlation,
        }

    settings: Kept = {"seed": seed, "players": players, "matches": MATCHES, "games": games}
    settings |= {"decisions": DECISIONS, **MIXED}
    kept: Kept = keep(compute, code=SIMULATED, settings=settings)
    return kept


def _knows(worlds: Sequence[Kept], players: int) -> Table:
    nll = {
        name: np.concatenate([world["nll"][name] for world in worlds]) for name in worlds[0]["nll"]
    }
    most = len(SKILLS) * players
    player = np.concatenate([np.array(w["player"]) + most * n for n, w in enumerate(worlds)])
    match = np.concatenate([world["match"] for world in worlds])
    last = match == MATCHES - 1
    rows = []
    for name in (FULL, MATCH, MOVE, SHUFFLED, SILENT, TRUTH):
        row = (name, f"{by_group(nll[name], player).mean():.3f}")
        more = [
            "" if name == FULL else signed(paired(nll[name][of], nll[FULL][of], player[of]))
            for of in (np.ones(len(last), bool), last)
        ]
        rows.append((*row, *more))
    columns = ("what is known", "nats per move", "more than with all", "in the last match")
    shares = ", ".join(f"{share:g} ({skill})" for skill, share in SKILLS.items())
    note = (
        f"{len(worlds)} worlds, each of {most} players of {MATCHES} matches on a frozen lake "
        f"(`success_rate` 0.8); a share of their moves is made by chance, {shares}, and {TILT:g} "
        f"more after a match that was lost. A fifth of the players is held out "
        f"({len(np.unique(player))} in all); means over players, differences paired by player, "
        "with 95 % bootstrap intervals. All three clones are the same transformer at the same "
        "number of moves a step; the rows with shuffled and unknown rewards are the first clone, "
        "told otherwise."
    )
    return Table("What a clone knows of a player", columns, tuple(rows), note)


def _asks(worlds: Sequence[Kept], games: int) -> Table:
    rows = []
    for n, target in enumerate(TARGETS):
        found = [world["outcomes"][n] for world in worlds]
        rows.append((f"{target:g}", f"{np.mean(found):.2f}", *(f"{x:.2f}" for x in found)))
    rank = [world["correlation"] for world in worlds]
    rows.append(("Spearman", f"{np.mean(rank):.2f}", *(f"{x:.2f}" for x in rank)))
    columns = ("asked for", "achieved", *(f"seed {n}" for n in SEEDS[: len(worlds)]))
    note = (
        f"Matches won by the clone that knows all, played by {games} new players of {DECISIONS} "
        "moves each who ask for the outcome in the first column. Nobody in the log asked for "
        "anything; 0.5 is no outcome of a match."
    )
    return Table("Asked for and achieved", columns, tuple(rows), note)


# People


@dataclass(frozen=True, slots=True)
class _Part:
    """What everybody scored on what one split held out, [n] by policy, and whose move each is.

    ``auc`` has a mean and an interval for each fold with matches enough.
    """

    split: str
    top1: Mapping[str, np.ndarray]
    top3: Mapping[str, np.ndarray]
    nll: Mapping[str, np.ndarray]
    group: np.ndarray
    auc: Sequence[Sequence[float]]

    @classmethod
    def of(cls, split: str, folds: Sequence[Kept]) -> _Part:
        """Join folds; ranks are from 1, ties half."""
        names = folds[0]["ranks"]
        ranks = {name: np.concatenate([fold["ranks"][name] for fold in folds]) for name in names}
        nll = {name: np.concatenate([fold["nll"][name] for fold in folds]) for name in names}
        return cls(
            split,
            {name: (found <= 1).astype(float) for name, found in ranks.items()},
            {name: (found <= 3).astype(float) for name, found in ranks.items()},
            nll,
            np.concatenate([fold["group"] for fold in folds]),
            [fold["auc"] for fold in folds if fold["auc"] is not None],
        )


def _people(people: People, *, quick: bool) -> Table:
    file = real(*people.file)
    folds = people.folds[:1] if quick else people.folds
    parts = []
    for split in ("match", "player"):
        found = [
            keep(
                lambda split=split, fold=fold: people.measured(file, split, fold, quick=quick),
                code=PEOPLES,
                data=[file],
                settings={"people": people.name, "split": split, "fold": fold, "quick": quick},
            )
            for fold in folds
        ]
        parts.append(_Part.of(split, found))
    rows = [_row(name, people, parts) for name in parts[0].nll]
    measures = ("top-1", "top-3", "nats", "nats less, paired")
    columns = ("policy", *(f"by {part.split}: {measure}" for part in parts for measure in measures))
    sizes = " and ".join(
        f"{len(part.group):,} moves of {len(np.unique(part.group))} {people.groups[part.split]}"
        for part in parts
    )
    note = (
        f"{people.note} Of {people.parts} folds, no. {', '.join(map(str, folds))}: {sizes} held "
        "out; nothing was chosen by it. The last column of each half is how much likelier the "
        "clone finds a move, means over what is held out, with 95 % bootstrap intervals."
        f"{_apart(parts)}"
    )
    return Table(people.title, columns, tuple(rows), note)


def _apart(parts: Sequence[_Part]) -> str:
    """Say how well the clone's moves are told from people's, where matches are many."""
    said = [
        f"{mean:.2f} [{low:.2f}, {high:.2f}] (by {part.split})"
        for part in parts
        for mean, low, high in part.auc
    ]
    if not said:
        return ""
    told = " In the same places the clone's moves are told from people's with an AUC of "
    return f"{told}{', '.join(said)}."


def _row(name: str, people: People, parts: Sequence[_Part]) -> tuple[str, ...]:
    cells = [name]
    for part in parts:
        silent = np.isnan(part.nll[name]).any()  # it ranks, and gives no probability
        cells += [f"{part.top1[name].mean():.3f}"]
        cells += [f"{part.top3[name].mean():.3f}"]
        cells += ["" if silent else f"{part.nll[name].mean():.3f}"]
        less = name == people.clone or silent
        own = part.nll[people.clone]
        cells += ["" if less else signed(paired(part.nll[name], own, part.group))]
    return tuple(cells)
