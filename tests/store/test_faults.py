"""Real faults with real processes: kill -9, full disks."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heedful.store import Log, Mapping, StoreError, import_file

KEY = b"a key of sixteen"
MAPPING = Mapping(subject="who", unit="what", rating="stars", time="at")

APPENDER = """
import sys, time
from heedful.record import Decision, Feedback, Kind
from heedful.store import Log, segments
segments.SEGMENT_ROWS = 64
log = Log.open(sys.argv[1], write=True)
n = log.counts().decisions
while True:
    batch = []
    for i in range(n, n + 5):
        batch.append(Decision(id=f"d{i}", episode="e", step=i, subject=f"s{i % 7}", units=("a",),
            logps=(-0.5,), policy="1", made_at=1.0, context={}, choices="all", vocabulary="v"))
        batch.append(Feedback(id=f"f{i}", by="s", about=f"d{i}", kind=Kind.CLICK, value=True,
            given_at=1.0, received_at=1.0))
    receipts = log.append(batch)
    assert all(receipt.status == "added" for receipt in receipts), receipts
    n += 5
    print(n, flush=True)
"""

IMPORTER = """
import sys
from heedful.store import Log, Mapping, import_file
log = Log.open(sys.argv[1], write=True)
print("open", flush=True)
mapping = Mapping(subject="who", unit="what", rating="stars", time="at")
stages = set()
def tell(stage, done, total):
    if stage not in stages:
        stages.add(stage)
        print(stage, flush=True)
import_file(log, sys.argv[2], mapping, key=b"a key of sixteen", progress=tell)
print("done", flush=True)
"""


def start(script: str, *arguments: object, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def kill(process: subprocess.Popen[str]) -> list[str]:
    """Kill -9, and return what the process had said."""
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL
    return said.split()


def assert_sound(log: Log) -> None:
    assert [check for check in log.check() if not check.ok] == []
    assert [path.name for path in log.segments.iterdir() if path.name.startswith(".")] == []


def ratings(path: Path, rows: int) -> Path:
    lines = (f"u{i % 300},i{i % 1009},{1 + i % 5},{i}\n" for i in range(rows))
    path.write_text("who,what,stars,at\n" + "".join(lines))
    return path


@pytest.mark.parametrize(
    "rounds", [3, pytest.param(20, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_kill_during_append_loses_nothing_that_was_acknowledged(tmp_path, rounds):
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(rounds):
        process = start(APPENDER, tmp_path / "log.db")
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        time.sleep(chance.uniform(0.0, 0.25))
        acknowledged = max([acknowledged, *map(int, kill(process))])
        began = time.perf_counter()
        with Log.open(tmp_path / "log.db", write=True) as log:
            assert time.perf_counter() - began < 5
            assert_sound(log)
            counts, snapshot = log.counts(), log.snapshot()
        assert counts.decisions == counts.feedback  # appends are whole
        assert counts.decisions >= acknowledged
        assert counts.decisions - acknowledged <= 5  # at most the one append under way
        assert snapshot.decisions.step.tolist() == list(range(counts.decisions))
        assert len(set(snapshot.feedback.decision.tolist())) == counts.feedback
    assert acknowledged > 0


@pytest.mark.parametrize(
    "stage", ["open", "reading", "writing", pytest.param("sealing", marks=pytest.mark.slow)]
)
def test_kill_during_import_adds_all_or_nothing(tmp_path, stage):
    rows = 150_000 if stage == "sealing" else 70_000
    path = ratings(tmp_path / "shop.csv", rows)
    process = start(IMPORTER, tmp_path / "log.db", path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == stage:
            break
    time.sleep(0.02)
    kill(process)
    with Log.open(tmp_path / "log.db", write=True) as log:
        assert_sound(log)
        assert log.counts().decisions in ({rows} if stage == "sealing" else {0, rows})
        assert log.counts().feedback == log.counts().decisions
        report = import_file(log, path, MAPPING, key=KEY)
        assert report.added + report.duplicates == rows
        assert log.snapshot().decisions.n == rows


def fill_the_disk(log: Log, make) -> int:
    """Append until the disk is full; return how many decisions were acknowledged."""
    acknowledged = 0
    with pytest.raises(StoreError, match=r"full|I/O"):  # noqa: PT012 - which append fails is open
        while acknowledged < 100_000:
            context = {"filler": "x" * 2000}
            log.append([make.decision(f"d{acknowledged}", step=acknowledged, context=context)])
            acknowledged += 1
    return acknowledged


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB; needs root, and a kernel that lets it mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk cannot be mounted here; the file-size limit tests the same")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_a_clean_error_and_reads_go_on(small_disk, make):
    with Log.open(small_disk / "log.db", write=True) as log:
        acknowledged = fill_the_disk(log, make)
        assert log.counts().decisions == acknowledged > 100
        with pytest.raises(StoreError):
            log.append([make.decision("again", context={"filler": "x" * 60_000})])
        assert log.snapshot().decisions.n == acknowledged
        assert_sound(log)


def test_full_disk_adds_nothing_of_an_import(small_disk, tmp_path, make):
    path = ratings(tmp_path / "shop.csv", 70_000)
    with Log.open(small_disk / "log.db", write=True) as log:
        log.append([make.decision("d")])
        with pytest.raises(StoreError, match="nothing of this write was kept"):
            import_file(log, path, MAPPING, key=KEY)
        assert log.counts().decisions == 1
        assert_sound(log)
        assert log.append([make.decision("d")])[0].status == "duplicate"
        small = ratings(tmp_path / "small.csv", 100)  # what was undone is not remembered
        assert import_file(log, small, MAPPING, key=KEY).added == 100
        assert_sound(log)


LIMITED = """
import json, sys
from heedful.store import Log, Mapping, StoreError, import_file
log = Log.open(sys.argv[1], write=True)
mapping = Mapping(subject="who", unit="what", rating="stars", time="at")
try:
    import_file(log, sys.argv[2], mapping, key=b"a key of sixteen")
