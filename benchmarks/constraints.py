"""What it costs to keep a constraint: a share of long-tail items, a cap on a genre.

The same log is learned from without a constraint and with one; what matters is what the learned
policy does with new people, measured on its own slates, and not what was estimated from the log.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Table
from benchmarks._kept import keep
from benchmarks._logged_shop import (
    DECISIONS,
    NEW_PEOPLE,
    LoggedShop,
    logged_shop,
    paired,
    spread,
)
from heedful.config import Constraints
from heedful.domains.recommendation.domain import item_id
from heedful.domains.recommendation.shop import ShopParameters
from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.loop.run import METRICS, Run
from heedful.reward import View, measured_units
from heedful.store.snapshot import Snapshot

WORLDS = (31, 32, 33, 34, 35)
PEOPLE = 800
GENRE = "unit.genre=favourite"  # the genre that most people like best
TAIL = "long_tail"
ASKED: Mapping[str, tuple[str, dict[str, dict[str, float]]]] = {
    "nothing": (TAIL, {}),
    "at least 60 % long tail": (TAIL, {"at_least": {TAIL: 0.6}}),
    "at least 80 % long tail": (TAIL, {"at_least": {TAIL: 0.8}}),
    "at most 10 % of the favourite genre": (GENRE, {"at_most": {GENRE: 0.1}}),
}
NOTHING = next(iter(ASKED))

Found = dict[str, dict[str, Any]]


def run(quick: bool) -> list[Table]:
    """Learn in every world without and with each constraint, and measure on new people."""
    worlds, people = (WORLDS[:1], 100) if quick else (WORLDS, PEOPLE)
    found = [_kept(world, people) for world in worlds]
    return [_costs(found, worlds, people), _prices(found)]


def _kept(world: int, people: int) -> Found:
    found: Found = keep(
        lambda: _learned(world, people),
        code=[__name__, "benchmarks._logged_shop"],
        settings={"world": world, "people": people},
    )
    return found


def _learned(world: int, people: int) -> Found:
    with logged_shop(world, people) as shop:
        _describe(shop)
        return {
            name: _trained(shop, people, measure, Constraints.model_validate(asked))
            for name, (measure, asked) in ASKED.items()
        }


def _describe(shop: LoggedShop) -> None:
    """Say of every item whether its genre is the favourite one."""
    catalogue = Catalogue.draw(ShopParameters(world_seed=shop.world))
    favourite = catalogue.genre == catalogue.shares.argmax()
    shop.workspace.describe(
        units={
            item_id(item): {"genre": "favourite" if liked else "other"}
            for item, liked in enumerate(favourite.tolist())
        }
    )


def _trained(shop: LoggedShop, people: int, measure: str, asked: Constraints) -> dict[str, Any]:
    """Return worth and measures of a policy that was trained under ``asked``, and its prices."""
    with tempfile.TemporaryDirectory() as folder:
        policy = shop.reinforced(
            shop.pretrained.policy, people, constraints=asked, run=Run(Path(folder), {})
        )
        lines = (Path(folder) / METRICS).read_text("utf-8").splitlines()
    worth, happened = shop.visited(policy)
    curves = [json.loads(line) for line in lines]
    return {
        "worth": worth,
        "prices": [line.get(f"price_{measure}", 0.0) for line in curves],
        "estimated": curves[-1].get(f"cost_{measure}"),
        **{name: _share(shop, people, happened, name) for name in (TAIL, GENRE)},
    }


def _share(shop: LoggedShop, people: int, happened: Snapshot, name: str) -> float:
    """Return the mean of a measure of units over what ``happened``, as the log's snapshot knows it.

    Over as many slates of each person as the log has: the constraint was about those.
    """
    log = shop.snapshot(people)
    earned = shop.workspace.bench().earned(log, None)
    of_units, _ = measured_units(log, name, earned, View(watermark=log.watermark))
    names, shown = log.names.units, log.decisions.units.tolist()
    known = {names[unit]: share for unit, share in zip(shown, of_units.tolist(), strict=True)}
    decisions = happened.decisions
    first = decisions.made_at[decisions.of_unit] <= DECISIONS  # the collector counts from 1
    units = [happened.names.units[unit] for unit in decisions.units[first].tolist()]
    return float(np.mean([known[unit] for unit in units]))


def _costs(found: Sequence[Found], worlds: Sequence[int], people: int) -> Table:
    rows = []
    for name, (measure, asked) in ASKED.items():
        at = {key: [one[name][key] for one in found] for key in ("worth", TAIL, GENRE)}
        estimated = [one[name]["estimated"] for one in found]
        over = (
            "-"
            if name == NOTHING
            else paired(at["worth"], [one[NOTHING]["worth"] for one in found])
        )
        said = "-" if estimated[0] is None else f"{np.mean(estimated):.3f}"
        shown = {
            key: f"**{spread(at[key])}**" if key == measure and asked else spread(at[key])
            for key in (TAIL, GENRE)
        }
        rows.append((name, *shown.values(), said, f"{np.mean(at['worth']):.3f}", over))
    columns = (
        "asked for",
        "long tail",
        "favourite genre",
        "as estimated in training",
        "clicks per item",
        "what it costs",
    )
    note = (
        f"Means over the worlds {list(worlds)}, in brackets their range; differences in clicks are "
        "paired by world, with Student's 95 % interval over worlds. Learned from "
        f"{people:,} people with {DECISIONS} slates of 5 each; shares are those of the learned "
        f"policy's own slates, the first {DECISIONS} of {NEW_PEOPLE} new people, its exploration "
        "included. In bold what was asked for."
    )
    return Table("What a constraint costs", columns, tuple(rows), note)


def _prices(found: Sequence[Found]) -> Table:
    passes = len(found[0][NOTHING]["prices"])
    rows = []
    for name in (name for name in ASKED if name != NOTHING):
        paths = np.array([one[name]["prices"] for one in found])
        rows.append((name, *(f"{price:.2f}" for price in paths.mean(0))))
    columns = ("asked for", *(f"pass {number}" for number in range(1, passes + 1)))
    note = (
        "Mean price over the worlds after each pass over the log: clicks per item that 1 of the "
        "measure may cost. With 0 the limit is kept anyway."
    )
    return Table("Prices", columns, tuple(rows), note)
