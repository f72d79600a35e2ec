"""A trial is judged: one number per subject, the evidence for and against, guardrails, health."""

from __future__ import annotations

from heedful.evaluate import Levels, Verdict, assignment, judge
from heedful.evaluate.gate import alpha_of
from heedful.loop.bench import Bench
from heedful.loop.cohort import Cohort, Patience, cohort
from heedful.loop.fitness import fitness
from heedful.loop.guarding import guarded
from heedful.record import reviewed_name
from heedful.reward import View
from heedful.store.registry import Trial


def judge_trial(bench: Bench, trial: Trial) -> Verdict:
    """Judge ``trial`` on everything that has matured, by the reward of its candidate.

    Raises:
        RewardError: a guardrail or a constraint names a measure that is not known.
    """
    return judge_cohort(bench, trial, who_counts(bench, trial))


def who_counts(bench: Bench, trial: Trial) -> Cohort:
    """Return the subjects of ``trial`` that can be judged by now."""
    first_held = bench.registry.first_held(trial.begun_at)
    return cohort(trial, bench.log.snapshot(), patience(bench), first_held)


def judge_cohort(bench: Bench, trial: Trial, judged: Cohort) -> Verdict:
    """Judge ``trial`` on its cohort; see :func:`judge_trial`."""
    gate, card = bench.config.gate, bench.registry.card(trial.candidate)
    earned = bench.earned(judged.snapshot, card.reward)
    levels = Levels(alpha_of(trial.k, gate.alpha), gate.rollback_alpha, gate.betting)
    view = View(watermark=trial.watermark, within=bench.config.reward.maturity or None)
    return judge(
        assignment(judged.means(earned.decisions), judged.arm, judged.share, margin=gate.margin),
        alpha=gate.alpha,
        k=trial.k,
        rollback_alpha=gate.rollback_alpha,
        betting=gate.betting,
        health=fitness(
            judged,
            watermark=trial.watermark,
            trained_until=0 if card.snapshot is None else card.snapshot.watermark,
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
