"""A version that plays is asked over HTTP: what is observed, what is legal, how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from heedful.contract.playing import Playing
from heedful.serve import DecisionAnswer, DecisionRequest, Keys, ServiceError, create_app
from heedful.workspace import Workspace
from tests.arcade import make


@pytest.mark.parametrize("game", ["heedful/ConnectFour-v0", "heedful/TicTacToe-v0"])
def test_a_match_over_http_has_legal_moves_only(tmp_path: Path, game: str) -> None:
    settings = {"domain.game": game}
    folder = make(tmp_path / "arcade", **settings)
    keys = Keys(tmp_path / "keys.json")
    bearer = {"Authorization": f"Bearer {keys.new('arcade')}"}
    with Workspace.open(folder, settings) as arcade, arcade.serving() as service:
        assert isinstance(arcade.domain, Playing)
        match = arcade.domain.match()
        last = ""
        with TestClient(create_app(service, keys), headers=bearer) as client:
            while not match.over:
                seat = match.turn
                legal = list(match.legal().values())
                context = dict(match.context(seat))
                body = {"user": ["ada", "bo"][seat], "session": "m", "context": context}
                if seat == 1:  # who asks may say beside the context what is legal
                    context.pop("legal", None)
                    body["choices"] = {"allowed": legal}
                answer = client.post("/v1/decisions", json=body)
                assert answer.status_code == 200, answer.text
                [unit] = answer.json()["units"]
                assert unit in legal
                match.play(unit)
                if seat == 0:
                    last = answer.json()["id"]
            earned = {"decision": last, "kind": "reward", "value": match.reward(0)}
            assert client.post("/v1/feedback", json=earned).json()["status"] == "added"
        snapshot = arcade.log.snapshot()
        assert snapshot.feedback.value.tolist() == [match.reward(0)]
        assert len(snapshot.names.subjects) == 2


def test_a_version_that_is_named_decides_until_it_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "arcade")
    with Workspace.open(folder) as arcade, arcade.serving(version="0002") as service:
        assert isinstance(arcade.domain, Playing)
        match = arcade.domain.match()
        asked = DecisionRequest(user="bo", session="m", context=match.context(0))
        (answer,) = service.decide([asked])
        assert isinstance(answer, DecisionAnswer)
        assert answer.policy == "0002"
        arcade.registry.refuse("0002", by="ada", why="it cheats")
        (answer,) = service.decide([asked])
        assert isinstance(answer, ServiceError)
