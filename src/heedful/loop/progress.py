"""How far long work has come: a bar on a terminal, a line every few seconds in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

EVERY = 5.0


class Reporter(Protocol):
    """Told how far a piece of work has come."""

    def update(self, done: int, total: int, text: str = "") -> None:
        """``done`` of ``total`` steps are finished."""
        ...

    def close(self) -> None:
        """No more is coming."""
        ...


class Silent:
    """Says nothing."""

    def update(self, done: int, total: int, text: str = "") -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Clock:
    """Estimates the time left from the pace since the first report.

    Not since the start: work that is taken up again has steps behind it that cost nothing now.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Read the time from ``now``, in seconds."""
        self._now = now
        self._first: tuple[float, int] | None = None

    def left(self, done: int, total: int) -> str:
        """Return the time left in words, empty while the pace is not known.

        >>> seconds = iter([0.0, 30.0])
        >>> clock = Clock(lambda: next(seconds))
        >>> clock.left(1, 10), clock.left(4, 10)
        ('', '1 min 00 s left')
        """
        now = self._now()
        if self._first is None:
            self._first = now, done
        began, before = self._first
        if done <= before:
            return ""
        return f"{span((now - began) / (done - before) * (total - done))} left"


def span(seconds: float) -> str:
    """Return a length of time in words.

    >>> span(4.2), span(80), span(7380)
    ('4 s', '1 min 20 s', '2 h 03 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Lines:
    """A line every few seconds, for logs and pipes."""

    def __init__(
        self, title: str, out: TextIO, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Write to ``out``; nothing for work that is over within a few seconds."""
        self._title, self._out, self._now = title, out, now
        self._clock = Clock(now)
        self._shown = now()

    def update(self, done: int, total: int, text: str = "") -> None:
        """Write a line if the last one is old enough."""
        left = self._clock.left(done, total)
        if self._now() - self._shown < EVERY:
            return
        self._shown = self._now()
        parts = [f"{self._title}: {done:,} of {total:,}", left, text]
        print(", ".join(part for part in parts if part), file=self._out, flush=True)

    def close(self) -> None:
        """Do nothing: the caller says how it ended."""


class Bar:
    """A bar with the time left, on a terminal."""

    def __init__(self, title: str, out: TextIO) -> None:
        """Draw on ``out``."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._clock = Clock()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=Console(file=out),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=None, text="")
        self._bar.start()

    def update(self, done: int, total: int, text: str = "") -> None:
        """Move the bar."""
        parts = [self._clock.left(done, total), text]
        shown = ", ".join(part for part in parts if part)
        self._bar.update(self._task, completed=done, total=total, text=shown)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def reporter(title: str, out: TextIO | None = None) -> Reporter:
    """Return what suits ``out`` (standard error by default)."""
    out = out or sys.stderr
    return Bar(title, out) if out.isatty() else Lines(title, out)
