"""A trial: for a share of the subjects the candidate decides, for the others the live version.

The share rises in stages. Whoever the candidate decides for in one stage, it decides for in all
later ones.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from sqlite3 import Connection
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.store.registry import ledger
from heedful.store.registry.audit import Reason, record
from heedful.store.registry.card import Json, canonical
from heedful.store.registry.errors import RegistryError
from heedful.store.registry.version import name_of, number_of

Outcome = Literal["promoted", "refused", "stopped"]

COLUMNS = (
    "SELECT k, candidate, baseline, salt, watermark, alpha, begun_at, begun_by, ended_at, outcome,"
    " terms FROM trials"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A randomised comparison of a candidate with the version that was live when it began.

    Attributes:
        k: which judgement of the workspace it is, from 1; also the trial's name.
        candidate: the version on trial.
        baseline: the version it is compared with, live throughout.
        shares: of each stage, the probability that a subject is assigned to the candidate; rising.
        since: when each stage that was reached began to hold, rising, seconds since the epoch; the
            first one holds before that, too. The last may lie a little ahead.
        salt: makes the assignment independent of every other trial's.
        watermark: only decisions after this sequence number count.
        alpha: what this judgement may spend of the workspace's alpha.
        begun_at: seconds since the epoch, UTC.
        begun_by: who began it.
        ended_at: seconds since the epoch, UTC; ``None`` while it is open.
        outcome: how it ended; ``None`` while it is open.
        terms: the settings it is judged by, as they were when it began.
    """

    k: int
    candidate: str
    baseline: str
    shares: tuple[float, ...]
    since: tuple[float, ...]
    salt: str
    watermark: int
    alpha: float
    begun_at: float
    begun_by: str
    ended_at: float | None = None
    outcome: Outcome | None = None
    terms: Mapping[str, Json] = field(default_factory=dict)

    @property
    def stage(self) -> int:
        """The newest stage that was reached, from 0."""
        return len(self.since) - 1

    @property
    def share(self) -> float:
        """The share of the newest stage that was reached."""
        return self.shares[self.stage]

    @property
    def last_stage(self) -> bool:
        """Whether there is no further stage."""
        return len(self.since) == len(self.shares)

    def share_at(self, moment: float) -> float:
        """Return the share that holds at a moment, seconds since the epoch."""
        return self.shares[bisect_right(self.since, moment, lo=1) - 1]

    def shares_at(self, moments: ArrayLike) -> NDArray[np.float64]:
        """Return the share that holds at each of some moments, float64 [N]."""
        stage = np.searchsorted(self.since[1:], np.asarray(moments), side="right")
        shares: NDArray[np.float64] = np.asarray(self.shares)[stage]
        return shares

    def within_a_stage(self, opened: ArrayLike, window: float) -> NDArray[np.bool_]:
        """Return whether a window opened and closed in the same stage, bool [N].

        Args:
            opened: when each window opened, seconds since the epoch.
            window: how long it is open, in seconds.
        """
        at = np.asarray(opened, dtype=np.float64)
        began = np.searchsorted(self.since[1:], at, side="right")
        ended = np.searchsorted(self.since[1:], at + window, side="left")
        same: NDArray[np.bool_] = began == ended
        return same


