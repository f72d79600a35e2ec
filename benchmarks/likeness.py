"""Strength against likeness: how much a policy wins, and how well it is told from people.

A clone of people with a style learns to win, held near them by a divergence or paid for doing what
they would have done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import Table, _styled
from benchmarks._kept import keep
from heedful.evaluate.likeness import behaviour, foreseen, match
from heedful.evaluate.two_samples import discriminate, energy_test
from heedful.loop.form import without_floor
from heedful.loop.vectorised import Vectorised
from heedful.policy import Batch, Policy, load, replay
from heedful.record import ChoiceSet
from heedful.store import Snapshot
from heedful.workspace import Workspace

SEEDS = (10, 11, 12)
KL = (1.0, 0.3, 0.1, 0.03, 0.0)
MATCH = (1.0, 0.9, 0.7, 0.4)
PEOPLE, MATCHES = 60, 10  # who are learned from; a third as many others are what is compared with
GAMES = 1000  # of each policy, for how much it wins
ROUNDS = 40
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "likeness.png"
CLONE = "the clone"

SETTINGS: dict[str, Any] = {
    "domain.options": ["opponent=one-ply", "seat=null"],
    "pretrain.epochs": 200,
    "pretrain.patience": 20,
    "pretrain.split": "episode",
    "interact.environments": 64,
    "interact.decisions": 16,
    "interact.epochs": 4,
    "interact.batch": 256,
    "interact.learning_rate": 0.003,
    "interact.gamma": 1.0,
    "interact.entropy": 0.0,
    "interact.keep": "last",  # the one that wins most is not the one that was asked for
    "interact.save": 1_000_000,
}


@dataclass(frozen=True)
class Measured:
    """What one policy comes to, beside people it has never seen.

    Attributes:
        won: mean result of its games, 1 won and -1 lost.
        top1: share of people's moves that were its likeliest.
        nll: nats, of people's moves.
        alike: how likely the clone would have made the same move, of those of its own games.
        auc: of whoever tells its matches from people's.
        p: of a test that they come from one distribution.
    """

    won: float
    top1: float
    nll: float
    alike: float
    auc: float
    p: float


def run(quick: bool) -> list[Table]:
    """Learn with every weight by every seed; what is done is kept."""
    seeds = SEEDS[:1] if quick else SEEDS
    asked = [("kl", kl) for kl in (KL[::3] if quick else KL)]
    asked += [("match", share) for share in (MATCH[::2] if quick else MATCH)]
    settings = {"rounds": 6 if quick else ROUNDS, "games": 200 if quick else GAMES}
    found = [
        keep(
            lambda seed=seed: learned(seed, asked, **settings),  # type: ignore[misc]
            code=["benchmarks.likeness", "benchmarks._styled"],
            settings={"seed": seed, "asked": asked, **settings},
        )
        for seed in seeds
    ]
    measured = {
        name: [Measured(**by_name[name]) for by_name in found] for name in found[0]
    }  # by weight, in the order in which they were asked for
    if not quick:
        PICTURE.write_bytes(_picture(measured))
    return [_table(measured), _trade(measured)]


def named(key: str, weight: float) -> str:
    """Return what a setting is called."""
    return f"{key} = {weight:g}"


def learned(
    seed: int, asked: Sequence[tuple[str, float]], *, rounds: int, games: int
) -> dict[str, dict[str, float]]:
    """Return what the clone and each policy that is learned from it come to, by name."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "people"
        Workspace.create(place, domain="games").close()
        base = {**SETTINGS, "interact.rounds": rounds, "workspace.seed": seed}
        with Workspace.open(place, base) as opened:
            with opened.writing() as log:
                said = list(_styled.records(_styled.people(PEOPLE, MATCHES, seed), MATCHES))
                log.append(
                    [one for one in said if not isinstance(one, ChoiceSet)],
                    choice_sets=[one for one in said if isinstance(one, ChoiceSet)],
                )
            clone = opened.pretrain()
            found = {CLONE: _measure(opened, clone.name, clone.name, seed, games)}
        for key, weight in asked:
            with Workspace.open(place, {**base, f"interact.{key}": weight}) as opened:
                made = opened.reinforce(clone.name)
                found[named(key, weight)] = _measure(opened, made.name, clone.name, seed, games)
    return {name: asdict(one) for name, one in found.items()}


