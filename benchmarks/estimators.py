"""Off-policy estimates of a million rows: CPU-seconds beside obp, and memory in pieces.

Both start from the same arrays: the target policy's probabilities of all ten actions, what the
log has of the logged one (its log-probability, as heedful's log holds it; its probability for obp),
rewards, and a reward model's word on every action. heedful's time holds picking the logged action's
probability and its logarithm, and what its answer has beside the value: the standard error and the
health of the weights.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np

from benchmarks import Table
from benchmarks import _obp as peer
from heedful.evaluate import (
    OffPolicyEstimate,
    Running,
    clipped_ips,
    dm,
    dr,
    dr_shrunk,
    expected_under,
    ips,
    sndr,
    snips,
    sub_gaussian_dr,
    sub_gaussian_ips,
    switch_dr,
)
from heedful.evaluate.weights import Capped

ROWS = 1_000_000
PIECE = 10_000


def run(*, quick: bool = False) -> list[Table]:
    """Measure on a million rows; ``quick`` on a tenth."""
    rows = ROWS // 10 if quick else ROWS
    return [_speed(rows), _memory(rows)]


def measure(rows: int) -> peer.Measured:
    """Estimate with heedful."""
    x = peer.logged(rows)
    pi, action, r, q = (x[name] for name in ("pi", "action", "reward", "q"))
    behaviour = np.log(_chosen(x["h"], action))

    def log() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        target = _chosen(pi, action)
        return np.log(target, out=target), behaviour, r

    def model() -> tuple[np.ndarray, ...]:
        return (*log(), _chosen(q, action), expected_under(pi, q))

    estimators: dict[str, Callable[[], OffPolicyEstimate]] = {
        "IPS": lambda: ips(*log()),
        "clipped IPS": lambda: clipped_ips(*log(), peer.CAP),
        "SNIPS": lambda: snips(*log()),
        "sub-Gaussian IPS": lambda: sub_gaussian_ips(*log(), peer.SUB_GAUSSIAN),
        "DM": lambda: dm(*log()[:2], expected_under(pi, q)),
        "DR": lambda: dr(*model()),
        "SNDR": lambda: sndr(*model()),
        "Switch-DR": lambda: switch_dr(*model(), peer.THRESHOLD),
        "DRos": lambda: dr_shrunk(*model(), peer.SHRINKAGE),
        "sub-Gaussian DR": lambda: sub_gaussian_dr(*model(), peer.SUB_GAUSSIAN),
    }
    return {
        name: peer.least_of(lambda e=estimate: float(e().value))  # type: ignore[misc]
        for name, estimate in estimators.items()
    }


def _chosen(table: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Return table[i, action[i]], by places in memory: half the cost of two lists of indices."""
    at = np.arange(0, table.size, table.shape[1])
    at += action
    found: np.ndarray = table.ravel().take(at)
    return found


def _speed(rows: int) -> Table:
    ours, theirs = measure(rows), peer.by_obp(rows)
    cells = []
    for name, (seconds, value) in ours.items():
        cell = [name, f"{seconds:.4f}"]
        if theirs is not None:
            other, said = theirs[name]
            apart = f"{abs(value - said):.0e}"
            cell += [f"{other:.4f}", f"{other / seconds:.1f}", apart]
        cells.append(tuple(cell))
    heads: tuple[str, ...] = ("estimator", "heedful, CPU s")
    note = f"{rows:,} rows, {peer.ACTIONS} actions, one thread; the least of {peer.REPEATS} runs."
    if theirs is None:
        note += f" Without obp: set {peer.VARIABLE} to a Python that has it."
    else:
        heads += ("obp 0.5.7, CPU s", "times faster", "apart")
        note += " heedful's hold the standard error and the weights' health as well."
    return Table("From arrays to an estimate", heads, tuple(cells), note)


def _memory(rows: int) -> Table:
    """Measure the peak of what is allocated while a log is read in pieces."""
    found, peaks = [], []
    for size in (rows // 10, rows):
        rng = np.random.default_rng(0)
        running = Running(Capped(peer.CAP))
        tracemalloc.start()
        for _ in range(0, size, PIECE):
            logps, r = np.log(rng.uniform(0.1, 1.0, (2, PIECE))), rng.random(PIECE)
            running.update(logps[0], logps[1], r)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        value = running.estimate().value
        found.append((f"{size:,}", f"{peaks[-1] / 2**20:.2f}", f"{value:.6f}"))
    return Table(
        "Memory while streaming (clipped IPS)",
        ("rows", "peak, MiB", "estimate"),
        tuple(found),
        f"In pieces of {PIECE:,} rows, which are part of the peak.",
    )
