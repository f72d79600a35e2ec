"""What decides now, and how far the open trial has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heedful.evaluate import Verdict
from heedful.loop.bench import Bench
from heedful.loop.deploy import look_at
from heedful.loop.improve import routed
from heedful.loop.router import NothingToLearnError, Route
from heedful.loop.steps import learned_until
from heedful.reward import RewardError
from heedful.store.registry import AuditEntry, Trial, Version


@dataclass(frozen=True, slots=True)
class Status:
    """Who decides, since when, on what evidence, and what operators have said.

    Attributes:
        live: the live version; ``None`` before the first promotion.
        live_since: when it became live, seconds since the epoch.
        trial: the open trial.
        in_stage: its subjects that have matured in the newest stage and count.
        verdict: what the gate says of it so far.
        blocked: units that no decision may hold.
        held: decisions that wait for a person.
        learns: which objective the next reinforcement of the live version would learn by, and the
            feedback there is; ``None`` before anything is live.
        refused: why it could not learn as ``[reinforce] objective`` asks, else empty.
    """

    live: str | None
    live_since: float | None
    trial: Trial | None
    in_stage: int
    verdict: Verdict | None
    blocked: tuple[str, ...]
    held: int
    learns: Route | None = None
    refused: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON; the verdict without its history."""
        return {
            "live": self.live,
            "live_since": self.live_since,
            "trial": self._trial(),
            "blocked": list(self.blocked),
            "held": self.held,
            "learns": None if self.learns is None else self.learns.to_dict(),
            "refused": self.refused,
        }

    def _trial(self) -> dict[str, object] | None:
        trial, verdict = self.trial, self.verdict
        if trial is None or verdict is None:
            return None
        return {
            "k": trial.k,
            "policy": trial.candidate,
            "baseline": trial.baseline,
            "stage": trial.stage + 1,
            "shares": list(trial.shares),
            "share": trial.share,
            "since": list(trial.since),
            "subjects": verdict.rows,
            "subjects_in_stage": self.in_stage,
            "evidence": verdict.evidence,
            "needed": verdict.needed,
            "promote": verdict.promote,
            "rollback": verdict.rollback,
            "words": verdict.words(),
        }


def status(bench: Bench) -> Status:
    """Return how things stand; nothing is changed, and no judgement is spent."""
    registry, trial = bench.registry, bench.registry.trial()
    live, look = registry.live(), None if trial is None else look_at(bench, trial)
    learns, refused = (None, "") if live is None else _learns(bench, live)
    return Status(
        live=None if live is None else live.name,
        live_since=None if live is None else _since(registry.audit(), live.name),
        trial=trial,
        in_stage=0 if look is None else look.in_stage,
        verdict=None if look is None else look.verdict,
        blocked=tuple(sorted(registry.blocked())),
        held=len(registry.waiting()),
        learns=learns,
        refused=refused,
    )


def _learns(bench: Bench, live: Version) -> tuple[Route | None, str]:
    """Return how the next reinforcement of ``live`` would learn, or why it could not."""
    try:
        return routed(bench, bench.log.snapshot(), after=learned_until(bench, live)), ""
    except (NothingToLearnError, RewardError) as error:
        return None, str(error)


def _since(audit: Sequence[AuditEntry], version: str) -> float | None:
    """Return when ``version`` last became live."""
    became = [
        entry.at
        for entry in audit
        if entry.version == version and entry.action in ("promoted", "rolled back")
    ]
    return became[-1] if became else None
