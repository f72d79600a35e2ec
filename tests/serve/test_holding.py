"""Decisions that wait for a person: kept, answered once, shown or not, and nobody's evidence."""

import math
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient

from heedful.record import Kind
from heedful.serve import (
    DecisionAnswer,
    DecisionRequest,
    EndRequest,
    FeedbackRequest,
    HeldAnswer,
    Keys,
    Service,
    ServiceError,
    create_app,
)
from heedful.store import StoreError
from heedful.store.registry import RegistryError
from tests.serve.test_crash import kept, make, running
from tests.serve.world import OPTIONS, Workspace, add_version, replay_error

BY = {"by": "ada", "why": "a test"}
HALF = OPTIONS.model_copy(update={"hold": 0.5})


@pytest.fixture
def holding(workspace: Workspace) -> Iterator[Service]:
    with workspace.serve(options=HALF) as service:
        yield service


def ask_all(service: Service, n: int, **more: object) -> tuple[list, list]:
    """Ask for ``n`` people; return what was decided and what waits."""
    answers = service.decide([DecisionRequest(user=f"u{i}", **more) for i in range(n)])
    assert not [answer for answer in answers if isinstance(answer, ServiceError)]
    return (
        [answer for answer in answers if isinstance(answer, DecisionAnswer)],
        [answer for answer in answers if isinstance(answer, HeldAnswer)],
    )


def test_nothing_is_held_unless_that_is_asked_for(service, workspace):
    decided, held = ask_all(service, 50)
    assert (len(decided), held, workspace.registry.n_held()) == (50, [], 0)


def test_a_share_is_held_and_in_no_log(holding, workspace):
    decided, held = ask_all(holding, 200)
    assert abs(len(held) - 100) < 4 * math.sqrt(50)
    assert workspace.log.counts().decisions == len(decided)
    assert {one.decision.id for one in workspace.registry.waiting()} == {one.id for one in held}
    assert replay_error(workspace) < 1e-4


def test_the_coin_knows_neither_version_nor_content(workspace, tmp_path):
    """The n-th request is held or not, whichever version decides and whatever it may choose."""
    (tmp_path / "other").mkdir()
    other = Workspace(tmp_path / "other", live=False)
    other.registry.promote(add_version(other.registry, seed=9), **BY)
    held = []
    for place, choices in ((workspace, {}), (other, {"allowed": ["item-1", "item-2"]})):
        with place.serve(options=HALF, seed=1) as service:
            asked = [DecisionRequest(user=f"u{i}", choices=choices) for i in range(200)]
            held.append([isinstance(answer, HeldAnswer) for answer in service.decide(asked)])
    other.close()
    assert held[0] == held[1]
    assert 50 < sum(held[0]) < 150


def test_what_waits_is_not_shown_and_is_nobodys_history(holding, workspace):
    for _ in range(20):
        ask_all(holding, 1, choices={"fresh": True, "allowed": ["item-1", "item-2", "item-3"]})
        if workspace.log.counts().decisions:
            break
    waiting = workspace.registry.n_held()
    again = holding.fetch([one.decision.id for one in workspace.registry.waiting()])
    assert again == [HeldAnswer(id=a.id, session=a.session) for a in again]
    assert len(again) == waiting
    assert workspace.log.counts().decisions == 1


