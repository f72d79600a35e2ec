"""How cost and memory grow with the log: ten thousand to a million ratings, made up.

The same people-to-ratings ratio and the same catalogue at every size, so that only the number of
rows grows. Each size is measured in a process of its own, whose peak of memory is its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import Table
from heedful.workspace import Workspace

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
EACH, ITEMS = 100, 2_000
STAGES = ("import", "snapshot and encode", "pre-training")


def run(quick: bool) -> list[Table]:
    """Measure every size and fit how cost grows with it."""
    sizes = SIZES[:3] if quick else SIZES
    found = [_apart(size) for size in sizes]
    rows = []
    for size, one in zip(sizes, found, strict=True):
        spent = [f"{1e6 * one[stage] / size:.0f}" for stage in STAGES]
        rows.append((f"{size:,}", *spent, f"{one['peak']:,.0f}"))
    exponents = [_exponent(sizes, [one[stage] for one in found]) for stage in STAGES]
    base = found[0]["peak"]
    memory = (found[-1]["peak"] - base) / (sizes[-1] - sizes[0]) * 1024
    rows.append(("grows with the power", *(f"{e:.2f}" for e in exponents), "-"))
    note = (
        f"CPU microseconds a rating, one thread; {EACH} ratings a person, {ITEMS:,} items. "
        "Pre-training is one epoch of the default network, with its reading of the log, its prior "
        "and its saving. The powers are fitted to the three largest sizes; 1 is linear. "
        "Memory is the peak of the process: "
        f"{base:,.0f} MiB for Python and torch with the smallest log, and {memory:.1f} KiB more "
        "for each rating."
    )
    columns = ("ratings", *STAGES, "peak MiB")
    return [Table("Cost against the size of the log", columns, tuple(rows), note)]


def _exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Return the slope of log cost against log size: 1 is linear."""
    return float(np.polyfit(np.log(sizes[-3:]), np.log(seconds[-3:]), 1)[0])


def _apart(size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scale", str(size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(size: int) -> dict[str, float]:
    """Return CPU seconds by stage and the peak of memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        file = _ratings(Path(folder) / "ratings.csv", size)
        options = {
            "import.subject": "user",
            "import.unit": "item",
            "import.rating": "rating",
            "import.time": "time",
            "pretrain.epochs": 1,
            "pretrain.validation": False,
        }
        Workspace.create(folder).close()
        with Workspace.open(folder, options) as workspace:
            marks = [time.process_time()]
            workspace.import_file(file)
            marks.append(time.process_time())
            bench, snapshot = workspace.bench(), workspace.log.snapshot()
            bench.encode(snapshot, bench.domain.vocabulary(snapshot))
            marks.append(time.process_time())
            workspace.pretrain()
            marks.append(time.process_time())
    spent = dict(zip(STAGES, np.diff(marks).tolist(), strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**spent, "peak": peak}


def _ratings(file: Path, size: int) -> Path:
    """Write ratings of people who each like one of twenty kinds of items."""
    rng = np.random.default_rng(0)
    people = -(-size // EACH)
    taste = rng.integers(20, size=people)
    with file.open("w") as out:
        out.write("user,item,rating,time\n")
        for person in range(people):
            n = min(EACH, size - person * EACH)
            items = rng.choice(ITEMS // 2, n, replace=False) * 2
            kinds = rng.random(n) < 0.5
            items = np.where(kinds, items // 20 * 20 + taste[person] % 20, items)
            ratings = np.where(kinds, 5, rng.integers(1, 5, size=n))
            at = 1_600_000_000 + rng.integers(10**7) + np.arange(n) * 600
            columns = (items, ratings, at)
            out.writelines(f"{person},{i},{r},{t}\n" for i, r, t in zip(*columns, strict=True))
    return file


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
