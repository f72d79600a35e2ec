"""How a command ends: an exit code, and one message that says what, where, and what to do."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

FAILED, USAGE, REFUSED, BAD_DATA, INTERRUPTED = 1, 2, 3, 4, 130
DEBUG = "HEEDFUL_DEBUG"


def say(words: str) -> None:
    """Write a message to stderr; stdout is for results."""
    print(words, file=sys.stderr, flush=True)


@contextmanager
def outcome(*, interrupted: str = "stopped") -> Iterator[None]:
    """Turn what goes wrong inside into a message and an exit code.

    Args:
        interrupted: what Ctrl-C leaves behind.
    """
    try:
        with _warnings_said():
            yield
    except KeyboardInterrupt:
        say(f"\nheedful: {interrupted}")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        # The parser's own errors carry their code; a reader that went away is no failure of ours.
        if hasattr(error, "exit_code") or isinstance(error, BrokenPipeError):
            raise
        if os.environ.get(DEBUG, "0") not in ("", "0"):
            raise
        code, words = explained(error)
        say(f"heedful: {words}")
        raise typer.Exit(code) from None


@contextmanager
def _warnings_said() -> Iterator[None]:
    """Say heedful's own warnings as messages, without the line of code they come from."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if category.__module__.startswith("heedful."):
                say(f"heedful: {message}")
            else:
                shown(message, category, *rest)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def explained(error: Exception) -> tuple[int, str]:
    """Return the exit code for ``error`` and what to tell people.

    Imports here are late on purpose: which errors exist matters only once there is one.
    """
    from heedful.config import ConfigError
    from heedful.loop.deploy import GateRefusedError
    from heedful.store import ImportRefusedError, StoreError, UnknownFormatError
    from heedful.store.registry import ManifestError

    if isinstance(error, ConfigError):
        return USAGE, str(error)
    if isinstance(error, GateRefusedError):
        return REFUSED, str(error)
    if isinstance(error, ImportRefusedError | UnknownFormatError | ManifestError):
        return BAD_DATA, str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return FAILED, f"{place}{error.strerror or error}"
    if isinstance(error, StoreError | ValueError | LookupError) and not isinstance(error, KeyError):
        return FAILED, str(error)
    kind = type(error).__name__
    return FAILED, f"a fault of heedful's own ({kind}: {error}); {DEBUG}=1 shows where it happened"
