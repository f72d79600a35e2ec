"""What a conversation looks like to a policy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from heedful.config import FILE_NAME, checked_options
from heedful.contract import Environment, Exported, Message, Observed, Reading, Streams, encode
from heedful.domains.dialogue import exporting, files
from heedful.domains.dialogue.environment import Asked
from heedful.domains.dialogue.template import Template
from heedful.domains.dialogue.texts import texts_of
from heedful.domains.dialogue.tokenizer import (
    COMMENT,
    DOWN,
    RATINGS,
    ROLES,
    SMALLEST,
    UP,
    Tokenizer,
    TokenizerError,
    keep,
)
from heedful.policy import Channel, Schema, Vocabulary
from heedful.record import ChoiceSet, Context, RecordError
from heedful.store.importing import FileRow, Findings
from heedful.store.snapshot import Snapshot

TOKENIZER = "tokenizer"
"""The folder in a workspace that holds its tokenizer, once there is one."""

CACHED = 4096


class Options(BaseModel):
    """The keys under ``[domain]`` in heedful.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("", description="folder of a Hugging Face model; its tokenizer is used")
    text: tuple[str, ...] = Field((), description="files that a tokenizer is trained on, else")
    vocabulary: int = Field(2000, ge=SMALLEST, description="tokens of a trained tokenizer")
    template: Literal["chat", "plain"] = Field("chat", description="the tokenizer's own, or none")
    reply: int = Field(128, ge=2, le=65_536, description="tokens in the longest reply, its end too")
    prompt: int = Field(512, ge=8, le=65_536, description="tokens kept of what a reply answers")
    rating_min: float = Field(1.0, description="the lowest rating people can give")
    rating_max: float = Field(5.0, description="the highest")


