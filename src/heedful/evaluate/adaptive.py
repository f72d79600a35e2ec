"""The other betting rule: one stake, which moves with what was seen (aGRAPA).

The stake that makes wealth grow fastest on average is about E[D] / E[D^2]. Both are estimated from
the rows before this one, so the stake is known before its row is and the bet stays fair:

    lambda_t = clip( S / (Q + k), 0, half of 1 / |lowest D_t| )
    S = sum_{i<t} D_i,  Q = sum_{i<t} D_i^2

(Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by betting", appendix
B.3; there the variance is that around the null.) Until something was seen nothing is staked. Which
of the rules needs fewer rows differs from case to case (docs/benchmarks/gate.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from heedful.evaluate.checked import FloatArray
from heedful.evaluate.gate import EProcess, log_evidence

Betting = Literal["mixture", "agrapa"]

LARGEST = 0.5
"""The largest stake, as a share of the largest allowed: beyond it one bad row costs most of all."""

PRIOR = 1.0
"""k, what the squared differences begin with: the first few rows do not decide about the stake."""


class AdaptiveEProcess(EProcess):
    """Evidence by one stake that is set anew before every row; otherwise as `EProcess`."""

    def __init__(self, fractions: Sequence[float] = (LARGEST,), *, points: int = 512) -> None:
        """Start with evidence 1; ``fractions`` holds the largest stake alone.

        Raises:
            ValueError: as `EProcess`, or there are several fractions.
        """
        super().__init__(fractions, points=points)
        if len(self.fractions) != 1:
            raise ValueError(f"fractions: expected the largest stake alone, got {fractions}")
        self._sums = np.zeros(2)  # of the differences, and of their squares

    def _wealth_after(self, differences: FloatArray, lowest: FloatArray) -> FloatArray:
        stakes, self._sums = _stakes(differences, lowest, self.fractions[0], self._sums)
        gains = np.log1p(stakes * np.maximum(differences / -lowest, -1.0))
        gains[:1] += self.log_wealth[0]
        wealth: FloatArray = np.cumsum(gains)[None]
        return wealth

    def merge(self, later: EProcess) -> EProcess:
        """Refuse: the second half's stakes depend on the first half's rows.

        Raises:
            ValueError: always.
        """
        raise ValueError("stakes that move with the rows cannot be merged; feed the rows in order")

    def to_dict(self) -> dict[str, Any]:
        """State as plain numbers and lists; JSON keeps every bit of it."""
        return {**super().to_dict(), "sums": self._sums.tolist()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> AdaptiveEProcess:
        """Restore what `to_dict` gave.

        Raises:
            KeyError: if a part of the state is missing.
            ValueError: if the wealth is not finite.
        """
        process = super().from_dict(state)
        assert isinstance(process, cls)
        process._sums = np.array(state["sums"], dtype=np.float64)
        return process


def e_process(betting: Betting, fractions: Sequence[float]) -> EProcess:
    """Return an empty process that bets by the rule; ``fractions`` are the mixture's."""
    return AdaptiveEProcess() if betting == "agrapa" else EProcess(fractions)


def log_evidence_by(
    betting: Betting,
    differences: FloatArray,
    lowest: FloatArray | float,
    fractions: Sequence[float],
) -> FloatArray:
    """Log of the evidence after every row by either rule; see `log_evidence` for the shapes.

    Args:
        betting: "mixture" or "agrapa".
        differences: D, [..., N].
        lowest: lowest possible D, negative; broadcasts against ``differences``.
        fractions: the stakes of the mixture.
    """
    if betting == "mixture":
        return log_evidence(differences, lowest, fractions)
    low = np.broadcast_to(np.asarray(lowest, dtype=np.float64), differences.shape)
    stakes, _ = _stakes(differences, low, LARGEST, np.zeros((*differences.shape[:-1], 2)))
    evidence: FloatArray = np.cumsum(np.log1p(stakes * (differences / -low)), axis=-1)
    return evidence


def _stakes(
    differences: FloatArray, lowest: FloatArray, largest: float, before: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Stakes as shares of the largest allowed, [..., N], and both sums after the rows, [..., 2].

    The sums before enter the running sums first, so that rows one by one and all at once give the
    same bits.
    """
    both = np.stack((differences, differences**2), axis=-2)
    sums = np.cumsum(np.concatenate((before[..., None], both), axis=-1), axis=-1)
    total, squares = sums[..., 0, :-1], sums[..., 1, :-1]
    return np.clip(total / (squares + PRIOR) * -lowest, 0.0, largest), sums[..., -1]