def _measure(opened: Workspace, version: str, clone: str, seed: int, games: int) -> Measured:
    policy, first = (
        without_floor(load(opened.registry.folder(name)).policy) for name in (version, clone)
    )
    others = _styled.people(PEOPLE // 3, MATCHES, 1000 + seed)
    domain = _styled.game()
    vocabulary = domain.vocabulary(Snapshot.of([]))
    said = list(_styled.records(others, MATCHES, first_person=PEOPLE))
    streams = domain.encode(
        Snapshot.of(
            [one for one in said if not isinstance(one, ChoiceSet)],
            choice_sets=[one for one in said if isinstance(one, ChoiceSet)],
        ),
        vocabulary,
    )
    slots = np.arange(len(streams.slots.unit))
    told = foreseen(policy, streams, slots, window=opened.config.policy.window, seed=seed)
    foretold = match(told.places, told.nats, streams.slots.stream)
    n = int(others.match.max()) + 1
    own, many = play(policy, n, seed), batch_of(policy, games, seed + 1)
    rows = [behaviour(one.moves, one.match, _styled.CELLS, one.observed) for one in (others, own)]
    auc = discriminate(
        np.concatenate(rows), np.repeat([0.0, 1.0], n), np.arange(2 * n), seed=seed
    ).auc.mean
    return Measured(
        won=float(first_matches(many).results.mean()),
        top1=foretold.top1.mean,
        nll=foretold.nll.mean,
        alike=float(replay(first, many).detach()[many.mask].exp().mean()),
        auc=auc,
        p=energy_test(*rows, seed=seed).p,
    )


def play(policy: Policy, n: int, seed: int) -> _styled.Matches:
    """Return n matches of ``policy``, moves drawn."""
    return first_matches(batch_of(policy, n, seed))


def batch_of(policy: Policy, n: int, seed: int) -> Batch:
    """Return what ``policy`` does in n games, in each as many moves as a match can have."""
    world = _styled.game().environment(n, 0, {})
    batch = Vectorised(world, steps=_styled.MOST_MOVES, gamma=1.0, seed=seed).play(policy, 0).batch
    world.close()
    return batch


def first_matches(batch: Batch) -> _styled.Matches:
    """Return the first match of each game; what came after is left out."""
    ended = torch.where(batch.mask, batch.discounts == 0.0, False).int()
    first = batch.mask & (ended.cumsum(1) - ended == 0)  # up to the end of the first match
    row, slot = torch.nonzero(first, as_tuple=True)
    return _styled.Matches(
        observed=batch.events.features[row, slot].numpy(),
        legal=np.ones((len(row), _styled.CELLS), np.bool_),  # nobody asks
        moves=batch.units[first].numpy(),
        match=row.numpy(),
        rewards=batch.rewards[first].double().numpy(),
    )


def _table(measured: dict[str, list[Measured]]) -> Table:
    rows = [
        (
            name,
            _spread([one.won for one in found], 2),
            _spread([one.top1 for one in found], 3),
            _spread([one.nll for one in found], 3),
            _spread([one.alike for one in found], 3),
            _spread([one.auc for one in found], 3),
            f"{max(one.p for one in found):.3f}",
        )
        for name, found in measured.items()
    ]
    result = [_styled.people(PEOPLE // 3, 100, 1000 + seed).results.mean() for seed in SEEDS]
    return Table(
        "Strength against likeness",
        ("learned with", "won less lost", "top-1", "NLL", "alike", "AUC", "largest p"),
        tuple(rows),
        f"Means of {len(next(iter(measured.values())))} seeds ± standard deviation over seeds. Won "
        f"less lost: of {GAMES:,} games against a player who wins at once and blocks, both seats, "
        f"moves drawn; people themselves come to {np.mean(result):.2f}. Top-1 and NLL (nats) are "
        f"of the moves of {PEOPLE // 3} people nothing was learned from. Alike: how likely the "
        "clone would have made a move of the policy's own games, wherever they lead: where few "
        "moves are left it is higher. AUC: of telling their "
        f"{PEOPLE // 3 * MATCHES} matches from as many of the policy's. Largest p: over the seeds, "
        "of an energy test between the two.",
    )


def _trade(measured: dict[str, list[Measured]]) -> Table:
    """Say how monotone the trade is: rank correlations over the weights."""
    rows = []
    for key, weights in (("kl", KL), ("match", MATCH)):
        found = [
            measured[named(key, weight)] for weight in weights if named(key, weight) in measured
        ]
        for what in ("won", "top1", "nll", "auc"):
            means = [np.mean([getattr(one, what) for one in of_weight]) for of_weight in found]
            each = [
                spearman(weights[: len(found)], [getattr(one[k], what) for one in found])
                for k in range(len(found[0]))
            ]
            mean = spearman(weights[: len(found)], means)
            rows.append((key, what, f"{mean:.2f}", ", ".join(f"{one:.2f}" for one in each)))
    return Table(
        "Is the trade monotone?",
        ("weight", "over", "Spearman of the means", "of each seed"),
        tuple(rows),
        "Rank correlation of the weight with what it comes to. A weight that trades strength for "
        "likeness has -1 with what is won, NLL and AUC, and 1 with top-1.",
    )


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the rank correlation of x and y; ties get the mean of their ranks.

    >>> round(spearman([1, 2, 3], [10.0, 30.0, 20.0]), 2)
    0.5
    """
    ranks = [_ranks(np.asarray(one, np.float64)) for one in (x, y)]
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    less = (values[:, None] > values).sum(1)
    same = (values[:, None] == values).sum(1)
    return less + (same - 1) / 2


def _spread(values: Sequence[float], digits: int) -> str:
    wide = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{wide}"


def _picture(measured: dict[str, list[Measured]]) -> bytes:
    """Draw what is given up for what is won, along either weight; bands span the seeds."""
    from heedful.loop.plots import Line, png, training_curve

    def along(key: str, weights: Sequence[float], what: str) -> Line:
        found = [measured[named(key, weight)] for weight in weights]
        x = [np.mean([one.won for one in of_weight]) for of_weight in found]
        y = np.array([[getattr(one, what) for one in of_weight] for of_weight in found])
        return Line(key, x, y.mean(1), y.min(1), y.max(1))

    panels = {
        label: [along("kl", KL, what), along("match", MATCH, what)]
        for what, label in (
            ("auc", "AUC of telling it from people"),
            ("top1", "people's moves foretold (top-1)"),
        )
    }
    return png(training_curve(panels, x="won less lost, of all games"))
