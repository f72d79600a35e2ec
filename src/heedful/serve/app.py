"""The service over HTTP: JSON in, JSON out, and 2xx only for what is on the disk."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from heedful.config import Serve
from heedful.contract import Conversation
from heedful.record import RecordError
from heedful.serve import bodies, chat
from heedful.serve.guard import Guard
from heedful.serve.keys import Keys
from heedful.serve.requests import DecisionAnswer, FetchRequest, HeldAnswer, ServiceError
from heedful.serve.service import Service
from heedful.store import StoreError

BODY_SECONDS = 10.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_app(service: Service, keys: Keys, options: Serve | None = None) -> FastAPI:
    """Return the ASGI application.

    =============================  ================================================================
    ``POST /v1/decisions``         one request or an array: decisions
    ``GET /v1/decisions/ID``       a decision that was held, once it may be shown
    ``POST /v1/chat/completions``  a reply, as OpenAI's clients ask for it; where decisions are such
    ``GET /v1/models``             what they call the model; for the same
    ``POST /v1/feedback``          one row or an array: receipts
    ``POST /v1/ends``              one row or an array: receipts
    ``GET /v1/policy``             who decides now
    ``GET /v1/held``               decisions that wait for a person; for reviewers and admins
    ``POST /v1/held/ID``           a person's yes or no; for the same
    ``GET /metrics``               Prometheus' text, for keys with the role admin
    ``GET /health``                whether it runs, for anybody
    =============================  ================================================================

    An array is answered by an array, each row with a ``code`` of its own; its status is 200, or 207
    where some code differs. Every route but ``/health`` needs ``Authorization: Bearer KEY``. There
    is no page of documentation: FastAPI's loads scripts from elsewhere.

    Args:
        service: stays the caller's to close.
        keys: who may ask.
        options: the table ``[serve]`` of heedful.toml.
    """
    limit = (options or Serve()).body_limit
    app = FastAPI(title="heedful", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(ServiceError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(StoreError, _on_store_error)
    _add_rows(app, service)
    _add_views(app, service)
    _add_review(app, service)
    if isinstance(service.domain, Conversation):
        _add_chat(app, service)
    app.add_middleware(Guard, keys=keys, body_limit=limit, metrics=service.metrics)
    return app


def _add_rows(app: FastAPI, service: Service) -> None:
    @app.post("/v1/decisions")
    async def decisions(request: Request) -> Response:
        return await _rows(request, service, bodies.DecisionBody, bodies.decision_json)

    @app.get("/v1/decisions/{decision}")
    async def fetched(decision: str) -> Response:
        try:
            request = FetchRequest(decision=decision)
        except RecordError as error:
            raise ServiceError("invalid", str(error)) from None
        [answer] = await asyncio.wrap_future(service.submit([request]))
        return _json(*bodies.decision_json(request, answer), headers=_retry(answer))

    @app.post("/v1/feedback")
    async def feedback(request: Request) -> Response:
        return await _rows(request, service, bodies.FeedbackBody, bodies.receipt_json)

    @app.post("/v1/ends")
    async def ends(request: Request) -> Response:
        return await _rows(request, service, bodies.EndBody, bodies.receipt_json)


def _add_views(app: FastAPI, service: Service) -> None:
    @app.get("/v1/policy")
    async def policy() -> Response:
        now = service.deciding()
        trial = None if now.trial is None else {"policy": now.trial, "share": now.share}
        return _json(200, {"live": now.live, "units": now.units, "trial": trial})

    @app.get("/health")
    async def health() -> Response:
        well = service.healthy()
        ready = service.deciding().live is not None
        return _json(200 if well else 503, {"status": "ok" if well else "failing", "ready": ready})

    @app.get("/metrics")
    def metrics() -> Response:  # in a worker thread: it counts rows of the log
        return Response(service.metrics.text(), media_type=METRICS_TYPE)


def _add_review(app: FastAPI, service: Service) -> None:
    @app.get("/v1/held")
    def held() -> Response:  # in a worker thread: it reads the registry
        return _json(200, {"waiting": [one.to_dict() for one in service.waiting()]})

    @app.post("/v1/held/{decision}")
    async def answered(request: Request, decision: str) -> Response:
        said = bodies.read(bodies.parse(await _body(request)), bodies.ReviewBody)
        if isinstance(said, ServiceError):
            raise said
        who = request.state.key.name
        await run_in_threadpool(
            service.review, decision, approve=said.approve, by=who, why=said.why
        )
        return _json(200, {"decision": decision, "approved": said.approve, "by": who})


def _add_chat(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def completions(request: Request) -> Response:
        asked = chat.read(
            bodies.parse(await _body(request)),
            somebody=request.state.key.name,
            longest=service.domain.length,
            key=request.headers.get("idempotency-key"),
        )
        [answer] = await asyncio.wrap_future(service.submit([asked.request]))
        if isinstance(answer, ServiceError):
            raise answer
        if isinstance(answer, HeldAnswer):
            raise chat.held(answer.id)
        return _completion(asked, answer)

    @app.get("/v1/models")
    def models() -> Response:  # in a worker thread, as the one below: they read the registry
        live = service.live()
        data = [] if live is None else [chat.model(live.created_at)]
        return _json(200, {"object": "list", "data": data})

    @app.get("/v1/models/{name}")
    def model(name: str) -> Response:
        live = service.live()
        if live is None or name != chat.MODEL:
            raise chat.no_model()
        return _json(200, chat.model(live.created_at))


def _completion(asked: chat.Asked, answer: DecisionAnswer) -> Response:
    now = time.time()
    if not asked.stream:
        return _json(200, chat.completion(answer, now))
    pieces = chat.pieces(answer, now, usage=asked.usage)
    headers = {"Cache-Control": "no-cache"}
    return StreamingResponse(pieces, headers=headers, media_type="text/event-stream")


async def _rows(
    request: Request, service: Service, model: type[bodies.Body], reply: bodies.Reply
) -> Response:
    """Hand the rows of a body to the service and answer when they are in the log."""
    parsed = bodies.parse(await _body(request))
    rows = parsed if isinstance(parsed, list) else [parsed]
    requests = [bodies.read(row, model) for row in rows]
    sound = [row for row in requests if not isinstance(row, ServiceError)]
    answered: list[Any] = await asyncio.wrap_future(service.submit(sound))
    left = iter(answered)
    results = [row if isinstance(row, ServiceError) else next(left) for row in requests]
    replies = [reply(row, result) for row, result in zip(requests, results, strict=True)]
    if isinstance(parsed, list):
        return _json(*bodies.many(replies))
    return _json(*replies[0], headers=_retry(results[0]))


async def _body(request: Request) -> bytes:
    """Read a body whose sender may be slow, or may have gone."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.body()
    except TimeoutError:
        raise HTTPException(408, f"a body must arrive within {BODY_SECONDS:.0f} seconds") from None


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    as_json = chat.error_json if chat.is_chat(request.url.path) else bodies.error_json
    status, said = as_json(error)
    return _json(status, said, headers=_retry(error))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said: dict[str, Any] = {"error": {"reason": "http", "message": str(error.detail)}}
    if chat.is_chat(request.url.path):
        said = chat.refusal_body(error.status_code, "http", str(error.detail))
    return _json(error.status_code, said, headers=error.headers)


async def _on_store_error(request: Request, error: Exception) -> Response:
    unavailable = ServiceError("unavailable", "the log cannot be read now", retry_after=5.0)
    return await _on_error(request, unavailable)


def _retry(error: object) -> Mapping[str, str] | None:
    if isinstance(error, ServiceError) and error.retry_after is not None:
        return {"Retry-After": f"{error.retry_after:.0f}"}
    return None


def _json(status: int, content: object, headers: Mapping[str, str] | None = None) -> Response:
    """Return ASCII JSON: text that UTF-8 cannot carry must not break an error about itself."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return Response(text, status, dict(headers or {}), "application/json")
