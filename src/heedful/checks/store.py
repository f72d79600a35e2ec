"""The promises of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Protocol

import numpy as np

from heedful.checks.failure import expect
from heedful.record import UNKNOWN, ChoiceSet, Decision, End, Feedback, Kind
from heedful.store import Receipt, Record, Snapshot

CHOICES = ChoiceSet(forbidden=("never",))


class LogLike(Protocol):
    """The part of :class:`heedful.store.Log` that every store offers."""

    def append(
        self, records: Iterable[Record], *, choice_sets: Iterable[ChoiceSet] = ()
    ) -> list[Receipt]:
        """Append records, durably."""
        ...

    def snapshot(self, watermark: int | None = None) -> Snapshot:
        """Return everything up to a watermark."""
        ...

    def watermark(self) -> int:
        """Return the last sequence number."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def check_store(open_log: Callable[[], LogLike]) -> None:
    """Check that a log keeps its promises.

    Checked: what is appended is in the snapshot, and the same after the log was closed and opened
    again; twice is once; the same id with another body is a conflict; feedback before its decision
    is parked and joined when it comes; retractions take back; one value a giver, unit and kind; a
    snapshot of an earlier watermark never changes; nothing that was refused leaves a trace.

    Args:
        open_log: opens the same empty log for writing, each time it is called; the one it gave
            before has been closed by then.

    Raises:
        CheckFailure: says which promise is broken, and how.
    """
    log = open_log()
    try:
        _check_empty(log)
        _check_append(log)
        _check_duplicates(log)
        _check_refusals(log)
        _check_parking(log)
        _check_retraction(log)
        earlier, watermark = log.snapshot().digest(), log.watermark()
        _appended(log, [_decision("d9", subject="late")], ["added"], "append")
    finally:
        log.close()
    _check_reopened(open_log, earlier, watermark)


def _check_empty(log: LogLike) -> None:
    found = (log.watermark(), log.snapshot().decisions.n)
    why = "the checks need a log of their own"
    expect(found == (0, 0), "the log is empty at first", expected=(0, 0), found=found, why=why)


def _check_append(log: LogLike) -> None:
    """Decisions, feedback and ends come back as they were, in the order of their sequence."""
    known = _decision("d1", units=("a", "b"), logps=(-0.5, -1.25), choices=CHOICES.digest())
    unknown = _decision("d2", units=("b",), logps=None, step=1)
    click = _feedback("f1", about="d1", unit=1, value=True)
    end = End(id="e1", episode="visit", terminated=True, ended_at=9.0, context={"left": True})
    receipts = log.append([known, unknown, click, end], choice_sets=[CHOICES])
    _statuses(receipts, ["added"] * 4, "append")
    order = [receipt.seq for receipt in receipts]
    rising = all(a is not None and b is not None and a < b for a, b in pairwise(order))
    why = "histories stand in this order"
    expect(rising, "sequence numbers rise", expected="a < b < ...", found=order, why=why)
    snapshot = log.snapshot()
    facts = {
        "units": [snapshot.names.units[int(code)] for code in snapshot.decisions.units],
        "logps": [None if np.isnan(x) else float(x) for x in snapshot.decisions.logps],
        "context": snapshot.decisions.contexts[0],
        "choices": snapshot.names.choice_sets[int(snapshot.decisions.choices[0])],
        "free": snapshot.names.choice_sets[int(snapshot.decisions.choices[1])],
        "feedback": (int(snapshot.feedback.decision[0]), int(snapshot.feedback.unit[0])),
        "value": float(snapshot.feedback.value[0]),
        "ended": (bool(snapshot.ends.terminated[0]), snapshot.ends.contexts[0]),
        "newest": log.watermark(),
    }
    expected = {
        "units": ["a", "b", "b"],
        "logps": [-0.5, -1.25, None],
        "context": '{"place":"here"}',
        "choices": CHOICES,
        "free": ChoiceSet(),
        "feedback": (0, 1),
        "value": 1.0,
        "ended": (True, '{"left":true}'),
        "newest": order[-1],
    }
    _same("a snapshot holds what was appended", expected, facts)


def _check_duplicates(log: LogLike) -> None:
    """Twice is once; the same id with another body is an error."""
    before = log.snapshot().digest()
    again: list[Record] = [
        _decision("d2", units=("b",), logps=None, step=1),
        _feedback("f1", about="d1", unit=1, value=True),
    ]
    _appended(log, again, ["duplicate"] * 2, "the same record twice counts once")
    changed: list[Record] = [
        _decision("d2", units=("a",), logps=None, step=1),
        _feedback("f1", about="d1", unit=1, value=False),
        _feedback("f2", about="d1", unit=1, value=False),
    ]
    _appended(log, changed, ["conflict"] * 3, "another body, or a second value of the same giver")
    _unchanged(log, before)


