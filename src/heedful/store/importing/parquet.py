"""Parquet as blocks of rows: one batch in memory at a time, every cell as the text CSV would have.

The one file that needs pyarrow, which comes with ``pip install 'heedful[parquet]'``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Self, overload

from heedful.store.errors import StoreError
from heedful.store.importing.mapping import Layout
from heedful.store.importing.report import Findings, Problem
from heedful.store.importing.source import BLOCK, Block

MAGIC = b"PAR1"
ENDINGS = (".parquet", ".pq")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ParquetSource:
    """An open file; its columns are known from the start. Rows count as lines, from 1.

    Attributes:
        layout: says that there are no lines.
        columns: the names of the columns.
        size: rows in all.
        position: rows that have been read.
    """

    layout = Layout("parquet")

    def __init__(self, path: Path, findings: Findings) -> None:
        """Open ``path`` and read what its end says of it.

        Raises:
            StoreError: pyarrow is not installed, or the file cannot be opened.
        """
        self._findings = findings
        self._arrow, parquet = _pyarrow(path)
        try:
            self._raw = path.open("rb")
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            if not path.stat().st_size:
                findings.fail(Problem(1, "", "empty", "", "the file is empty"))
            self._file = self._sound(lambda: parquet.ParquetFile(self._raw))
            self.columns = self._header(self._file.schema_arrow.names)
        except BaseException:
            self._raw.close()
            raise
        self.size: int = self._file.metadata.num_rows
        self.position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def blocks(self, wanted: list[str], lists: frozenset[str] = frozenset()) -> Iterator[Block]:
        """Yield the rows.

        Args:
            wanted: the names of the columns to give, in this order.
            lists: those of them that may hold lists.
        """
        self._check(wanted, lists)
        whole = self._findings.keep_rows
        batches = self._file.iter_batches(
            batch_size=BLOCK, columns=None if whole else wanted, use_threads=False
        )
        while (batch := self._sound(lambda: next(batches, None))) is not None:
            columns = [self._texts(batch.column(name)) for name in wanted]
            lines = list(range(self.position + 1, self.position + batch.num_rows + 1))
            self.position += batch.num_rows
            yield Block(lines, [*map(list, zip(*columns, strict=True))], _Rows(self, batch, whole))

    def texts_of(self, batch: Any, row: int) -> dict[str, str]:
        """Return a row of a batch, by column."""
        part = batch.slice(row, 1)
        return {name: self._texts(part.column(name))[0] for name in part.schema.names}

    def _header(self, names: list[str]) -> list[str]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            hint = "stands twice in the schema"
            self._findings.fail(*(Problem(1, name, "column", "", hint) for name in twice))
        return names

    def _check(self, wanted: list[str], lists: frozenset[str]) -> None:
        absent = [name for name in wanted if name not in self.columns]
        if absent:
            hint = f"is missing; the file has {', '.join(self.columns)}"
            self._findings.fail(*(Problem(1, name, "column", "", hint) for name in absent))
        types = self._arrow.types
        for name in wanted:
            kind = self._file.schema_arrow.field(name).type
            if types.is_nested(kind) and not (name in lists and _is_list(types, kind)):
                hint = "give one value, not a list or an object"
                self._findings.fail(Problem(1, name, "text", str(kind)[:80], hint))

    def _sound(self, read: Any) -> Any:
        """Return what ``read`` returns, unless the file turns out to be damaged."""
        try:
            return read()
        except (self._arrow.ArrowException, OSError) as error:
            line = getattr(self, "position", 0)
            said = str(error).splitlines()[0][:200]
            hint = f"no sound Parquet after this row ({said}); copy it again"
            self._findings.fail(Problem(line, "", "damaged", "", hint))

    def _texts(self, column: Any) -> list[str]:
        """Return the cells of a column as text, ``""`` where there is nothing."""
        arrow, types = self._arrow, self._arrow.types
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        if types.is_string(kind) or types.is_large_string(kind):
            column = column.cast(arrow.large_binary())  # bytes that are not UTF-8 are found later
        elif types.is_timestamp(kind) or types.is_date(kind):
            column = column.cast(arrow.timestamp("us"), safe=False).cast(arrow.int64())
            return ["" if value is None else _moment(value) for value in column.to_pylist()]
        return ["" if value is None else _text(value) for value in column.to_pylist()]


class _Rows(Sequence[str]):
    """The rows of a batch as JSON, each made when it is asked for; empty where nobody will be."""

    def __init__(self, source: ParquetSource, batch: Any, wanted: bool) -> None:
        self._source, self._batch, self._wanted = source, batch, wanted

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        if not self._wanted:
            return ""
        return json.dumps(self._source.texts_of(self._batch, row), ensure_ascii=False)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise StoreError(
            f"{path}: Parquet is read with pyarrow, which is not installed; "
            "pip install 'heedful[parquet]'"
        ) from None


def _is_list(types: Any, kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _moment(microseconds: int) -> str:
    """Return ISO 8601; a moment that no calendar has is left to the check of times."""
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return f"{microseconds} microseconds"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)
