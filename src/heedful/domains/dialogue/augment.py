"""The same said in other words: by a lexicon of synonyms, or there and back through a language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np

Translate = Callable[[Sequence[str]], list[str]]
"""What turns texts into as many texts of another language, or of another tongue's way of saying."""

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What may stand for each word; words in lower case.

    Attributes:
        words: word -> others, at least one.
    """

    words: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of tab-separated lines: a word, then what may stand for it.

        Several lines of one word add up; empty lines and those that begin with # are left out.

        Raises:
            ValueError: the file is not there or not UTF-8, or a line has no second column.
        """
        words: dict[str, dict[str, None]] = {}
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            word, *others = (cell.strip() for cell in line.split("\t"))
            if not word or not any(others):
                raise ValueError(
                    f"{path}, line {number}: expected a word and, behind a tab, what may stand for "
                    "it"
                )
            words.setdefault(word.lower(), {}).update(dict.fromkeys(filter(None, others)))
        return cls({word: tuple(others) for word, others in words.items()})

    def turned(self) -> Lexicon:
        """Return the way back: what each of the others may stand for."""
        words: dict[str, dict[str, None]] = {}
        for word, others in self.words.items():
            for other in others:
                words.setdefault(other.lower(), {})[word] = None
        return Lexicon({word: tuple(others) for word, others in words.items()})


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise ValueError(f"there is no lexicon {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}: convert it") from None


def with_synonyms(text: str, lexicon: Lexicon, share: float, rng: np.random.Generator) -> str:
    """Return ``text`` with a ``share`` of the words that have synonyms replaced by one of them.

    Everything else stays where it was, and so does how a word is capitalised (Wei & Zou, EDA, arXiv
    1901.11196, section 2, without inserting or deleting).

    >>> lexicon = Lexicon({"fair": ("lovely",)})
    >>> with_synonyms("Fair Verona, fair ladies.", lexicon, 1.0, np.random.default_rng(0))
    'Lovely Verona, lovely ladies.'
    """

    def replaced(match: re.Match[str]) -> str:
        others = lexicon.words.get(match.group().lower())
        if others is None or rng.random() >= share:
            return match.group()
        return _as(match.group(), others[int(rng.integers(len(others)))])

    return _WORD.sub(replaced, text)


def _as(word: str, other: str) -> str:
    """Return ``other`` capitalised as ``word`` is."""
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def by_lexicon(lexicon: Lexicon, rng: np.random.Generator) -> Translate:
    """Return what translates word by word; a word that is not known stays as it is."""
    return lambda texts: [with_synonyms(text, lexicon, 1.0, rng) for text in texts]


def by_model(
    folder: Path, *, source: str = "", target: str = "", length: int = 256, batch: int = 8
) -> Translate:
    """Return what translates with an encoder-decoder in a local Hugging Face folder, greedily.

    Args:
        folder: of the model and its tokenizer; no hub is asked, and no code of its own is run.
        source: the language it is told to read, for models that are told (M2M-100: "en").
        target: the language it is told to write.
        length: tokens at most, of a text and of its translation.
        batch: texts at a time.

    Raises:
        ValueError: transformers is not installed, or there is no such model.
    """
    model, tokenizer = _loaded(folder)
    if source:
        tokenizer.src_lang = source
    told = {"forced_bos_token_id": tokenizer.get_lang_id(target)} if target else {}

    def translate(texts: Sequence[str]) -> list[str]:
        found: list[str] = []
        for low in range(0, len(texts), batch):
            read = tokenizer(
                list(texts[low : low + batch]),
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=length,
            )
            asked = {name: read[name] for name in ("input_ids", "attention_mask")}
            written = model.generate(
                **asked, max_new_tokens=length, do_sample=False, num_beams=1, **told
            )
            found += tokenizer.batch_decode(written, skip_special_tokens=True)
        return found

    return translate


def _loaded(folder: Path) -> tuple[Any, Any]:
    try:
        transformers = import_module("transformers")
    except ModuleNotFoundError as error:
        raise ValueError(
            "a model translates with transformers: pip install 'heedful[dialogue]'"
        ) from error
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(str(folder), **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ValueError(
            f"{folder} holds no encoder-decoder with a tokenizer ({reason}): name a folder of one"
        ) from error
    return model.eval(), tokenizer


def back_translated(texts: Sequence[str], there: Translate, back: Translate) -> list[str]:
    """Return ``texts`` said in another language and back (Sennrich et al., arXiv 1511.06709).

    Raises:
        ValueError: a translator gave back another number of texts.
    """
    said = there(list(texts))
    found = back(said)
    if len(said) != len(texts) or len(found) != len(texts):
        raise ValueError(
            f"of {len(texts)} texts {len(said)} came there and {len(found)} back: a translator "
            "must return one for each"
        )
    return found


def augmented(texts: Iterable[str], change: Callable[[str], str], copies: int = 1) -> Iterator[str]:
    """Yield each text, and behind it ``copies`` of it as ``change`` says it, if they are others.

    Args:
        texts: documents of what is learned from; never of what is held out.
        change: e.g. :func:`with_synonyms` with a lexicon.
        copies: at most so many.
    """
    for text in texts:
        said = dict.fromkeys([text, *(change(text) for _ in range(copies))])
        yield from said
