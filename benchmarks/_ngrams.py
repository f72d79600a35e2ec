"""Characters predicted from the few before them: what a language model has to beat."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Self

import numpy as np
import numpy.typing as npt


class WittenBell:
    """An n-gram model of characters, smoothed as Witten and Bell do (IEEE Trans. IT 37(4), 1991).

        p(x | h) = (c(h x) + t(h) p(x | h')) / (c(h) + t(h))

    with t(h) how many different characters were seen behind h, and h' a history that is one
    character shorter; behind the empty one all characters, and one never seen, are alike.
    """

    def __init__(self, order: int) -> None:
        """Look at ``order`` - 1 characters."""
        self._order = order
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._total: dict[str, int] = {}

    def fit(self, text: str) -> Self:
        """Count."""
        for length in range(self._order):
            for place in range(length, len(text)):
                self._counts[text[place - length : place]][text[place]] += 1
        self._total = {history: sum(seen.values()) for history, seen in self._counts.items()}
        return self

    def nats(self, text: str) -> npt.NDArray[np.float64]:
        """Return - log p of each character of ``text`` given those before it, [len(text)]."""
        return np.array([self._nats(text, place) for place in range(len(text))])

    def _nats(self, text: str, place: int) -> float:
        p = 1.0 / (len(self._counts[""]) + 1)
        for length in range(min(place, self._order - 1) + 1):
            history = text[place - length : place]
            if history not in self._total:
                break
            seen, total = self._counts[history], self._total[history]
            p = (seen[text[place]] + len(seen) * p) / (total + len(seen))
        return -math.log(p)
