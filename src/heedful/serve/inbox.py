"""The bounded queue between those who ask and the one thread that answers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from heedful.record import ChoiceSet, Decision, End, Feedback
from heedful.serve.requests import (
    DecisionAnswer,
    DecisionRequest,
    EndRequest,
    FeedbackRequest,
    FetchRequest,
    HeldAnswer,
    ServiceError,
)
from heedful.store import Receipt
from heedful.store.registry import Held


@dataclass(slots=True, eq=False)
class Asked:
    """A decision that is asked for, and what came of it.

    Attributes:
        request: what was asked.
        subject: the pseudonym of its user.
        record: the decision that was drawn.
        choices: what it was drawn from.
        unknown: units of ``choices`` that the policy does not know.
        held: it waits for a person; known before anything is drawn.
        read: events that the policy had before it.
        result: the answer, once it is known.
    """

    request: DecisionRequest
    subject: str
    record: Decision | None = None
    choices: ChoiceSet | None = None
    unknown: tuple[str, ...] = ()
    held: bool = False
    read: int = 0
    result: DecisionAnswer | HeldAnswer | ServiceError | None = None


@dataclass(slots=True, eq=False)
class Fetched:
    """A decision that was held and is asked for, and what came of it.

    Attributes:
        request: which one.
        subject: whom it was drawn for, once that was looked up and if it is known.
        held: what is known of it.
        record: the row for the log, where it may be shown and was not before.
        choices: what it was drawn from.
        result: the answer, once it is known.
    """

    request: FetchRequest
    subject: str | None = None
    held: Held | None = None
    record: Decision | None = None
    choices: ChoiceSet | None = None
    result: DecisionAnswer | HeldAnswer | ServiceError | None = None


@dataclass(slots=True, eq=False)
class Told:
    """Feedback, and what became of it.

    Attributes:
        request: what was said.
        by: the pseudonym of who said it, or ``None``: whom the decision was made for.
        subject: whom the decision was made for, once that was looked up and if it is known.
        record: the row for the log.
        result: the receipt, once it is known.
    """

    request: FeedbackRequest
    by: str | None
    subject: str | None = None
    record: Feedback | None = None
    result: Receipt | None = None


@dataclass(slots=True, eq=False)
class Ended:
    """The end of a session, and what became of it; see :class:`Told`."""

    request: EndRequest
    subject: str
    record: End | None = None
    result: Receipt | None = None


Item = Asked | Fetched | Told | Ended


@dataclass(slots=True, eq=False)
class Job:
    """What one caller waits for: all of its results, in order, or the error of the log.

    Attributes:
        items: at least one.
        answer: resolves to the items' results.
        since: when it was put, on the monotonic clock.
    """

    items: Sequence[Item]
    answer: Future[list[Any]] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)


class Inbox:
    """A first-in, first-out queue of jobs, bounded by the number of their items."""

    def __init__(self, limit: int) -> None:
        """Hold at most ``limit`` items."""
        self.limit = limit
        self._jobs: deque[Job] = deque()
        self._size = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return how many items wait."""
        return self._size

    def put(self, job: Job, *, wait: bool) -> None:
        """Append ``job``.

        Args:
            job: at most ``limit`` items.
            wait: for room; otherwise a full queue is an error.

        Raises:
            ServiceError: the queue is full, or closed.
        """
        with self._changed:
            while not self._closed and self._size + len(job.items) > self.limit:
                if not wait:
                    raise ServiceError("busy", "too many requests are waiting", retry_after=1.0)
                self._changed.wait()
            if self._closed:
                raise ServiceError("unavailable", "the service is closing", retry_after=5.0)
            self._jobs.append(job)
            self._size += len(job.items)
            self._changed.notify_all()

    def take(self, most: int, *, timeout: float) -> list[Job] | None:
        """Return waiting jobs until they hold ``most`` items or there are no more.

        Returns:
            No job after ``timeout`` seconds without one; ``None`` once closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed, timeout)
            if self._closed and not self._jobs:
                return None
            jobs: list[Job] = []
            n_items = 0
            while self._jobs and n_items < most:
                job = self._jobs.popleft()
                n_items += len(job.items)
                jobs.append(job)
            self._size -= n_items
            self._changed.notify_all()
        # A caller that gave up meanwhile is not served; from here on it cannot give up any more.
        return [job for job in jobs if job.answer.set_running_or_notify_cancel()]

    def close(self) -> None:
        """Refuse further jobs; those that wait are still taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
