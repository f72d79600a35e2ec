"""Which reader a file needs."""

from __future__ import annotations

from pathlib import Path

from heedful.store.importing.parquet import ENDINGS, MAGIC, ParquetSource
from heedful.store.importing.report import Findings
from heedful.store.importing.source import Source


def open_source(path: Path, findings: Findings) -> Source | ParquetSource:
    """Open a file of rows by its first bytes, or its name; use as a context manager.

    Raises:
        StoreError: it cannot be opened.
        UnusableFileError: it is empty or damaged.
    """
    if path.name.endswith(ENDINGS) or _begins(path) == MAGIC:
        return ParquetSource(path, findings)
    return Source(path, findings)


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError:
        return b""  # the reader says why it cannot be read