def uniform(salt: str, subject: str) -> float:
    """Return the first 53 bits of SHA-256(salt, "|", subject) as a number u in [0, 1)."""
    digest = hashlib.sha256(f"{salt}|{subject}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53


def assigned(trial: Trial, subject: str, at: float = math.inf) -> bool:
    """Return whether the candidate decides for ``subject`` at a moment; by default, in the end.

    It does where :func:`uniform` of the trial's salt and the subject is below the share that holds
    then. So it is sticky, needs no memory, and server and judge agree; and as shares rise, nobody
    goes back to the live version.

    >>> trial = Trial(
    ...     k=1,
    ...     candidate="0002",
    ...     baseline="0001",
    ...     shares=(0.1, 0.4),
    ...     since=(0.0, 1000.0),
    ...     salt="s",
    ...     watermark=0,
    ...     alpha=0.05,
    ...     begun_at=0.0,
    ...     begun_by="docs",
    ... )
    >>> [assigned(trial, subject, at=999.0) for subject in "abeh"]
    [False, False, False, True]
    >>> [assigned(trial, subject, at=1000.0) for subject in "abeh"]
    [True, False, True, True]
    """
    return uniform(trial.salt, subject) < trial.share_at(at)


def check_bounds(shares: Sequence[float], salt: str, watermark: int, alpha: float) -> None:
    """Check the arguments of a trial.

    Raises:
        RegistryError: names the argument, its value and what is allowed.
    """
    stages = list(shares)
    if not stages or not all(0 < share < 1 for share in stages):
        raise RegistryError(f"shares are {stages}; each lies inside (0, 1), so that both are seen")
    if any(later <= earlier for earlier, later in pairwise(stages)):
        raise RegistryError(f"shares are {stages}; each is above the one before")
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
    return _trial(connection, row) if row else None


def every(connection: Connection) -> list[Trial]:
    """Return all trials, oldest first."""
    rows = connection.execute(f"{COLUMNS} ORDER BY k").fetchall()
    return [_trial(connection, row) for row in rows]


def require_none(connection: Connection) -> None:
    """Check that no trial is open: changing the live version would pull the baseline away.

    Raises:
        RegistryError: one is.
    """
    trial = current(connection)
    if trial is not None:
        raise RegistryError(
            f"version {trial.candidate} is on trial; end that trial first: heedful stop "
            f"{trial.candidate}, or wait for its verdict"
        )


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
        "INSERT INTO trials (k, candidate, baseline, salt, watermark, alpha, begun_at, begun_by,"
        " terms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            trial.k,
            number,
            number_of(trial.baseline),
            trial.salt,
            trial.watermark,
            trial.alpha,
            trial.begun_at,
            trial.begun_by,
            canonical("terms", trial.terms),
        ),
    )
    connection.executemany(
        "INSERT INTO stages (trial, number, share, since) VALUES (?, ?, ?, ?)",
        [
            (trial.k, stage, share, trial.begun_at if stage == 0 else None)
            for stage, share in enumerate(trial.shares)
        ],
    )
    ledger.set_state(connection, number, "canary")
    record(connection, "trial begun", number, reason)


def advance(connection: Connection, trial: Trial, since: float, reason: Reason) -> Trial:
    """Take a trial to its next stage, which holds from ``since`` on.

    Raises:
        RegistryError: there is no next stage, or it would begin before this one.
    """
    if trial.last_stage:
        raise RegistryError(f"version {trial.candidate} is in its last stage, {trial.share:.0%}")
    if since <= trial.since[-1]:
        raise RegistryError(f"a stage from {since} on would begin before the one that holds now")
    query = "UPDATE stages SET since = ? WHERE trial = ? AND number = ?"
    connection.execute(query, (since, trial.k, trial.stage + 1))
    raised = replace(trial, since=(*trial.since, since))
    about = {"k": trial.k, "stage": raised.stage, "share": raised.share, "since": since}
    reason = replace(reason, evidence={**reason.evidence, **about})
    record(connection, "raised", number_of(trial.candidate), reason)
    return raised


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


def _trial(connection: Connection, row: Any) -> Trial:
    k, candidate, baseline, salt, watermark, alpha, begun_at, begun_by, ended_at, outcome, terms = (
        row
    )
    query = "SELECT share, since FROM stages WHERE trial = ? ORDER BY number"
    stages = connection.execute(query, (k,)).fetchall()
    return Trial(
        k=k,
        candidate=name_of(candidate),
        baseline=name_of(baseline),
        shares=tuple(share for share, _ in stages),
        since=tuple(since for _, since in stages if since is not None),
        salt=salt,
        watermark=watermark,
        alpha=alpha,
        begun_at=begun_at,
        begun_by=begun_by,
        ended_at=ended_at,
        outcome=outcome,
        terms=json.loads(terms),
    )
