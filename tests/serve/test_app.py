import json
import logging
import math

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from heedful.config import Serve
from heedful.record import Described, Description
from heedful.serve import Keys, create_app
from heedful.serve.guard import PUBLIC
from heedful.serve.logs import JsonLines
from tests.serve.world import replay_error

LIMIT = 20_000


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys.json")


@pytest.fixture
def app(service, keys):
    return create_app(service, keys, Serve(body_limit=LIMIT))


@pytest.fixture
def client(app, keys):
    token = keys.new("shop")
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def decide(client, **more):
    answer = client.post("/v1/decisions", json={"user": "ada", **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


# Decisions, feedback, ends


def test_a_decision_and_an_answer_to_it(client, workspace):
    decision = decide(client, context={"hour": 9})
    assert set(decision) == {
        "id", "units", "logps", "propensities", "policy", "session", "unknown"
    }  # fmt: skip
    assert math.isclose(math.exp(decision["logps"][0]), decision["propensities"][0])
    said = {"decision": decision["id"], "kind": "click", "unit": 0, "value": True, "id": "c1"}
    answer = client.post("/v1/feedback", json=said)
    assert (answer.status_code, answer.json()) == (
        200, {"status": "added", "reason": "", "id": "c1"}
    )  # fmt: skip
    answer = client.post("/v1/feedback", json=said)
    assert (answer.status_code, answer.json()["status"]) == (200, "duplicate")
    answer = client.post("/v1/feedback", json=said | {"value": False})
    assert (answer.status_code, answer.json()["status"]) == (409, "conflict")
    decide(client)
    assert replay_error(workspace) < 1e-4


def test_rules_about_groups_over_http(client, workspace):
    facts = {"colour": ["red"]}
    red = [
        Description(of=Described.UNIT, name=f"item-{i}", facts=facts, given_at=0.0)
        for i in range(12)
    ]
    workspace.log.describe(red)
    choices = {"cap": {"colour": 1}, "require": [{"least": 1, "fact": "colour", "is": "red"}]}
    units = decide(client, choices=choices)["units"]
    assert sum(int(unit.removeprefix("item-")) < 12 for unit in units) == 1


@pytest.mark.parametrize(
    ("choices", "reason", "message"),
    [
        ({"cap": [{"most": -1, "units": ["item-1"]}]}, "invalid", "cap.0.most: is -1"),
        ({"cap": {"colour": 1}}, "invalid", "cap.0.fact: 'colour' describes no unit"),
        ({"cap": 3}, "invalid", "choices.cap."),
        ({"require": [{"least": 9, "units": ["item-1"]}]}, "nothing_to_choose", "require.0: req"),
        ({"require": [{"least": 1, "units": ["new"]}]}, "nothing_to_choose", "require.0: requires"),
        ({"limit": []}, "invalid", "choices.limit"),
    ],
)
def test_a_rule_that_cannot_be_kept_says_which(client, workspace, choices, reason, message):
    answer = client.post("/v1/decisions", json={"user": "ada", "choices": choices})
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (422, reason)
    assert error["message"].startswith(message)
    assert not len(workspace.log.snapshot().decisions.seq)


def test_an_array_of_decisions(client):
    rows = [{"user": "ada"}, {"user": "bob"}]
    answer = client.post("/v1/decisions", json=rows)
    assert answer.status_code == 200
    assert [row["code"] for row in answer.json()] == [200, 200]
    rows = [{"user": "ada"}, {"user": ""}, {"user": "bob", "choices": {"allowed": ["new"]}}, 7]
    answer = client.post("/v1/decisions", json=rows)
    assert answer.status_code == 207
    assert [row["code"] for row in answer.json()] == [200, 422, 422, 422]
    assert answer.json()[2]["error"]["reason"] == "nothing_to_choose"
    assert client.post("/v1/decisions", json=[]).json() == []


def test_an_array_of_feedback(client):
    decision = decide(client)["id"]
    rows = [
        {"decision": decision, "kind": "click", "unit": 0, "value": True},
        {"decision": decision, "kind": "rating", "unit": 0, "value": "five"},
        {"decision": decision, "kind": "smile", "value": 1},
        {"decision": decision, "kind": "click", "unit": 77, "value": True},
        {"decision": "x", "kind": "click", "value": True, "user": "u", "given_at": 1, "id": "f"},
        {"decision": decision, "kind": "comment", "value": "fine", "surprise": 1},
    ]
    answer = client.post("/v1/feedback", json=rows)
    assert answer.status_code == 207
    assert [row["code"] for row in answer.json()] == [200, 422, 422, 422, 202, 422]
    assert "click, rating" in answer.json()[2]["reason"]
    assert answer.json()[5]["reason"].startswith("surprise")
    assert client.post("/v1/feedback", json=rows[:1] * 2).status_code == 207  # a second click


def test_every_kind_of_feedback(client, workspace):
    one, two = decide(client)["id"], decide(client)["id"]
    values = {
        "click": True,
        "rating": 4,
        "comment": "fine",
        "reward": 0.5,
        "flag": "rude",
        "demonstration": ["item-1", "item-2"],
        "preference": {"outcome": "chosen", "over": two},
    }
    for kind, value in values.items():
        answer = client.post("/v1/feedback", json={"decision": one, "kind": kind, "value": value})
        assert answer.status_code == 200, answer.text
    assert workspace.log.counts().feedback == len(values)
    for bad in ({"outcome": "better", "over": two}, {"over": two}, [one, two], {"outcome": []}):
        row = {"decision": one, "kind": "preference", "value": bad}
        assert client.post("/v1/feedback", json=row).status_code == 422


def test_feedback_before_its_decision_waits(client):
    early = {"decision": "elsewhere", "kind": "click", "value": True, "user": "ada", "id": "f"}
    answer = client.post("/v1/feedback", json=early)
    assert (answer.status_code, answer.json()["status"]) == (422, "refused")
    answer = client.post("/v1/feedback", json=early | {"given_at": 1.5})
    assert (answer.status_code, answer.json()["status"]) == (202, "parked")


def test_the_end_of_a_session(client):
    decide(client, session="s")
    end = {"user": "ada", "session": "s"}
    assert client.post("/v1/ends", json=end).json()["status"] == "added"
    assert client.post("/v1/ends", json=[end]).json()[0]["status"] == "duplicate"
    assert client.post("/v1/ends", json=end | {"terminated": False}).status_code == 409
    assert client.post("/v1/decisions", json=end).status_code == 409
    assert client.post("/v1/ends", json={"user": "nobody"}).status_code == 422


def test_one_idempotency_key_one_decision(client):
    first = decide(client, idempotency_key="k")
    assert decide(client, idempotency_key="k") == first
    other = {"user": "ada", "idempotency_key": "k", "length": 1}
    assert client.post("/v1/decisions", json=other).status_code == 409


def test_who_decides(client, workspace):
    assert client.get("/v1/policy").json() == {"live": "0001", "units": 24, "trial": None}


# Keys


def test_every_route_but_health_needs_a_key(app):
    client = TestClient(app, raise_server_exceptions=False)
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    assert len(routes) == len(app.routes) == 9
    for route in routes:
        for method in route.methods:
            answer = client.request(method, route.path)
            assert answer.status_code == (200 if route.path in PUBLIC else 401), route.path
    for path in ("/", "/docs", "/openapi.json", "/redoc", "/nowhere", "/health/", "//health"):
        assert client.get(path).status_code == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic {}", "{}", "Bearer {} x", "Bearer é"]
)
def test_wrong_keys_are_refused(app, keys, header):
    token = keys.new("shop")
    sent = {"Authorization": header.format(token).encode("latin-1")}
    answer = TestClient(app).get("/v1/policy", headers=sent)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_authorizations_are_none(app, keys):
    token = keys.new("shop")
    sent = [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer wrong")]
    assert TestClient(app).get("/v1/policy", headers=sent).status_code == 401


def test_metrics_take_an_admin(app, client, keys):
    assert client.get("/metrics").status_code == 403
    decide(client)
    token = keys.new("ops", "admin")
    text = client.get("/metrics", headers={"Authorization": f"bearer {token}"}).text
    assert 'heedful_decisions_total{policy="0001"} 1.0' in text
    assert "heedful_live_version 1.0" in text
    assert "heedful_parked 0.0" in text
    assert 'heedful_http_requests_total{route="/v1/decisions",status="200"} 1.0' in text


# Bad bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"user": "ada", "context": {"x": NaN}}',
        b'{"user": "ada", "context": {"x": -Infinity}}',
        b'{"user": "ada", "context": {"x": 1e400}}',
        b'{"user": "ada", "context": {"x": ' + b"1" * 5000 + b"}}",
        b'{"user": "\\ud800"}',
        b'{"user": "a\\u0000b"}',
        b'{"user": "ada", "context": {"\\udfff": 1}}',
        b'{"user": "ada", "session": "\\u0000"}',
        b'{"user": "ada", "\\ud800": 1}',
        b'{"user": 7}',
        b'{"user": "ada", "length": 1.5}',
        b'{"user": "ada", "choices": {"allowed": "item-1"}}',
        b'{"user": "ada", "choices": {"allowed": ["\\ud800"]}}',
        b"7",
        b"null",
        b'"text"',
        b"[" * 9_000,
        b"[" * 9_000 + b"]" * 9_000,
        b'{"user": "ada", "context": {"x": ' + b"[" * 100 + b"]" * 100 + b"}}",
    ],
)
def test_a_bad_body_is_the_senders_fault_and_is_not_repeated(client, workspace, body):
    answer = client.post("/v1/decisions", content=body)
    assert answer.status_code == 422, answer.text
    assert set(answer.json()["error"]) == {"reason", "message"}
    assert len(answer.content) < 1000
    assert b"NaN" not in answer.content
    assert workspace.log.counts().decisions == 0


