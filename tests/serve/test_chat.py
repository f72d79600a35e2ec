"""Chat completions over HTTP: OpenAI's shapes, and the log behind them."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from starlette.testclient import TestClient

from heedful.record import Kind, RecordError
from heedful.serve import (
    DecisionAnswer,
    DecisionRequest,
    Keys,
    ServiceError,
    bodies,
    chat,
    create_app,
)
from heedful.serve.requests import Reason
from heedful.workspace import Workspace
from tests.serve import dialogue

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dialogue.make(tmp_path_factory.mktemp("chat") / "talk")


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(shutil.copytree(made, tmp_path / "talk")) as workspace:
        yield workspace


class Talk:
    """A client of a service that may be restarted."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.keys = Keys(workspace.folder / "keys.json")
        self.headers = {"Authorization": f"Bearer {self.keys.new('web')}"}

    def __enter__(self) -> "Talk":
        self._serving = self.workspace.serving()
        app = create_app(self._serving.__enter__(), self.keys)
        self.client = TestClient(app, headers=self.headers)
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    def ask(self, *words: str, **more):
        messages = [
            {"role": "assistant" if number % 2 else "user", "content": word}
            for number, word in enumerate(words)
        ]
        body = {"model": "heedful", "messages": messages, "user": "ada", **more}
        return self.client.post(PATH, json=body)

    def say(self, *words: str, **more) -> ChatCompletion:
        answer = self.ask(*words, **more)
        assert answer.status_code == 200, answer.text
        return ChatCompletion.model_validate(answer.json(), strict=True, extra="forbid")

    def decisions(self):
        return self.workspace.log.snapshot().decisions

    def contexts(self) -> list[dict]:
        return [json.loads(text) for text in self.decisions().contexts]

    def episodes(self) -> list[int]:
        return self.decisions().episode.tolist()


@pytest.fixture
def talk(workspace: Workspace) -> Iterator[Talk]:
    with Talk(workspace) as talk:
        yield talk


