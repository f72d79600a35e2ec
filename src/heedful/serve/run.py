"""Listen: the application on a socket, until it is told to stop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from heedful.config import Serve
from heedful.serve.app import create_app
from heedful.serve.keys import Keys
from heedful.serve.logs import event, to_stderr
from heedful.serve.service import Service

BACKLOG = 2048
GRACE_SECONDS = 10


def run(
    service: Service,
    keys: Keys,
    options: Serve,
    *,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve over HTTP until SIGINT or SIGTERM; requests under way are answered first.

    Args:
        service: what answers; stays the caller's to close.
        keys: who may ask.
        options: where to listen (port 0: any free one), and the largest body.
        ready: called with the address once connections are accepted.

    Raises:
        OSError: the port is taken, or the address is not ours.
    """
    to_stderr()
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.create_server((options.host, options.port), family=family, backlog=BACKLOG) as door:
        # Accepted sockets inherit it; asyncio sets it on sockets of its own only. Without it an
        # answer waits 40 ms for the acknowledgement of its first packet.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = f"[{options.host}]" if family == socket.AF_INET6 else options.host
        url = f"http://{host}:{door.getsockname()[1]}"
        config = uvicorn.Config(
            create_app(service, keys, options),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        event("listening", url=url)
        ready(url)
        with _stopping_is_no_failure():
            uvicorn.Server(config).run(sockets=[door])


@contextmanager
def _stopping_is_no_failure() -> Iterator[None]:
    """Let the caller close what it opened: uvicorn, once done, raises the signal it got anew."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
