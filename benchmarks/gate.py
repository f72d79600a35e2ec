"""The gate's errors and power on simulated trials, beside the figures it was designed to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks import Table
from benchmarks._gate_trials import (
    ALPHA,
    CANDIDATE,
    FAULTS,
    ROLLBACK_ALPHA,
    assignment_trials,
    canaries,
    faults,
    guardrail_trials,
    loops,
    off_policy_trials,
    worth_of_the_log,
)
from heedful.evaluate import Betting

RULES: tuple[Betting, ...] = ("mixture", "agrapa")

UNEQUAL = {  # every arm pays something else, yet arm 1 pays what the log's mixture of arms pays
    0.5: [0.15, 0.12, 0.02, 0.06, 0.10],
    0.2: [0.13, 0.12, 0.02, 0.05, 0.08],
}
ASSIGNMENT_DESIGN = {  # (base, gain): without a baseline, with one
    (0.1, 0.0): ("1.0 %", "1.0 %"),
    (0.1, 0.02): ("72 %, 2,678", "90 %, 1,888"),
    (0.1, 0.05): ("100 %, 629", "100 %, 485"),
    (0.1, 0.10): ("100 %, 256", "100 %, 208"),
    (0.3, 0.0): ("1.8 %", "1.2 %"),
    (0.3, 0.02): ("14 %", "51 %, 3,912"),
    (0.3, 0.05): ("87 %, 1,930", "100 %, 652"),
    (0.3, 0.10): ("100 %, 532", "100 %, 206"),
}
OFF_POLICY_DESIGN = {  # (exploration, gain)
    (0.5, 0.0): "1.8 %",
    (0.5, 0.03): "85 %",
    (0.5, 0.10): "median 1,065",
    (0.2, 0.0): "3.3 %",
}


def run(*, quick: bool = False) -> list[Table]:
    """Measure all tables; ``quick`` takes a tenth of the runs."""
    scale = 10 if quick else 1
    return [
        _assignment_table(1000 // scale),
        _off_policy_table(400 // scale),
        _equals_table(2000 // scale),
        _loop_table(2000 // scale),
        _fault_table(2000 // scale),
        _canary_table(1000 // scale),
        _guardrail_table(1000 // scale),
    ]


def _assignment_table(runs: int) -> Table:
    rows = []
    for (base, gain), design in ASSIGNMENT_DESIGN.items():
        cells = [f"{base}", f"{gain}"]
        for expected, baseline in zip(design, (False, True), strict=True):
            rows_at = assignment_trials(
                runs, 4000, 10, base=base, gain=gain, baseline=baseline, seed=1
            )
            cells += [_outcome(rows_at), expected]
        rows.append(tuple(cells))
    heads = ("base", "gain", "without baseline", "design", "with baseline", "design")
    return Table(
        "Random assignment: promoted, median subjects",
        heads,
        tuple(rows),
        f"One D per subject, share 1/2, 10 decisions each, alpha {ALPHA}, looked at after every "
        f"one of up to 4,000 subjects, {runs:,} runs. The median is over all runs, also those that "
        "never promote.",
    )


def _off_policy_table(runs: int) -> Table:
    rows = []
    for (exploration, gain), expected in OFF_POLICY_DESIGN.items():
        values = [0.1] * 5
        values[CANDIDATE] += gain
        rows_at = off_policy_trials(runs, 20_000, exploration, values, seed=2)
        rows.append((f"{5 / exploration:.0f}", f"{gain}", _outcome(rows_at), expected))
    return Table(
        "Logged probabilities: promoted, median decisions",
        ("largest weight", "gain", "measured", "design"),
        tuple(rows),
        f"Five arms that pay .10, the candidate's pays the gain more; alpha {ALPHA}, looked at "
        f"after every one of up to 20,000 decisions, {runs:,} runs.",
    )


def _equals_table(runs: int) -> Table:
    rows = []
    for exploration in (0.5, 0.2):
        for name, values in (("equal", [0.1] * 5), ("unequal", UNEQUAL[exploration])):
            assert abs(worth_of_the_log(values, exploration) - values[CANDIDATE]) < 1e-12
            crossed = [
                off_policy_trials(runs, 20_000, exploration, values, 3, rule) for rule in RULES
            ]
            source = f"logged probabilities, {name} arms, largest weight {5 / exploration:.0f}"
            rows.append((source, *map(_share, crossed)))
    for base, share in ((0.1, 0.5), (0.3, 0.5), (0.3, 0.1)):
        crossed = [
            assignment_trials(
                runs, 2000, 10, base=base, gain=0.0, share=share, seed=4, betting=rule
            )
            for rule in RULES
        ]
        source = f"random assignment, click rate {base}, share {share}"
        rows.append((source, *map(_share, crossed)))
    return Table(
        "Candidates worth the same as live: promoted",
        ("evidence", "mixture", "aGRAPA"),
        tuple(rows),
        f"At most {ALPHA:.0%} may be. {runs:,} runs, looked at after every one of 20,000 decisions "
        "or 2,000 subjects. Unequal arms: every arm pays something else, the candidate's what "
        "the log earns on average.",
    )


def _loop_table(runs: int) -> Table:
    cases = {
        "fresh rows, the k-th candidate at alpha_k: the gate": {},
        "fresh rows, every candidate at alpha": {"shared": False},
        "the log it was learned from, at alpha_k": {"fresh": False},
    }
    rows = []
    for name, options in cases.items():
        fewer = runs if options.get("fresh", True) else runs // 10
        wrong = [
            loops(fewer, rounds=30, rows=1000, seed=5, betting=rule, **options) for rule in RULES
        ]
        rows.append((name, *(f"{one.mean():.1%}" for one in wrong)))
    return Table(
        "A loop of 30 rounds among equal arms: runs with any promotion",
        ("judged on", "mixture", "aGRAPA"),
        tuple(rows),
        f"At most {ALPHA:.0%} may have one. Each round the candidate plays, for each of 50 sorts "
        "of people, the best of five arms in the whole log so far, and is judged on 1,000 "
        "decisions, looked at after every one; then these join the log. "
        f"{runs:,} runs, in the last row {runs // 10:,}.",
    )


def _fault_table(runs: int) -> Table:
    rows = []
    for fault, (what, without) in FAULTS.items():
        gate = [_share(faults(runs, fault, defended=True, seed=6, betting=b)) for b in RULES]
        rows.append((what, *gate, _share(faults(runs, fault, defended=False, seed=6)), without))
    return Table(
        "What goes wrong between equal arms: promoted",
        ("fault", "mixture", "aGRAPA", "mixture without the defence", "which is"),
        tuple(rows),
        f"At most {ALPHA:.0%} may be. {runs:,} runs of 2,000 subjects with ten decisions each, "
        "click rate .3, share 1/2. The defences, in order: a subject is judged when its feedback "
        "has had its time, in the order of decisions; the check of the join rate; the check of "
        "missing feedback; an id counts once; arms are compared at the same time.",
    )


def _canary_table(runs: int) -> Table:
    rows = []
    for base, share in ((0.1, 0.5), (0.3, 0.5), (0.3, 0.1)):
        for factor in (0.8, 1.0, 1.2):
            cells = [f"{base}", f"{share}", f"{factor - 1:+.0%}"]
            for rule in RULES:
                both = canaries(
                    runs, 4000, base=base, factor=factor, share=share, seed=7, betting=rule
                )
                cells += [_outcome(one) for one in both]
            rows.append(tuple(cells))
    heads = ["live's click rate", "share", "candidate"]
    heads += [f"{what}, {rule}" for rule in RULES for what in ("goes live", "rolled back")]
    return Table(
        "A canary: share of runs, median subjects",
        tuple(heads),
        tuple(rows),
        f"The first candidate of a workspace: it goes live at alpha_1 = 6/pi^2 of {ALPHA}, and is "
        f"rolled back at {ROLLBACK_ALPHA}. Up to 4,000 subjects of both arms together with ten "
        f"decisions each, looked at after every one; {runs:,} runs. The median is over all runs.",
    )


def _guardrail_table(runs: int) -> Table:
    rows = []
    for base in (0.01, 0.05):
        for harm in (0.0, 0.01, 0.03):
            both = guardrail_trials(
                runs, 4000, base=base, harm=harm, margin=0.01, share=0.5, seed=8
            )
            rows.append((f"{base}", f"{harm:+}", *map(_outcome, both)))
    return Table(
        "A guardrail with a margin of .01: share of runs, median subjects",
        ("live's rate", "candidate", "shown to be kept", "shown to be broken"),
        tuple(rows),
        f"Kept at alpha_1 of {ALPHA}, broken at {ROLLBACK_ALPHA}; at +.01, the edge of the margin, "
        f"both are errors. Up to 4,000 subjects, share 1/2, ten decisions each; {runs:,} runs.",
    )


def _share(rows_at: NDArray[np.int64]) -> str:
    return f"{(rows_at > 0).mean():.1%}"


def _outcome(rows_at: NDArray[np.int64]) -> str:
    """Share of runs that promoted; the median row of promotion, never being later than any row."""
    share = (rows_at > 0).mean()
    median = np.median(np.where(rows_at > 0, rows_at, np.inf))
    return f"{share:.1%}, {median:,.0f}" if np.isfinite(median) else f"{share:.1%}"
