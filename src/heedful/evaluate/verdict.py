"""What the gate says, in numbers for programs and in words for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heedful.evaluate.adaptive import Betting, e_process
from heedful.evaluate.evidence import Evidence
from heedful.evaluate.gate import EProcess, alpha_of, wealth
from heedful.evaluate.guarded import Guarded
from heedful.evaluate.health import HealthCheck
from heedful.evaluate.intervals import Interval, bootstrap


@dataclass(frozen=True)
class Verdict:
    """Promote, roll back or neither, and why.

    Attributes:
        promote: evidence reached what was needed at some row, every health check that holds a
            promotion back passed, every guardrail was shown to be kept, and nothing says roll back.
        rollback: evidence that the candidate is worse reached what rolls back, or a guardrail is
            broken.
        log_evidence: log of the largest evidence so far; the decision goes by it.
        log_evidence_now: log of the evidence after the last row.
        log_evidence_against: log of the largest evidence so far that the candidate is worse.
        needed: 1 / alpha_k, the evidence that promotes.
        rows: rows judged.
        unit: what a row is: "subjects", "decisions" or "pairs".
        subjects: subjects behind the rows; None where the source was not told.
        crossed_at: the first row (from 1) at which the evidence was enough; None if never.
        candidate: value of the candidate per row, scaled reward; None while there is no data.
        live: the same of the live policy.
        reasons: why, one plain sentence each.
        health: the checks of the data.
        guardrails: guardrails and declared constraints, each with its own evidence.
        history: (row, log evidence), for plots.
        needed_against: 1 / rollback_alpha, the evidence that rolls back.
        history_against: (row, log evidence that the candidate is worse), for plots.
    """

    promote: bool
    log_evidence: float
    log_evidence_now: float
    needed: float
    rows: int
    unit: str
    subjects: int | None
    crossed_at: int | None
    candidate: Interval | None
    live: Interval | None
    reasons: tuple[str, ...]
    health: tuple[HealthCheck, ...]
    history: tuple[tuple[int, float], ...]
    rollback: bool = False
    log_evidence_against: float = 0.0
    needed_against: float = 5.0
    history_against: tuple[tuple[int, float], ...] = ()
    guardrails: tuple[Guarded, ...] = ()

    @property
    def evidence(self) -> float:
        """Largest evidence so far (at most e^700, where float64 ends)."""
        return math.exp(min(self.log_evidence, 700.0))

    def words(self) -> str:
        """Return the verdict as a few sentences for whoever answers for the product."""
        broken = [one.words for one in self.guardrails if one.broken]
        if self.promote:
            headline = "Promote: the candidate is better than the live policy."
        elif broken:
            headline = "Do not promote, roll back: refused: " + " Refused: ".join(broken)
        elif self.rollback:
            headline = "Do not promote, roll back: the candidate is worse than the live policy."
        else:
            headline = "Do not promote: keep the live policy."
        return " ".join((headline, *self.reasons))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings and lists, ``words`` included."""
        return {**asdict(self), "evidence": self.evidence, "words": self.words()}


