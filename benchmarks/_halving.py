"""Successive halving: many configurations for a short time, the best of them for a longer one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

C = TypeVar("C")


@dataclass(frozen=True)
class Look:
    """One configuration, tried with one budget.

    Attributes:
        place: of the configuration in the list that was given.
        budget: what it was allowed.
        score: what came of it on validation; more is better.
    """

    place: int
    budget: int
    score: float


def halve(
    configurations: Sequence[C],
    score: Callable[[C, int], float],
    *,
    budget: int,
    eta: int = 2,
) -> list[Look]:
    """Give every configuration ``budget``, keep the best 1/eta, give those eta times as much, ...

    Successive halving (Jamieson and Talwalkar, AISTATS 2016, figure 3), until one is left. With n
    configurations each round costs about n * budget, and there are 1 + log_eta n of them. Ties go
    to the configuration that was named first.

    Args:
        configurations: at least one.
        score: what a configuration is worth on validation after a budget; more is better.
        budget: of the first round, at least 1: epochs, rounds, whatever ``score`` understands.
        eta: at least 2.

    Returns:
        Every look in order; the last is the winner's.

    Raises:
        ValueError: no configuration, a budget below 1, an eta below 2, or a score that is NaN.

    >>> [(look.place, look.budget) for look in halve("abc", lambda c, n: ord(c) * n, budget=1)]
    [(0, 1), (1, 1), (2, 1), (2, 2)]
    """
    if not configurations or budget < 1 or eta < 2:
        raise ValueError(
            f"{len(configurations)} configurations, budget {budget}, eta {eta}: expected at least "
            "one configuration, a budget of at least 1 and an eta of at least 2"
        )
    left, looks = list(range(len(configurations))), []
    while True:
        rung = [Look(place, budget, score(configurations[place], budget)) for place in left]
        for look in rung:
            if look.score != look.score:
                raise ValueError(f"configuration {look.place} scores NaN with budget {budget}")
        looks += rung
        best = sorted(rung, key=lambda look: -look.score)
        left = [look.place for look in best[: len(rung) // eta]]
        if len(rung) == 1:
            return looks
        left = left or [best[0].place]
        budget *= eta