def content(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


# Answers


def test_an_answer_is_a_decision(talk: Talk) -> None:
    answer = talk.say("hello")
    assert (answer.object, answer.model) == ("chat.completion", "heedful-0001")
    [choice] = answer.choices
    assert (choice.index, choice.message.role, choice.logprobs) == (0, "assistant", None)
    assert talk.workspace.log.subject_of(answer.id) is not None
    decisions = talk.decisions()
    units = [talk.workspace.log.snapshot().names.units[code] for code in decisions.units.tolist()]
    assert content(answer) == talk.workspace.domain.text(units)
    ended = units[-1] == "<|end|>"
    assert choice.finish_reason == ("stop" if ended else "length")
    heard = talk.workspace.domain.observe(talk.contexts()[0], served(talk))[0]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(heard)
    assert answer.usage.completion_tokens == len(units)
    assert answer.usage.total_tokens == len(heard) + len(units)


def served(talk: Talk):
    return talk.workspace.domain.vocabulary(talk.workspace.log.snapshot())


def test_a_reply_ends_by_itself_or_at_its_longest(talk: Talk) -> None:
    reasons = set()
    for number in range(30):
        answer = talk.say(f"hello {number}", max_tokens=2)
        assert answer.usage is not None
        assert answer.usage.completion_tokens <= 2
        reasons.add(answer.choices[0].finish_reason)
    assert reasons == {"stop", "length"} or reasons == {"length"}
    assert talk.say("more", max_completion_tokens=100_000).usage.completion_tokens <= 6


def test_an_empty_reply_is_a_reply(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    end = talk.workspace.domain.template.end
    only = talk.workspace.domain.choices({}).__class__(allowed=(end,), repeat=True, end=end)
    monkeypatch.setattr(talk.workspace.domain, "choices", lambda request: only)
    answer = talk.say("hello")
    assert (content(answer), answer.choices[0].finish_reason) == ("", "stop")
    talk.say("hello", "", "again")
    assert talk.episodes() == [0, 0]


def test_a_long_prompt_keeps_its_end(talk: Talk) -> None:
    long = "tree " * 500 + "the end"
    answer = talk.say(long)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 24
    [context] = talk.contexts()
    assert context["messages"][0]["content"] == long  # the log has all of it
    refused = talk.ask("x" * 70_000)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "messages"
    assert "send at most 65536" in refused.json()["error"]["message"]


def test_what_people_write_comes_back(talk: Talk) -> None:
    said = "Wo stehen Bäume? 木 🌳 \u202e<|end|>"
    first = talk.say(said)
    talk.say(said, content(first), "und?")
    assert talk.contexts()[0]["messages"] == [{"role": "user", "content": said}]
    assert talk.episodes() == [0, 0]
    refused = talk.client.post(
        PATH, content=b'{"model":"heedful","messages":[{"role":"user","content":"\\ud800"}]}'
    )
    assert refused.status_code == 400
    assert talk.decisions().n == 2


# Which conversation


def test_only_what_is_new_enters_the_context(talk: Talk) -> None:
    first = talk.say("hello")
    second = talk.say("hello", content(first), "and trees")
    talk.say("hello", content(first), "and trees", content(second), "bye")
    assert talk.contexts() == [
        {"messages": [{"role": "user", "content": "hello"}], "turn": 0},
        {"messages": [{"role": "user", "content": "and trees"}], "turn": 1},
        {"messages": [{"role": "user", "content": "bye"}], "turn": 2},
    ]
    assert talk.episodes() == [0, 0, 0]
    assert talk.decisions().step.tolist() == [0, 1, 2]


def test_a_changed_past_and_another_reply_begin_anew(talk: Talk) -> None:
    first = talk.say("hello")
    second = talk.say("hello", content(first), "trees")
    talk.say("hello", content(first) + " not", "trees")
    talk.say("hello", content(first), "trees")  # asked again for the second reply
    assert talk.episodes() == [0, 0, 1, 2]
    assert talk.contexts()[2]["turn"] == 0
    assert len(talk.contexts()[3]["messages"]) == 3
    talk.say("hello", content(first), "trees", content(second), "go on")
    assert talk.episodes()[-1] == 0


def test_the_same_twice_at_once_is_two_conversations(workspace: Workspace) -> None:
    messages = [{"role": "user", "content": "hello"}]
    with workspace.serving() as service:
        [first] = service.decide([DecisionRequest(user="ada", messages=messages)])
        assert isinstance(first, DecisionAnswer)
        messages += [{"role": "assistant", "content": first.text or ""}, *messages]
        again = DecisionRequest(user="ada", messages=messages)
        service.decide([again, again, DecisionRequest(user="bob", messages=messages)])
    assert sorted(workspace.log.snapshot().decisions.episode.tolist()) == [0, 0, 1, 2]


def test_messages_stand_for_themselves() -> None:
    with pytest.raises(RecordError, match="messages: stand beside a context or a session"):
        DecisionRequest(user="ada", messages=[], session="s")


def test_somebody_else_has_conversations_of_their_own(talk: Talk) -> None:
    first = talk.say("hello")
    talk.say("hello", content(first), "trees", user="bob")
    talk.say("hello", content(first), "trees", user=None)
    talk.say("hello", content(first), "trees", user=None, safety_identifier="bob")
    assert talk.episodes() == [0, 1, 2, 3]
    assert talk.decisions().subject.tolist() == [0, 1, 2, 1]


def test_conversations_are_found_again_after_a_restart(workspace: Workspace) -> None:
    talk = Talk(workspace)
    with talk:
        first = talk.say("hello")
    with talk:
        second = talk.say("hello", content(first), "trees")
        talk.client.post("/v1/feedback", json={"decision": first.id, "thumb": "down"})
    with talk:
        talk.say("hello", content(first), "trees", content(second), "bye")
        talk.client.post("/v1/ends", json={"user": "ada"})
        talk.say("hello", content(first), "trees", content(second), "bye")
    assert talk.episodes() == [0, 0, 0, 1]


def test_what_was_ended_goes_on_as_another_conversation(talk: Talk) -> None:
    first = talk.say("hello")
    talk.client.post("/v1/ends", json={"user": "ada"})
    second = talk.say("hello", content(first), "and?")
    talk.say("hello", content(first), "and?", content(second), "so")
    assert talk.episodes() == [0, 1, 1]
    assert [context["turn"] for context in talk.contexts()] == [0, 0, 1]
    assert len(talk.contexts()[1]["messages"]) == 3


def test_an_end_that_nobody_could_read_is_refused(talk: Talk) -> None:
    """In the log it would stop every reading of it, this subject's, others' and training's."""
    said = content(talk.say("hi"))
    end = {"user": "ada", "context": {"messages": "junk"}}
    refused = talk.client.post("/v1/ends", json=end)
    assert refused.status_code == 422
    assert "context: cannot be read: messages" in refused.text
    assert talk.say("hi", said, "still there?").id
    assert talk.episodes() == [0, 0]
    final = {"messages": [{"role": "user", "content": "bye"}], "turn": 2}
    assert talk.client.post("/v1/ends", json={"user": "ada", "context": final}).status_code == 200
    snapshot, domain = talk.workspace.log.snapshot(), talk.workspace.domain
    assert len(domain.encode(snapshot, domain.vocabulary(snapshot))) == 1


def test_one_key_one_answer(talk: Talk) -> None:
    again = {"Idempotency-Key": "k1"}
    body = {"model": "heedful", "messages": [{"role": "user", "content": "hello"}]}
    ids = {talk.client.post(PATH, json=body, headers=again).json()["id"] for _ in range(2)}
    assert len(ids) == 1
    body["messages"][0]["content"] = "other"
    refused = talk.client.post(PATH, json=body, headers=again)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")


def test_a_key_is_of_one_user(workspace: Workspace) -> None:
    messages = [{"role": "user", "content": "hello"}]
    with workspace.serving() as service:
        one, other = (
            service.decide([DecisionRequest(user=who, messages=messages, idempotency_key="k")])[0]
            for who in ("ada", "bea")
        )
    assert isinstance(one, DecisionAnswer)
    assert isinstance(other, DecisionAnswer)
    assert one.id != other.id


def test_a_name_for_the_system_and_text_in_parts(talk: Talk) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": parts, "name": "ada"},
    ]
    answer = talk.client.post(PATH, json={"model": "heedful", "messages": messages}).json()
    told = {**answer["choices"][0]["message"], "annotations": [], "audio": None, "tool_calls": None}
    more = [*messages, told, {"role": "user", "content": "more"}]
    talk.client.post(PATH, json={"model": "heedful", "messages": more})
    assert talk.contexts()[0]["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "hello"},
    ]
    assert talk.episodes() == [0, 0]


# Streams


def events(text: str) -> list[str]:
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") for block in blocks)
    return [block.removeprefix("data: ") for block in blocks]


def test_a_stream_says_the_same(talk: Talk) -> None:
    options = {"include_usage": True}
    answer = talk.ask("hello", stream=True, stream_options=options)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *told, done = events(answer.text)
    assert done == "[DONE]"
    chunks = [
        ChatCompletionChunk.model_validate(json.loads(event), strict=True, extra="forbid")
        for event in told
    ]
    first, *middle, last, counted = chunks
    assert first.choices[0].delta.role == "assistant"
    assert last.choices[0].finish_reason in ("stop", "length")
    assert all(chunk.choices[0].finish_reason is None for chunk in middle)
    assert counted.choices == []
    assert counted.usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({(chunk.id, chunk.model, chunk.created) for chunk in chunks}) == 1
    said = "".join(chunk.choices[0].delta.content or "" for chunk in middle)
    talk.say("hello", said, "again")
    assert talk.episodes() == [0, 0]
    assert talk.workspace.log.subject_of(first.id) is not None


def test_a_stream_without_usage_counts_nothing(talk: Talk) -> None:
    told = events(talk.ask("hello", stream=True).text)
    assert all("usage" not in json.loads(event) for event in told[:-1])
    assert all(json.loads(event)["choices"] for event in told[:-1])


def test_the_row_is_in_the_log_before_the_first_byte_and_a_hang_up_ends_the_stream(
    talk: Talk,
) -> None:
    said = {"model": "heedful", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    headers = [(name.lower().encode(), value.encode()) for name, value in talk.headers.items()]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers}
    scope |= {"query_string": b"", "http_version": "1.1", "asgi": {"version": "3.0"}}
    sent: list[bytes] = []
    logged: list[int] = []

    async def converse() -> None:
        told, gone = False, asyncio.Event()

        async def receive() -> dict:
            nonlocal told
            if not told:
                told = True
                return {"type": "http.request", "body": json.dumps(said).encode()}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            logged.append(talk.decisions().n)
            if message["type"] == "http.response.body":
                sent.append(message["body"])
                gone.set()
                await asyncio.sleep(0.05)

        await talk.client.app(scope, receive, send)

    asyncio.run(converse())
    assert set(logged) == {1}
    assert len(sent) == 1
    name = json.loads(sent[0].removeprefix(b"data: "))["id"]
    assert talk.client.post("/v1/feedback", json={"decision": name, "thumb": "up"}).is_success


# Parameters and errors


def read(**body) -> chat.Asked:
    messages = [{"role": "user", "content": "hello"}]
    asked = {"model": "heedful", "messages": messages, **body}
    return chat.read(asked, somebody="web", longest=6, key=None)


@pytest.mark.parametrize("name", sorted(chat.WITHOUT_EFFECT))
def test_what_has_no_effect_is_accepted(name: str) -> None:
    assert read(**{name: 0.3}) == read()


@pytest.mark.parametrize(("name", "values"), chat.ASKING_FOR_NOTHING.items())
def test_what_may_ask_for_nothing_may_not_ask_for_more(name: str, values) -> None:
    for value in (None, *values):
        assert read(**{name: value}) == read()
    with pytest.raises(chat.ChatError) as refused:
        read(**{name: [{"x": 1}]})
    assert (refused.value.param, refused.value.code) == (name, "unsupported_parameter")


def test_how_long_a_reply_may_be_and_who_asks() -> None:
    assert read().request.length == 6
    assert read(max_tokens=2).request.length == 2
    assert read(max_tokens=2, max_completion_tokens=3).request.length == 3
    assert read(max_tokens=4_000).request.length == 6
    assert read().request.user == "web"
    assert read(safety_identifier="bob").request.user == "bob"
    assert read(safety_identifier="bob", user="ada").request.user == "ada"
    assert read(stream=True, stream_options={"include_usage": True}).usage
    assert not read(stream_options={"include_usage": True}).usage


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        ({"model": "gpt-9"}, 404, "model", "model_not_found"),
        ({"messages": []}, 400, "messages", None),
        ({"messages": None}, 400, "messages", None),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role", None),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages.0.content.str", None),
        ({"n": 2}, 400, "n", None),
        ({"max_tokens": 0}, 400, "max_tokens", None),
        ({"stream": "yes"}, 400, "stream", None),
        ({"user": "x" * 201}, 400, "user", None),
        ({"surprise": 1}, 400, "surprise", "unknown_parameter"),
        ({"audio": {}}, 400, "audio", "unknown_parameter"),
    ],
)
def test_what_cannot_be_done_is_named(body, status, param, code) -> None:
    with pytest.raises(chat.ChatError) as refused:
        read(**body)
    found, said = chat.error_json(refused.value)
    assert found == status
    assert said["error"].pop("message")
    assert said == {"error": {"type": "invalid_request_error", "param": param, "code": code}}


