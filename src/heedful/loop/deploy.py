"""Step 5, the deploying half: a trial is begun, judged and settled; a version goes live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from heedful.config import Gate
from heedful.evaluate import Verdict, alpha_of
from heedful.loop.bench import Bench
from heedful.loop.trial import judge_trial
from heedful.store.registry import RegistryError, Trial, Version
from heedful.store.registry.card import Json

Ruling = Literal["promote", "refuse", "wait"]


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

    outcome: Literal["promoted", "refused", "waiting", "approval"]
    candidate: str
    words: str
    verdict: Verdict


def ruling(verdict: Verdict, gate: Gate) -> Ruling:
    """Return what the verdict on a trial means for its candidate.

    Promotion rests on the evidence alone, whose error is bounded however often one looks. So does
    refusal: a candidate is refused when the evidence that it is worse, or that it breaks a
    guardrail, suffices, however few subjects that took; or when it has had
    ``gate.maximum_subjects`` and has not convinced.
    """
    if verdict.rollback:
        return "refuse"
    if verdict.rows < gate.minimum_subjects:
        return "wait"
    if verdict.promote:
        return "promote"
    return "refuse" if verdict.rows >= gate.maximum_subjects else "wait"


def begin_trial(bench: Bench, candidate: str, *, by: str) -> Trial:
    """Give ``candidate`` a share of the subjects from now on.

    Raises:
        RegistryError: a trial is open, nothing is live, or it is no candidate.
    """
    gate, k = bench.config.gate, bench.registry.judged() + 1
    return bench.registry.begin_trial(
        candidate,
        gate.share,
        salt=bench.salt(f"trial {k} of {candidate}"),
        watermark=bench.log.watermark(),
        k=k,
        alpha=alpha_of(k, gate.alpha),
        by=by,
    )


def verdict_on(bench: Bench, trial: Trial) -> Verdict:
    """Judge ``trial`` on everything that has matured, by the reward of its candidate."""
    return judge_trial(bench, trial)


def settle(bench: Bench, *, by: str) -> Settled:
    """Judge the open trial; promote or refuse its candidate if the evidence is in.

    Raises:
        RegistryError: no trial is open.
    """
    trial = bench.registry.trial()
    if trial is None:
        raise RegistryError("no trial is open; begin one first")
    verdict, gate = verdict_on(bench, trial), bench.config.gate
    decided = ruling(verdict, gate)
    if decided == "promote" and gate.approval:
        words = f"{verdict.words()} A person must say yes as well: promote {trial.candidate}."
        return Settled("approval", trial.candidate, words, verdict)
    if decided == "promote":
        bench.registry.end_trial(
            "promoted", by=by, why=verdict.words(), evidence=_figures(trial, verdict)
        )
        return Settled("promoted", trial.candidate, verdict.words(), verdict)
    if decided == "refuse":
        words = _refusal(verdict, gate)
        bench.registry.end_trial("refused", by=by, why=words, evidence=_figures(trial, verdict))
        return Settled("refused", trial.candidate, words, verdict)
    return Settled("waiting", trial.candidate, _patience(verdict, gate), verdict)


def promote(bench: Bench, name: str, *, by: str) -> Version:
    """Make ``name`` live, if the evidence allows it: its open trial must say so.

    The first version of a workspace needs no evidence, as there is nothing it could be worse than.

    Raises:
        GateRefusedError: there is no trial of it, or the trial does not say promote.
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
    if trial is None or trial.candidate != name:
        raise GateRefusedError(
            f"There is no evidence for {name}: it is not on trial. Begin a randomised trial, serve "
            "it for a while, and promote it when the trial says so."
        )
    verdict = verdict_on(bench, trial)
    if ruling(verdict, bench.config.gate) != "promote":
        raise GateRefusedError(_patience(verdict, bench.config.gate), verdict)
    return registry.end_trial(
        "promoted", by=by, why=verdict.words(), evidence=_figures(trial, verdict)
    )


def force(bench: Bench, name: str, *, by: str, why: str) -> Version:
    """Make ``name`` live on somebody's word; the audit says whose, and that it was no evidence.

    Raises:
        RegistryError: it is live already or refused, or nobody or no reason is named.
    """
    registry, evidence = bench.registry, {"forced": True}
    trial = registry.trial()
    if trial is not None and trial.candidate == name:
        return registry.end_trial("promoted", by=by, why=why, evidence=evidence)
    if trial is not None:
        registry.end_trial("stopped", by=by, why=f"{name} is promoted by hand: {why}")
    return registry.promote(name, by=by, why=why, evidence=evidence)


def _figures(trial: Trial, verdict: Verdict) -> Mapping[str, Json]:
    """Return the verdict for the audit, with the trial it closed."""
    return cast(Mapping[str, Json], {"k": trial.k, **verdict.to_dict()})


def _refusal(verdict: Verdict, gate: Gate) -> str:
    if verdict.rows >= gate.maximum_subjects:
        limit = f"It has had {verdict.rows:,} subjects, and {gate.maximum_subjects:,} is the limit."
        return f"{verdict.words()} {limit}"
    return verdict.words()


def _patience(verdict: Verdict, gate: Gate) -> str:
    if verdict.rows < gate.minimum_subjects:
        return (
            f"Wait: {verdict.rows:,} subjects have matured, and no verdict is given before "
            f"{gate.minimum_subjects:,}."
        )
    return verdict.words()
