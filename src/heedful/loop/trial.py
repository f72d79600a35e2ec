"""A trial is judged: one number per subject, the evidence for and against, guardrails, health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from heedful.config import Config, Gate
from heedful.evaluate import Levels, Verdict, assignment, judge
from heedful.loop.bench import Bench
from heedful.loop.cohort import Cohort, Patience, cohort
from heedful.loop.fitness import fitness
from heedful.loop.guarding import guarded
from heedful.record import reviewed_name
from heedful.reward import View
from heedful.store.registry import Trial
from heedful.store.registry.card import Json

OF_TODAY = {"shares", "approval", "minimum_subjects", "maximum_subjects"}
"""Keys of ``[gate]`` that say when to look and who says yes, and nothing about the evidence."""


def terms_of(config: Config) -> Mapping[str, Json]:
    """Return the settings that a trial which begins now is judged by.

    Whoever may change them after a look may choose among verdicts: the better of two betting rules
    errs up to twice as often as either.
    """
    sections = {"gate": config.gate, "constraints": config.constraints, "reward": config.reward}
    dumped = {name: section.model_dump(mode="json") for name, section in sections.items()}
    dumped["gate"] = {k: v for k, v in dumped["gate"].items() if k not in OF_TODAY}
    return cast(Mapping[str, Json], dumped)


def as_begun(bench: Bench, trial: Trial) -> Bench:
    """Return ``bench`` with the settings that ``trial`` is judged by, as they were in the start."""
    config = bench.config
    then = {
        name: getattr(config, name).model_copy(
            update=dict(type(getattr(config, name)).model_validate(terms)), deep=True
        )
        for name, terms in trial.terms.items()
        if name != "gate"
    }
    if "gate" in trial.terms:
        told = cast(Mapping[str, object], trial.terms["gate"])
        known = Gate.model_validate(dict(told))
        then["gate"] = config.gate.model_copy(update={key: getattr(known, key) for key in told})
    return replace(bench, config=config.model_copy(update=then))


def judge_trial(bench: Bench, trial: Trial) -> Verdict:
    """Judge ``trial`` on everything that has matured, by the reward of its candidate.

    Raises:
        RewardError: a guardrail or a constraint names a measure that is not known.
    """
    return judge_cohort(bench, trial, who_counts(bench, trial))


def who_counts(bench: Bench, trial: Trial) -> Cohort:
    """Return the subjects of ``trial`` that can be judged by now."""
    first_held = bench.registry.first_held(trial.begun_at)
    return cohort(trial, bench.log.snapshot(), patience(as_begun(bench, trial)), first_held)


def judge_cohort(bench: Bench, trial: Trial, judged: Cohort) -> Verdict:
    """Judge ``trial`` on its cohort; see :func:`judge_trial`."""
    bench = as_begun(bench, trial)
    gate, card = bench.config.gate, bench.registry.card(trial.candidate)
    earned = bench.earned(judged.snapshot, card.reward)
    levels = Levels(trial.alpha, gate.rollback_alpha, gate.betting)
    trained_until = 0 if card.snapshot is None else card.snapshot.watermark
    view = View(  # as in training: what is popular must not follow from what is on trial
        watermark=trained_until or trial.watermark, within=bench.config.reward.maturity or None
    )
    return judge(
        assignment(judged.means(earned.decisions), judged.arm, judged.share, margin=gate.margin),
        spend=trial.alpha,
        rollback_alpha=gate.rollback_alpha,
        betting=gate.betting,
        health=fitness(
            judged,
            watermark=trial.watermark,
            trained_until=trained_until,
            unjoined=_unjoined(bench, judged),
            versions=_ours(bench),
        ),
        guardrails=guarded(judged, earned, view, gate, bench.config.constraints, levels),
    )


def patience(bench: Bench) -> Patience:
    """Return how long subjects are observed: silence is an answer only once it has matured."""
    gate = bench.config.gate
    maturity = max(gate.maturity, bench.config.reward.maturity)
    return Patience(gate.window, maturity, bench.clock())


def _ours(bench: Bench) -> set[str]:
    """Return what the log calls those who decide here, with a person in between or without."""
    names = [version.name for version in bench.registry.versions()]
    return {*names, *map(reviewed_name, names)}


def _unjoined(bench: Bench, judged: Cohort) -> int:
    """Feedback that has not found its decision since the first decision of the trial."""
    rows = judged.found.rows
    if len(rows) == 0:
        return 0
    return bench.log.unjoined(float(judged.snapshot.decisions.made_at[rows].min()))