@pytest.mark.parametrize("reason", get_args(Reason))
def test_whatever_the_service_says_has_a_status(reason: Reason) -> None:
    status, said = chat.error_json(ServiceError(reason, "why"))
    assert status == {"invalid": 400, "nothing_to_choose": 400, "too_many": 400}.get(
        reason, bodies.STATUS[reason]
    )
    assert said["error"]["message"] == "why"
    assert said["error"]["type"] in ("invalid_request_error", "rate_limit_error", "server_error")


def test_errors_before_the_route_look_alike(talk: Talk) -> None:
    stranger = talk.client.post(PATH, json={}, headers={"Authorization": "Bearer guessed"})
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (401, "invalid_api_key")
    for path in ("/v1/models", "/v1/models/heedful"):
        guessed = talk.client.get(path, headers={"Authorization": "Bearer guessed"})
        assert (guessed.status_code, guessed.json()["error"]["param"]) == (401, None)
    for answer, status in (
        (talk.client.post(PATH, content=b"{"), 400),
        (talk.client.post(PATH, content=b"[1]"), 400),
        (talk.ask("hello", surprise=1), 400),
        (talk.client.post(PATH, content=b'{"messages": NaN}'), 400),
        (talk.client.get(PATH), 405),
        (talk.client.post(PATH, content=b" " * 2_000_000), 413),
        (talk.client.get("/v1/models/gpt-9"), 404),
    ):
        assert answer.status_code == status, answer.text
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_the_model_is_listed(talk: Talk) -> None:
    listed = talk.client.get("/v1/models").json()
    assert listed["object"] == "list"
    [model] = [Model.model_validate(one, strict=True, extra="forbid") for one in listed["data"]]
    assert (model.id, model.owned_by) == ("heedful", "heedful")
    assert talk.client.get("/v1/models/heedful").json() == listed["data"][0]