class Dialogue:
    """Units are tokens, a decision is a reply, an episode is a conversation.

    A policy reads thumbs (clicks on the whole reply: yes or no), ratings, and comments word by
    word. The tokenizer lies in the workspace's folder ``tokenizer`` and never changes: it is made
    when it is first needed, from what the options name.
    """

    name = "dialogue"
    features = 0
    keys = Options
    suits: ClassVar[Mapping[str, object]] = {
        "policy.kind": "transformer",
        "policy.width": 128,
        "policy.layers": 4,
        "policy.heads": 4,
        "policy.dropout": 0.1,
        "policy.window": 1024,
        "policy.prior": False,
        "policy.plain": True,
        "pretrain.split": "episode",
        "serve.floor": 1e-4,  # of each token, of which a reply has many
    }

    def __init__(
        self, options: Mapping[str, object] | None = None, folder: Path | None = None
    ) -> None:
        """Check ``options``; relative paths are looked up in ``folder``.

        Raises:
            ConfigError: an unknown or ill-typed option.
        """
        self.folder = folder or Path()
        self.options = checked_options(Options, options or {}, str(self.folder / FILE_NAME))
        self.length = self.options.reply
        low, high = self.options.rating_min, self.options.rating_max
        self.channels = (
            Channel("click", binary=True),
            Channel("rating", binary=False, low=low, high=high),
            Channel("comment", binary=True),
        )
        self._observed = lru_cache(CACHED)(self._observe)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The workspace's tokenizer.

        Raises:
            TokenizerError: there is none, and nothing to make one from.
        """
        folder = self.folder / TOKENIZER
        if not folder.exists():
            keep(self._made(), folder)
        return Tokenizer.load(folder)

    def _made(self) -> Tokenizer:
        if self.options.model:
            return Tokenizer.load(self.folder / self.options.model)
        if self.options.text:
            files = [self.folder / name for name in self.options.text]
            return Tokenizer.train(texts_of(files), self.options.vocabulary)
        raise TokenizerError(
            f"{self.folder} has no tokenizer yet: name the folder of a Hugging Face model as "
            "model, or files to train one on as text, under [domain] in heedful.toml"
        )

    @cached_property
    def template(self) -> Template:
        """What stands around messages."""
        plain = self.options.template == "plain"
        return Template.plain(self.tokenizer) if plain else Template.of(self.tokenizer)

    @property
    def marks(self) -> dict[str, list[int]]:
        """The tokens by which a language model is told of feedback, from low to high, by kind."""
        marks = self.tokenizer.marks
        kinds = {"click": (DOWN, UP), "rating": RATINGS, "comment": (COMMENT,)}
        return {kind: [marks[name] for name in names] for kind, names in kinds.items()}

    def vocabulary(self, snapshot: Snapshot) -> Vocabulary:
        """Return all tokens: the log has no say in them."""
        return self._vocabulary

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.tokenizer.units)

    def schema(self, vocabulary: Vocabulary) -> Schema:
        """Return what the events look like."""
        return Schema(len(vocabulary), self.channels)

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        """Read what was said as the chat template writes it, one event a token.

        What else is known, ``facts`` of the context (an intent, an emotion), stands in words in
        front of the last message. Of a context that is too long the beginning is left out: the last
        ``prompt`` tokens count.
        """
        tokens = self._observed(json.dumps(context, sort_keys=True), vocabulary)
        return tokens, np.zeros((len(tokens), 0), np.float32)

    def _observe(self, context: str, vocabulary: Vocabulary) -> npt.NDArray[np.int32]:
        said = json.loads(context)
        if "messages" not in said:
            return np.empty(0, np.int32)
        turn = said.get("turn", 0)
        tokens: list[int] = []
        messages = _informed(_messages(said["messages"]), said.get("facts", {}))
        for piece, own in self.template.pieces(messages, turn=turn):
            tokens += self.tokenizer.encode(piece, special=own)
        kept = tokens[-self.options.prompt :]
        return vocabulary.indexes([self.tokenizer.units[token] for token in kept])

    def encode(
        self,
        snapshot: Snapshot,
        vocabulary: Vocabulary,
        *,
        rewards: npt.NDArray[np.float64] | None = None,
        matured: npt.NDArray[np.bool_] | None = None,
        gamma: float = 0.0,
    ) -> Streams:
        """Turn a snapshot or a rollout into streams, one a conversation."""
        return encode(self, snapshot, vocabulary, rewards=rewards, matured=matured, gamma=gamma)

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        """Return all tokens that can be said, as often as one likes, up to the end of the reply."""
        return self._choices

    @cached_property
    def _choices(self) -> ChoiceSet:
        units, end = self.tokenizer.units, self.template.end
        forbidden = tuple(units[token] for token in self.tokenizer.special if units[token] != end)
        return ChoiceSet(forbidden=forbidden, repeat=True, end=end)

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Environment | None:
        """Return whom ``options`` name: "prompts", contexts to ask in, and "judge", of replies.

        Further options are those of :class:`~heedful.domains.dialogue.environment.Asked`: "group",
        "unfinished" and "columns". Without prompts there is nobody to talk to.
        """
        if "prompts" not in options:
            return None
        units, (end,) = self.tokenizer.units, self._vocabulary.indexes([self.template.end])
        return Asked(
            n=n,
            seed=seed,
            length=self.length,
            end=int(end),
            text=lambda tokens: self.text([units[token] for token in tokens]),
            **options,
        )

    def context(self, observation: npt.NDArray[Any]) -> Context:
        """Return what was said, from the JSON that an environment shows."""
        context: Context = json.loads(str(observation))
        return context

    def action(self, units: Sequence[str], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        """Return the tokens of a reply, [length], padded with -1."""
        padded = np.full(self.length, -1, np.int64)
        padded[: len(units)] = vocabulary.indexes(units)
        return padded

    # Conversation

    def heard(self, messages: Sequence[Message], *, turn: int) -> Context:
        """Return the context of the reply; see :class:`heedful.contract.Conversation`.

        Raises:
            RecordError: names the message that cannot be read.
        """
        said = [dict(message) for message in _messages(list(messages))]
        return {"messages": said, "turn": turn}

    def said(self, context: Context) -> Sequence[Message]:
        """Return the messages in a context."""
        return _messages(context["messages"]) if "messages" in context else []

    def text(self, units: Sequence[str]) -> str:
        """Return what a reply says, without its end."""
        index = self._vocabulary.indexes(units)
        return self.tokenizer.decode(index[index >= 0].tolist())

    def units(self, text: str) -> tuple[str, ...]:
        """Return the tokens of a reply that says ``text``, and its end."""
        tokens = self.tokenizer.encode(text)
        return (*(self.tokenizer.units[token] for token in tokens), self.template.end)

    def words(self, comment: str, vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        """Return the tokens of ``comment``; of a long one the first ``prompt``."""
        tokens = self.tokenizer.encode(comment)[: self.options.prompt]
        units = [self.tokenizer.units[token] for token in tokens]
        return vocabulary.indexes(units).astype(np.int64)

    # Files

    def read_file(self, path: Path, findings: Findings, how: Reading) -> Iterator[FileRow]:
        """Yield the rows of a file; see :func:`heedful.domains.dialogue.files.read_file`."""
        return files.read_file(self, path, findings, how)

    def write_file(self, snapshot: Snapshot, path: Path, *, columns: str) -> Exported:
        """Write a file; see :func:`heedful.domains.dialogue.exporting.write_file`."""
        return exporting.write_file(self, snapshot, path, columns=columns)


def _informed(messages: list[Message], facts: object) -> list[Message]:
    """Return messages whose last one begins with what else is known in words; numbers are not read.

    Raises:
        RecordError: facts have no names.
    """
    if not isinstance(facts, Mapping):
        raise RecordError("facts", f"are {facts!r}", 'send them by name, as {"emotion": "glad"}')
    words = {name: fact for name, fact in facts.items() if isinstance(fact, str)}
    known = "".join(f"{name}: {fact}\n" for name, fact in words.items())
    *before, last = messages
    return [*before, {**last, "content": known + last["content"]}]


def _messages(messages: object) -> list[Message]:
    """Check messages as they come from outside.

    Raises:
        RecordError: there are none, or one has no known role or no text.
    """
    if not isinstance(messages, list) or not messages:
        raise RecordError("messages", "are missing", "send a list with at least one message")
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            role = message.get("role") if isinstance(message, Mapping) else message
            raise RecordError(where, f"has the role {role!r}", f"use one of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise RecordError(where, "has no text", "send its content as a string")
    return [{"role": m["role"], "content": m["content"]} for m in messages]
