"""One writer of the log and one loop per workspace, across processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from heedful.store.errors import StoreError


class ProcessLock:
    """An exclusive ``flock`` on a file, held until :meth:`release` or the end of the process.

    The operating system lets go of it however the process ends, so a crash leaves nothing to clean
    up; the process id in the file is only there to be named in the message.
    """

    what = "lock"
    busy = "process {holder} holds it; stop that process first"

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            StoreError: somebody else holds it, or the file cannot be made.
        """
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(f"{path}: cannot open the {self.what}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            words = self.busy.format(holder=holder or "unknown")
            raise StoreError(f"{path}: {words}") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in; releasing twice is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class WriterLock(ProcessLock):
    """Held by whoever writes the log."""

    what = "writer's lock"
    busy = (
        "process {holder} is writing to this log, and a log has one writer at a time; wait until "
        "that import is done, or stop that server"
    )


class LoopLock(ProcessLock):
    """Held by whoever trains, judges and promotes by itself."""

    what = "loop's lock"
    busy = (
        "process {holder} runs the loop of this workspace, and a workspace has one loop at a "
        "time; leave it to that process, or stop it first"
    )
