"""Tokens, templates, and conversations as streams."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.checks import CheckFailure, check_domain
from heedful.config import ConfigError
from heedful.contract import Conversation, Session, Stream
from heedful.domains.dialogue import (
    Dialogue,
    Template,
    TemplateError,
    Tokenizer,
    TokenizerError,
)
from heedful.domains.dialogue.texts import texts_of
from heedful.policy import EventKind
from heedful.record import UNKNOWN, Decision, End, Feedback, Kind, RecordError
from heedful.reward import TextClassifier
from heedful.store import Snapshot

TEXT = "hello world, this is a text about trees and about what people say.\n" * 30
CHATML = (
    "{% for m in messages %}{{'<|im_start|>'+m['role']+'\n'+m['content']+'<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "{{'<|im_start|>system\nBe kind.<|im_end|>\n'}}{% endif %}"
    "{{'<|im_start|>'+m['role']+'\n'+m['content']+'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
NO_SYSTEM = (
    "{{bos_token}}{% if messages[0]['role'] == 'system' %}{{raise_exception('none')}}{% endif %}"
    "{% for m in messages %}{{'<sot>'+m['role']+'\n'+m['content']+'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<sot>assistant\n'}}{% endif %}"
)
INSTRUCTIONS = (
    "{{bos_token}}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{'[INST] '+m['content']+' [/INST]'}}{% elif m['role'] == 'assistant' %}"
    "{{m['content']+eos_token}}{% else %}{{raise_exception('none')}}{% endif %}{% endfor %}"
)
LAST = "{% for m in messages %}{% if loop.last %}LAST{% endif %}{{m['content']}}{% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dialogue")
    (folder / "text.txt").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def domain(folder: Path) -> Dialogue:
    domain = Dialogue({"text": ["text.txt"], "vocabulary": 300, "prompt": 40, "reply": 16}, folder)
    assert len(domain.tokenizer) <= 300
    return domain


def with_template(template: str | None) -> Tokenizer:
    backend = Tokenizer.train([TEXT], 300).backend
    backend.add_tokens(["<|im_end|>"], special_tokens=True)
    backend.chat_template = template
    return Tokenizer(backend)


# Tokens


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    said = text.encode("utf-8", "replace").decode()
    tokens = TRAINED.encode(said)
    assert TRAINED.decode(tokens) == said
    assert not set(tokens) & set(TRAINED.special)


TRAINED = Tokenizer.train([TEXT], 320)


def test_what_people_write_is_never_a_token_that_steers() -> None:
    [end] = TRAINED.encode("<|end|>", special=True)
    assert end == TRAINED.end
    assert end not in TRAINED.encode("<|end|>")


def test_a_tokenizer_is_made_once(folder: Path, domain: Dialogue) -> None:
    (folder / "text.txt").write_text("something else entirely")
    again = Dialogue({"text": ["text.txt"], "vocabulary": 400}, folder)
    assert again.tokenizer.units == domain.tokenizer.units
    (folder / "text.txt").write_text(TEXT)


def test_a_folder_of_hugging_face_gets_the_marks_of_feedback(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"a": 0, "b": 1, "</s>": 2}
    plain = PreTrainedTokenizerFast(
        tokenizer_object=Backend(models.WordLevel(vocabulary, unk_token="a")), eos_token="</s>"
    )
    plain.save_pretrained(tmp_path / "model")
    made = Dialogue({"model": "model", "template": "plain"}, tmp_path)
    assert made.tokenizer.units[:3] == ("a", "b", "</s>")
    assert len(made.tokenizer) == 3 + 8
    assert made.template.end == "</s>"
    names = {kind: [made.tokenizer.units[t] for t in ids] for kind, ids in made.marks.items()}
    assert names["click"] == ["<|down|>", "<|up|>"]
    assert names["rating"] == [f"<|{points}|>" for points in range(1, 6)]
    assert names["comment"] == ["<|comment|>"]
    with pytest.raises(TemplateError, match=r'no chat template.*template = "plain"'):
        _ = Dialogue({"model": "model"}, tmp_path).template


def test_without_anything_to_make_it_from_there_is_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="name the folder of a Hugging Face model"):
        _ = Dialogue({}, tmp_path).tokenizer
    with pytest.raises(TokenizerError, match="there is no folder"):
        _ = Dialogue({"model": "nowhere"}, tmp_path).tokenizer
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokenizerError, match=r"no tokenizer can be read.*tokenizer\.json"):
        _ = Dialogue({"model": "empty"}, tmp_path).tokenizer
    with pytest.raises(ValueError, match="there is no file"):
        _ = Dialogue({"text": ["nothing.txt"]}, tmp_path).tokenizer
    (tmp_path / "blank.txt").write_text("")
    with pytest.raises(TokenizerError, match="no text to train"):
        _ = Dialogue({"text": ["blank.txt"]}, tmp_path).tokenizer
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank.txt", "empty"]
    with pytest.raises(ConfigError, match="vocabulary"):
        Dialogue({"vocabulary": 3}, tmp_path)


def test_text_is_found_in_lines_and_in_json(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    rows = [{"messages": [{"role": "user", "content": "three"}]}, {"prompt": "four", "label": True}]
    (tmp_path / "b.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    found = list(texts_of([tmp_path / "a.txt", tmp_path / "b.jsonl"]))
    assert found == ["one\ntwo\n", "user", "three", "four"]
    (tmp_path / "c.jsonl").write_text('{"a": "b"}\n{')
    with pytest.raises(ValueError, match=r"c\.jsonl, line 2"):
        list(texts_of([tmp_path / "c.jsonl"]))
    (tmp_path / "d.txt").write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match="not UTF-8 at byte 2"):
        list(texts_of([tmp_path / "d.txt"]))


# Templates


@pytest.mark.parametrize("jinja", [CHATML, DEFAULT_SYSTEM, NO_SYSTEM, INSTRUCTIONS])
def test_a_conversation_in_pieces_is_the_conversation(jinja: str) -> None:
    tokenizer = with_template(jinja)
    template = Template.of(tokenizer)
    user, more = {"role": "user", "content": "Who?"}, {"role": "user", "content": "Why?"}
    first = "".join(piece for piece, _ in template.pieces([user], turn=0))
    second = "".join(piece for piece, _ in template.pieces([more], turn=1))
    reply = {"role": "assistant", "content": "Me."}
    whole = tokenizer.backend.apply_chat_template(
        [user, reply, more], tokenize=False, add_generation_prompt=True
    )
    assert first + "Me." + template.end + second == whole


def test_a_reply_ends_as_the_template_ends_it() -> None:
    template = Template.of(with_template(CHATML))
    assert (template.end, template.resume) == ("<|im_end|>", "\n")
    assert Template.of(with_template(INSTRUCTIONS)).end == "<|end|>"


def test_a_system_message_takes_the_place_of_the_default_one() -> None:
    template = Template.of(with_template(DEFAULT_SYSTEM))
    system, user = {"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}
    told = "".join(piece for piece, _ in template.pieces([system, user], turn=0))
    assert "Be kind" not in told
    assert "Be kind" in "".join(piece for piece, _ in template.pieces([user], turn=0))
    merged = Template.of(with_template(NO_SYSTEM)).pieces([system, user], turn=0)
    assert ("Be short.\n\nHi", False) in merged


def test_a_template_that_looks_ahead_is_refused() -> None:
    with pytest.raises(TemplateError, match="depending on what comes later"):
        Template.of(with_template(LAST))
    with pytest.raises(TemplateError, match="cannot be rendered"):
        Template.of(with_template("{{ nothing.at.all }}"))


# Streams


def reply(domain: Dialogue, number: int, episode: str, asked: str, said: str, **more) -> Decision:
    units = domain.units(said)
    choices = domain.choices({})
    return Decision(
        id=f"d{number}",
        episode=episode,
        step=more.get("turn", 0),
        subject="ada",
        units=units,
        logps=more.get("logps", UNKNOWN),
        policy="p",
        made_at=float(number),
        context=domain.heard([{"role": "user", "content": asked}], turn=more.get("turn", 0)),
        choices=choices.digest(),
        vocabulary="v",
    )


def feedback(number: int, about: str, kind: Kind, value, **more) -> Feedback:
    return Feedback(
        id=f"f{number}",
        by="ada",
        about=about,
        kind=kind,
        value=value,
        given_at=float(number),
        received_at=float(number),
        **more,
    )


def records(domain: Dialogue) -> list:
    return [
        reply(domain, 0, "one", "hello", "hello world"),
        feedback(1, "d0", Kind.CLICK, False),
        feedback(2, "d0", Kind.COMMENT, "too long"),
        reply(domain, 3, "two", "trees", "about trees"),
        feedback(4, "d3", Kind.RATING, 4.0),
        reply(domain, 5, "one", "again", "hi", turn=1),
        feedback(6, "d0", Kind.RATING, 2.0),
        feedback(7, "d3", Kind.COMMENT, "fine"),
        feedback(8, "d3", Kind.COMMENT, None, retracts="f7"),
        feedback(9, "d5", Kind.DEMONSTRATION, domain.units("hi there")),
        End(id="e", episode="one", terminated=True, ended_at=10.0, context={}),
    ]


def snapshot_of(domain: Dialogue) -> Snapshot:
    return Snapshot.of(records(domain), choice_sets=[domain.choices({})])


def test_dialogue_keeps_the_promises_of_a_domain(domain: Dialogue) -> None:
    assert isinstance(domain, Conversation)
    check_domain(domain, snapshot=snapshot_of(domain))


def test_a_domain_that_forgets_what_it_heard_is_found_out(
    domain: Dialogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(domain, "said", lambda context: [])
        with pytest.raises(CheckFailure, match="said"):
            check_domain(domain, snapshot=snapshot_of(domain))
    monkeypatch.setattr(domain, "units", lambda text: ("a",))
    with pytest.raises(CheckFailure, match="end with the end unit"):
        check_domain(domain, snapshot=snapshot_of(domain))


def test_conversations_of_one_person_are_streams_of_their_own(domain: Dialogue) -> None:
    vocabulary = domain.vocabulary(Snapshot.of([]))
    streams = domain.encode(snapshot_of(domain), vocabulary)
    assert len(streams) == 2
    assert streams.subjects.tolist() == [0, 0]
    told = [
        [vocabulary.units[unit] for unit in streams.events.unit[low:high] if unit >= 0]
        for low, high in zip(streams.offsets[:-1], streams.offsets[1:], strict=True)
    ]
    spoken = [domain.text(units) for units in told]
    assert spoken == ["hellohello worldtoo longagainhi", "treesabout treesfine"]


def test_a_comment_is_read_word_by_word_and_a_thumb_with_its_reply(domain: Dialogue) -> None:
    vocabulary = domain.vocabulary(Snapshot.of([]))
    events = domain.encode(snapshot_of(domain), vocabulary).events
    [thumb] = np.flatnonzero(events.channel == 1)
    assert events.kind[thumb] == EventKind.UNIT
    assert events.value[thumb] == 0.0
    assert vocabulary.units[events.unit[thumb]] == "<|end|>"
    comments = np.flatnonzero((events.channel == 3) & (events.kind == EventKind.FEEDBACK))
    words = [vocabulary.units[unit] for unit in events.unit[comments]]
    assert domain.text(words) == "too longfine"
    assert comments[0] == thumb + 1


@pytest.mark.parametrize(
    "answers",
    [
        [(Kind.COMMENT, "too long")],  # with nothing between it and its reply
        [(Kind.COMMENT, "too long"), (Kind.CLICK, True)],
        [(Kind.CLICK, True), (Kind.COMMENT, "too long"), (Kind.RATING, 2.0)],
        [(Kind.COMMENT, " "), (Kind.CLICK, False)],
        [(Kind.COMMENT, "too long"), (Kind.COMMENT, None)],
        [(Kind.CLICK, True), (Kind.CLICK, None)],
        [(Kind.RATING, 5.0), (Kind.CLICK, True)],
    ],
)
def test_what_is_said_of_a_reply_is_served_and_learned_as_the_same_events(
    domain: Dialogue, answers: list[tuple[Kind, Any]]
) -> None:
    """No value takes the last one of its kind back."""
    said: list[Any] = [reply(domain, 0, "one", "hello", "hello world")]
    for number, (kind, value) in enumerate(answers, start=1):
        back = {} if value is not None else {"retracts": f"f{number - 1}"}
        said.append(feedback(number, "d0", kind, value, **back))
    vocabulary = domain.vocabulary(Snapshot.of([]))
    snapshot = Snapshot.of(said, choice_sets=[domain.choices({})])
    encoded, stream = domain.encode(snapshot, vocabulary).events, Stream(domain, vocabulary)
    for record in said:
        stream.append(record)
    columns = (encoded.kind, encoded.unit, encoded.channel, encoded.value)
    read = list(zip(*(column.tolist() for column in columns), strict=True))
    assert read == [event[:4] for event in stream.since(0)]


def test_a_long_context_keeps_its_end(domain: Dialogue) -> None:
    vocabulary = domain.vocabulary(Snapshot.of([]))
    context = domain.heard([{"role": "user", "content": "x " * 100 + "the end"}], turn=0)
    units, _ = domain.observe(context, vocabulary)
    assert len(units) == 40
    told = [vocabulary.units[unit] for unit in units]
    assert told[-2:] == ["<|end|>", "<|assistant|>"]
    assert domain.text(told).endswith("x the end")


def test_what_else_is_known_is_read_in_front_of_the_last_message(domain: Dialogue) -> None:
    vocabulary = domain.vocabulary(Snapshot.of([]))
    context = domain.heard([{"role": "user", "content": "hello"}], turn=0)
    classes = TextClassifier.fit(
        [f"{w} {i}" for i in range(12) for w in ("hi", "bye")], ["in", "out"] * 12
    )
    [known] = classes.facts("intent", ["hi 3"])
    units, _ = domain.observe({**context, "facts": known}, vocabulary)
    told = [vocabulary.units[unit] for unit in units]
    assert told[0] == "<|user|>"
    assert domain.text(told) == "intent: in\nhello"
    with pytest.raises(RecordError, match="facts: are"):
        domain.observe({**context, "facts": ["intent"]}, vocabulary)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: are missing"),
        ([{"role": "robot", "content": "x"}], r"messages\[0\]: has the role 'robot'"),
        ([{"role": "user", "content": 3}], r"messages\[0\]: has no text"),
        ([{"role": "user", "content": "x"}, "y"], r"messages\[1\]: has the role 'y'"),
    ],
)
def test_messages_that_cannot_be_read_are_named(domain: Dialogue, messages, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        domain.heard(messages, turn=0)


def test_no_token_that_steers_can_be_said(domain: Dialogue) -> None:
    choices = domain.choices({})
    assert choices.end == "<|end|>"
    assert set(domain.tokenizer.marks) <= set(choices.forbidden)
    assert choices.end not in choices.forbidden


def test_a_session_of_a_conversation_takes_comments(domain: Dialogue) -> None:
    vocabulary = domain.vocabulary(Snapshot.of([]))
    session = Session(Stream(domain, vocabulary))
    for record in records(domain)[:3]:
        session.stream.append(record)
    count = len(session.stream)
    assert count == len(domain.observe(records(domain)[0].context, vocabulary)[0]) + len(
        domain.units("hello world")
    ) + len(domain.words("too long", vocabulary))