def judge(
    evidence: Evidence,
    *,
    alpha: float = 0.05,
    k: int = 1,
    spend: float | None = None,
    rollback_alpha: float = 0.2,
    betting: Betting = "mixture",
    health: Sequence[HealthCheck] = (),
    guardrails: Sequence[Guarded] = (),
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Verdict:
    """Bet on the evidence from its first row on, and say what follows.

    Judging the same rows again, with newer ones behind them, repeats the same path and continues
    it; so call it as often as you like.

    Args:
        evidence: from `assignment`, `off_policy` or `paired`.
        alpha: probability of ever promoting a candidate that is not better, over all candidates.
        k: which candidate this is, counted from 1; the k-th gets 6 alpha / (pi k)^2.
        spend: what this judgement may spend, where that was settled before, instead of the two.
        rollback_alpha: probability of ever rolling back a candidate that is not worse; each
            candidate gets all of it, as a wrong one costs a candidate and no user.
        betting: the rule of the bets.
        health: the caller's own checks, for example `heedful.evaluate.join_rate`.
        guardrails: from `heedful.evaluate.guarded`, at the same levels.
        level: of the two intervals, which describe and do not decide.
        draws: bootstrap resamples for them.
        seed: of those resamples.
    """
    needed = 1 / (alpha_of(k, alpha) if spend is None else spend)
    process = e_process(betting, evidence.fractions)
    path = process.update(evidence.differences, evidence.lowest)
    enough = np.flatnonzero(path >= math.log(needed))
    crossed_at = int(enough[0]) + 1 if len(enough) else None
    mirror = _mirrored(evidence, betting)
    against = mirror.log_maximum
    rollback = against >= math.log(1 / rollback_alpha) or any(one.broken for one in guardrails)
    checks = (*evidence.health, *health)
    fit = all(check.passed or not check.holds for check in checks)
    candidate, live = (
        bootstrap(values, level=level, draws=draws, seed=seed) if len(values) else None
        for values in (evidence.candidate, evidence.live)
    )
    return Verdict(
        promote=(
            crossed_at is not None
            and fit
            and all(one.passed for one in guardrails)
            and not rollback
        ),
        log_evidence=process.log_maximum,
        log_evidence_now=process.log_evidence,
        needed=needed,
        rows=process.rows,
        unit=evidence.unit,
        subjects=evidence.subjects,
        crossed_at=crossed_at,
        candidate=candidate,
        live=live,
        reasons=_explain(
            log_evidence=process.log_maximum,
            needed=needed,
            rows=process.rows,
            unit=evidence.unit,
            crossed_at=crossed_at,
            candidate=candidate,
            live=live,
            health=checks,
            guardrails=tuple(guardrails),
            against=against,
            enough_against=1 / rollback_alpha,
        ),
        health=checks,
        history=tuple(process.history),
        rollback=rollback,
        log_evidence_against=against,
        needed_against=1 / rollback_alpha,
        history_against=tuple(mirror.history),
        guardrails=tuple(guardrails),
    )


def _mirrored(evidence: Evidence, betting: Betting) -> EProcess:
    """Bet that the candidate is worse; where the differences have no bound, nothing is bet."""
    mirror = e_process(betting, evidence.fractions)
    if evidence.against is not None:
        mirror.update(*evidence.against)
    return mirror


def _explain(
    *,
    log_evidence: float,
    needed: float,
    rows: int,
    unit: str,
    crossed_at: int | None,
    candidate: Interval | None,
    live: Interval | None,
    health: tuple[HealthCheck, ...],
    guardrails: tuple[Guarded, ...],
    against: float,
    enough_against: float,
) -> tuple[str, ...]:
    """Say why, one sentence each: evidence for and against, values, guardrails, failed checks."""
    risk = (
        f"a candidate that is no better gets this far in at most {1 / needed:.1%} of trials, "
        "however often one looks"
    )
    if crossed_at is not None:
        evidence = (
            f"Evidence reached the {wealth(math.log(needed))} that was needed after "
            f"{crossed_at:,} of {rows:,} {unit} ({risk})."
        )
    else:
        evidence = (
            f"After {rows:,} {unit} the evidence has risen to {wealth(log_evidence)} "
            f"at most, and {wealth(math.log(needed))} is needed ({risk})."
        )
    worse = against >= math.log(enough_against)
    harm: tuple[str, ...] = ()
    if worse:
        harm = (
            f"Evidence that it is worse reached {wealth(against)}, and "
            f"{wealth(math.log(enough_against))} rolls back (a candidate that is not worse gets "
            f"this far in at most {1 / enough_against:.0%} of trials).",
        )
    values: tuple[str, ...] = ()
    if candidate is not None and live is not None:
        values = (f"Per {unit[:-1]} the candidate earns {candidate}, the live policy {live}.",)
    open_ = tuple(f"Guardrail {one.words}" for one in guardrails if not one.broken)
    failed = [check for check in health if not check.passed]
    doubts = tuple(f"Data check failed, {check.name}: {check.sentence}" for check in failed)
    outlook = _outlook(
        crossed_at,
        unhealthy=any(check.holds for check in failed),
        rollback=worse or any(one.broken for one in guardrails),
        guarded=all(one.passed for one in guardrails),
        candidate=candidate,
        live=live,
    )
    return (evidence, *harm, *values, *open_, *doubts, outlook)


def _outlook(
    crossed_at: int | None,
    *,
    unhealthy: bool,
    rollback: bool,
    guarded: bool,
    candidate: Interval | None,
    live: Interval | None,
) -> str:
    """What follows from it."""
    if rollback:
        return "End the trial: the live policy decides for everybody again."
    if unhealthy:
        return "No promotion before these checks pass."
    if crossed_at is not None and not guarded:
        return "It is better; no promotion before every guardrail is shown to be kept."
    if crossed_at is not None:
        return "All data checks passed."
    if candidate is None or live is None:
        return "There is nothing to compare yet; wait for data."
    if candidate.high < live.low:
        return "The candidate looks worse; the evidence does not suffice to roll it back yet."
    if candidate.mean > live.mean:
        return "It looks better, but that may be chance; more data will tell."
    return "Nothing suggests yet that it is better; more data may."
