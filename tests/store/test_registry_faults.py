"""Real processes, killed at random moments, at every step of a change, or racing each other."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heedful.store.registry import Registry, Trial, replayed

PRELUDE = """
import sys, time
from heedful.store.registry import *

card = Card(
    kind="popularity", step="pretrain", parent=None, snapshot=None, configuration={}, seed=0,
    code=Code(version="0", revision=None, digest=""), created_at=0.0,
    environment=Environment(python="", platform="", device="cpu", threads=1, packages={}),
)
by = {"by": sys.argv[2], "why": "test"}

def add(registry):
    with registry.new(card) as draft:
        (draft.folder / "model.safetensors").write_bytes(b"weights" * 1000)
    return draft.version.name

registry = Registry.open(sys.argv[1])
"""

CHANGES = (
    PRELUDE
    + """
def said(action, version):
    print(action, version, flush=True)

if registry.trial():
    registry.end_trial("stopped", **by)
while True:
    name = add(registry)
    said("created", name)
    registry.promote(name, **by)
    said("promoted", name)
    other = add(registry)
    said("created", other)
    k = registry.judged() + 1
    trial = registry.begin_trial(
        other, [0.1, 0.5], salt=str(k), watermark=0, k=k, alpha=0.01, by=by["by"]
    )
    registry.raise_share(trial, time.time() + 5, **by)
    registry.end_trial("promoted", **by)
    said("promoted", other)
    said("rolled", registry.rollback(**by).name)
"""
)

FIRST = PRELUDE + "registry.promote(add(registry), **by)"

RACE = (
    PRELUDE
    + """
for _ in range(int(sys.argv[3])):
    registry.promote(add(registry), **by)
    try:
        registry.rollback(**by)
    except RegistryBusyError:
        pass
"""
)


def start(script: str, *arguments: object, stdout: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=stdout, text=True)


def examine(workspace: Path, acknowledged: list[tuple[str, str]]) -> None:
    """Check all that must hold after a kill, at whatever moment it came."""
    policies = workspace / "policies"
    assert len(list(policies.glob(".new-*"))) <= 1
    with Registry.open(workspace) as registry:
        assert not list(policies.glob(".new-*"))
        assert registry.check() == []
        states = {version.name: version.state for version in registry.versions()}
        assert states == replayed(registry.audit()).states
        promoted = any(action == "promoted" for action, _ in acknowledged)
        assert list(states.values()).count("live") in ({1} if promoted else {0, 1})
        for name in states:
            assert (registry.folder(name) / "model.safetensors").stat().st_size == 7000
        happened = [(entry.action.split()[0], entry.version) for entry in registry.audit()]
        for change in acknowledged:
            assert change in happened


@pytest.mark.parametrize("turns", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_kill_at_any_moment(tmp_path: Path, turns: int) -> None:
    chance = random.Random(turns)
    for turn in range(turns):
        workspace = tmp_path / str(turn % 3)
        workspace.mkdir(exist_ok=True)
        process = start(CHANGES, workspace, "killed", stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        told = first + process.stdout.read()
        lines = told[: told.rfind("\n") + 1].splitlines()  # what it was killed in was not said
        process.stdout.close()
        process.wait()
        assert process.returncode == -signal.SIGKILL
        examine(workspace, [(action, version) for action, version in map(str.split, lines)])


@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_processes_promote_and_roll_back_at_once(tmp_path: Path, rounds: int) -> None:
    # A first version below, so that everybody always has one to roll back to.
    assert start(FIRST, tmp_path, "first").wait() == 0
    processes = [start(RACE, tmp_path, name, rounds) for name in ("one", "two", "three")]
    with Registry.open(tmp_path) as reader:
        while any(process.poll() is None for process in processes):
            time.sleep(0.002)
            live = [version for version in reader.versions() if version.state == "live"]
            assert len(live) == 1
    for process in processes:
        assert process.wait() == 0
    with Registry.open(tmp_path) as registry:
        assert registry.check() == []
        audit = registry.audit()
        assert len(registry.versions()) == 3 * rounds + 1
        promotions = [entry for entry in audit if entry.action == "promoted"]
        assert len(promotions) == 3 * rounds + 1
        assert {entry.who for entry in promotions} == {"first", "one", "two", "three"}
        assert {v.name: v.state for v in registry.versions()} == replayed(audit).states


# At every step: a process of its own for each statement of SQL that a change consists of, killed
# just before that statement, the commit among them.

STEPS = (
    PRELUDE
    + """
