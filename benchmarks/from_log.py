"""Learning from a log alone: what it is worth beside the policy that made the log.

One policy serves hundreds of people and its log is all that is learned from. Beside reinforcement
stand cloning what was shown, cloning what was clicked, and always showing the items that were
clicked most often when shown; below them popularity, above them an oracle that sees the tastes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from torch import nn

from benchmarks import Table, labels
from benchmarks._kept import keep
from benchmarks._logged_shop import (
    DECISIONS,
    NEW_PEOPLE,
    LoggedShop,
    logged_shop,
    paired,
    spread,
)
from heedful import demo
from heedful.contract import Streams
from heedful.domains.recommendation.domain import item_number
from heedful.domains.recommendation.shop import oracle, popular
from heedful.loop.form import without_floor
from heedful.loop.pretrain import pretrain
from heedful.loop.run import Run
from heedful.policy import Floor, Policy, clone, load

PEOPLE = labels.PEOPLE[-1]
SHRINKAGE = 20.0  # times shown that an item's click rate is drawn towards the mean
LOGGER, BANDIT = "the policy that made the log", "greedy bandit: highest click rate"
POPULAR, ORACLE = "the most popular items", "oracle"


def run(quick: bool) -> list[Table]:
    """Learn from each world's log, and measure on new people."""
    worlds = labels.WORLDS[:1] if quick else labels.WORLDS
    people = labels.PEOPLE[:2] if quick else labels.PEOPLE
    found = [_compared(world, people) for world in worlds]
    values = {name: [one[name] for one in found] for name in found[0]}
    rows = []
    for name, measured in values.items():
        low, high = np.array(values[POPULAR]), np.array(values[ORACLE])
        closed = np.mean((np.array(measured) - low) / (high - low))
        over = "-" if name == LOGGER else paired(measured, values[LOGGER])
        rows.append((name, spread(measured), over, f"{closed:.0%}"))
    columns = ("policy", "clicks per item", "over the log's policy", "gap closed")
    note = (
        f"Worlds {list(worlds)}, {people[-1]:,} people with {DECISIONS} slates of 5 each in the "
        "log; in brackets the worlds' range, differences paired by world with Student's 95 % "
        "interval. The gap is the one from the most popular items to the oracle."
    )
    return [Table("Learned from one policy's log", columns, tuple(rows), note)]


def _compared(world: int, people: Sequence[int]) -> dict[str, float]:
    """Return everybody's worth, what was reinforced taken from the benchmark ``labels``."""
    others = _kept(world, people[-1])
    reinforced = {
        f"reinforced {name}" if name == labels.SCRATCH else f"reinforced, {name}": values[-1]
        for name, values in labels.curves(world, people).items()
    }
    floors = {name: others.pop(name) for name in (BANDIT, POPULAR, ORACLE)}
    return {**others, **reinforced, **floors}


def _kept(world: int, people: int) -> dict[str, float]:
    found: dict[str, float] = keep(
        lambda: _learned(world, people),
        code=[__name__, "benchmarks._logged_shop"],
        settings={"world": world, "people": people},
    )
    return found


def _learned(world: int, people: int) -> dict[str, float]:
    with logged_shop(world, people) as shop:
        live = shop.workspace.registry.live()
        assert live is not None
        logger = load(shop.workspace.registry.folder(live.name)).policy
        streams = shop.streams(people)
        logged = ~np.isnan(streams.slots.behaviour_logp) * streams.slots.weight
        clicked = logged * (streams.slots.reward > 0)
        policies = {
            LOGGER: logger,
            "cloning what was shown": _cloned(shop, streams, logged),
            "cloning what was clicked": _cloned(shop, streams, clicked),
        }
        best = _most_clicked(shop, streams, logged)
        return {
            **{name: shop.worth(policy) for name, policy in policies.items()},
            BANDIT: shop.worth_of_slates(lambda _: best),
            POPULAR: shop.worth_of_slates(_popular),
            ORACLE: shop.worth_of_slates(oracle),
        }


def _cloned(shop: LoggedShop, streams: Streams, weights: np.ndarray) -> Policy:
    """Return the pre-trained network after learning to choose the units with ``weights``."""
    config = shop.workspace.config
    network = clone(without_floor(shop.pretrained.policy))
    cast(nn.Module, network).requires_grad_(requires_grad=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), {})
        pretrain(
            network,
            streams,
            config.pretrain,
            run,
            train=weights,
            validation=np.empty(0, np.int64),
            window=config.policy.window,
            seed=shop.world,
            seen=True,
        )
        run.close()
    return Floor(network, share=config.serve.floor).eval()


def _most_clicked(shop: LoggedShop, streams: Streams, logged: np.ndarray) -> np.ndarray:
    """Return the slate of the items with the highest click rate, for everybody, [n, K]."""
    size = streams.schema.size
    shown = np.bincount(streams.slots.unit, weights=logged, minlength=size)
    clicks = np.bincount(streams.slots.unit, weights=logged * streams.slots.reward, minlength=size)
    rate = (clicks + SHRINKAGE * clicks.sum() / shown.sum()) / (shown + SHRINKAGE)
    units = shop.pretrained.vocabulary.units
    slate = [item_number(units[unit]) for unit in np.argsort(-rate, kind="stable")]
    return _for_everybody(slate[: shop.workspace.domain.length])


def _popular(shop: demo.Watched) -> np.ndarray:
    return _for_everybody(popular(shop)[: shop.parameters.slate])


def _for_everybody(slate: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.tile(np.asarray(slate), (NEW_PEOPLE, 1))
