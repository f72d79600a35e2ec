"""The log: importing a million ratings, snapshots, appending, one person's history.

The ratings are those of MovieLens 1M where HEEDFUL_DATA names a folder that has them, and made-up
ones of the same shape elsewhere.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from benchmarks import Table
from heedful.record import Decision, Feedback, Kind, mint_id
from heedful.store import Log, Mapping, Record, import_file

MAPPING = Mapping(subject="user_id", unit="movie_id", rating="rating", order="position")
Result = TypeVar("Result")
PEOPLE, MOVIES = 6_040, 3_706


def run(quick: bool) -> list[Table]:
    """Measure in a process of its own, so that the peak of memory is the log's alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = _ratings(Path(folder), 100_000 if quick else 1_000_209)
        command = [sys.executable, "-m", "benchmarks.import_speed", str(path)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    rows = tuple(tuple(row) for row in json.loads(done.stdout))
    note = "One thread; the import writes decisions, feedback and columnar segments, durably."
    return [Table("The log", ("what", "how much", "CPU s", "wall s", "rate"), rows, note)]


def measure(path: Path) -> list[list[str]]:
    """Return the rows of the table for the ratings in ``path``."""
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder, Log.open(f"{folder}/log.db", write=True) as log:
        key = b"a benchmark's key"
        report, *spent = _timed(lambda: import_file(log, path, MAPPING, key=key))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append(_row("import", f"{report.added:,} ratings, peak {peak:,.0f} MiB", spent, 1))
        rows[-1][-1] = f"{report.added / spent[0]:,.0f} ratings per CPU s"
        snapshot, *spent = _timed(log.snapshot)
        rows.append(_row("snapshot", f"{snapshot.decisions.n:,} decisions", spent, 1))
        subject = snapshot.names.subjects[0]
        _, *spent = _timed(lambda: [log.history([subject]) for _ in range(50)])
        rows.append(_row("history", "one person", spent, 50))
        _, *spent = _timed(lambda: [log.append([_decision()]) for _ in range(500)])
        rows.append(_row("append", "one decision at a time", spent, 500))
        for size in (100, 1_000, 10_000):
            groups = [_group(size, seed) for seed in range(10_000 // size)]
            _, *spent = _timed(lambda groups=groups: [log.append(group) for group in groups])
            rows.append(_row("append", f"a record in groups of {size:,}", spent, 10_000))
        log.snapshot()
        log.append(_group(5_000, seed=-1))
        _, *spent = _timed(log.snapshot)
        rows.append(_row("snapshot", "the next one, 5,000 records later", spent, 1))
    return rows


def _timed(work: Callable[[], Result]) -> tuple[Result, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def _row(what: str, how_much: str, spent: list[float], times: int) -> list[str]:
    cpu, wall = spent
    rate = f"{1000 * wall / times:,.3f} ms each" if times > 1 else ""
    return [what, how_much, f"{cpu:.3f}", f"{wall:.3f}", rate]


def _decision() -> Decision:
    return Decision(
        id=mint_id(),
        episode="a visit",
        step=0,
        subject="a person",
        units=("1", "2", "3", "4", "5"),
        logps=(-1.0, -1.0, -1.0, -1.0, -1.0),
        policy="0001",
        made_at=0.0,
        context={"hour": 7},
        choices="all",
        vocabulary="words",
    )


def _group(size: int, seed: int) -> list[Record]:
    """Return what a server appends at once: a decision, three clicks, in a new visit each."""
    chance = random.Random(seed)
    group: list[Record] = []
    while len(group) < size:
        person, visit = f"person {chance.randrange(PEOPLE)}", mint_id()
        units = tuple(str(chance.randrange(MOVIES)) for _ in range(5))
        decision = replace(_decision(), episode=visit, subject=person, units=units)
        group.append(decision)
        group += [_click(decision, unit) for unit in chance.sample(range(5), 3)]
    return group[:size]


def _click(decision: Decision, unit: int) -> Feedback:
    return Feedback(
        id=mint_id(),
        by=decision.subject,
        about=decision.id,
        unit=unit,
        kind=Kind.CLICK,
        value=True,
        given_at=1.0,
        received_at=2.0,
    )


def _ratings(folder: Path, rows: int) -> Path:
    """Return the real file, or write one of the same shape."""
    real = Path(os.environ.get("HEEDFUL_DATA", "")) / "ml-1m" / "ratings_ordered.csv.gz"
    if real.is_file() and rows > 1_000_000:
        return real
    chance = random.Random(0)
    path = folder / "ratings.csv.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("user_id,movie_id,rating,position\n")
        for row in range(rows):
            movie = int(MOVIES * chance.random() ** 2)
            file.write(f"{row % PEOPLE},{movie},{chance.randint(1, 5)},{row // PEOPLE}\n")
    return path


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
