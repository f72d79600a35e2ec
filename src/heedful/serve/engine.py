"""A turn: what waits is decided in batches, written in one transaction, and only then answered.

So the order of the log is the order of processing, and the history of a decision is exactly what
the log holds before it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from heedful.contract import Conversation, Domain
from heedful.record import (
    ALL,
    UNKNOWN,
    Decision,
    End,
    Feedback,
    Kind,
    RecordError,
    Value,
    content_id,
    reviewed_name,
)
from heedful.serve.answers import Answers
from heedful.serve.draw import Draw
from heedful.serve.holding import Holding, shown
from heedful.serve.inbox import Asked, Ended, Fetched, Item, Job, Told
from heedful.serve.logs import event, logger
from heedful.serve.metrics import Metrics
from heedful.serve.policies import Policies, Served
from heedful.serve.requests import DecisionAnswer, FeedbackRequest, HeldAnswer, ServiceError
from heedful.serve.sessions import Sessions, Visitor
from heedful.store import Log, Receipt, Record, StoreError

ANSWERS_KEPT = 10_000


class Engine:
    """Answers jobs, one turn after the other; used by one thread at a time."""

    def __init__(
        self,
        log: Log,
        domain: Domain,
        policies: Policies,
        sessions: Sessions,
        draw: Draw,
        holding: Holding,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """Take charge of the writer of ``log``."""
        self._log, self._policies, self._sessions = log, policies, sessions
        self._domain = domain
        self._draw, self._holding = draw, holding
        self._metrics, self._clock = metrics, clock
        self._answers = Answers(ANSWERS_KEPT)
        self._prefers = any(channel.kind == "preference" for channel in domain.channels)
        self._watermark = log.watermark()
        self.writable = True

    def turn(self, jobs: Sequence[Job]) -> None:
        """Answer ``jobs``; whatever goes wrong, each of them is answered."""
        items = [item for job in jobs for item in job.items]
        error: ServiceError | None = None
        try:
            self._policies.refresh()
            self._look_up(items)
            for part in parts(items):
                self._part(part)
        except Exception as fault:
            error = self._failed(fault)
        self._sessions.trim()
        self._metrics.turn_items.observe(len(items))
        for job in jobs:
            self._answer(job, error)

    def _failed(self, fault: Exception) -> ServiceError:
        """Forget what may not be in the log, and say why the turn failed."""
        self._sessions.forget_all()
        self.writable = not isinstance(fault, StoreError)
        if isinstance(fault, StoreError):
            event("log_failed", level=logging.ERROR, error=str(fault))
            return ServiceError(
                "unavailable", "the log cannot be written now; nothing was kept", retry_after=5.0
            )
        logger.error("engine_failed", exc_info=fault)
        return ServiceError("failed", "the service failed; nothing was kept")

    def _answer(self, job: Job, error: ServiceError | None) -> None:
        """Resolve ``job`` with its results, or with the error where the log failed before them."""
        self._metrics.seconds.observe(time.perf_counter() - job.since)
        if error is not None and any(item.result is None for item in job.items):
            if not all(isinstance(item, Asked | Fetched) for item in job.items):
                job.answer.set_exception(error)
                return
            for item in job.items:
                item.result = item.result or error
        job.answer.set_result([item.result for item in job.items])

    def _look_up(self, items: Sequence[Item]) -> None:
        """Find out whom feedback concerns, and what is known of decisions that were held."""
        self._holding.look_up(item for item in items if isinstance(item, Fetched))
        for item in items:
            if isinstance(item, Told):
                item.subject = self._sessions.subject_of(item.request.decision)

    # One transaction

    def _part(self, part: Sequence[Item]) -> None:
        now = self._clock()
        asked = [item for item in part if isinstance(item, Asked)]
        fresh, repeated = self._answers.sort(asked)
        fetched = [item for item in part if isinstance(item, Fetched)]
        self._load(fresh, [item for item in part if isinstance(item, Ended)], fetched, now)
        self._holding.toss(fresh)
        self._draw.decide(fresh, now)
        for item in part:
            if isinstance(item, Told):
                item.record = self._feedback(item, now)
            elif isinstance(item, Ended):
                item.record = self._end(item, now)
        for item in fetched:
            item.record = self._shown(item, now)
        held = [item for item in fresh if item.held and item.record is not None]
        self._write([item for item in part if item.record is not None and item not in held])
        self._hold(held)
        for item, first in repeated:
            item.result = self._answers.repeat(item, first)
        self._count(part)

    def _load(
        self,
        asked: Sequence[Asked],
        ended: Sequence[Ended],
        fetched: Sequence[Fetched],
        now: float,
    ) -> None:
        """Bring the subjects of decisions and ends into memory, as their policies want them."""
        wanted: dict[str, Served] = {}
        subjects = {item.subject for item in asked} | {item.subject for item in ended}
        for subject in subjects | {item.subject for item in fetched if item.subject is not None}:
            served = self._policies.of(subject, now)
            if served is not None:
                wanted[subject] = served
        for item in asked:
            if item.subject not in wanted:
                item.result = ServiceError("unavailable", self._policies.absence, retry_after=30.0)
        for end in ended:
            if end.subject not in wanted:
                end.result = Receipt("refused", reason=self._policies.absence)
        self._sessions.load(wanted)

    def _feedback(self, item: Told, now: float) -> Feedback | None:
        """Return the row, or ``None`` where it is refused already."""
        request, by = item.request, item.by or item.subject
        if by is None or (item.subject is None and request.given_at is None):
            item.result = Receipt(
                "refused",
                reason="decision: not known here; say user and given_at, and it can wait for it",
            )
            return None
        try:
            return Feedback(
                id=request.id,
                by=by,
                about=request.decision,
                unit=request.unit,
                kind=request.kind,
                value=self._value(request),
                given_at=now if request.given_at is None else request.given_at,
                received_at=now,
                retracts=request.retracts,
            )
        except RecordError as error:
            item.result = Receipt("refused", reason=str(error))
            return None

    def _value(self, request: FeedbackRequest) -> Value | None:
        """Return what was said as a record has it.

        Raises:
            RecordError: it shows a decision as text, and decisions are none.
        """
        if request.kind is not Kind.DEMONSTRATION or not isinstance(request.value, str):
            return request.value
        if not isinstance(self._domain, Conversation):
            raise RecordError("value", "of a demonstration is text", "list the unit ids")
        return self._domain.units(request.value)

    def _text(self, units: Sequence[str]) -> str | None:
        return self._domain.text(units) if isinstance(self._domain, Conversation) else None

    def _end(self, item: Ended, now: float) -> End | None:
        """Return the row, or ``None`` where the answer is known without it."""
        visitor = self._sessions.get(item.subject)
        if item.result is not None or visitor is None:
            return None
        request = item.request
        episode = self._draw.episode_of(visitor, request.user, request.session) or visitor.episode
        if episode not in visitor.steps:
            item.result = Receipt("refused", reason="session: there is none of this name to end")
        elif episode in visitor.ended:
            same = visitor.same_end(episode, terminated=request.terminated, context=request.context)
            item.result = Receipt(
                "duplicate" if same else "conflict", reason="session: it has ended already"
            )
        else:
            self._check_final(item, visitor, episode)
        if item.result is not None:
            return None
        return End(
            id=content_id("end", episode),
            episode=episode,
            terminated=request.terminated,
            ended_at=now,
            context=request.context,
        )

    def _check_final(self, item: Ended, visitor: Visitor, episode: str) -> None:
        """Refuse a final context that no stream could read: once in the log, it is there for ever.

        Contexts of decisions need no such look, as they are read before anything is drawn.
        """
        try:
            visitor.session_in(episode).stream.context(item.request.context)
        except Exception as error:  # a domain may trip over a context in any way
            item.result = Receipt("refused", reason=f"context: cannot be read: {error}")

    def _shown(self, item: Fetched, now: float) -> Decision | None:
        """Return the row of a held decision that is shown now, ``None`` where there is none to add.

        It enters the log when it is asked for: before, nobody had seen it.
        """
        logged = self._sessions.subject_of(item.request.decision) is not None
        drawn = self._holding.answer(item, self._policies.blocked, shown=logged)
        if not isinstance(drawn, Decision):
            item.result = drawn
            return None
        if logged:
            item.result = shown(drawn, self._text(drawn.units))
            return None
        visitor = self._sessions.get(drawn.subject)
        if visitor is None:
            item.result = ServiceError("unavailable", self._policies.absence, retry_after=30.0)
            return None
        if drawn.episode in visitor.ended:
            problem = "its session has ended; ask for another decision"
            item.result = ServiceError("rejected", problem)
            return None
        assert item.held is not None
        item.choices = item.held.choices
        return replace(
            drawn,
            step=visitor.steps.get(drawn.episode, 0),
            logps=UNKNOWN,
            policy=reviewed_name(drawn.policy),
            made_at=now,
        )

    def _hold(self, items: Sequence[Asked]) -> None:
        """Keep decisions for a person to look at."""
        self._holding.keep(items)
        for item in items:
            if isinstance(item.result, HeldAnswer):
                self._answers.keep(item, item.result)

    def _write(self, items: Sequence[Item]) -> None:
        """Append the items' records, durably, and only then take them for true."""
        records: list[Record] = [item.record for item in items if item.record is not None]
        if not records:
            return
        sets = {
            item.record.choices: item.choices
            for item in items
            if isinstance(item, Asked | Fetched) and item.record and item.choices
        }
        sets.pop(ALL, None)
        receipts = self._log.append(records, choice_sets=sets.values())
        self.writable = True
        for item, receipt in zip(items, receipts, strict=True):
            self._keep(item, receipt)
        self._joined(items, sum(receipt.status == "added" for receipt in receipts))
        self._as_stored([item for item in items if isinstance(item, Told)])

    def _keep(self, item: Item, receipt: Receipt) -> None:
        if isinstance(item, Asked):
            self._keep_decision(item, receipt)
            return
        if isinstance(item, Fetched):
            self._keep_shown(item, receipt)
            return
        item.result = receipt
        visitor = self._sessions.get(item.subject) if item.subject is not None else None
        if receipt.status != "added" or visitor is None or item.record is None:
            return
        if isinstance(item.record, Feedback) and not visitor.knows(item.record):
            # It speaks of rows that were read back under other names: read them again.
            self._sessions.forget([item.subject or ""])
            return
        visitor.append(item.record)

    def _keep_decision(self, item: Asked, receipt: Receipt) -> None:
        record = item.record
        assert record is not None
        if receipt.status != "added":  # ids are minted here, so this is a fault, not a repetition
            self._sessions.forget([item.subject])
            item.result = ServiceError("failed", f"the log refused the decision: {receipt.reason}")
            return
        self._sessions.remember(record)
        assert isinstance(record.logps, tuple)
        item.result = DecisionAnswer(
            id=record.id,
            units=record.units,
            logps=record.logps,
            policy=record.policy,
            session=item.request.session or record.episode,
            unknown=item.unknown,
            text=self._text(record.units),
            ended=item.choices is not None and record.units[-1] == item.choices.end,
            read=item.read,
        )
        self._answers.keep(item, item.result)

    def _keep_shown(self, item: Fetched, receipt: Receipt) -> None:
        assert item.held is not None
        if receipt.status not in ("added", "duplicate"):
            problem = f"the log refused the decision: {receipt.reason}"
            item.result = ServiceError("failed", problem)
            return
        item.result = shown(item.held.decision, self._text(item.held.decision.units))
        self._sessions.forget([item.held.decision.subject])  # its stream has to be read again

    def _joined(self, items: Sequence[Item], added: int) -> None:
        """Forget whose parked feedback the log joined just now, unsaid by any receipt.

        It was about the subjects of this part; only a preference waits for one subject's decision
        and speaks of another's.
        """
        before, self._watermark = self._watermark, self._log.watermark()
        if self._watermark - before == added:
            return
        if self._prefers:
            self._sessions.forget_all()
        self._sessions.forget(item.subject for item in items if item.subject is not None)

    def _as_stored(self, told: Sequence[Told]) -> None:
        """Recognise repeated feedback whose time was, both times, left for the log to say.

        The rest of the body decides: it is compared by the log itself, under the stored time.
        """
        clashing = [
            item
            for item in told
            if item.result is not None
            and item.result.status == "conflict"
            and item.result.seq is not None
            and item.request.given_at is None
            and item.subject is not None
        ]
        if not clashing:
            return
        stored = self._log.history(sorted({item.subject or "" for item in clashing})).feedback
        given_at = dict(zip(stored.seq.tolist(), stored.given_at.tolist(), strict=True))
        rows = [
            replace(item.record, given_at=given_at[item.result.seq])
            for item in clashing
            if item.record is not None and item.result is not None and item.result.seq in given_at
        ]
        if not rows:
            return
        receipts = {row.id: r for row, r in zip(rows, self._log.append(rows), strict=True)}
        for item in clashing:
            receipt = receipts.get(item.request.id)
            if receipt is not None and receipt.status == "duplicate":
                item.result = receipt

    def _count(self, part: Iterable[Item]) -> None:
        for item in part:
            if isinstance(item, Asked | Fetched):
                if isinstance(item.result, HeldAnswer):
                    self._metrics.held.inc(isinstance(item, Asked))
                elif isinstance(item.result, DecisionAnswer):
                    self._metrics.decisions.labels(item.result.policy).inc()
                elif item.result is not None:
                    self._metrics.refusals.labels(item.result.reason).inc()
            elif item.result is not None and isinstance(item, Told):
                self._metrics.feedback.labels(item.request.kind.value, item.result.status).inc()
            elif item.result is not None:
                self._metrics.ends.labels(item.result.status).inc()


def parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut items into transactions: no decision of a subject follows its feedback within one.

    Whether feedback counts (it may be a repetition, or contradict an earlier one) is known when the
    log has taken it, and the subject's very next decision must see it.
    """
    part: list[Item] = []
    spoken: set[str] = set()
    for item in items:
        if not isinstance(item, Told) and item.subject in spoken:
            yield part
            part, spoken = [], set()
        part.append(item)
        if not isinstance(item, Asked) and item.subject is not None:
            spoken.add(item.subject)
    if part:
        yield part
