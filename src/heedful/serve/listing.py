"""Answers for many people, as one file that is whole or not there."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from heedful.serve.recommend import BATCH, Answer

COLUMNS = ("subject", "rank", "unit", "probability", "policy")
SUFFIXES = (".csv", ".parquet")

Row = tuple[str, int, str, float, str]


class _Writer(Protocol):
    def write(self, rows: list[Row]) -> None: ...

    def close(self) -> None: ...


def check(out: Path) -> None:
    """Refuse a file whose name says no format that is known, or one that cannot be written here.

    Raises:
        ValueError: says which formats there are, or what to install.
        FileNotFoundError: there is no such folder.
    """
    if out.suffix not in SUFFIXES:
        raise ValueError(f"{out}: name a file that ends in {' or '.join(SUFFIXES)}")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(out.parent))
    if out.suffix == ".parquet":
        _pyarrow()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a file of lists holds.

    Attributes:
        subjects: how many were ranked for.
        empty: how many of them have no row, as nothing could be shown to them.
        why: why, for the first of those.
        unknown: units that were asked about and that the policy does not know.
    """

    subjects: int = 0
    empty: int = 0
    why: str = ""
    unknown: tuple[str, ...] = ()

    def and_also(self, answers: Sequence[Answer]) -> Written:
        """Return this with ``answers`` counted in."""
        without = [answer.why for answer in answers if not answer.units]
        return Written(
            subjects=self.subjects + len(answers),
            empty=self.empty + len(without),
            why=self.why or next(iter(without), ""),
            unknown=answers[0].unknown,
        )


def write(answers: Iterable[Answer], out: Path) -> Written:
    """Write one row a unit: subject, rank, unit, probability, policy.

    A batch at a time is in memory. An earlier file of this name is replaced once the new one is
    whole; if that fails it stays as it was.

    Raises:
        ValueError: see :func:`check`.
        OSError: the file cannot be written.
    """
    check(out)
    written, left = Written(), iter(answers)
    with _whole(out) as part:
        writer = _Parquet(part) if out.suffix == ".parquet" else _Csv(part)
        try:
            while batch := list(islice(left, BATCH)):
                writer.write([row for answer in batch for row in _rows(answer)])
                written = written.and_also(batch)
        finally:
            writer.close()
    return written


def _rows(answer: Answer) -> Iterator[Row]:
    ranked = zip(answer.units, answer.probabilities, strict=True)
    for rank, (unit, probability) in enumerate(ranked, start=1):
        yield answer.subject, rank, unit, probability, answer.policy


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """Lend a name beside ``out`` that takes its place on success and is gone otherwise."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


class _Csv:
    def __init__(self, part: Path) -> None:
        self._file = part.open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def write(self, rows: list[Row]) -> None:
        self._rows.writerows(rows)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, part: Path) -> None:
        self._arrow, parquet = _pyarrow()
        arrow = self._arrow
        types = (arrow.string(), arrow.int32(), arrow.string(), arrow.float64(), arrow.string())
        self._schema = arrow.schema(list(zip(COLUMNS, types, strict=True)))
        self._file = parquet.ParquetWriter(part, self._schema)

    def write(self, rows: list[Row]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
        named = dict(zip(COLUMNS, columns, strict=True))
        self._file.write_table(self._arrow.table(named, schema=self._schema))

    def close(self) -> None:
        self._file.close()


def _pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and its reader and writer of Parquet, which nothing else needs.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise ValueError(
            "Parquet needs pyarrow: pip install 'heedful[parquet]', or write .csv"
        ) from None