def test_bad_feedback_bodies_are_refused(client):
    decision = decide(client)["id"]
    for value in (b"NaN", b"1e999", b'"\\ud800"', b'"x\\u0000"', b'"' + b"x" * 2000 + b'"'):
        body = b'{"kind": "rating", "decision": "' + decision.encode() + b'", "value": %s}' % value
        answer = client.post("/v1/feedback", content=body)
        assert answer.status_code == 422
        assert len(answer.content) < 1000


def test_of_equal_keys_the_last_one_counts(client):
    body = b'{"user": "bob", "user": "ada", "length": 1, "length": 2}'
    assert len(client.post("/v1/decisions", content=body).json()["units"]) == 2


def test_a_large_body_is_refused_by_its_declared_length(client):
    body = b'{"user": "' + b"a" * LIMIT + b'"}'
    assert client.post("/v1/decisions", content=body).status_code == 413


def test_a_large_body_is_refused_while_it_streams(client):
    sent = []

    def chunks():
        for _ in range(1000):
            sent.append(1)
            yield b" " * 1000

    assert client.post("/v1/decisions", content=chunks()).status_code == 413


def test_a_false_length_is_refused(client):
    for length in ("-1", "many", "9" * 400):
        sent = {"Content-Length": length}
        assert client.post("/v1/decisions", content=b"", headers=sent).status_code == 413


