"""The service: decisions and feedback, from Python; HTTP is a coat over it."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from heedful.config import Serve
from heedful.contract import Conversation, Domain, Rulebook
from heedful.policy import load as load_policy
from heedful.record import pseudonym
from heedful.serve.draw import Draw
from heedful.serve.engine import Engine
from heedful.serve.holding import Holding
from heedful.serve.inbox import Asked, Ended, Fetched, Inbox, Item, Job, Told
from heedful.serve.logs import event
from heedful.serve.metrics import Metrics
from heedful.serve.policies import Load, Policies
from heedful.serve.requests import (
    DecisionAnswer,
    DecisionRequest,
    EndRequest,
    FeedbackRequest,
    FetchRequest,
    HeldAnswer,
    ServiceError,
)
from heedful.serve.sessions import Sessions
from heedful.store import Log, Receipt
from heedful.store.registry import Held, Registry, RegistryBusyError, RegistryError, Version

IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is held in memory.

    Attributes:
        queue: items that may wait; beyond that, callers wait or are told to come again.
        turn: items that are answered together.
        subjects: subjects remembered between requests. With a transformer of width 64, 2 layers and
            a window of 200 events one takes up to 200 KiB.
    """

    queue: int = 4096
    turn: int = 256
    subjects: int = 2048

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could be answered."""
        if not 0 < self.turn <= self.queue or self.subjects < 1:
            raise ValueError("limits: need 1 <= turn <= queue and at least one subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """Who decides now.

    Attributes:
        live: the live version, ``None`` where nothing is live.
        trial: the version on trial, ``None`` without a trial.
        share: the share of subjects the trial gives to it; 0 without.
        units: how many units the live version knows.
        absence: why nothing decides, where nothing does.
    """

    live: str | None
    trial: str | None
    share: float
    units: int
    absence: str = ""


class Service:
    """Decides for people and hears what they say to it.

    One thread of its own writes the log and runs the policies, in turns: whatever waits is decided
    in batches, appended in one transaction, and answered when it is on the disk. All methods may be
    called from any thread.
    """

    def __init__(
        self,
        log: Log,
        registry: Registry,
        domain: Domain,
        *,
        key: bytes,
        options: Serve | None = None,
        window: int = 200,
        limits: Limits | None = None,
        load: Load = load_policy,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
        only: str | None = None,
    ) -> None:
        """Start to serve.

        Args:
            log: open for writing; it stays the caller's to close, after the service.
            registry: says which version is live, and is followed while the service runs.
            domain: what a unit is.
            key: the workspace's secret for pseudonyms, at least 16 bytes.
            options: the table ``[serve]`` of heedful.toml.
            window: events a stream is long; even, and the same in training.
            limits: how much is held in memory.
            load: reads the policy in a folder that was verified.
            clock: seconds since the epoch.
            seed: of the draws, together with how far log and held decisions go: a restarted service
                does not repeat its draws, and the same log and seed give the same ones.
            only: the version that decides for everybody, whichever is live or on trial; by default
                those do. One that is refused never decides.

        Raises:
            ValueError: the key is too short, the window is odd, or the domain does not know how
                conversations are written; it says why.
            StoreError: the log cannot be read.
        """
        pseudonym("", key)
        if window < 2 or window % 2:
            raise ValueError(f"the window is {window}; give an even number of events, at least 2")
        if isinstance(domain, Conversation):
            domain.choices({})  # better now than in front of the first who asks
        options, self._limits = options or Serve(), limits or Limits()
        self.metrics, self._key, self._log, self.domain = Metrics(), key, log, domain
        self._registry, self._clock = registry, clock
        self._policies = Policies(registry, domain, load=load, floor=options.floor, only=only)
        self._sessions = Sessions(log, domain, limit=self._limits.subjects)
        # What is held is not in the log, and must not be drawn again after a restart either.
        passed = log.watermark() + registry.n_held()
        draw = Draw(
            domain,
            Rulebook(domain, log, lambda: self._policies.blocked),
            self._sessions,
            options,
            key=key,
            window=window,
            seed=_mixed(seed, passed),
        )
        holding = Holding(registry, share=options.hold, seed=_mixed(~seed, passed))
        self._engine = Engine(
            log, domain, self._policies, self._sessions, draw, holding, self.metrics, clock
        )
        self._inbox = Inbox(self._limits.queue)
        self._watch()
        self._policies.refresh()
        self._thread = threading.Thread(target=self._run, name="heedful-engine", daemon=True)
        self._thread.start()
        event("service_started", policy=self.deciding().live)

    # Asking and telling

    def decide(
        self, requests: Sequence[DecisionRequest]
    ) -> list[DecisionAnswer | HeldAnswer | ServiceError]:
        """Decide, in order; every answer is in the log when this returns.

        Requests that cannot be served do not fail their neighbours: their place holds the error.
        A :class:`HeldAnswer` comes only where ``[serve] hold`` is above 0; see :meth:`fetch`.

        Raises:
            ServiceError: the service is closed.
        """
        return cast(
            "list[DecisionAnswer | HeldAnswer | ServiceError]", self._ask(self._asked(requests))
        )

    def fetch(self, decisions: Sequence[str]) -> list[DecisionAnswer | HeldAnswer | ServiceError]:
        """Ask for decisions that were held, by id; who gets one shows it.

        What a person let through enters the log now, without a probability. What waits is answered
        by a :class:`HeldAnswer`, what is not to be shown by a :class:`ServiceError`.

        Raises:
            ServiceError: the service is closed.
        """
        items = [Fetched(FetchRequest(decision=name)) for name in decisions]
        return cast("list[DecisionAnswer | HeldAnswer | ServiceError]", self._ask(items))

    def feedback(self, rows: Sequence[FeedbackRequest]) -> list[Receipt]:
        """Write down what people said; it is in the log when this returns.

        Raises:
            ServiceError: the log could not be written, or the service is closed. Rows with an id
                may be sent again: what was kept counts once.
        """
        return cast("list[Receipt]", self._ask(self._told(rows)))

    def end(self, requests: Sequence[EndRequest]) -> list[Receipt]:
        """End sessions; refused where there is none of that name.

        Raises:
            ServiceError: the log could not be written, or the service is closed.
        """
        return cast("list[Receipt]", self._ask(self._ended(requests)))

    def submit(
        self,
        requests: Sequence[DecisionRequest]
        | Sequence[FetchRequest]
        | Sequence[FeedbackRequest]
        | Sequence[EndRequest],
    ) -> Future[list[Any]]:
        """Do the same without waiting: the future gets what the methods above return or raise.

        Raises:
            ServiceError: the queue is full, there are more requests than a turn holds, or the
                service is closed.
        """
        if len(requests) > self._limits.turn:
            raise ServiceError(
                "too_many", f"{len(requests)} rows; send at most {self._limits.turn}"
            )
        job = Job(self._items(requests))
        if not job.items:
            job.answer.set_result([])
            return job.answer
        self._inbox.put(job, wait=False)
        return job.answer

    # Held decisions

    def waiting(self) -> list[Held]:
        """Return the decisions that wait for a person, oldest first.

        Raises:
            StoreError: the registry cannot be read.
        """
        return self._registry.waiting()

    def review(self, decision: str, *, approve: bool, by: str, why: str) -> None:
        """Let a decision that waits be shown, or not.

        Args:
            decision: its id.
            approve: whether it may be shown.
            by: who says so, for the audit.
            why: and why.

        Raises:
            ServiceError: no reason is given, there is none of this id, or it was answered.
        """
        if not (by.strip() and why.strip()):
            raise ServiceError("invalid", "why: is empty; the audit says who did what, and why")
        held = self._registry.held(decision)
        if held is None:
            raise ServiceError("unknown", "no decision of this id was held")
        if held.answer is not None:
            raise ServiceError("conflict", f"it was {held.answer} before, and an answer stands")
        try:
            self._registry.review(decision, approve=approve, by=by, why=why, at=self._clock())
        except RegistryBusyError as error:
            raise ServiceError("unavailable", str(error), retry_after=1.0) from error
        except RegistryError as error:
            if isinstance(error.__cause__, sqlite3.Error):  # the disk is full, say
                problem = "the answer cannot be written now; nothing was kept"
                raise ServiceError("unavailable", problem, retry_after=5.0) from error
            raise ServiceError("conflict", str(error)) from error

    # Looking at it

    def deciding(self) -> Deciding:
        """Return who decides now."""
        live, trial = self._policies.live, self._policies.trial
        return Deciding(
            live=None if live is None else live.version,
            trial=None if trial is None else trial.candidate,
            share=0.0 if trial is None else trial.share,
            units=0 if live is None else len(live.vocabulary),
            absence=self._policies.why() if live is None else "",
        )

    def live(self) -> Version | None:
        """Return the registry's entry of the version that decides, ``None`` where none does.

        Raises:
            StoreError: the registry cannot be read.
        """
        name = self.deciding().live
        return None if name is None else self._registry.version(name)

    def healthy(self) -> bool:
        """Return whether it runs and the last write to the log went well."""
        return self._thread.is_alive() and self._engine.writable

    def close(self) -> None:
        """Answer what waits, then stop; closing twice is harmless."""
        self._inbox.close()
        self._thread.join()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    # Within

    def _items(self, requests: Sequence[Any]) -> list[Item]:
        match requests[0] if requests else None:
            case DecisionRequest():
                return self._asked(requests)
            case FeedbackRequest():
                return self._told(requests)
            case EndRequest():
                return self._ended(requests)
            case FetchRequest():
                return [Fetched(request) for request in requests]
        return []

    def _asked(self, requests: Sequence[DecisionRequest]) -> list[Item]:
        return [Asked(request, pseudonym(request.user, self._key)) for request in requests]

    def _told(self, rows: Sequence[FeedbackRequest]) -> list[Item]:
        return [
            Told(row, None if row.user is None else pseudonym(row.user, self._key)) for row in rows
        ]

    def _ended(self, requests: Sequence[EndRequest]) -> list[Item]:
        return [Ended(request, pseudonym(request.user, self._key)) for request in requests]

    def _ask(self, items: Sequence[Item]) -> list[Any]:
        """Put the items in jobs of at most a turn, wait for room and for the answers."""
        turn = self._limits.turn
        jobs = [Job(items[start : start + turn]) for start in range(0, len(items), turn)]
        for job in jobs:
            self._inbox.put(job, wait=True)
        return [result for job in jobs for result in job.answer.result()]

    def _run(self) -> None:
        while (jobs := self._inbox.take(self._limits.turn, timeout=IDLE_SECONDS)) is not None:
            if jobs:
                self._engine.turn(jobs)
            else:
                self._policies.refresh()
        event("service_stopped")

    def _watch(self) -> None:
        metrics = self.metrics
        metrics.watch(metrics.queue, lambda: len(self._inbox))
        metrics.watch(metrics.subjects, lambda: len(self._sessions))
        metrics.watch(metrics.parked, lambda: self._log.counts().parked)
        metrics.watch(metrics.live, lambda: int(self.deciding().live or 0))
        metrics.watch(metrics.trial, lambda: int(self.deciding().trial or 0))


def _mixed(seed: int, watermark: int) -> int:
    digest = hashlib.sha256(f"{seed}|{watermark}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
