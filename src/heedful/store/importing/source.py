"""A file as blocks of rows: plain or gzipped, every row with its line and its text."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

from heedful.store.errors import StoreError
from heedful.store.importing.mapping import layout_of
from heedful.store.importing.report import Findings, Problem

BLOCK = 65_536

GZIP = b"\x1f\x8b"
UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file.

    Attributes:
        lines: the number of each row's first line.
        rows: the fields of each row, as many as there are columns.
        raws: the text of each row as it stands in the file; a file without lines has made one up.
    """

    lines: list[int]
    rows: list[list[str]]
    raws: Sequence[str]


class Source:
    """An open file; its layout and columns are known from the start.

    Attributes:
        layout: how lines are cut.
        columns: the names of the columns; none for JSON lines.
    """

    def __init__(self, path: Path, findings: Findings) -> None:
        """Open ``path`` and look at its first line.

        Raises:
            StoreError: it cannot be opened.
        """
        self._findings = findings
        try:
            self._raw = path.open("rb")
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
        self.size = path.stat().st_size
        try:
            self._begin_reading(path.name.removesuffix(".gz"))
        except BaseException:
            self._raw.close()
            raise

    def _begin_reading(self, name: str) -> None:
        self._stream = self._text()  # kept: it closes the file when nobody holds it any more
        self._lines = self._guarded(self._stream)
        first = next(self._lines, "")
        self.layout = layout_of(name, first)
        self.columns = self._header(first)
        headless = bool(self.layout.names) or self.layout.form == "json"
        self._begin = 1 if headless else 2
        self._body = chain([first], self._lines) if headless and first else self._lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    @property
    def position(self) -> int:
        """Return how many bytes of ``size`` have been read."""
        return self._raw.tell()

    def blocks(self, wanted: list[str], lists: frozenset[str] = frozenset()) -> Iterator[Block]:
        """Yield the rows; what cannot be cut into the right number of fields is a problem.

        Args:
            wanted: the names of the columns to give, in this order.
            lists: those of them that may hold lists, where the format has any.
        """
        rows = self._csv(wanted)
        if self.layout.form == "plain":
            rows = self._plain(wanted)
        elif self.layout.form == "json":
            rows = self._json(wanted, lists)
        while taken := list(islice(rows, BLOCK)):
            lines, fields, raws = map(list, zip(*taken, strict=True))
            yield Block(lines, fields, raws)

    def _header(self, first: str) -> list[str]:
        if not first:
            self._findings.fail(Problem(1, "", "empty", "", "the file is empty"))
        if self.layout.form == "json":
            return []
        if self.layout.names:
            return list(self.layout.names)
        columns = self.layout.header(first)
        # Spreadsheets leave empty columns behind; nobody can ask for what has no name.
        twice = sorted({name for name in columns if name and columns.count(name) > 1})
        if twice:
            hint = "stands twice in the header"
            self._findings.fail(*(Problem(1, name, "column", "", hint) for name in twice))
        return columns

    def _guarded(self, lines: Iterator[str]) -> Iterator[str]:
        """Yield lines until the file ends or turns out to be damaged."""
        number = 0
        try:
            for line in lines:
                yield line
                number += 1
        except EOFError:
            hint = "the gzip file is cut off after this line; copy it again"
            self._findings.fail(Problem(number, "", "damaged", "", hint))
        except (zlib.error, gzip.BadGzipFile) as error:
            hint = f"no sound gzip after this line ({error}); copy it again"
            self._findings.fail(Problem(number, "", "damaged", "", hint))

    def _text(self) -> Iterator[str]:
        """Return the lines of the file, unzipped where it is gzip.

        Bytes that are not UTF-8 come as lone surrogates, which the check of each cell finds: so
        the line and the column can be named.
        """
        begin = self._raw.read(2)
        self._raw.seek(0)
        if begin in UTF16:
            hint = "the file is UTF-16; save it as UTF-8"
            self._findings.fail(Problem(1, "", "encoding", "", hint))
        stream: Any = gzip.GzipFile(fileobj=self._raw) if begin == GZIP else self._raw
        return io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")

    def _fields(self, wanted: list[str]) -> Callable[[list[str]], list[str] | None]:
        absent = [name for name in wanted if name not in self.columns]
        if absent:
            hint = f"is missing; the file has {', '.join(self.columns)}"
            self._findings.fail(*(Problem(1, name, "column", "", hint) for name in absent))
        places = [self.columns.index(name) for name in wanted]
        width = len(self.columns)
        return lambda row: [row[place] for place in places] if len(row) == width else None

    def _plain(self, wanted: list[str]) -> Iterator[tuple[int, list[str], str]]:
        fields, separator = self._fields(wanted), self.layout.separator
        for line, raw in enumerate(self._body, start=self._begin):
            text = raw.rstrip("\r\n")
            if not text:
                continue
            row = text.split(separator)
            chosen = fields(row)
            if chosen is None:
                self._ragged(line, len(row), raw)
            else:
                yield line, chosen, raw

    def _csv(self, wanted: list[str]) -> Iterator[tuple[int, list[str], str]]:
        fields = self._fields(wanted)
        pending: list[str] = []
        reader = csv.reader(
            _recorded(self._body, pending), delimiter=self.layout.separator, strict=True
        )
        line = self._begin
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = Problem(line, "", "syntax", "", f"{error}; check the quotes")
                self._reject(problem, "".join(pending))
            else:
                chosen = fields(row)
                if chosen is not None:
                    yield line, chosen, "".join(pending)
                elif row:
                    self._ragged(line, len(row), "".join(pending))
            line += len(pending)
            pending.clear()

    def objects(self) -> Iterator[tuple[int, dict[str, Any], str]]:
        """Yield line, object and text of each line of JSON; what is no object is a problem."""
        for line, raw in enumerate(self._body, start=self._begin):
            if not raw.strip():
                continue
            try:
                value = json.loads(raw)
            except (ValueError, RecursionError) as error:
                problem = Problem(line, "", "syntax", raw[:80].rstrip(), f"not JSON: {error}")
                self._reject(problem, raw)
                continue
            if isinstance(value, dict):
                yield line, value, raw
            else:
                hint = "each line is one object: {...}"
                self._reject(Problem(line, "", "syntax", str(value)[:80], hint), raw)

    def _json(
        self, wanted: list[str], lists: frozenset[str]
    ) -> Iterator[tuple[int, list[str], str]]:
        seen: set[str] = set()
        for line, value, raw in self.objects():
            unfit = _unfit(line, value, wanted, lists)
            if unfit is None:
                seen.update(value)
                yield line, [_cell(value.get(name)) for name in wanted], raw
            else:
                self._reject(unfit, raw)
        absent = [name for name in wanted if name not in seen]
        if seen and absent:
            hint = f"is in no line; the lines have {', '.join(sorted(seen))}"
            self._findings.fail(*(Problem(1, name, "column", "", hint) for name in absent))

    def _ragged(self, line: int, found: int, raw: str) -> None:
        hint = f"has {found} fields, the file has {len(self.columns)} columns"
        self._reject(Problem(line, "", "fields", raw[:80].rstrip(), hint), raw)

    def _reject(self, problem: Problem, raw: str) -> None:
        self._findings.read += 1
        self._findings.add(problem, raw)
        self._findings.lost(problem.line)


def _recorded(lines: Iterator[str], pending: list[str]) -> Iterator[str]:
    for line in lines:
        pending.append(line)
        yield line


def _cell(value: object) -> str:
    """Return a JSON value as the text a CSV file would have for it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _unfit(
    line: int, value: dict[str, Any], wanted: list[str], lists: frozenset[str]
) -> Problem | None:
    """Return why a line of JSON is no row, or None."""
    for name in wanted:
        if isinstance(value.get(name), dict if name in lists else list | dict):
            hint = "give one value, not a list or an object"
            return Problem(line, name, "text", str(value[name])[:80], hint)
    return None