def test_without_a_version_there_is_no_model(tmp_path: Path) -> None:
    settings = dialogue.SETTINGS.format(reply=4)
    Workspace.create(tmp_path / "new", domain="dialogue", settings=settings).close()
    (tmp_path / "new" / "text.txt").write_text(dialogue.TEXT)
    with Workspace.open(tmp_path / "new") as workspace, Talk(workspace) as talk:
        assert talk.client.get("/v1/models").json()["data"] == []
        refused = talk.ask("hello")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "30"
        assert refused.json()["error"]["type"] == "server_error"


def test_a_held_reply_is_not_shown(workspace: Workspace) -> None:
    held = workspace.config.serve.model_copy(update={"hold": 0.999})
    workspace.config = workspace.config.model_copy(update={"serve": held})
    with Talk(workspace) as talk:
        refused = talk.ask("hello")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "held")
        [waiting] = workspace.held()
        assert waiting.decision.id in refused.json()["error"]["message"]
        workspace.review(waiting.decision.id, approve=True, by="eve", why="fine")
        shown = talk.client.get(f"/v1/decisions/{waiting.decision.id}").json()
        assert shown["text"] == workspace.domain.text(waiting.decision.units)
        talk.ask("hello", shown["text"], "and?")
        [waiting] = workspace.held()
        assert waiting.decision.episode == shown["session"]


