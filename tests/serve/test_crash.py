"""A real server, killed while people talk to it: what was acknowledged is there, once."""

import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from heedful.config import Serve
from heedful.serve import Keys, run
from tests.serve.world import Workspace, replay_error

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """A server in a process of its own."""

    def __init__(self, folder: Path, token: str, *options: str) -> None:
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.serve.server", str(folder), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        self.address = urlsplit(self.process.stdout.readline().strip()).netloc
        self.token = token
        # Read what it says, so that it never waits for a full pipe.
        self.said: list[str] = []
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self.said.extend, args=(self.process.stderr,))
        self._reader.start()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address, timeout=20)

    def post(self, connection: http.client.HTTPConnection, path: str, body: object):
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, connection: http.client.HTTPConnection, path: str):
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        code = self.process.wait(20)
        self._reader.join()
        self.process.stderr.close()
        self.last_words = self.process.stdout.read()
        self.process.stdout.close()
        return code


@contextmanager
def running(folder: Path, token: str, *options: str) -> Iterator[Running]:
    server = Running(folder, token, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


class Talk:
    """People who ask and answer until the server is gone, and remember what was acknowledged."""

    def __init__(self) -> None:
        self.decisions: list[str] = []
        self.feedback: list[str] = []
        self._mutex = threading.Lock()

    def go_on(self, server: Running, name: str) -> None:
        connection = server.connect()
        try:
            for step in range(10_000):
                _, decision = server.post(connection, "/v1/decisions", {"user": name})
                with self._mutex:
                    self.decisions.append(decision["id"])
                said = {"decision": decision["id"], "kind": "click", "unit": step % 3}
                said |= {"value": True, "id": f"{decision['id']}-click"}
                status, _ = server.post(connection, "/v1/feedback", said)
                assert status == 200
                with self._mutex:
                    self.feedback.append(said["id"])
        except (OSError, http.client.HTTPException):
            pass  # killed
        finally:
            connection.close()


def make(folder: Path) -> str:
    Workspace(folder).close()
    return Keys(folder / "keys.json").new("people")


def kept(folder: Path, table: str) -> list[str]:
    with sqlite3.connect(folder / "log.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = [name for (name,) in connection.execute(f"SELECT id FROM {table}")]
    connection.close()
    return found


def kill_rounds(folder: Path, rounds: int) -> None:
    token, talk, chance = make(folder), Talk(), random.Random(0)
    for _ in range(rounds):
        began = time.monotonic()
        with running(folder, token) as server:
            assert time.monotonic() - began < 15
            with ThreadPoolExecutor(6) as people:
                for i in range(6):
                    people.submit(talk.go_on, server, f"user-{i}")
                time.sleep(0.2 + chance.random() * 0.6)
                assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert len(talk.decisions) > rounds
    for acknowledged, table in ((talk.decisions, "decisions"), (talk.feedback, "feedback")):
        found = kept(folder, table)
        assert len(set(found)) == len(found)
        assert set(acknowledged) <= set(found)
    workspace = Workspace(folder)
    assert replay_error(workspace) < 1e-4
    workspace.close()


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    kill_rounds(tmp_path, 1)


@pytest.mark.slow
def test_what_was_acknowledged_survives_twenty_kills(tmp_path):
    kill_rounds(tmp_path, 20)


def test_an_answer_is_not_held_back_by_the_network(tmp_path, service, monkeypatch):
    """Without TCP_NODELAY on the sockets it accepts every answer takes at least 40 ms."""
    options = []

    def accept(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        with socket.create_connection(sockets[0].getsockname()), sockets[0].accept()[0] as taken:
            options.append(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(uvicorn.Server, "run", accept)
    run(service, Keys(tmp_path / "keys.json"), Serve(port=0))
    assert options == [1]


def test_a_hundred_duplicates_at_once_over_http(tmp_path):
    token = make(tmp_path)
    with running(tmp_path, token) as server:

        def ask(_: int) -> tuple[int, dict]:
            connection = server.connect()
            try:
                body = {"user": "ada", "idempotency_key": "k"}
                return server.post(connection, "/v1/decisions", body)
            finally:
                connection.close()

        def tell(_: int) -> int:
            connection = server.connect()
            try:
                body = {"decision": decision, "kind": "click", "value": True, "id": "c"}
                return server.post(connection, "/v1/feedback", body)[0]
            finally:
                connection.close()

        with ThreadPoolExecutor(25) as people:
            answers = list(people.map(ask, range(100)))
            assert {status for status, _ in answers} == {200}
            (decision,) = {answer["id"] for _, answer in answers}
            assert set(people.map(tell, range(100))) == {200}
        assert server.stop(signal.SIGTERM) == 0
        assert server.last_words == "closed\n"
    assert kept(tmp_path, "decisions") == [decision]
    assert kept(tmp_path, "feedback") == ["c"]
    told = [json.loads(line) for line in server.said]
    assert [line["event"] for line in told if line["event"] != "request"][-1] == "service_stopped"
    assert sum(line["event"] == "request" for line in told) == 200
