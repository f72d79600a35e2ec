"""The text in files, whatever their form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

LINES = 64


def texts_of(files: Iterable[Path]) -> Iterator[str]:
    """Yield the text in ``files``: whole lines of plain text, all strings in ``.jsonl``.

    Raises:
        ValueError: a file is not there, is not UTF-8, or has a line that is no JSON.
    """
    for path in files:
        try:
            with path.open(encoding="utf-8") as file:
                yield from _strings(path, file) if path.suffix == ".jsonl" else _stretches(file)
        except FileNotFoundError:
            raise ValueError(f"there is no file {path}: name text files under [domain]") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 at byte {error.start}: convert it") from None


def _stretches(file: Iterable[str]) -> Iterator[str]:
    held: list[str] = []
    for line in file:
        held.append(line)
        if len(held) == LINES:
            yield "".join(held)
            held.clear()
    if held:
        yield "".join(held)


def _strings(path: Path, file: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: no JSON ({error.msg})") from None
        yield from _within(row)


def _within(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for part in value:
                yield from _within(part)
        case dict():
            for part in value.values():
                yield from _within(part)
