"""Step 5, the deploying half: a trial is begun, judged, raised and settled; a version goes live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from heedful.config import Gate
from heedful.evaluate import Verdict, alpha_of
from heedful.loop.bench import Bench
from heedful.loop.guarding import check_declared
from heedful.loop.paired import check_games, verdict_by_games
from heedful.loop.trial import judge_cohort, terms_of, who_counts
from heedful.store.registry import RegistryError, Trial, Version
from heedful.store.registry.card import Json

Ruling = Literal["promote", "refuse", "raise", "wait"]

NOTICE = 5.0
"""Seconds between the decision to raise a share and the moment from which it holds. A service looks
at the registry at every turn, so all know before; who decided for whom follows from the time."""


class GateRefusedError(RuntimeError):
    """The evidence does not allow it; nothing was changed.

    Attributes:
        verdict: what the gate said; ``None`` where there was nothing to judge.
    """

    def __init__(self, words: str, verdict: Verdict | None = None) -> None:
        super().__init__(words)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Settled:
    """How a look at the open trial ended.

    Attributes:
        outcome: what was done.
        candidate: the version on trial.
        words: why, for people.
        verdict: why, in figures.
    """

    outcome: Literal["promoted", "refused", "raised", "waiting", "approval"]
    candidate: str
    words: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a trial.

    Attributes:
        trial: as it stood.
        verdict: on all that has matured.
        in_stage: subjects that have matured in the newest stage and count.
    """

    trial: Trial
    verdict: Verdict
    in_stage: int


def ruling(look: Look, gate: Gate) -> Ruling:
    """Return what a look at a trial means for its candidate.

    Promotion rests on the evidence alone, whose error is bounded however often one looks, and comes
    at the end of the last stage: none is skipped, as each shows that the candidate bears its share.
    So does a rollback, which does not wait for a stage to end: the evidence that the candidate is
    worse, or that it breaks a guardrail, suffices. One that has had ``gate.maximum_subjects`` and
    has not convinced is refused as well.
    """
    verdict = look.verdict
    if verdict.rollback:
        return "refuse"
    if look.in_stage < gate.minimum_subjects:
        return "wait"
    if verdict.promote:
        return "promote" if look.trial.last_stage else "raise"
    if verdict.rows >= gate.maximum_subjects:
        return "refuse"
    return "wait" if look.trial.last_stage else "raise"


def begin_trial(bench: Bench, candidate: str, *, by: str) -> Trial:
    """Give ``candidate`` the first of ``gate.shares`` of the subjects from now on.

    Raises:
        RewardError: a guardrail or a constraint names a measure that nobody knows.
        RegistryError: a trial is open, nothing is live, or it is no candidate.
    """
    gate, k = bench.config.gate, bench.registry.judged() + 1
    check_declared(gate, bench.config.constraints)
    return bench.registry.begin_trial(
        candidate,
        gate.shares,
        salt=bench.salt(f"trial {k} of {candidate}"),
        watermark=bench.log.watermark(),
        k=k,
        alpha=alpha_of(k, gate.alpha),
        by=by,
        at=bench.clock(),
        terms=terms_of(bench.config),
    )


def look_at(bench: Bench, trial: Trial) -> Look:
    """Judge ``trial`` on everything that has matured, by the reward of its candidate."""
    judged = who_counts(bench, trial)
    in_stage = int((judged.stage == trial.stage).sum())
    return Look(trial, judge_cohort(bench, trial, judged), in_stage)


def verdict_on(bench: Bench, trial: Trial) -> Verdict:
    """Return the verdict of :func:`look_at`."""
    return look_at(bench, trial).verdict


def settle(bench: Bench, *, by: str) -> Settled:
    """Judge the open trial; promote, refuse or raise its candidate if the evidence is in.

    Raises:
        RegistryError: no trial is open.
    """
    trial = bench.registry.trial()
    if trial is None:
        raise RegistryError("no trial is open; begin one first")
    look, gate = look_at(bench, trial), bench.config.gate
    verdict, decided = look.verdict, ruling(look, gate)
    if decided == "promote" and gate.approval:
        words = f"{verdict.words()} A person must say yes as well: promote {trial.candidate}."
        return Settled("approval", trial.candidate, words, verdict)
    if decided == "promote":
        bench.registry.end_trial(
            "promoted", by=by, why=verdict.words(), evidence=_figures(trial, verdict), seen=trial
        )
        return Settled("promoted", trial.candidate, verdict.words(), verdict)
    if decided == "refuse":
        words = _refusal(verdict, gate)
        figures = _figures(trial, verdict)
        bench.registry.end_trial("refused", by=by, why=words, evidence=figures, seen=trial)
        return Settled("refused", trial.candidate, words, verdict)
    if decided == "raise":
        words = _raised(bench, look, by=by)
        return Settled("raised", trial.candidate, words, verdict)
    return Settled("waiting", trial.candidate, _patience(look, gate), verdict)