def test_a_shop_has_no_conversations(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "shop").close()
    with Workspace.open(tmp_path / "shop") as workspace, Talk(workspace) as talk:
        assert talk.ask("hello").status_code == 404
        assert talk.client.get("/v1/models").status_code == 404
        with workspace.serving() as service:
            assert service.live() is None


# What was answered


def test_feedback_in_short(talk: Talk) -> None:
    one, other = talk.say("hello"), talk.say("hello")
    rows = [
        {"decision": one.id, "thumb": "up"},
        {"decision": other.id, "thumb": "down"},
        {"decision": one.id, "rating": 4},
        {"decision": one.id, "comment": "über trees"},
        {"chosen": one.id, "rejected": other.id},
        {"decision": other.id, "over": one.id, "outcome": "tie", "user": "eve"},
        {"decision": other.id, "edit": "say Bäume"},
        {"decision": one.id, "kind": "demonstration", "value": "a tree"},
    ]
    answer = talk.client.post("/v1/feedback", json=rows)
    assert [row["status"] for row in answer.json()] == ["added"] * len(rows), answer.text
    told = dialogue.feedback_of(talk.workspace)
    assert [(kind, value) for kind, value, _ in told[:3]] == [
        (Kind.CLICK, 1.0), (Kind.CLICK, 0.0), (Kind.RATING, 4.0)
    ]  # fmt: skip
    assert told[3][2] == "über trees"
    assert [json.loads(text)["outcome"] for _, _, text in told[4:6]] == ["chosen", "tie"]
    edits = [talk.workspace.domain.text(json.loads(text)) for _, _, text in told[6:]]
    assert edits == ["say Bäume", "a tree"]
    assert json.loads(told[6][2])[-1] == "<|end|>"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"thumb": "up", "rating": 3}, "rating: stands beside thumb"),
        ({"kind": "click", "value": True, "thumb": "up"}, "kind: stands beside thumb"),
        ({}, "kind: is missing"),
        ({"thumb": "sideways"}, "thumb:"),
        ({"rating": True}, "rating:"),
        ({"comment": ""}, "value: is empty"),
        ({"edit": ""}, "value: is empty"),
        ({"over": "x", "outcome": "won"}, "value: is no preference"),
        ({"chosen": "x", "rejected": "y"}, "chosen: is half a pair"),
        ({"decision": None, "chosen": "x"}, "chosen: is half a pair"),
        ({"decision": None, "rejected": "x"}, "chosen: is half a pair"),
        ({"decision": None, "thumb": "up"}, "decision: is missing"),
    ],
)
def test_half_of_something_and_two_things_at_once(row, message: str) -> None:
    refused = bodies.read({"decision": "d", **row}, bodies.FeedbackBody)
    assert str(refused).startswith(message)


def test_a_decision_nobody_knows(talk: Talk) -> None:
    row = {"decision": "nobody's", "thumb": "up"}
    answer = talk.client.post("/v1/feedback", json=row)
    assert answer.status_code == 422
    assert answer.json()["reason"].startswith("decision: not known here")
    later = {**row, "user": "ada", "given_at": 1.0}
    assert talk.client.post("/v1/feedback", json=later).json()["status"] == "parked"


# What does not fit together


def test_a_missing_template_is_said_when_the_service_starts(workspace: Workspace) -> None:
    _ = workspace.domain.tokenizer  # made, and kept with a template
    template = workspace.folder / "tokenizer" / "chat_template.jinja"
    template.unlink()
    with (
        Workspace.open(workspace.folder) as again,
        pytest.raises(ValueError, match=r"no chat template.*template = \"plain\""),
        again.serving(),
    ):
        pass


def test_a_policy_with_another_tokenizer_is_not_served(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(workspace.folder / "tokenizer")
    (workspace.folder / "text.txt").write_text("some other words altogether, quite\n" * 20)
    with Workspace.open(workspace.folder) as again, Talk(again) as talk:
        refused = talk.ask("hello")
        assert refused.status_code == 503
        assert "could not be loaded" in refused.json()["error"]["message"]
        assert again.log.snapshot().decisions.n == 0
    [record] = [one for one in caplog.records if one.getMessage() == "policy_refused"]
    assert "says other tokens than the workspace's tokenizer" in record.__dict__["fields"]["error"]
