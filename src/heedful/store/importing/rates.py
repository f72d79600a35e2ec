"""Who decides faster than people do."""

from __future__ import annotations

import numpy as np

from heedful.store.errors import StoreError
from heedful.store.importing.checks import Events
from heedful.store.importing.events import Order
from heedful.store.importing.mapping import Mapping
from heedful.store.importing.report import Findings, Problem

SUSTAINED = 600.0
"""How long a rate has to be kept up, seconds: people click in bursts, and not for ten minutes."""


def without_bots(
    events: Events, order: Order, mapping: Mapping, rate: float, findings: Findings
) -> Order:
    """Return ``order`` without the subjects that are too fast; all their rows are problems.

    A subject is too fast that made more than ``rate`` decisions a minute throughout some ten
    minutes: more than ``10 rate`` of them, the last less than 600 seconds after the first. A slate
    is one decision, and what is said twice counts once.

    Args:
        events: what the file says.
        order: its decisions by time.
        mapping: which column means what.
        rate: decisions a minute; 0 finds nobody.
        findings: where problems go.

    Raises:
        StoreError: the file has no times, so nobody can tell how fast anything was.
    """
    if not rate:
        return order
    if not mapping.time:
        raise StoreError("bot_rate counts decisions a minute, and the file has no column of times")
    counts = _too_fast(events, order, max(2, int(rate * SUSTAINED / 60) + 1))
    if not counts:
        return order
    bot = np.isin(events.column("subject")[order.first], list(counts))
    names = list(events.subjects)
    for row in order.rows[bot[order.decision]].tolist():
        subject = events.subject[row]
        hint = (
            f"made {counts[subject]} decisions within ten minutes, above the {rate:g} a minute of "
            "bot_rate; a quarantine sets them aside"
        )
        name = "" if events.anonymous else names[subject][:80]
        findings.add(Problem(events.line[row], mapping.subject, "rate", name, hint), "")
    return order.take(np.flatnonzero(~bot))


def _too_fast(events: Events, order: Order, too_many: int) -> dict[int, int]:
    """Return subjects with ``too_many`` decisions within ten minutes, and how many at most."""
    subject, at = events.column("subject")[order.first], events.column("at")[order.first]
    sort = np.lexsort((at, subject))
    subject, at = subject[sort], at[sort]
    if len(at) < too_many:
        return {}
    early, late = slice(None, len(at) - too_many + 1), slice(too_many - 1, None)
    found = np.unique(
        subject[late][(subject[late] == subject[early]) & (at[late] - at[early] < SUSTAINED)]
    )
    counts = {}
    for code in found.tolist():
        times = at[np.searchsorted(subject, code) : np.searchsorted(subject, code, side="right")]
        reach = np.searchsorted(times, times + SUSTAINED)  # the first that is too late
        counts[code] = int((reach - np.arange(len(times))).max())
    return counts
