"""Before a trial: how many subjects, and days, a gain of a certain size needs here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heedful.evaluate import per_subject
from heedful.evaluate.planner import Planned, assumed, plan
from heedful.loop.bench import Bench
from heedful.loop.trial import patience
from heedful.store.snapshot import Snapshot

DAY = 86_400.0
RECENT = 28.0
"""Days of the log that say how many people come."""

ROWS = (250, 500, 1000, 2000, 4000, 10_000, 20_000, 50_000)


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """A plan for this workspace.

    Attributes:
        planned: what trials would come to.
        share: of the subjects who would get the candidate.
        k: which candidate it would be.
        source: where the rewards come from, in words.
        per_day: different subjects a day, from the log; ``None`` where it does not tell.
        wait: days from a subject's first decision until it is judged.
    """

    planned: Planned
    share: float
    k: int
    source: str
    per_day: float | None
    wait: float

    def days(self, subjects: int | None) -> float | None:
        """Return how long a trial of so many subjects takes, in days."""
        if subjects is None or not self.per_day:
            return None
        return subjects / self.per_day + self.wait

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        found = self.planned.to_dict()
        power = [{**row, "days": self.days(row["subjects"])} for row in found["power"]]
        days = {"median_days": self.days(self.planned.median)}
        days["most_days"] = self.days(self.planned.most)
        about = {"share": self.share, "k": self.k, "source": self.source, "per_day": self.per_day}
        return found | {"power": power} | days | about


def planned(
    bench: Bench,
    gain: float,
    *,
    base: float | None = None,
    decisions: int = 10,
    rows: Sequence[int] = (),
) -> TrialPlan:
    """Simulate trials with this workspace's settings.

    Args:
        bench: the workspace.
        gain: by how much the candidate is better per subject, scaled reward.
        base: assume this mean click rate; by default the log's own subjects are drawn from.
        decisions: with ``base``, of each subject's window.
        rows: at how many subjects the power is asked for; by default up to
            ``gate.maximum_subjects``.

    Raises:
        ValueError: the log holds no rewarded subject and no base is given, or as `plan`.
    """
    gate, snapshot, k = bench.config.gate, bench.log.snapshot(), bench.registry.judged() + 1
    rewards, source = _rewards(bench, snapshot, base, decisions)
    most = gate.maximum_subjects
    waiting = patience(bench)
    found = plan(
        rewards,
        gain,
        share=gate.shares[-1],  # of the last stage, which a promotion waits for
        alpha=gate.alpha,
        k=k,
        margin=gate.margin,
        betting=gate.betting,
        rows=rows or [n for n in ROWS if n < most] + [most],
        seed=bench.config.workspace.seed,
    )
    return TrialPlan(
        planned=found,
        share=gate.shares[-1],
        k=k,
        source=source,
        per_day=subjects_per_day(snapshot),
        wait=(waiting.window + waiting.maturity) / DAY,
    )


def _rewards(
    bench: Bench, snapshot: Snapshot, base: float | None, decisions: int
) -> tuple[np.ndarray, str]:
    if base is not None:
        words = f"an assumed click rate of {base:g} in {decisions} decisions"
        return assumed(base, decisions), words
    table, rewards = snapshot.decisions, bench.earned(snapshot).decisions
    rows, words = served(snapshot), "served here"
    if len(rows) == 0:
        rows, words = np.arange(table.n), "in the imported history"
    waiting = patience(bench)
    one = per_subject(
        table.subject[rows],
        rewards[rows],
        table.made_at[rows],
        window=waiting.window,
        maturity=waiting.maturity,
        now=waiting.now,
    )
    if len(one.rewards) == 0:
        raise ValueError(
            "the log holds no subject whose window has closed, so nothing to draw from: assume a "
            "click rate with --base"
        )
    return one.rewards, f"{len(one.rewards):,} subjects {words}"


def served(snapshot: Snapshot) -> np.ndarray:
    """Return the rows of decisions whose probabilities are known: they were made for people."""
    decisions = snapshot.decisions
    known: np.ndarray = np.flatnonzero(~np.isnan(decisions.logps[decisions.offsets[:-1]]))
    return known


def subjects_per_day(snapshot: Snapshot) -> float | None:
    """Return how many different subjects came a day, over the last weeks in which any were served.

    ``None`` where that is less than a day.
    """
    decisions, rows = snapshot.decisions, served(snapshot)
    if len(rows) == 0:
        return None
    times = decisions.made_at[rows]
    recent = rows[times > times.max() - RECENT * DAY]
    days = float(np.ptp(decisions.made_at[recent])) / DAY
    return len(np.unique(decisions.subject[recent])) / days if days >= 1 else None
