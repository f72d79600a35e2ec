"""Serving: decisions per CPU second from Python and over HTTP, beside a bare echo.

Every decision is durable before it is answered. The echo is a FastAPI application that reads a JSON
body and sends it back: what HTTP alone costs on the same machine, in the same run.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI

from benchmarks import Table
from heedful.config import Serve
from heedful.domains.recommendation import Recommendation
from heedful.policy import Transformer, Vocabulary, save
from heedful.serve import DecisionAnswer, DecisionRequest, Keys, Service
from heedful.serve import run as listen
from heedful.store import Log
from heedful.store.registry import Card, Registry, current_code, current_environment

CONNECTIONS = 16
USERS = 256
ITEMS = 1_000
KEY = b"a benchmark's key"


def run(quick: bool) -> list[Table]:
    """Measure the engine in this process, and two servers in processes of their own."""
    scale = 1 if quick else 8
    torch.set_num_threads(1)
    engine = [_engine(batch, USERS * scale // batch) for batch in (1, 16, 256)]
    with tempfile.TemporaryDirectory() as folder:
        token = _workspace(Path(folder))
        rows = [_http("echo", "", "x", 1000 * scale)]
        rows.append(_http("decisions", folder, token, 250 * scale))
    share = rows[1].pop() / rows[0].pop()
    note = (
        f"Transformer of width 64 and 2 layers over {ITEMS:,} items, slates of 5, {USERS} users; "
        f"one thread. A decision over HTTP is served at {share:.2f} of the echo's rate."
    )
    columns = ("batch", "decisions", "per CPU s", "per s")
    http_columns = ("answers", "requests", "per server CPU s", "per s", "median ms", "95 % ms")
    return [
        Table("From Python", columns, tuple(engine), note),
        Table(f"Over HTTP, {CONNECTIONS} connections", http_columns, tuple(map(tuple, rows)), ""),
    ]


def _engine(batch: int, calls: int) -> tuple[str, ...]:
    """Return a row of the first table: ``calls`` calls of ``batch`` decisions, after two rounds."""
    with tempfile.TemporaryDirectory() as folder:
        _workspace(Path(folder))
        with _service(Path(folder)) as service:
            _ask(service, range(USERS))
            _ask(service, range(USERS))
            cpu, wall = time.process_time(), time.perf_counter()
            for call in range(calls):
                _ask(service, range(call * batch, (call + 1) * batch))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    n = batch * calls
    return str(batch), f"{n:,}", f"{n / cpu:,.0f}", f"{n / wall:,.0f}"


def _ask(service: Service, users: range) -> None:
    requests = [DecisionRequest(user=f"user-{user % USERS}") for user in users]
    for answer in service.decide(requests):
        assert isinstance(answer, DecisionAnswer)


def _workspace(folder: Path) -> str:
    """Make a registry with one live policy and return the token of a client."""
    vocabulary = Vocabulary(f"item-{i:04d}" for i in range(ITEMS))
    torch.manual_seed(0)
    policy = Transformer(Recommendation().schema(vocabulary), width=64, layers=2, heads=2)
    card = Card(
        kind="transformer",
        step="benchmark",
        parent=None,
        snapshot=None,
        configuration={},
        seed=0,
        code=current_code(),
        environment=current_environment(device="cpu", threads=1),
        created_at=time.time(),
    )
    with Registry.open(folder) as registry:
        with registry.new(card) as draft:
            save(policy, vocabulary, draft.folder)
        registry.promote(draft.version.name, by="benchmark", why="to be measured")
    return Keys(folder / "keys.json").new("benchmark")


@contextmanager
def _service(folder: Path) -> Iterator[Service]:
    domain = Recommendation({"repeat_seen": True})
    with (
        Log.open(folder / "log.db", write=True) as log,
        Registry.open(folder) as registry,
        Service(log, registry, domain, key=KEY) as service,
    ):
        yield service


def _http(what: str, folder: str, token: str, requests: int) -> list[Any]:
    """Return a row of the second table, and the rate per CPU second as a number."""
    command = [sys.executable, "-m", "benchmarks.serve", what, folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip().removeprefix("http://")
        latencies: list[float] = []
        began = time.perf_counter()
        people = [
            threading.Thread(
                target=_talk, args=(address, token, i, requests // CONNECTIONS, latencies)
            )
            for i in range(CONNECTIONS)
        ]
        for person in people:
            person.start()
        for person in people:
            person.join()
        wall = time.perf_counter() - began
        server.send_signal(signal.SIGTERM)
        cpu = float(server.stdout.readline())
    n = len(latencies)
    late = sorted(latencies)[int(0.95 * n)]
    rate = n / cpu
    middle = statistics.median(latencies)
    figures = [f"{rate:,.0f}", f"{n / wall:,.0f}", f"{1000 * middle:.1f}", f"{1000 * late:.1f}"]
    return [what, f"{n:,}", *figures, rate]


def _talk(address: str, token: str, person: int, times: int, latencies: list[float]) -> None:
    connection = http.client.HTTPConnection(address, timeout=60)
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for step in range(times):
        user = (person + step * CONNECTIONS) % USERS
        began = time.perf_counter()
        body = json.dumps({"user": f"user-{user}"})
        connection.request("POST", "/v1/decisions", body, sent)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        latencies.append(time.perf_counter() - began)
    connection.close()


def _serve(what: str, folder: str) -> None:
    """Serve until SIGTERM; print the address, and at last the CPU seconds spent since."""
    began = 0.0

    def ready(url: str) -> None:
        nonlocal began
        print(url, flush=True)
        began = time.process_time()

    if what == "decisions":
        with _service(Path(folder)) as service:
            listen(service, Keys(Path(folder) / "keys.json"), Serve(port=0), ready=ready)
    else:
        _echo(ready)
    print(time.process_time() - began)


def _echo(ready: Any) -> None:
    app = FastAPI()

    @app.post("/v1/decisions")
    async def echo(row: dict[str, Any]) -> dict[str, Any]:
        return row

    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it anew when it is done
    config = uvicorn.Config(app, log_config=None, access_log=False)
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready(f"http://127.0.0.1:{door.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[door])


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