def test_a_body_that_never_ends_is_cut_off(app, client, monkeypatch):
    import asyncio

    monkeypatch.setattr("heedful.serve.app.BODY_SECONDS", 0.05)
    token = client.headers["authorization"].encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/decisions",
        "raw_path": b"/v1/decisions",
        "query_string": b"",
        "headers": [(b"authorization", token)],
    }
    sent = []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408


def test_too_many_rows_are_refused(client):
    answer = client.post("/v1/decisions", json=[{"user": "ada"}] * 257)
    assert answer.status_code == 413


def test_unicode_round_trips(client):
    assert decide(client, session="сессия 🙂")["session"] == "сессия 🙂"


# Faults


def test_a_full_queue_is_429_with_retry_after(client, service, monkeypatch):
    monkeypatch.setattr(service._inbox, "limit", 0)
    answer = client.post("/v1/decisions", json={"user": "ada"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


def test_a_failing_log_is_503_with_retry_after(client, service, workspace, monkeypatch):
    from heedful.store import StoreError

    def full(records, *, choice_sets=()):
        raise StoreError("database is locked")

    decision = decide(client)["id"]
    with monkeypatch.context() as patch:
        patch.setattr(workspace.log, "append", full)
        said = {"decision": decision, "kind": "click", "value": True}
        for path, body in (("/v1/decisions", {"user": "ada"}), ("/v1/feedback", said)):
            answer = client.post(path, json=body)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/health").status_code == 503
    decide(client)
    assert client.get("/health").json() == {"status": "ok", "ready": True}


def test_no_live_policy_is_503(tmp_path, keys):
    from tests.serve.world import Workspace

    folder = tmp_path / "empty"
    folder.mkdir()
    workspace = Workspace(folder, live=False)
    sent = {"Authorization": f"Bearer {keys.new('shop')}"}
    with workspace.serve() as service:
        client = TestClient(create_app(service, keys), headers=sent)
        answer = client.post("/v1/decisions", json={"user": "ada"})
        assert answer.status_code == 503
        assert "promote" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"]
        assert client.get("/health").json() == {"status": "ok", "ready": False}
    workspace.close()


# The log of requests


def test_one_json_line_an_event_without_keys_or_people(client, keys, caplog):
    with caplog.at_level(logging.INFO, "heedful.serve"):
        decide(client, session="ada's phone")
        client.get("/v1/nowhere%0A%7B%22event%22:%22forged%22%7D")
        client.get("/v1/decisions?user=ada")
    lines = [JsonLines().format(record) for record in caplog.records]
    assert len(lines) == 3
    told = [json.loads(line) for line in lines]
    assert [line["route"] for line in told] == ["/v1/decisions", "none", "/v1/decisions"]
    assert {line["key"] for line in told} == {"shop"}
    text = "\n".join(lines)
    for secret in ("ada", "forged", client.headers["authorization"].split()[1]):
        assert secret not in text
    assert text.count("\n") == 2