def _raised(bench: Bench, look: Look, *, by: str) -> str:
    """Take the trial to its next stage, and return why in words."""
    trial, verdict = look.trial, look.verdict
    share = trial.shares[trial.stage + 1]
    words = (
        f"Version {trial.candidate} is given {share:.0%} of the subjects, after {trial.share:.0%}: "
        f"{look.in_stage:,} have matured in stage {trial.stage + 1} of {len(trial.shares)}, and "
        "nothing speaks for ending the trial."
    )
    bench.registry.raise_share(
        trial,
        bench.clock() + NOTICE,
        by=by,
        why=words,
        evidence=_figures(trial, verdict),
        now=bench.clock,
        notice=NOTICE / 2,
    )
    return f"{words} {verdict.reasons[0]}" if verdict.reasons else words


def promote(bench: Bench, name: str, *, by: str) -> Version:
    """Make ``name`` live, if the evidence allows it: its open trial must say so, or paired games.

    The first version of a workspace needs no evidence, as there is nothing it could be worse than.

    Raises:
        GateRefusedError: there is no trial of it, or the trial or the games do not say promote.
        RegistryError: it is live already or refused.
    """
    registry = bench.registry
    if registry.live() is None:
        return registry.promote(
            name, by=by, why="the first version: there is nothing to compare with"
        )
    version, trial = registry.version(name), registry.trial()
    if version.state in ("live", "refused"):
        raise RegistryError(f"policy version {name} is {version.state}")
    if bench.config.gate.evidence == "paired" and version.state != "canary":
        k, verdict = judge_by_games(bench, name, by=by)
        if not verdict.promote:
            raise GateRefusedError(verdict.words(), verdict)
        return registry.promote(name, by=by, why=verdict.words(), evidence=_of_games(k, verdict))
    if trial is None or trial.candidate != name:
        raise GateRefusedError(
            f"There is no evidence for {name}: it is not on trial. Begin a randomised trial, serve "
            "it for a while, and promote it when the trial says so."
        )
    look = look_at(bench, trial)
    verdict = look.verdict
    if ruling(look, bench.config.gate) != "promote":
        raise GateRefusedError(_patience(look, bench.config.gate), verdict)
    return registry.end_trial(
        "promoted", by=by, why=verdict.words(), evidence=_figures(trial, verdict), seen=trial
    )


def judge_by_games(bench: Bench, name: str, *, by: str) -> tuple[int, Verdict]:
    """Let a candidate and the live version play for the k-th judgement, which counts from now on.

    Returns:
        Its k, and the verdict.

    Raises:
        NoGamesError: nothing can be played here.
        RegistryError: it is no candidate, or nothing is live.
    """
    live = bench.registry.live()
    if live is None:
        raise RegistryError("no version is live to compare with; promote a first one")
    check_games(bench, name, live.name)
    k = bench.registry.judge(name, by=by, why=f"games beside {live.name} from the same seeds")
    return k, verdict_by_games(
        bench,
        name,
        live.name,
        purpose=f"games {k} of {name}",
        spend=alpha_of(k, bench.config.gate.alpha),
    )


def settle_by_games(bench: Bench, name: str, *, by: str) -> Settled:
    """Judge a candidate on paired games, and promote or refuse it."""
    k, verdict = judge_by_games(bench, name, by=by)
    why, evidence = verdict.words(), _of_games(k, verdict)
    if verdict.promote:
        bench.registry.promote(name, by=by, why=why, evidence=evidence)
        return Settled("promoted", name, why, verdict)
    bench.registry.refuse(name, by=by, why=why, evidence=evidence)
    return Settled("refused", name, why, verdict)


def _of_games(k: int, verdict: Verdict) -> Mapping[str, Json]:
    """Return the verdict for the audit, with which judgement it was."""
    return cast(Mapping[str, Json], {"k": k, "source": "paired games", **verdict.to_dict()})


def force(bench: Bench, name: str, *, by: str, why: str) -> Version:
    """Make ``name`` live on somebody's word; the audit says whose, and that it was no evidence.

    Raises:
        RegistryError: it is live already or refused, or nobody or no reason is named.
    """
    return bench.registry.promote(
        name, by=by, why=why, evidence={"forced": True}, despite_trial=True
    )


def _figures(trial: Trial, verdict: Verdict) -> Mapping[str, Json]:
    """Return the verdict for the audit, with the trial it closed."""
    return cast(Mapping[str, Json], {"k": trial.k, **verdict.to_dict()})


def _refusal(verdict: Verdict, gate: Gate) -> str:
    if verdict.rows >= gate.maximum_subjects:
        limit = f"It has had {verdict.rows:,} subjects, and {gate.maximum_subjects:,} is the limit."
        return f"{verdict.words()} {limit}"
    return verdict.words()


def _patience(look: Look, gate: Gate) -> str:
    trial, verdict = look.trial, look.verdict
    stages = len(trial.shares)
    where = "" if stages == 1 else f" in stage {trial.stage + 1} of {stages}, {trial.share:.0%}"
    if look.in_stage < gate.minimum_subjects:
        return (
            f"Wait: {look.in_stage:,} subjects have matured{where}, and no verdict is given before "
            f"{gate.minimum_subjects:,}."
        )
    if not trial.last_stage:
        return f"Wait: the trial is{where}, and a version goes live after the last stage."
    return verdict.words()
