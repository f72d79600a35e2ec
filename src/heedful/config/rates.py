"""Learning rates of pre-training: each optimiser's own, and where it is too high.

Measured by ``python -m benchmarks pretraining`` on ML-100K (docs/benchmarks/pretraining.md); muon's
was found on text (docs/benchmarks/text.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TOO_NEAR = 10
"""Reinforcement starts from what pre-training found: its rate stays this many times below."""

PRETRAINED = 1e-5
"""Where pre-training goes on from with a model that was trained elsewhere, on much more."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The highest step size of an optimiser: its ``default``, and the ``highest`` that is sound."""

    default: float
    highest: float


RATES: Mapping[str, Rate] = {
    "adamw": Rate(default=2e-3, highest=3e-2),
    "adam": Rate(default=2e-3, highest=3e-2),
    "rmsprop": Rate(default=1e-3, highest=1e-2),
    "muon": Rate(default=5e-3, highest=3e-2),
}
