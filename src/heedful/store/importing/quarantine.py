"""The file where rows at fault wait for somebody to mend them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from heedful.store.errors import StoreError


class Quarantine:
    """Appends lines to a file, and takes them away again where what follows fails."""

    def __init__(self, path: str | Path | None) -> None:
        self._path = None if path is None else Path(path)
        self._size: int | None = None

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
