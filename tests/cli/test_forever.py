"""The loop as a service in a process of its own, beside a server in another."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from heedful.serve import Keys
from heedful.store.registry import Registry
from tests.cli.calls import COMMAND, run
from tests.small_shop import TINY, flags

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = flags(
    TINY | {"gate.window": 0.5, "loop.rows": 40, "loop.look": 0.2, "reinforce.epochs": 2}
)
PATIENCE = 120.0  # seconds


class Server:
    """A server in a process of its own, and people who talk to it."""

    def __init__(self, folder: Path) -> None:
        self.token = Keys(folder / "keys.json").new("people")
        words = ["serve", str(folder), "--port", "0", *SETTINGS]
        self.process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("Listening on "):
                self.address = urlsplit(line.split()[-1]).netloc
                break
        # Read what it says, so that it never waits for a full pipe.
        self._reader = threading.Thread(target=self.process.stderr.read)
        self._reader.start()
        self._came, self._chance = 0, Random(0)

    def come(self, people: int, click: Callable[[str], float]) -> set[str]:
        """Let new people see two slates each and answer; return the versions that decided."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        versions = set()
        for _ in range(people):
            self._came += 1
            for _ in range(2):
                made = self._post(connection, "decisions", {"user": f"visitor-{self._came}"})
                versions.add(made["policy"])
                for unit in range(2):
                    if self._chance.random() < click(made["policy"]):
                        said = {"decision": made["id"], "kind": "click", "unit": unit}
                        self._post(connection, "feedback", said | {"value": True})
        connection.close()
        return versions

    def _post(self, connection: http.client.HTTPConnection, path: str, body: object) -> dict:
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request("POST", f"/v1/{path}", json.dumps(body), sent)
        answer = connection.getresponse()
        assert answer.status == 200
        return json.loads(answer.read())

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(30) == 0
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def server(shop: Path) -> Iterator[Server]:
    run("promote", shop, "0001", "--by", "ada")
    server = Server(shop)
    yield server
    server.stop()


@contextmanager
def loop(folder: Path, program: Sequence[str] = COMMAND) -> Iterator[subprocess.Popen]:
    """Run the loop until the block ends."""
    words = ["run", str(folder), "--forever", "--json", "--by", "ada", *SETTINGS]
    path = os.pathsep.join([str(ROOT), *sys.path])
    running = subprocess.Popen(
        [*program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait(30)
        for pipe in (running.stdout, running.stderr):
            if pipe is not None:
                pipe.close()


def killed_in(phase: str, folder: Path) -> None:
    """Kill the loop in the midst of ``phase``."""
    with loop(folder, [sys.executable, "-m", "tests.cli.halting", phase]) as running:
        assert running.stdout is not None
        assert any(line == "halted\n" for line in running.stdout)
        running.send_signal(signal.SIGKILL)
        assert running.wait(30) == -signal.SIGKILL


def told(running: subprocess.Popen, action: str) -> dict:
    """Return the first turn of a kind that the loop tells of."""
    assert running.stdout is not None
    for line in running.stdout:
        turn = json.loads(line)
        if turn["action"] == action:
            return turn
    raise AssertionError(f"it ended without {action}: {running.stderr.read()}")


def well(folder: Path) -> tuple[str, list[str]]:
    """Return the live version and the audit's actions of a registry in which all is well."""
    with Registry.open(folder) as registry:
        assert registry.check() == []
        live = [version.name for version in registry.versions() if version.state == "live"]
        (name,) = live
        return name, [entry.action for entry in registry.audit()]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_anywhere_it_goes_on_beside_a_server(shop: Path, server: Server) -> None:
    better = {"0001": 0.05, "0002": 0.95}
    server.come(25, lambda version: 0.4)

    killed_in("training", shop)
    (unfinished,) = (path.parent for path in shop.glob("runs/*/checkpoint"))
    assert well(shop) == ("0001", ["created", "promoted"])
    server.come(5, lambda version: 0.4)  # the log grows meanwhile

    killed_in("judging", shop)
    assert (unfinished / "finished").exists(), "training went on where it was"
    assert well(shop) == ("0001", ["created", "promoted", "created", "trial begun"])

    assert server.come(120, better.__getitem__) == {"0001", "0002"}
    time.sleep(1)  # the last window closes
    killed_in("promotion", shop)
    assert well(shop) == ("0001", ["created", "promoted", "created", "trial begun"])

    with loop(shop) as running:
        assert told(running, "promoted")["policy"] == "0002"
        assert server.come(3, better.__getitem__) == {"0002"}
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        assert running.stderr is not None
        said = running.stderr.read()
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    live, actions = well(shop)
    assert live == "0002"
    assert actions.count("promoted") == 2


@pytest.mark.slow
def test_one_loop_at_a_time_and_a_killed_one_frees_the_next(shop: Path) -> None:
    with loop(shop) as first:
        assert told(first, "first version")["policy"] == "0001"
        second = run("run", shop, "--forever", *SETTINGS)
        assert second.exit_code == 1
        assert f"process {first.pid} runs the loop of this workspace" in second.stderr
        assert run("run", shop, *SETTINGS).exit_code == 1
        first.kill()
        first.wait(30)
    assert run("run", shop, *SETTINGS).exit_code == 0


@pytest.mark.slow
def test_ctrl_c_in_the_midst_of_training_ends_it_well(shop: Path, server: Server) -> None:
    server.come(25, lambda version: 0.4)
    with loop(shop, [sys.executable, "-m", "tests.cli.halting", "training"]) as running:
        assert running.stdout is not None
        assert any(line == "halted\n" for line in running.stdout)
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0
    assert list(shop.glob("runs/*/checkpoint"))
    with loop(shop) as running:
        assert told(running, "trial begun")["policy"] == "0002"
