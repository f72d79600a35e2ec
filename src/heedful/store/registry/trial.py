"""A trial: for a share of the subjects the candidate decides, for the others the live version."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any, Literal

from heedful.store.registry import ledger
from heedful.store.registry.audit import Reason, record
from heedful.store.registry.errors import RegistryError
from heedful.store.registry.version import name_of, number_of

Outcome = Literal["promoted", "refused", "stopped"]

COLUMNS = (
    "SELECT k, candidate, baseline, share, salt, watermark, alpha, begun_at, begun_by, ended_at,"
    " outcome FROM trials"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A randomised comparison of a candidate with the version that was live when it began.

    Attributes:
        k: which judgement of the workspace it is, from 1; also the trial's name.
        candidate: the version on trial.
        baseline: the version it is compared with, live throughout.
        share: probability that a subject is assigned to the candidate.
        salt: makes the assignment independent of every other trial's.
        watermark: only decisions after this sequence number count.
        alpha: what this judgement may spend of the workspace's alpha.
        begun_at: seconds since the epoch, UTC.
        begun_by: who began it.
        ended_at: seconds since the epoch, UTC; ``None`` while it is open.
        outcome: how it ended; ``None`` while it is open.
    """

    k: int
    candidate: str
    baseline: str
    share: float
    salt: str
    watermark: int
    alpha: float
    begun_at: float
    begun_by: str
    ended_at: float | None = None
    outcome: Outcome | None = None


def assigned(trial: Trial, subject: str) -> bool:
    """Return whether the candidate decides for ``subject`` as long as the trial lasts.

    The first 53 bits of SHA-256(salt, "|", subject) are a uniform number u in [0, 1); the candidate
    decides where u < share. So it is sticky, needs no memory, and server and judge agree.

    >>> trial = Trial(
    ...     k=1,
    ...     candidate="0002",
    ...     baseline="0001",
    ...     share=0.5,
    ...     salt="s",
    ...     watermark=0,
    ...     alpha=0.05,
    ...     begun_at=0.0,
    ...     begun_by="docs",
    ... )
    >>> [assigned(trial, subject) for subject in "abcd"]
    [True, False, True, False]
    """
    digest = hashlib.sha256(f"{trial.salt}|{subject}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53 < trial.share


def check_bounds(share: float, salt: str, watermark: int, alpha: float) -> None:
    """Check the arguments of a trial.

    Raises:
        RegistryError: names the argument, its value and what is allowed.
    """
    if not 0 < share < 1:
        raise RegistryError(f"share is {share}; it lies inside (0, 1), so that both are seen")
    if not 0 < alpha < 1:
        raise RegistryError(f"alpha is {alpha}; it lies inside (0, 1)")
    if watermark < 0:
        raise RegistryError(f"watermark is {watermark}; take the log's")
    if not salt:
        raise RegistryError("salt is empty; take a new random text for every trial")


def judged(connection: Connection) -> int:
    """Return how many judgements were ever begun."""
    query = "SELECT ifnull(max(k), 0) FROM judgements"
    count: int = connection.execute(query).fetchone()[0]
    return count


def judge(connection: Connection, number: int) -> int:
    """Count one more judgement, of this version, and return its k."""
    k = judged(connection) + 1
    connection.execute("INSERT INTO judgements (k, version) VALUES (?, ?)", (k, number))
    return k


def current(connection: Connection) -> Trial | None:
    """Return the trial that is open."""
    row = connection.execute(f"{COLUMNS} WHERE ended_at IS NULL").fetchone()
    return _trial(row) if row else None


def every(connection: Connection) -> list[Trial]:
    """Return all trials, oldest first."""
    return [_trial(row) for row in connection.execute(f"{COLUMNS} ORDER BY k")]


def require_none(connection: Connection) -> None:
    """Check that no trial is open: changing the live version would pull the baseline away.

    Raises:
        RegistryError: one is.
    """
    trial = current(connection)
    if trial is not None:
        raise RegistryError(f"version {trial.candidate} is on trial; end that trial first")


def begin(connection: Connection, trial: Trial, reason: Reason) -> None:
    """Open a trial whose ``baseline`` is the live version.

    Raises:
        RegistryError: its k is not the next one, or its salt was used before.
    """
    number = number_of(trial.candidate)
    if trial.k != judge(connection, number):
        raise RegistryError(
            f"k is {trial.k}, but {judged(connection) - 1} candidates were judged before; "
            "ask judged() again, and alpha with it"
        )
    query = "SELECT k FROM trials WHERE salt = ?"
    if connection.execute(query, (trial.salt,)).fetchone():
        raise RegistryError("this salt was used before; take a new random text for every trial")
    connection.execute(
        "INSERT INTO trials (k, candidate, baseline, share, salt, watermark, alpha, begun_at,"
        " begun_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            trial.k,
            number,
            number_of(trial.baseline),
            trial.share,
            trial.salt,
            trial.watermark,
            trial.alpha,
            trial.begun_at,
            trial.begun_by,
        ),
    )
    ledger.set_state(connection, number, "trial")
    record(connection, "trial begun", number, reason)


def end(connection: Connection, trial: Trial, outcome: Outcome, reason: Reason) -> None:
    """Close a trial, and promote, refuse or keep its candidate."""
    query = "UPDATE trials SET ended_at = ?, outcome = ? WHERE k = ?"
    connection.execute(query, (time.time(), outcome, trial.k))
    number = number_of(trial.candidate)
    closing = Reason(by=reason.by, why=reason.why, evidence={"k": trial.k, "outcome": outcome})
    record(connection, "trial ended", number, closing)
    if outcome == "promoted":
        ledger.go_live(connection, number, reason)
    elif outcome == "refused":
        ledger.refuse(connection, number, reason)
    else:
        ledger.set_state(connection, number, "candidate")


def _trial(row: Any) -> Trial:
    k, candidate, baseline, share, salt, watermark, alpha, begun_at, begun_by, ended_at, out = row
    return Trial(
        k=k,
        candidate=name_of(candidate),
        baseline=name_of(baseline),
        share=share,
        salt=salt,
        watermark=watermark,
        alpha=alpha,
        begun_at=begun_at,
        begun_by=begun_by,
        ended_at=ended_at,
        outcome=out,
    )
