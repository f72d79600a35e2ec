"""What people whose word counts said of what they were shown."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from heedful.record import Kind
from heedful.reward.rewards import Floats, Ratings, said
from heedful.store.snapshot import Snapshot


def approved(
    snapshot: Snapshot, givers: Collection[str], *, low: float = 1.0, high: float = 5.0
) -> Floats:
    """Return how much ``givers`` approved of each unit, 0 to 1, [M]; NaN where they said nothing.

    A rating counts where there is one, scaled from ``low``..``high``; else a click.

    Args:
        snapshot: what happened.
        givers: pseudonyms.
        low: the rating that is worth 0.
        high: the rating that is worth 1.
    """
    codes = [code for code in (snapshot.names.people.code(name) for name in givers) if code >= 0]
    rows = np.flatnonzero(np.isin(snapshot.feedback.by, codes))
    everybody = np.arange(len(snapshot.decisions.seq))
    theirs = replace(snapshot, feedback=snapshot.feedback.take(rows, everybody))
    rating = Ratings(low, high)(theirs)
    return np.where(np.isnan(rating), said(theirs, Kind.CLICK), rating)