def test_a_yes_shows_it_without_a_probability_and_a_no_never(holding, workspace):
    _, (yes, no, *rest) = ask_all(holding, 20)
    workspace.registry.review(yes.id, approve=True, **BY)
    workspace.registry.review(no.id, approve=False, **BY)
    before = workspace.log.counts().decisions
    workspace.clock.now += 60
    shown, refused, waits, unknown = holding.fetch([yes.id, no.id, rest[0].id, "nothing"])
    drawn = workspace.registry.held(yes.id).decision
    assert (shown.units, shown.logps, shown.policy) == (drawn.units, (), "held:0001")
    assert (refused.reason, unknown.reason, type(waits)) == ("rejected", "unknown", HeldAnswer)
    assert workspace.log.counts().decisions == before + 1
    assert holding.fetch([yes.id, yes.id]) == [shown, shown], "asking again is harmless"
    assert workspace.log.counts().decisions == before + 1
    decisions = workspace.log.snapshot().decisions
    assert np.isnan(decisions.logps[decisions.offsets[-2] :]).all()
    assert decisions.made_at[-1] == workspace.clock.now, "it happened when it was shown"
    click = FeedbackRequest(decision=yes.id, kind=Kind.CLICK, value=True, unit=0)
    assert [receipt.status for receipt in holding.feedback([click])] == ["added"]
    click = replace(click, decision=no.id, id="other")
    assert [receipt.status for receipt in holding.feedback([click])] == ["refused"]
    assert replay_error(workspace) < 1e-4


def test_what_was_shown_is_history_of_the_next_decision(workspace):
    everything = OPTIONS.model_copy(update={"hold": 0.999999})
    allowed = {"allowed": [f"item-{i}" for i in range(6)], "fresh": True}
    with workspace.serve(options=everything) as service:
        _, (held,) = ask_all(service, 1, choices=allowed)
        workspace.registry.review(held.id, approve=True, **BY)
        (shown,) = service.fetch([held.id])
        _, (again,) = ask_all(service, 1, choices=allowed)
        drawn = workspace.registry.held(again.id).decision.units
    assert set(shown.units).isdisjoint(drawn)
    streams = workspace.domain.encode(
        workspace.log.snapshot(), workspace.domain.vocabulary(workspace.log.snapshot())
    )
    assert streams.slots.reviewed.tolist() == [True] * 3


@pytest.mark.parametrize("what", ["stopped", "blocked", "ended"])
def test_what_was_stopped_or_blocked_since_is_not_shown(holding, workspace, what):
    _, (held, *_) = ask_all(holding, 20, session="visit")
    workspace.registry.review(held.id, approve=True, **BY)
    drawn = workspace.registry.held(held.id).decision
    if what == "stopped":
        version = add_version(workspace.registry, seed=2)
        workspace.registry.promote(version, **BY)
        workspace.registry.stop("0001", **BY)
    elif what == "blocked":
        workspace.registry.block(drawn.units[1], **BY)
    else:
        user = next(f"u{i}" for i in range(20) if holding._asked(
            [DecisionRequest(user=f"u{i}")])[0].subject == drawn.subject
        )  # fmt: skip
        for _ in range(30):  # until one of the visit was shown, so that there is a visit to end
            holding.decide([DecisionRequest(user=user, session="visit")])
        assert holding.end([EndRequest(user=user, session="visit")])[0].status == "added"
    (answer,) = holding.fetch([held.id])
    assert isinstance(answer, ServiceError)
    assert answer.reason == "rejected"


def test_a_key_asked_twice_waits_once(holding, workspace):
    asked = [DecisionRequest(user=f"u{i}", idempotency_key="k") for i in range(20)]
    assert holding.decide(asked) == holding.decide(asked)
    assert workspace.registry.n_held() + workspace.log.counts().decisions == 20


