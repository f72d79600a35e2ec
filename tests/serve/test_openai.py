"""OpenAI's own client, unmodified, against a live ``heedful serve``."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from heedful.record import Kind
from heedful.serve import Keys
from heedful.serve.keys import FILE_NAME
from heedful.workspace import Workspace
from tests.cli.calls import COMMAND
from tests.serve import dialogue


class Live:
    """A service in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = Keys(folder / FILE_NAME).new("web")
        words = [*COMMAND, "serve", str(folder), "--port", "0"]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        lines = iter(self.process.stderr.readline, "")
        found = (re.search(r"Listening on http://(\S+)", line) for line in lines)
        self.address = next(match[1] for match in found if match)

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"http://{self.address}/v1", api_key=self.token)

    @contextmanager
    def post(self, path: str, body: object) -> Iterator[http.client.HTTPResponse]:
        """Lend an answer; whatever was not read of it by then is not read any more."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        connection.request(
            "POST", path, json.dumps(body), {"Authorization": f"Bearer {self.token}"}
        )
        with closing(connection), connection.getresponse() as answer:
            yield answer

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate(timeout=20)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    live = Live(dialogue.make(tmp_path / "talk", reply=40))
    yield live
    live.stop()


def test_the_client_talks_streams_and_a_thumb_is_joined(live: Live) -> None:
    with live.client as client:
        assert [model.id for model in client.models.list()] == ["heedful"]
        messages: list[Any] = [{"role": "user", "content": "Grüße, tree"}]
        first = client.chat.completions.create(model="heedful", messages=messages, user="ada")
        messages += [first.choices[0].message, {"role": "user", "content": "and then?"}]
        streamed, second = "", ""
        with client.chat.completions.create(
            model="heedful", messages=messages, user="ada", stream=True, temperature=0.2
        ) as stream:
            for chunk in stream:
                second = chunk.id
                streamed += chunk.choices[0].delta.content or ""
        thumb = client.post(
            "/feedback", body={"decision": second, "thumb": "up"}, cast_to=dict[str, str]
        )
        assert thumb["status"] == "added"
        with pytest.raises(openai.NotFoundError) as refused:
            client.chat.completions.create(model="gpt-9", messages=messages)
        assert refused.value.code == "model_not_found"
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="guessed").models.list()
    live.stop()
    with Workspace.open(live.folder) as workspace:
        snapshot = workspace.log.snapshot()
        assert snapshot.decisions.episode.tolist() == [0, 0]
        assert dialogue.feedback_of(workspace) == [(Kind.CLICK, 1.0, "")]
        [about] = snapshot.feedback.decision.tolist()
        low, high = snapshot.decisions.offsets[about : about + 2]
        units = [snapshot.names.units[code] for code in snapshot.decisions.units[low:high]]
        assert workspace.domain.text(units) == streamed  # the second reply, joined


def test_who_hangs_up_in_the_middle_loses_only_what_was_not_read(live: Live) -> None:
    body = {
        "model": "heedful",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
    }
    with live.post("/v1/chat/completions", body) as answer:
        name = json.loads(answer.readline().removeprefix(b"data: "))["id"]
    with live.post("/v1/feedback", {"decision": name, "thumb": "down"}) as answer:
        assert json.loads(answer.read())["status"] == "added"
    live.stop()
    assert live.process.returncode == 0
    with Workspace.open(live.folder) as workspace:
        assert workspace.log.subject_of(name) is not None
        assert dialogue.feedback_of(workspace) == [(Kind.CLICK, 0.0, "")]
        assert workspace.log.snapshot().decisions.n == 1
