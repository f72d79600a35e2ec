"""The file where rows at fault wait for somebody to mend them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from heedful.store.errors import StoreError

FIRST = b'{"file":'
"""How each line of a quarantine begins."""


class Quarantine:
    """Appends lines to a file, and takes them away again where what follows fails."""

    def __init__(self, path: str | Path | None, source: Path) -> None:
        """Be ready to append to ``path`` what of ``source`` is at fault.

        Raises:
            StoreError: the file holds something else, which rows would spoil.
        """
        self._path = None if path is None else Path(path)
        self._size: int | None = None
        if self._path is None or not self._path.exists():
            return
        if self._path.samefile(source):
            raise StoreError(f"{path}: is the file that is imported; name another one for bad rows")
        if self._path.is_file() and not _holds_rows(self._path):
            raise StoreError(
                f"{path}: is there already and holds no rows that were set aside; name another one"
            )

    def write(self, lines: Iterable[str]) -> None:
        """Append ``lines``; on disk when this returns. Nothing is made for no lines.

        Raises:
            StoreError: the file cannot be written.
        """
        text = "".join(lines)
        if self._path is None or not text:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                self._size = file.tell()
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"{self._path}: the quarantine cannot be written: {error.strerror}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or self._path is None or self._size is None:
            return
        if self._size:
            os.truncate(self._path, self._size)
        else:
            self._path.unlink(missing_ok=True)


def _holds_rows(path: Path) -> bool:
    """Whether a file is empty, or begins as a quarantine does."""
    with path.open("rb") as file:
        head = file.read(len(FIRST))
    return not head or head == FIRST