def _check_refusals(log: LogLike) -> None:
    """What can never be true is refused alone; its neighbours are taken."""
    records: list[Record] = [
        _decision("d3", choices="0" * 32, step=2),
        _feedback("f3", about="d1", unit=7, value=True),
        _decision("d4", step=3),
    ]
    promise = "an unknown choice set and a unit that is not there are refused, neighbours are not"
    _appended(log, records, ["refused", "refused", "added"], promise)
    found = log.snapshot().decisions.n
    why = "a refused record must leave no trace"
    expect(found == 3, "decisions after a refusal", expected=3, found=found, why=why)


def _check_parking(log: LogLike) -> None:
    """Feedback may overtake its decision."""
    early = _feedback("f4", about="d5", unit=0, value=True)
    _appended(log, [early], ["parked"], "feedback before its decision is parked")
    _appended(log, [early], ["duplicate"], "parked feedback twice counts once")
    n_before = log.snapshot().feedback.n
    _appended(log, [_decision("d5", step=4)], ["added"], "append")
    feedback = log.snapshot().feedback
    facts = {"rows": feedback.n - n_before, "decision": int(feedback.decision[-1])}
    _same("parked feedback joins its decision when it comes", {"rows": 1, "decision": 3}, facts)


def _check_retraction(log: LogLike) -> None:
    """Feedback is taken back by its giver, once, and then may be given anew."""
    own = _feedback("r1", about="d1", unit=1, retracts="f1")
    other = _feedback("r0", about="d1", unit=1, retracts="f1", by="somebody else")
    _appended(log, [other], ["refused"], "only who gave feedback can take it back")
    _appended(log, [own, own], ["added", "duplicate"], "a retraction twice counts once")
    feedback = log.snapshot().feedback
    row = int(np.flatnonzero(feedback.retracts >= 0)[0])
    facts = {"takes back": int(feedback.retracts[row]), "taken back": feedback.retracted.tolist()}
    expected = {"takes back": 0, "taken back": [i == 0 for i in range(feedback.n)]}
    _same("a retraction marks what it takes back", expected, facts)
    anew = _feedback("f5", about="d1", unit=1, value=False)
    _appended(log, [anew], ["added"], "after a retraction feedback may be given anew")


def _check_reopened(open_log: Callable[[], LogLike], earlier: str, watermark: int) -> None:
    """What was acknowledged is there after opening again, and the past is as it was."""
    log = open_log()
    try:
        found = log.snapshot().decisions.n
        why = "what was acknowledged is on disk"
        expect(found == 5, "decisions after opening again", expected=5, found=found, why=why)
        past = log.snapshot(watermark).digest()
        why = "a policy version is a function of its snapshot: both must be found again"
        expect(
            past == earlier,
            "an earlier snapshot never changes",
            expected=earlier,
            found=past,
            why=why,
        )
    finally:
        log.close()


def _appended(log: LogLike, records: Iterable[Record], statuses: list[str], promise: str) -> None:
    _statuses(log.append(records), statuses, promise)


def _statuses(receipts: list[Receipt], statuses: list[str], promise: str) -> None:
    found = [str(receipt.status) for receipt in receipts]
    why = f"receipts are what clients act on: {[receipt.reason for receipt in receipts]}"
    expect(found == statuses, promise, expected=statuses, found=found, why=why)


def _unchanged(log: LogLike, digest: str) -> None:
    found = log.snapshot().digest()
    why = "duplicated feedback breaks a gate that is otherwise sound"
    expect(found == digest, "nothing was added", expected=digest, found=found, why=why)


def _same(promise: str, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
    wrong = [name for name in expected if expected[name] != found[name]]
    expect(
        not wrong,
        promise,
        expected={name: expected[name] for name in wrong},
        found={name: found[name] for name in wrong},
        why="training and judging read snapshots, and nothing else",
    )


def _decision(
    name: str,
    *,
    units: tuple[str, ...] = ("a",),
    logps: tuple[float, ...] | None = (-0.5,),
    step: int = 0,
    choices: str = "all",
    subject: str = "person",
) -> Decision:
    return Decision(
        id=name,
        episode="visit" if subject == "person" else "another visit",
        step=step,
        subject=subject,
        units=units,
        logps=UNKNOWN if logps is None else logps,
        policy="0001",
        made_at=float(step),
        context={"place": "here"},
        choices=choices,
        vocabulary="v",
    )


def _feedback(
    name: str,
    *,
    about: str,
    unit: int,
    value: bool | None = None,
    retracts: str | None = None,
    by: str = "person",
) -> Feedback:
    return Feedback(
        id=name,
        by=by,
        about=about,
        unit=unit,
        kind=Kind.CLICK,
        value=value,
        given_at=1.0,
        received_at=2.0,
        retracts=retracts,
    )
