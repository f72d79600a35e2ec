"""Text and tokens: a byte-level BPE of one's own, or what a Hugging Face folder brings along."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLES = ("system", "user", "assistant")
START, PAD, END = "<|start|>", "<|pad|>", "<|end|>"
DOWN, UP, COMMENT = "<|down|>", "<|up|>", "<|comment|>"
RATINGS = ("<|1|>", "<|2|>", "<|3|>", "<|4|>", "<|5|>")
MARKS = (DOWN, UP, *RATINGS, COMMENT)
"""How a language model that knows nothing of feedback is told of it."""

OPENERS = tuple(f"<|{role}|>" for role in ROLES)
SMALLEST = 256 + len(OPENERS) + len(MARKS) + 3

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""The chat template of tokenizers that are made here."""


class TokenizerError(ValueError):
    """A tokenizer cannot be made or read; the message says what to do."""


class Tokenizer:
    """Text to token ids and back, with the marks of feedback among the tokens.

    A unit's id is its token as the tokenizer writes it; its index in the vocabulary is the token's
    number. What people write never becomes a special token: ``<|end|>`` in a message is text.

    Attributes:
        units: all tokens in the order of their numbers.
        special: the numbers of the tokens that steer: roles, marks, padding, the end.
        start: the number of the token that begins a text, ``None`` where there is none.
        end: the number of the token that ends a reply, unless the chat template has its own.
    """

    def __init__(self, backend: PreTrainedTokenizerBase) -> None:
        """Wrap a tokenizer of transformers.

        Raises:
            TokenizerError: it has no end token, or its tokens cannot name units.
        """
        self.backend: Any = backend
        self.units = _units(backend)
        if backend.eos_token_id is None:
            raise TokenizerError(
                "the tokenizer has no end-of-sequence token, so that no reply could end; set "
                '"eos_token" in its tokenizer_config.json'
            )
        self.end = int(backend.eos_token_id)
        start = backend.bos_token_id
        self.start = None if start is None else int(start)
        added = backend.added_tokens_decoder.items()
        steering = {int(number) for number, token in added if token.special}
        self.special = tuple(sorted({*steering, *backend.all_special_ids, *self._ids_of(MARKS)}))

    def __len__(self) -> int:
        """Return V."""
        return len(self.units)

    @property
    def marks(self) -> dict[str, int]:
        """The number of each mark of feedback."""
        return dict(zip(MARKS, self._ids_of(MARKS), strict=True))

    @property
    def chat_template(self) -> str | None:
        """The template that came with it, in Jinja."""
        template = self.backend.chat_template
        return template if isinstance(template, str) else None

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Return the tokens of ``text``.

        Args:
            text: any text.
            special: whether special tokens written in it are meant, as in a template.
        """
        found = self.backend(
            text, add_special_tokens=False, split_special_tokens=not special, verbose=False
        )
        return [int(token) for token in found["input_ids"]]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ``tokens`` but the special ones; bytes that are none are replaced."""
        special = set(self.special)
        kept = [token for token in tokens if token not in special]
        return str(self.backend.decode(kept, clean_up_tokenization_spaces=False))

    def save(self, folder: Path) -> None:
        """Write it as Hugging Face's tools read it."""
        self.backend.save_pretrained(folder)

    def _ids_of(self, tokens: Sequence[str]) -> list[int]:
        return [int(token) for token in self.backend.convert_tokens_to_ids(list(tokens))]

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read a folder in Hugging Face's layout, and add the marks of feedback.

        Raises:
            TokenizerError: there is none, or it needs code of its own.
        """
        if not folder.is_dir():
            raise TokenizerError(f"there is no folder {folder}: name one with a tokenizer in it")
        transformers = _needed("transformers")
        try:
            backend = transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
        except Exception as error:
            raise TokenizerError(
                f"no tokenizer can be read from {folder} ({_first_line(error)}); it needs "
                "tokenizer.json and tokenizer_config.json, and no code of its own"
            ) from error
        backend.add_tokens([*MARKS], special_tokens=True)
        return cls(backend)

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> Tokenizer:
        """Train a byte-level BPE (Sennrich et al., ACL 2016; over bytes as in GPT-2).

        Any text can be said in it, and every text comes back as it was.

        Args:
            texts: what it is trained on.
            size: tokens at most, the special ones included.

        Raises:
            TokenizerError: ``size`` has no room for all bytes, or there is no text.
        """
        if size < SMALLEST:
            raise TokenizerError(
                f"vocabulary = {size} has no room for all bytes and marks; ask for {SMALLEST} "
                "or more"
            )
        made_of = _needed("tokenizers")
        backend = made_of.Tokenizer(made_of.models.BPE())
        backend.pre_tokenizer = made_of.pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = made_of.decoders.ByteLevel()
        trainer = made_of.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[START, PAD, END, *OPENERS, *MARKS],
            initial_alphabet=made_of.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        seen = _Counted(texts)
        backend.train_from_iterator(seen, trainer)
        if not seen.characters:
            raise TokenizerError("there is no text to train a tokenizer on")
        fast = _needed("transformers").PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token=START,
            eos_token=END,
            pad_token=PAD,
            extra_special_tokens=[*OPENERS, *MARKS],
        )
        fast.chat_template = TEMPLATE
        return cls(fast)


class _Counted:
    """Texts as they are handed on, and how many characters they were."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts, self.characters = texts, 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.characters += len(text)
            yield text


def keep(tokenizer: Tokenizer, folder: Path) -> None:
    """Write ``tokenizer`` to ``folder`` whole or not at all; from then on it is the one there."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        tokenizer.save(unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _needed(package: str) -> Any:
    """Import what only dialogue needs; it loads torch, so nothing else imports it."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise TokenizerError(
            f"dialogue needs {package}: pip install 'heedful[dialogue]'"
        ) from error


def _units(backend: PreTrainedTokenizerBase) -> tuple[str, ...]:
    count = len(backend)
    tokens: list[str | None] = list(backend.convert_ids_to_tokens(list(range(count))))
    seen: set[str] = set()
    units = []
    for number, token in enumerate(tokens):
        # Some tokenizers leave numbers unused, and a few write two tokens alike.
        usable = token is not None and 0 < len(token) <= 100 and token not in seen
        unit = token if usable and token is not None and token.isprintable() else f"#{number}"
        seen.add(unit)
        units.append(unit)
    return tuple(units)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
