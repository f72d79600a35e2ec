"""Clones of people beside baselines that count: Overcooked and chess."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _overcooked, _pgn
from benchmarks._clones import Held, snapshot_of, spread
from benchmarks._pgn import Backoff
from heedful.config import Pretrain
from heedful.domains.games import Games
from heedful.evaluate.likeness import Foreseen, foreseen, in_the_same_places
from heedful.evaluate.ranking import ranks
from heedful.store.snapshot import Snapshot

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class People:
    """A data set of people's play, and how a clone of it is trained.

    Attributes:
        name, title, note: of the table.
        file: parts of its path.
        clone: what the clone is called in the table.
        groups: what is held out, in words, by split.
        parts: into how many the groups are divided; one validates and one tests.
        folds: which of them test.
        rows: reads the file.
        options: of the domain.
        group: what a row belongs to, by split.
        kind, network, section, window: of the clone.
        baselines: chances of the moves of the test, by name.
    """

    name: str
    title: str
    note: str
    file: tuple[str, ...]
    clone: str
    groups: Mapping[str, str]
    parts: int
    folds: tuple[int, ...]
    rows: Callable[[Path], Any]
    options: Callable[[Sequence[Row]], dict[str, Any]]
    group: Mapping[str, Callable[[Row], str]]
    kind: str
    network: Mapping[str, Any]
    section: Mapping[str, Any]
    window: int
    baselines: Callable[[Sequence[Row], np.ndarray, np.ndarray, int, np.ndarray], Mapping[str, Any]]

    def measured(self, file: Path, split: str, fold: int, *, quick: bool) -> dict[str, Any]:
        """Train a clone on what a fold does not hold out, and rank what it does."""
        rows, games, snapshot = _read(self, file)
        vocabulary = games.vocabulary(snapshot)
        names, group = np.unique([self.group[split](row) for row in rows], return_inverse=True)
        place = (spread(group, names, 0) + fold / self.parts) % 1.0
        share = 1.0 / self.parts
        held = Held.of(games, snapshot, vocabulary, place, share=share, window=self.window)
        section = Pretrain(**{**self.section, **({"epochs": 1} if quick else {})})
        policy = held.trained(self.kind, section, seed=fold, **self.network)
        test = held.streams.slots.decision[held.split.test]
        unit = held.streams.slots.unit[held.split.test]
        units = np.array([vocabulary[row["move"]] for row in rows])
        seen = foreseen(policy, held.streams, held.split.test, window=self.window, seed=fold)
        found_ranks, found_nll = {self.clone: seen.places}, {self.clone: seen.nats}
        chances = self.baselines(rows, units, place >= 2 * share, len(vocabulary), test)
        for name, table in chances.items():
            found_ranks[name] = ranks(table, unit)
            sure = np.isclose(table.sum(axis=1), 1.0).all()
            own = table[np.arange(len(unit)), unit]
            found_nll[name] = -np.log(own) if sure else np.full(len(unit), np.nan)
        return {
            "ranks": {name: values.tolist() for name, values in found_ranks.items()},
            "nll": {name: values.tolist() for name, values in found_nll.items()},
            "group": [str(names[number]) for number in group[test]],
            "auc": _told_apart(seen, unit, snapshot.decisions.episode[test], len(vocabulary), fold),
        }


def _told_apart(
    seen: Foreseen, unit: np.ndarray, match: np.ndarray, size: int, seed: int
) -> list[float] | None:
    """Return the AUC of who tells the clone's moves from people's, and its interval."""
    order = np.argsort(match, kind="stable")
    seen = Foreseen(seen.places[order], seen.nats[order], seen.drawn[order])
    found = in_the_same_places(seen, unit[order], match[order], size, seed=seed)
    return None if found is None else [found.auc.mean, found.auc.low, found.auc.high]


_READ: dict[str, tuple[list[Row], Games, Snapshot]] = {}


def _read(people: People, file: Path) -> tuple[list[Row], Games, Snapshot]:
    """Return the rows of a data set and what they become; only the last one is kept."""
    if people.name not in _READ:
        _READ.clear()
        rows = list(people.rows(file))
        games = Games(people.options(rows))
        _READ[people.name] = rows, games, snapshot_of(games, rows)
    return _READ[people.name]


def _by_match(rows: Sequence[Row], key: Callable[[Row], Any]) -> dict[Any, list[int]]:
    """Return the numbers of the rows of each match, or of each player in it."""
    order = sorted(range(len(rows)), key=lambda n: (str(key(rows[n])), n))
    return {name: list(found) for name, found in groupby(order, key=lambda n: key(rows[n]))}


def _counted(
    rows: Sequence[Row],
    units: np.ndarray,
    learned: np.ndarray,
    size: int,
    test: np.ndarray,
    *,
    series: Callable[[Row], Any],
    apart: Callable[[Row], Any],
    **counts: Any,
) -> np.ndarray:
    """Return what a :class:`Backoff` counted says of the moves of the test, [n, V].

    Args:
        rows: all.
        units: the number of each row's move, [N].
        learned: which rows are counted, [N].
        size: V.
        test: the rows to say it of, [n].
        series: which rows follow each other.
        apart: what is counted apart, such as layouts.
        counts: what a context is.
    """
    played = _by_match(rows, series)
    models: dict[Any, Backoff] = {}
    for numbers in played.values():
        model = models.setdefault(apart(rows[numbers[0]]), Backoff(size, **counts))
        model.fit([units[numbers].tolist()], [learned[numbers].tolist()])
    wanted = set(test.tolist())
    told: dict[int, np.ndarray] = {}
    for numbers in played.values():
        moves = units[numbers].tolist()
        for ply, number in enumerate(numbers):
            if number in wanted:
                told[number] = models[apart(rows[number])].chances(moves, ply)
    return np.stack([told[number] for number in test.tolist()])


# Overcooked


def _layout(row: Row) -> str:
    return str(row["match"]).partition("/")[2]


def _seat(row: Row) -> tuple[str, str]:
    return row["match"], row["player"]


def _cooks(
    rows: Sequence[Row], units: np.ndarray, learned: np.ndarray, size: int, test: np.ndarray
) -> dict[str, np.ndarray]:
    def counted(**how: Any) -> np.ndarray:
        return _counted(
            rows, units, learned, size, test, series=_seat, apart=_layout, plies=False, **how
        )

    frequent = counted(orders=())
    again = frequent.copy()
    for numbers in _by_match(rows, _seat).values():
        before = dict(zip(numbers[1:], units[numbers[:-1]].tolist(), strict=True))
        for place, number in enumerate(test.tolist()):
            if number in before:
                again[place, before[number]] += 1.0  # first, and then by frequency
    return {
        "most frequent on the layout": frequent,
        "last move again": again,
        "n-gram of the last four": counted(orders=(1, 2, 3, 4)),
    }


OVERCOOKED = People(
    name="overcooked",
    title="Overcooked: people's next move, of six",
    note=(
        "46,729 joint steps of people in pairs on five layouts; both players' moves, given where "
        "everything is (62 numbers) and the player's moves before."
    ),
    file=("overcooked", "clean_train_trials.jsonl.gz"),
    clone="clone (transformer)",
    groups={"match": "matches", "player": "pairs of players"},
    parts=8,
    folds=(1, 2, 3),  # fold 0 is where settings were chosen
    rows=_overcooked.rows,
    options=lambda rows: {
        "game": "",
        "observed": len(rows[0]["observation"]),
        "reward_min": 0.0,
        "reward_max": 20.0,
    },
    group={"match": lambda row: row["match"], "player": lambda row: row["player"].split("/")[0]},
    kind="transformer",
    network={"width": 64, "dropout": 0.1},
    section={
        **{"epochs": 8, "batch": 32, "learning_rate": 0.003, "feedback_weight": 0.0},
        **{"split": "episode"},
    },
    window=128,
    baselines=_cooks,
)


# Chess


def _chess(
    rows: Sequence[Row], units: np.ndarray, learned: np.ndarray, size: int, test: np.ndarray
) -> dict[str, np.ndarray]:
    def counted(**how: Any) -> np.ndarray:
        return _counted(
            *(rows, units, learned, size, test),
            series=lambda row: row["match"],
            apart=lambda row: None,
            **how,
        )

    return {
        "most frequent": counted(orders=(), plies=False),
        "most frequent of the ply": counted(orders=()),
        "n-gram of the last three": counted(orders=(1, 2, 3)),
        "n-gram of all before": counted(orders=(1, 2, 3, 4, 6, 8, 12, 16, 20)),
    }


CHESS = People(
    name="chess",
    title="Chess: the next move of masters, as it is written",
    note=(
        "346 games of Dortmund, 1928 to our days, 27,742 moves in algebraic notation, of which "
        "there are 1,020; each player's moves, given what the other moved and the player's games "
        "before. Nobody knows the rules."
    ),
    file=("chess", "dortmund.pgn"),
    clone="clone (transformer)",
    groups={"match": "games", "player": "players"},
    parts=8,
    folds=(1,),  # fold 0 is where settings were chosen
    rows=_pgn.rows,
    options=lambda rows: {"game": "", "others": True, "reward_min": 0.0},
    group={"match": lambda row: str(row["match"]), "player": lambda row: row["player"]},
    kind="transformer",
    network={"width": 96, "dropout": 0.3},
    section={
        **{"epochs": 11, "batch": 8, "optimiser": "muon", "feedback_weight": 0.0},
        **{"split": "episode"},
    },
    window=128,
    baselines=_chess,
)

PEOPLE = (OVERCOOKED, CHESS)
