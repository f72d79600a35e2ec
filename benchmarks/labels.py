"""How much feedback pre-training saves: value for new people against answered slates.

The same log is learned from in three ways: by a network that has seen nothing, by one pre-trained
on purchases, and by that one with the joint term, which goes on asking for the purchases'
likelihood. Value is clicks per item of new people whom the learned policy serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import Table
from benchmarks._kept import keep
from benchmarks._logged_shop import DECISIONS, NEXT_UNIT, logged_shop, paired
from heedful.loop.plots import Line, png, reward_by_round

WORLDS = (31, 32, 33, 34, 35)
PEOPLE = (100, 200, 400, 800)
SCRATCH, PRETRAINED, JOINT = "from scratch", "pre-trained", "with the joint term"
LEARNERS = (SCRATCH, PRETRAINED, JOINT)
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "labels.png"

Curves = dict[str, list[float]]


def run(quick: bool) -> list[Table]:
    """Learn in every world from ever more people, three ways."""
    worlds, people = (WORLDS[:1], PEOPLE[:2]) if quick else (WORLDS, PEOPLE)
    found = [curves(world, people) for world in worlds]
    if not quick:
        PICTURE.write_bytes(_drawn(found, people))
    return [_values(found, worlds, people), _fractions(found, worlds, people)]


def curves(world: int, people: Sequence[int] = PEOPLE) -> Curves:
    """Return what each learner is worth after so many ``people``; a world is kept."""
    found: Curves = keep(
        lambda: _learned(world, people),
        code=["benchmarks.labels", "benchmarks._logged_shop"],
        settings={"world": world, "people": list(people)},
    )
    return found


def _learned(world: int, people: Sequence[int]) -> Curves:
    with logged_shop(world, max(people)) as shop:
        pretrained = shop.pretrained.policy
        starts = {SCRATCH: shop.scratch(), PRETRAINED: pretrained, JOINT: pretrained}
        terms = {JOINT: NEXT_UNIT}
        return {
            name: [
                shop.worth(shop.reinforced(start, n, next_unit=terms.get(name, 0.0)))
                for n in people
            ]
            for name, start in starts.items()
        }


def _values(found: Sequence[Curves], worlds: Sequence[int], people: Sequence[int]) -> Table:
    rows = []
    for place, n in enumerate(people):
        at = {name: [one[name][place] for one in found] for name in LEARNERS}
        rows.append(
            (
                f"{n * DECISIONS:,}",
                *(f"{np.mean(at[name]):.3f}" for name in LEARNERS),
                paired(at[PRETRAINED], at[SCRATCH]),
                paired(at[JOINT], at[SCRATCH]),
            )
        )
    columns = ("answered slates", *LEARNERS, "pre-trained - scratch", "joint - scratch")
    note = (
        f"Clicks per item, worlds {list(worlds)}, slates of 5 shown to {people[0]:,} to "
        f"{people[-1]:,} people by a policy that draws what was bought. Differences are paired by "
        "world, with Student's 95 % interval over worlds."
    )
    return Table("Value for new people against feedback", columns, tuple(rows), note)


def _fractions(found: Sequence[Curves], worlds: Sequence[int], people: Sequence[int]) -> Table:
    rows = []
    for name in (PRETRAINED, JOINT):
        needed = [reached(people, one[name], one[SCRATCH][-1]) / people[-1] for one in found]
        shown = ", ".join(f"{x:.0%}" if np.isfinite(x) else "not reached" for x in needed)
        rows.append((name, f"{np.median(needed):.0%}", shown))
    columns = ("policy", "median", "by world")
    note = (
        f"What share of {people[-1] * DECISIONS:,} answered slates a policy needs to be worth what "
        "the one from scratch is with all of them, between two measured numbers of slates "
        "interpolated on the logarithm of their number."
    )
    return Table("Feedback needed for the value from scratch", columns, tuple(rows), note)


def reached(people: Sequence[int], values: Sequence[float], wanted: float) -> float:
    """Return the number of people at which a curve first reaches ``wanted``; infinity if never."""
    if values[0] >= wanted:
        return float(people[0])
    for (n, value), (more, better) in zip(
        zip(people, values, strict=True), zip(people[1:], values[1:], strict=True), strict=False
    ):
        if better >= wanted:
            share = (wanted - value) / (better - value)
            return float(np.exp(np.log(n) + share * np.log(more / n)))
    return float("inf")


def _drawn(found: Sequence[Curves], people: Sequence[int]) -> bytes:
    """Draw the means, with the range over worlds as a band."""
    x = [n * DECISIONS for n in people]
    lines = []
    for name in LEARNERS:
        values = np.array([one[name] for one in found])
        lines.append(Line(name, x, values.mean(0), values.min(0), values.max(0)))
    figure = reward_by_round(lines, x="answered slates (log scale)")
    (axes,) = figure.axes
    axes.set_xscale("log")
    return png(figure)