def test_what_cannot_be_held_is_not_said_to_be(holding, workspace, monkeypatch):
    def full(decisions: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(workspace.registry, "hold", full)
    answers = holding.decide([DecisionRequest(user=f"u{i}") for i in range(20)])
    errors = [answer for answer in answers if isinstance(answer, ServiceError)]
    assert errors
    assert {error.reason for error in errors} == {"unavailable"}
    assert workspace.log.counts().decisions == 20 - len(errors)


# Over HTTP


@pytest.fixture
def client(holding, tmp_path):
    keys = Keys(tmp_path / "keys.json")
    tokens = {role: keys.new(role, role) for role in ("client", "reviewer", "admin")}
    with TestClient(create_app(holding, keys)) as client:
        client.tokens = tokens
        yield client


def as_role(client, role):
    return {"Authorization": f"Bearer {client.tokens[role]}"}


def test_a_reviewer_answers_over_http_and_the_client_fetches(client, workspace):
    mine, reviewers = as_role(client, "client"), as_role(client, "reviewer")
    for number in range(50):
        answer = client.post("/v1/decisions", json={"user": f"u{number}"}, headers=mine)
        if answer.status_code == 202:
            break
    assert set(answer.json()) == {"id", "status", "session"}
    name = answer.json()["id"]
    place = f"/v1/decisions/{name}"
    assert client.get(place, headers=mine).json()["status"] == "held"
    (waiting,) = client.get("/v1/held", headers=reviewers).json()["waiting"]
    assert (waiting["decision"], len(waiting["units"])) == (name, 3)
    said = {"approve": True, "why": "fine"}
    for bad in ({"approve": True}, {"approve": "yes", "why": "x"}, {"approve": True, "why": " "}):
        assert client.post(f"/v1/held/{name}", json=bad, headers=reviewers).status_code == 422
    assert client.post("/v1/held/none", json=said, headers=reviewers).status_code == 404
    done = client.post(f"/v1/held/{name}", json=said, headers=reviewers)
    assert (done.status_code, done.json()["by"]) == (200, "reviewer")
    assert client.post(f"/v1/held/{name}", json=said, headers=reviewers).status_code == 409
    shown = client.get(place, headers=mine)
    assert (shown.status_code, shown.json()["units"]) == (200, waiting["units"])
    assert shown.json()["propensities"] == []
    last = workspace.registry.audit()[-1]
    assert (last.who, last.action, last.why) == ("reviewer", "approved", "fine")
    assert client.get("/v1/decisions/none", headers=mine).status_code == 404
    assert (
        b"heedful_held_decisions_total 1.0"
        in client.get("/metrics", headers=as_role(client, "admin")).content
    )


def test_roles_are_kept_apart(client):
    for role, place, status in (
        ("client", "/v1/held", 403),
        ("client", "/v1/held/x", 403),
        ("reviewer", "/v1/policy", 403),
        ("reviewer", "/metrics", 403),
        ("reviewer", "/v1/held", 200),
        ("admin", "/v1/held", 200),
        ("admin", "/v1/policy", 200),
    ):
        assert client.get(place, headers=as_role(client, role)).status_code == status, role
    asked = client.post("/v1/decisions", json={"user": "x"}, headers=as_role(client, "reviewer"))
    assert asked.status_code == 403


# Killed while they wait


def test_what_waits_survives_a_kill(tmp_path):
    token = make(tmp_path)
    with running(tmp_path, token, "0.5") as server:
        connection, held = server.connect(), []
        for number in range(30):
            status, answer = server.post(connection, "/v1/decisions", {"user": f"u{number}"})
            held += [answer["id"]] if status == 202 else []
        server.stop(signal.SIGKILL)
        connection.close()
    assert len(held) > 5
    workspace = Workspace(tmp_path)
    assert [one.decision.id for one in workspace.registry.waiting()] == held
    assert set(held).isdisjoint(kept(tmp_path, "decisions"))
    workspace.registry.review(held[0], approve=True, **BY)
    workspace.close()
    with running(tmp_path, token, "0.5") as server:
        connection = server.connect()
        status, shown = server.get(connection, f"/v1/decisions/{held[0]}")
        assert status == 200
        server.stop(signal.SIGKILL)
        connection.close()
    with running(tmp_path, token, "0.5") as server:
        connection = server.connect()
        assert server.get(connection, f"/v1/decisions/{held[0]}") == (200, shown)
        assert server.get(connection, f"/v1/decisions/{held[1]}")[0] == 202
        connection.close()
    assert kept(tmp_path, "decisions").count(held[0]) == 1


def test_what_one_person_was_not_shown_is_not_their_history(holding, workspace):
    for _ in range(40):
        holding.decide([DecisionRequest(user="ada")])
    assert 0 < workspace.log.counts().decisions < 40
    assert replay_error(workspace) < 1e-4


def test_a_held_decision_takes_its_place_when_it_is_shown(workspace):
    with workspace.serve(options=OPTIONS.model_copy(update={"hold": 0.999999})) as service:
        asked = [DecisionRequest(user="ada", session="visit") for _ in range(3)]
        waiting = [service.decide([one])[0] for one in asked]
        assert {one.session for one in waiting} == {"visit"}
        for one in reversed(waiting):
            workspace.registry.review(one.id, approve=True, **BY)
            service.fetch([one.id])
    decisions = workspace.log.snapshot().decisions
    assert decisions.step.tolist() == [0, 1, 2]
    assert len(set(decisions.episode.tolist())) == 1


def test_without_a_name_the_visit_is_told_once_it_is_shown(workspace):
    with workspace.serve(options=OPTIONS.model_copy(update={"hold": 0.999999})) as service:
        _, (held,) = ask_all(service, 1)
        assert held.session is None
        workspace.registry.review(held.id, approve=True, **BY)
        (shown,) = service.fetch([held.id])
        (again,) = service.decide([DecisionRequest(user="u0", session=shown.session)])
        workspace.registry.review(again.id, approve=True, **BY)
        service.fetch([again.id])
    assert workspace.log.snapshot().decisions.step.tolist() == [0, 1]


def test_a_restart_draws_anew_though_nothing_was_logged(workspace):
    drawn = []
    for _ in range(2):
        with workspace.serve(options=OPTIONS.model_copy(update={"hold": 0.999999})) as service:
            _, held = ask_all(service, 30)
        drawn.append([workspace.registry.held(one.id).decision.units for one in held])
    assert workspace.log.counts().decisions == 0
    assert drawn[0] != drawn[1]


def test_what_was_shown_is_told_again_though_it_was_stopped_since(workspace):
    with workspace.serve(options=OPTIONS.model_copy(update={"hold": 0.999999})) as service:
        _, (held,) = ask_all(service, 1)
        workspace.registry.review(held.id, approve=True, **BY)
        (shown,) = service.fetch([held.id])
        workspace.registry.promote(add_version(workspace.registry, seed=2), **BY)
        workspace.registry.stop("0001", **BY)
        assert service.fetch([held.id]) == [shown]


@pytest.mark.parametrize("what", ["stopped", "blocked"])
def test_a_yes_that_would_show_nothing_is_refused(holding, workspace, what):
    _, (held, *_) = ask_all(holding, 20)
    if what == "stopped":
        workspace.registry.promote(add_version(workspace.registry, seed=2), **BY)
        workspace.registry.stop("0001", **BY)
    else:
        workspace.registry.block(workspace.registry.held(held.id).decision.units[0], **BY)
    with pytest.raises(ServiceError, match=f"{what}, so a yes would show nothing") as refused:
        holding.review(held.id, approve=True, **BY)
    assert refused.value.reason == "conflict"
    holding.review(held.id, approve=False, **BY)


def test_a_full_disk_is_no_answer(holding, workspace, monkeypatch):
    _, (held, *_) = ask_all(holding, 20)

    def full(*_: object, **__: object) -> None:
        raise RegistryError("/srv/registry.db: database or disk is full") from sqlite3.Error("full")

    monkeypatch.setattr(workspace.registry, "review", full)
    with pytest.raises(ServiceError, match="nothing was kept") as refused:
        holding.review(held.id, approve=True, **BY)
    assert refused.value.reason == "unavailable"


def test_what_the_house_blocked_is_not_the_callers_word(service, workspace):
    workspace.registry.block("no such unit", **BY)
    (plain,) = service.decide([DecisionRequest(user="ada")])
    assert plain.unknown == ()
    asked = {"forbidden": ["no such unit", "nor this"]}
    (named,) = service.decide([DecisionRequest(user="ada", choices=asked)])
    assert set(named.unknown) == {"no such unit", "nor this"}
