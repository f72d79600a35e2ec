"""What looks after a policy that learns from its own doing, and says when it has collapsed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heedful.config import Interact

REWARD, SPREAD, KL, ENTROPY, LENGTH, UNFINISHED = (
    "score",
    "reward_sd",
    "kl",
    "entropy",
    "length",
    "unfinished",
)
SHORT = 0.1
"""Share of the length at first, below which decisions have shrunk to nothing."""


@dataclass(slots=True)
class Watchdog:
    """Looks at the numbers of each round, and barks at a collapse.

    A number that is not finite is one at once. Anything else has to stand for
    ``[interact] patience`` rounds on end: a single round is a small sample.

    Attributes:
        section: the limits.
        first: the numbers of the first round, which the others are compared with.
        best: the highest score so far.
        bad: rounds on end with something wrong.
    """

    section: Interact
    first: dict[str, float] = field(default_factory=dict)
    best: float = -math.inf
    bad: int = 0

    def look(self, metrics: Mapping[str, float]) -> str:
        """Return what is wrong, in words, or nothing.

        Args:
            metrics: of one round, before the policy was changed: "score", "kl" and "entropy" in
                nats a unit, "length" in units, "unfinished", the share of decisions cut off at the
                longest length, "reward_sd". One that is missing is not looked at.
        """
        broken = [name for name, value in metrics.items() if math.isinf(value)]
        broken += [name for name in (KL, ENTROPY) if math.isnan(metrics.get(name, 0.0))]
        if broken:
            return f"{broken[0]} is {metrics[broken[0]]}"
        self.first = self.first or dict(metrics)
        wrong = self._wrong(metrics)
        score = metrics.get(REWARD, math.nan)
        self.best = max(self.best, -math.inf if math.isnan(score) else score)
        self.bad = self.bad + 1 if wrong else 0
        return wrong if self.bad >= self.section.patience else ""

    @property
    def well(self) -> bool:
        """Whether nothing was wrong in the last round."""
        return self.bad == 0

    def _wrong(self, metrics: Mapping[str, float]) -> str:
        """Return the first limit that is not kept, in words."""
        section, first = self.section, self.first

        def now(name: str) -> float:
            return metrics.get(name, math.nan)

        if section.kl_limit and now(KL) > section.kl_limit:
            return (
                f"the divergence from the reference is {now(KL):.2f} nats a unit, above kl_limit = "
                f"{section.kl_limit:g}"
            )
        floor = section.entropy_floor * first.get(ENTROPY, math.nan)
        if section.entropy_floor and now(ENTROPY) < floor:
            return (
                f"the entropy has fallen from {first[ENTROPY]:.3f} to {now(ENTROPY):.4f} nats a "
                f"unit, below entropy_floor = {section.entropy_floor:g} of it"
            )
        fall, spread = self.best - now(REWARD), first.get(SPREAD, 0.0)
        if section.fall and spread > 0.0 and fall > section.fall * spread:
            return (
                f"the reward has fallen from {self.best:.3f} to {now(REWARD):.3f}, by more than "
                f"fall = {section.fall:g} of its standard deviation, {spread:.3f}"
            )
        if first.get(UNFINISHED, 1.0) <= section.cut_off < now(UNFINISHED):
            return (
                f"{now(UNFINISHED):.0%} of the decisions come to no end of their own, above "
                f"cut_off = {section.cut_off:g}"
            )
        if now(LENGTH) < max(1.5, SHORT * first.get(LENGTH, math.nan)) <= first.get(LENGTH, 0.0):
            return f"decisions have shrunk from {first[LENGTH]:.1f} units to {now(LENGTH):.1f}"
        return ""

    def facts(self) -> dict[str, Any]:
        """Return what :meth:`restore` takes, as JSON."""
        best = None if math.isinf(self.best) else self.best
        return {"first": self.first, "best": best, "bad": self.bad}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Take up where another stood."""
        self.first, self.bad = dict(facts["first"]), facts["bad"]
        self.best = -math.inf if facts["best"] is None else facts["best"]