import json, os, shutil, signal
registry.close()

def at_the_nth(n):
    seen = 0
    def killer(statement):
        nonlocal seen
        seen += 1
        if seen == n:
            os.kill(os.getpid(), signal.SIGKILL)
    return killer

def change(workspace, action, n):
    with Registry.open(workspace) as registry:
        registry._database._connection.set_trace_callback(at_the_nth(n))
        CHANGES[action](registry)
    os._exit(0)

CHANGES = {
    "begin": lambda r: r.begin_trial(
        "0004", [0.1, 0.5], salt="s2", watermark=0, k=r.judged() + 1, alpha=0.01, by="x"
    ),
    "raise": lambda r: r.raise_share(r.trial(), r.trial().begun_at + 5, **by),
    "promote": lambda r: r.promote("0004", **by),
    "promote by hand": lambda r: r.promote("0004", despite_trial=True, **by),
    "promote the canary": lambda r: r.end_trial("promoted", **by),
    "refuse the canary": lambda r: r.end_trial("refused", **by),
    "roll back": lambda r: r.rollback(**by),
    "stop the live one": lambda r: r.stop("0002", **by),
    "stop the canary": lambda r: r.stop("0003", **by),
    "block": lambda r: r.block("item-1", **by),
    "unblock": lambda r: r.unblock("item-0", **by),
}
base, action = sys.argv[1], sys.argv[3]
for n in range(1, 100):
    place = f"{base}-{n}"
    shutil.copytree(base, place)
    child = os.fork()
    if child == 0:
        change(place, action, n)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    print(json.dumps([place, killed]), flush=True)
    if not killed:
        break
"""
)


def standing(workspace: Path, *, on_trial: bool) -> None:
    """Make a registry in which 0001 retired, 0002 is live and 0003 may be on trial."""
    process = start(PRELUDE + "[add(registry) for _ in range(4)]", workspace, "first")
    assert process.wait() == 0
    with Registry.open(workspace) as registry:
        for name in ("0001", "0002"):
            registry.promote(name, by="first", why="test")
        registry.block("item-0", by="first", why="test")
        if on_trial:
            registry.begin_trial(
                "0003", [0.1, 0.5], salt="s1", watermark=0, k=1, alpha=0.01, by="first"
            )


def seen(workspace: Path) -> tuple[dict[str, str], Trial | None, frozenset[str], int]:
    """Return all that a registry says, after checking what must hold whatever happened."""
    with Registry.open(workspace) as registry:
        assert registry.check() == [], "the audit leads to what is there"
        states = {version.name: version.state for version in registry.versions()}
        assert list(states.values()).count("live") == 1
        assert replayed(registry.audit()).states == states
        return states, registry.trial(), registry.blocked(), registry.generation()


@pytest.mark.parametrize(
    ("action", "on_trial"),
    [
        ("begin", False),
        ("raise", True),
        ("promote", False),
        ("promote by hand", True),
        ("promote the canary", True),
        ("refuse the canary", True),
        ("roll back", True),
        ("stop the live one", True),
        ("stop the canary", True),
        ("block", True),
        ("unblock", True),
    ],
)
@pytest.mark.slow
def test_killed_at_every_step_a_change_happened_whole_or_not_at_all(
    tmp_path: Path, action: str, on_trial: bool
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    standing(base, on_trial=on_trial)
    process = subprocess.run(
        [sys.executable, "-c", STEPS, str(base), "killed", action],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    killed = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(killed) > 4
    before = seen(base)
    for place, was_killed in killed[:-1]:
        assert was_killed
        assert seen(Path(place)) == before
        shutil.rmtree(place)
    last, was_killed = killed[-1]
    assert not was_killed
    after = seen(Path(last))
    assert after != before
    assert after[3] > before[3]
