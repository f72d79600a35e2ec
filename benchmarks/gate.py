"""The gate's errors and power on simulated trials, beside the figures it was designed to.

The simulations are the tests' too: many trials side by side, through the same functions that judge
a real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import Table
from heedful.evaluate import ASSIGNMENT_FRACTIONS, OFF_POLICY_FRACTIONS, log_evidence
from heedful.evaluate.evidence import assignment_differences, off_policy_differences

FloatArray = NDArray[np.float64]
Pairs = tuple[FloatArray, FloatArray]

ALPHA = 0.05
CANDIDATE = 1  # the arm that the candidate of the bandit always plays
_AT_ONCE = 400_000  # rows simulated together: twelve stakes on each are 38 MB

ASSIGNMENT_DESIGN = {  # (base, gain): without a baseline, with one
    (0.1, 0.0): ("1.0 %", "1.0 %"),
    (0.1, 0.02): ("72 %, 2,678", "90 %, 1,888"),
    (0.1, 0.05): ("100 %, 629", "100 %, 485"),
    (0.1, 0.10): ("100 %, 256", "100 %, 208"),
    (0.3, 0.0): ("1.8 %", "1.2 %"),
    (0.3, 0.02): ("14 %", "51 %, 3,912"),
    (0.3, 0.05): ("87 %, 1,930", "100 %, 652"),
    (0.3, 0.10): ("100 %, 532", "100 %, 206"),
}
OFF_POLICY_DESIGN = {  # (exploration, gain)
    (0.5, 0.0): "1.8 %",
    (0.5, 0.03): "85 %",
    (0.5, 0.10): "median 1,065",
    (0.2, 0.0): "3.3 %",
}


def logged_bandit(
    runs: int, rows: int, exploration: float, values: Sequence[float], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Play arm 0, and with probability ``exploration`` any arm; the candidate plays arm 1 only.

    Returns:
        The candidate's importance weights and the rewards (0 or 1), both [runs, rows]; the largest
        possible weight is len(values) / exploration.
    """
    arms = len(values)
    explored = rng.random((runs, rows)) < exploration
    arm = np.where(explored, rng.integers(arms, size=(runs, rows)), 0)
    rewards = (rng.random((runs, rows)) < np.asarray(values)[arm]).astype(np.float64)
    return np.where(arm == CANDIDATE, arms / exploration, 0.0), rewards


def off_policy_pairs(weights: FloatArray, rewards: FloatArray, w_max: float) -> Pairs:
    """D and lowest D where only the live policy acted, without a baseline."""
    return off_policy_differences(weights, np.ones_like(weights), rewards, w_max)


def clicking_subjects(
    runs: int,
    subjects: int,
    decisions: int,
    base: float,
    gain: float,
    share: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Subjects whose click rates are Beta(5 base, 5 (1 - base)), plus the candidate's gain.

    Returns:
        Clicks [runs, subjects, decisions] and the arm, True for the candidate, [runs, subjects].
    """
    arm = rng.random((runs, subjects)) < share
    rate = np.minimum(rng.beta(5 * base, 5 * (1 - base), arm.shape) + gain * arm, 1.0)
    clicks = rng.random((runs, subjects, decisions)) < rate[..., None]
    return clicks.astype(np.float64), arm


def first_crossing(
    pairs: Pairs, fractions: Sequence[float], alpha: float = ALPHA
) -> NDArray[np.int64]:
    """Look after every row: the first row (from 1) at which each run promotes, 0 for never."""
    over = log_evidence(*pairs, fractions) >= math.log(1 / alpha)
    return np.where(over.any(axis=-1), over.argmax(axis=-1) + 1, 0)


def in_batches(
    runs: int, rows: int, simulate: Callable[[int], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Call ``simulate(how many runs)`` until all runs are done, in bounded memory."""
    at_once = max(1, _AT_ONCE // rows)
    sizes = (min(at_once, runs - done) for done in range(0, runs, at_once))
    return np.concatenate([simulate(size) for size in sizes])


def off_policy_trials(
    runs: int, rows: int, exploration: float, values: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """First crossings of ``runs`` off-policy trials."""
    rng = np.random.default_rng(seed)
    w_max = len(values) / exploration

    def simulate(size: int) -> NDArray[np.int64]:
        weights, rewards = logged_bandit(size, rows, exploration, values, rng)
        return first_crossing(off_policy_pairs(weights, rewards, w_max), OFF_POLICY_FRACTIONS)

    return in_batches(runs, rows, simulate)


def assignment_trials(
    runs: int,
    subjects: int,
    decisions: int,
    *,
    base: float,
    gain: float,
    seed: int,
    share: float = 0.5,
    baseline: bool = True,
    per_decision: bool = False,
) -> NDArray[np.int64]:
    """First crossings of ``runs`` trials by random assignment.

    ``per_decision`` makes the mistake that the gate avoids: one D per decision, visit by visit.
    """
    rng = np.random.default_rng(seed)

    def simulate(size: int) -> NDArray[np.int64]:
        clicks, arm = clicking_subjects(size, subjects, decisions, base, gain, share, rng)
        rewards = clicks.mean(axis=-1)
        if per_decision:
            rewards = np.swapaxes(clicks, 1, 2).reshape(size, -1)
            arm = np.tile(arm, decisions)
        pairs = assignment_differences(rewards, arm, share, baseline=baseline)
        return first_crossing(pairs, ASSIGNMENT_FRACTIONS)

    return in_batches(runs, subjects * decisions, simulate)


def run(*, quick: bool = False) -> list[Table]:
    """Measure both tables; ``quick`` takes a tenth of the runs."""
    scale = 10 if quick else 1
    return [_assignment_table(1000 // scale), _off_policy_table(400 // scale)]


def _assignment_table(runs: int) -> Table:
    rows = []
    for (base, gain), design in ASSIGNMENT_DESIGN.items():
        cells = [f"{base}", f"{gain}"]
        for expected, baseline in zip(design, (False, True), strict=True):
            rows_at = assignment_trials(
                runs, 4000, 10, base=base, gain=gain, baseline=baseline, seed=1
            )
            cells += [_outcome(rows_at), expected]
        rows.append(tuple(cells))
    heads = ("base", "gain", "without baseline", "design", "with baseline", "design")
    return Table(
        "Random assignment: promoted, median subjects",
        heads,
        tuple(rows),
        f"One D per subject, share 1/2, 10 decisions each, alpha {ALPHA}, looked at after every "
        f"one of up to 4,000 subjects, {runs:,} runs. The median is over all runs, also those that "
        "never promote.",
    )


def _off_policy_table(runs: int) -> Table:
    rows = []
    for (exploration, gain), expected in OFF_POLICY_DESIGN.items():
        values = [0.1] * 5
        values[CANDIDATE] += gain
        rows_at = off_policy_trials(runs, 20_000, exploration, values, seed=2)
        rows.append((f"{5 / exploration:.0f}", f"{gain}", _outcome(rows_at), expected))
    return Table(
        "Logged probabilities: promoted, median decisions",
        ("largest weight", "gain", "measured", "design"),
        tuple(rows),
        f"Five arms that pay .10, the candidate's pays the gain more; alpha {ALPHA}, looked at "
        f"after every one of up to 20,000 decisions, {runs:,} runs.",
    )


def _outcome(rows_at: NDArray[np.int64]) -> str:
    """Share of runs that promoted; the median row of promotion, never being later than any row."""
    share = (rows_at > 0).mean()
    median = np.median(np.where(rows_at > 0, rows_at, np.inf))
    return f"{share:.1%}, {median:,.0f}" if np.isfinite(median) else f"{share:.1%}"