except StoreError as error:
    print(json.dumps([str(error), log.counts().decisions, all(c.ok for c in log.check())]))
"""


def test_a_file_that_may_not_grow_is_a_clean_error(tmp_path):
    path = ratings(tmp_path / "shop.csv", 70_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    process = start(LIMITED, tmp_path / "log.db", path, preexec_fn=limit)
    said = process.communicate()[0]
    assert process.returncode == 0
    message, decisions, sound = json.loads(said)
    assert "log.db" in message
    assert (decisions, sound) == (0, True)


MEASURED = """
import json, resource, sys
from heedful.store import Log, Mapping, import_file
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
mapping = Mapping(subject="user_id", unit="movie_id", rating="rating", order="position",
                  rating_min=1, rating_max=5)
with Log.open(sys.argv[1], write=True) as log:
    began = cpu()
    report = import_file(log, sys.argv[2], mapping, key=b"a key of sixteen")
    imported = cpu() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    covered = sum(1 for path in log.segments.iterdir())
    began = cpu()
    snapshot = log.snapshot()
    print(json.dumps({"added": report.added, "import": imported, "peak": peak,
        "segments": covered, "snapshot": cpu() - began, "decisions": snapshot.decisions.n,
        "feedback": snapshot.feedback.n}))
"""


@pytest.mark.data
@pytest.mark.slow
def test_movielens_1m_in_bounded_time_and_memory(tmp_path, data):
    path = data / "ml-1m" / "ratings_ordered.csv.gz"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = start(MEASURED, tmp_path / "log.db", path, env=environment)
    measured = json.loads(process.communicate()[0])
    assert measured["added"] == measured["decisions"] == measured["feedback"] == 1_000_209
    assert measured["segments"] == 2 * 1_000_209 // 65_536
    assert measured["import"] < 60  # CPU-seconds, segments included
    assert measured["peak"] < 1024  # MiB
    assert measured["snapshot"] < 5  # CPU-seconds
