"""``[constraints]`` in training: what of the log is measured, and the prices a step begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from heedful.contract import Streams
from heedful.loop.bench import Bench, units_of
from heedful.objectives import Alike, Bound, Gap, Lagrangian, Limit
from heedful.reward import Earned, View, groups, measured_units
from heedful.store.snapshot import Snapshot


def constrained(
    bench: Bench,
    snapshot: Snapshot,
    streams: Streams,
    earned: Earned,
    before: Mapping[str, object],
) -> tuple[Streams, Lagrangian]:
    """Return ``streams`` with what is kept within bounds, and the constraints with their prices.

    What the measures have to know of the past is what ``snapshot`` knows.

    Args:
        bench: its ``[constraints]`` say what is asked for.
        snapshot: what the streams were encoded from.
        streams: of the domain; their slots have nothing measured.
        earned: says which decisions have matured.
        before: metrics of the version that training starts from; it goes on with its prices, or
            each small round would first have to find out anew what a limit costs.

    Raises:
        RewardError: there is no such measure, or no such groups of subjects.
    """
    section = bench.config.constraints
    if not section.any:
        return streams, Lagrangian()
    flat = units_of(streams, snapshot)
    view = View(watermark=snapshot.watermark, within=bench.config.reward.maturity or None)
    columns: list[np.ndarray] = []
    terms: list[Bound | Gap] = []
    asked = [(1, name, bound) for name, bound in section.at_most.items()]
    asked += [(-1, name, bound) for name, bound in section.at_least.items()]
    both = section.at_most.keys() & section.at_least.keys()
    for sign, name, bound in asked:
        found, whole = measured_units(snapshot, name, earned, view)
        said = f"{name}_at_{'most' if sign > 0 else 'least'}" if name in both else name
        limit = Limit(name=said, column=len(columns), bound=bound, sign=sign, whole=whole)
        columns.append(found[flat])
        terms.append(Bound(limit, _price(before, said, section.price_max)))
    for fact, within in section.equal.items():
        of_decision = groups(snapshot, fact)
        places = range(len(columns), len(columns) + len(of_decision.names))
        codes = of_decision.of_decision[streams.slots.decision]
        columns += [(codes == code).astype(np.float64) for code in range(len(of_decision.names))]
        terms.append(Gap(Alike(name=f"equal_{fact}", columns=tuple(places), within=within)))
    slots = replace(streams.slots, measured=np.stack(columns, axis=1))
    _, lengths = np.unique(streams.slots.decision, return_counts=True)
    return replace(streams, slots=slots), Lagrangian(
        terms,
        units=float(lengths.mean()) if len(lengths) else 1.0,
        rate=section.price_rate,
        highest=section.price_max,
    )


def _price(before: Mapping[str, object], name: str, highest: float) -> float:
    """Return the price that the parent's training ended with, 0 where it knew of none."""
    price = before.get(f"price_{name}", 0.0)
    return min(float(price), highest) if isinstance(price, int | float) else 0.0
