"""The learning-rate range test: a short pre-training in which the rate grows until it breaks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from heedful.config import Pretrain
from heedful.contract import Streams
from heedful.loop.pretrain import Training
from heedful.loop.run import Run
from heedful.objectives import Metrics, Sweep
from heedful.policy import Policy

LOWEST, HIGHEST, STEPS = 1e-5, 1.0, 150
SMOOTHING = 0.9
BROKEN = 1.5
"""Times the lowest loss at which going on would show nothing more."""
BELOW_LOWEST = 10.0
"""How far below the rate with the lowest loss the suggested one lies."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What a range test found.

    Attributes:
        rates: [N], one a step, rising.
        losses: [N], nats per unit, smoothed.
        suggested: a peak for a schedule with warm-up.
        broken: whether the loss rose again within the range, as it has to for a sound suggestion.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float
    broken: bool


class _BrokenError(Exception):
    """Raised from within to stop."""


def range_test(
    policy: Policy,
    streams: Streams,
    section: Pretrain,
    run: Run,
    *,
    train: np.ndarray,
    window: int,
    seed: int,
    low: float = LOWEST,
    high: float = HIGHEST,
    steps: int = STEPS,
) -> RangeTest:
    """Train ``policy`` while the rate grows by the same factor each step, and watch the loss.

    Smith, Cyclical Learning Rates for Training Neural Networks (arXiv 1506.01186, section 3.3),
    with a rate that grows geometrically. The loss falls, faster and faster, and rises again where
    the rate is too high: the suggestion is a tenth of the rate at which the smoothed loss was
    lowest, which has come to be customary. The test stops where the loss is broken.

    Args:
        policy: a network, which is spoilt: give a copy, or throw it away.
        streams: what was encoded.
        section: the optimiser, the batches, and what is asked for.
        run: where the curve goes.
        train: [U] weights of the slots.
        window: events a stream is long.
        seed: of everything random.
        low: where the rate begins.
        high: where it ends.
        steps: how many optimiser steps it takes, at most.

    Raises:
        ValueError: the range is empty, or the loss was finite in fewer than two steps.
    """
    if not 0 < low < high or steps < 2:
        raise ValueError(
            f"a range test needs 0 < low < high and 2 steps, not {low}, {high}, {steps}"
        )
    sweep = Sweep(low=low, high=high, steps=steps)
    training = Training(policy, streams, section, train, window, seed, schedule=sweep)
    watch = _Watch(run, steps)
    epoch = 0
    try:
        while True:
            training.descend(epoch, watch.look)
            epoch += 1
    except _BrokenError:
        return watch.found()


class _Watch:
    """Smooths the losses, and says when to stop."""

    def __init__(self, run: Run, steps: int) -> None:
        self.run, self.steps = run, steps
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.broken = False
        self._mean = 0.0

    def look(self, step: int, metrics: Metrics) -> None:
        """Take note of a step; the loss is that before it, so the rate is the one before it too.

        Raises:
            _BrokenError: there is nothing more to see.
        """
        loss, rate = metrics["loss"], metrics["learning_rate"]
        self.broken = bool(metrics["skipped"]) or not math.isfinite(loss)
        if not self.broken:
            self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
            self.losses.append(self._mean / (1 - SMOOTHING**step))
            self.rates.append(rate)
            self.run.log(step, {"loss": self.losses[-1], "learning_rate": rate}, part="range-test")
            self.run.progress.update(step, self.steps, f"rate {rate:.1e}, loss {loss:.3f}")
            self.broken = loss > BROKEN * min(self.losses)
        if self.broken or step >= self.steps:
            raise _BrokenError

    def found(self) -> RangeTest:
        """Return what the steps so far say."""
        if len(self.losses) < 2:
            raise ValueError("the loss was not finite from the start: no rate can be suggested")
        lowest = int(np.argmin(self.losses))
        suggested = max(self.rates[lowest] / BELOW_LOWEST, self.rates[0])
        risen = self.losses[-1] > self.losses[lowest] * 1.02
        return RangeTest(tuple(self.rates), tuple(self.losses), suggested, self.broken or risen)
