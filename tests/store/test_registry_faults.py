"""Real processes, killed at random moments or racing each other."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heedful.store.registry import AuditEntry, Registry

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
    registry.begin_trial(other, 0.5, salt=str(k), watermark=0, k=k, alpha=0.01, by=by["by"])
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


def replayed(audit: list[AuditEntry]) -> dict[str, str]:
    """Return the state of every version, as it follows from the audit alone."""
    states: dict[str, str] = {}
    after = {"created": "candidate", "adopted": "candidate", "trial begun": "trial"}
    for entry in audit:
        if entry.action in ("promoted", "rolled back"):
            live = [name for name, state in states.items() if state == "live"]
            assert live == ([entry.previous] if entry.previous else [])
            states.update(dict.fromkeys(live, "retired"))
            states[entry.version] = "live"
        elif entry.action == "trial ended":
            states[entry.version] = "candidate"
        else:
            states[entry.version] = after[entry.action]
    return states


def examine(workspace: Path, acknowledged: list[tuple[str, str]]) -> None:
    """Check all that must hold after a kill, at whatever moment it came."""
    policies = workspace / "policies"
    assert len(list(policies.glob(".new-*"))) <= 1
    with Registry.open(workspace) as registry:
        assert not list(policies.glob(".new-*"))
        assert registry.check() == []
        states = {version.name: version.state for version in registry.versions()}
        assert states == replayed(registry.audit())
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
        lines = [first, *process.stdout.read().splitlines()]
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
        assert {v.name: v.state for v in registry.versions()} == replayed(audit)
