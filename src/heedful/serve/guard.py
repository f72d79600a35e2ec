"""In front of every route: a key, a bounded body, one line in the log."""

from __future__ import annotations

import json
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heedful.serve import chat
from heedful.serve.keys import Key, Keys
from heedful.serve.logs import event
from heedful.serve.metrics import Metrics

PUBLIC = frozenset({"/health"})
ADMIN = frozenset({"/metrics"})
REVIEW = "/v1/held"


class Guard:
    """ASGI middleware that denies by default: a new route is closed until it is listed here."""

    def __init__(self, app: ASGIApp, *, keys: Keys, body_limit: int, metrics: Metrics) -> None:
        """Stand in front of ``app``; bodies have at most ``body_limit`` bytes."""
        self._app, self._keys, self._limit, self._metrics = app, keys, body_limit, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            return
        began = time.perf_counter()
        status = 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        key = self._key(scope)
        scope.setdefault("state", {})["key"] = key  # who it was, for routes that write it down
        refusal = self._refusal(scope, key)
        try:
            if refusal is not None:
                await _refuse(sent, scope["path"], *refusal)
            else:
                await self._app(scope, _Bounded(receive, self._limit), sent)
        finally:
            self._tell(scope, key, status, time.perf_counter() - began)

    def _key(self, scope: Scope) -> Key | None:
        scheme, _, token = _header(scope, b"authorization").partition(" ")
        return self._keys.find(token.strip()) if scheme.lower() == "bearer" else None

    def _refusal(self, scope: Scope, key: Key | None) -> tuple[int, str, str] | None:
        path = scope["path"]
        if path not in PUBLIC:
            if key is None:
                return 401, "unauthorised", "send a valid key: Authorization: Bearer KEY"
            if path in ADMIN and key.role != "admin":
                return 403, "forbidden", "this takes a key with the role admin"
            review = path == REVIEW or path.startswith(f"{REVIEW}/")
            if review and key.role == "client":
                return 403, "forbidden", "this takes a key with the role reviewer or admin"
            if key.role == "reviewer" and not review:
                return 403, "forbidden", f"a key with the role reviewer is for {REVIEW} alone"
        declared = _header(scope, b"content-length")
        if declared and (not declared.isdecimal() or int(declared[:20]) > self._limit):
            return 413, "too_large", f"a body has at most {self._limit} bytes"
        return None

    def _tell(self, scope: Scope, key: Key | None, status: int, seconds: float) -> None:
        # The route, not the path: a path says what its sender wants it to.
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.requests.labels(route, str(status)).inc()
        event(
            "request",
            method=scope["method"] if scope["method"] in ("GET", "POST") else "other",
            route=route,
            status=status,
            key=None if key is None else key.name,
            ms=round(seconds * 1000, 1),
        )


class _Bounded:
    """Counts the bytes of a body as they come, whatever length was declared."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit, self._seen = receive, limit, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise HTTPException(413, f"a body has at most {self._limit} bytes")
        return message


def _header(scope: Scope, name: bytes) -> str:
    values = [value for key, value in scope["headers"] if key == name]
    return bytes(values[0]).decode("latin-1") if len(values) == 1 else ""


async def _refuse(send: Send, path: str, status: int, reason: str, message: str) -> None:
    said: dict[str, object] = {"error": {"reason": reason, "message": message}}
    if chat.is_chat(path):
        said = chat.refusal_body(status, reason, message)
    body = json.dumps(said).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # the body was not read
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
