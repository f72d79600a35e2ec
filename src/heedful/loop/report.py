"""The report: one HTML file that shows what was learnt, on what evidence, and who decided."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from heedful.loop.bench import Bench
from heedful.loop.deploy import verdict_on
from heedful.loop.forgetting import kept_forgetting
from heedful.loop.plots import (
    DARK,
    LIGHT,
    Line,
    Theme,
    evidence_over_time,
    reward_by_round,
    said_and_came,
    svg,
    training_curve,
    weights_seen,
)
from heedful.loop.run import METRICS
from heedful.loop.served import reward_by_version
from heedful.store.registry import Trial

EVALUATIONS = "evaluations"
LIMIT = "limit of "
RUNS_SHOWN, TRIALS_SHOWN, COMPARED = 3, 8, 3

# Of the many numbers a run writes down, those that say whether it went well.
PANELS: Mapping[str, Mapping[tuple[str, str], str]] = {
    "pretrain": {
        ("train", "nll"): "loss (nats per unit)",
        ("validation", "ndcg@10"): "NDCG@10 on held-out units",
    },
    "reinforce": {
        ("reinforce", "loss"): "loss",
        ("reinforce", "kl"): "divergence from the parent (nats)",
    },
}

# What [constraints] keep, by how the names of its metrics begin.
KEPT: Mapping[str, str] = {
    "cost_": "constraints: mean per decision",
    "limit_": "constraints: mean per decision",
    "price_": "price (reward per unit)",
}

Draw = Callable[[Theme], Figure]


def keep_evaluation(runs: Path, name: str, evaluation: Mapping[str, object], *, at: float) -> Path:
    """Write an evaluation down for the report, in the place of that version's last one."""
    folder = runs / EVALUATIONS
    folder.mkdir(parents=True, exist_ok=True)
    place, new = folder / f"{name}.json", folder / f".{name}.{os.getpid()}.new"
    new.write_text(json.dumps({"at": at, **evaluation}), "utf-8")
    return new.replace(place)


def report(bench: Bench, name: str) -> str:
    """Return the report on a workspace as HTML that needs nothing from elsewhere.

    Args:
        bench: the workspace's.
        name: what to call it.
    """
    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(when=_when, number=_number, count=_count, indented=_indented)
    registry, config = bench.registry, bench.config
    return environment.get_template("report.html").render(
        name=name,
        domain=config.workspace.domain,
        now=bench.clock(),
        counts=bench.log.counts(),
        live=registry.live(),
        trial=registry.trial(),
        versions=list(_versions(bench)),
        rewards=_rewards(bench),
        reward=_reward_label(bench),
        trials=list(_trials(bench)),
        forgetting=list(islice(kept_forgetting(bench.runs), COMPARED)),
        runs=list(_runs(bench.runs)),
        evaluations=list(_evaluations(bench)),
        audit=registry.audit(),
    )


def picture(draw: Draw, alt: str) -> Markup:
    """Return a plot as an element with the image inside it, for light and dark screens."""
    light, dark = (_data(svg(draw(theme))) for theme in (LIGHT, DARK))
    return Markup(
        '<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        '<img src="{light}" alt="{alt}"></picture>'
    ).format(light=light, dark=dark, alt=alt)


def _data(image: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(image.encode()).decode()}"


def _versions(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield the versions with their cards, the newest first."""
    for version in reversed(bench.registry.versions()):
        card = bench.registry.card(version.name)
        metrics = {k: v for k, v in card.metrics.items() if isinstance(v, int | float)}
        yield {
            "name": version.name,
            "state": version.state,
            "card": card,
            "metrics": metrics,
            "json": card.to_json(),
        }


def _reward_label(bench: Bench) -> str:
    if bench.config.reward.kind == "clicks":
        return "click rate (clicks per unit shown)"
    return f"reward per unit ({bench.config.reward.kind}, 0 to 1)"


def _rewards(bench: Bench) -> Markup | None:
    """Draw the reward by version, or nothing before anybody was served."""
    lines, label = reward_by_version(bench), _reward_label(bench)
    if not lines:
        return None
    means = [f"version {line.name} {np.nanmean(np.asarray(line.y)):.3f}" for line in lines]

    def draw(theme: Theme) -> Figure:
        return reward_by_round(lines, reward=label, x="decisions served", theme=theme)

    return picture(
        draw, f"Line plot of the {label} over decisions served, on average {'; '.join(means)}."
    )


def _trials(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield the trials with what the gate said, the newest first."""
    said = _verdicts(bench)
    for place, trial in enumerate(reversed(bench.registry.trials())):
        verdict = (
            verdict_on(bench, trial).to_dict() if trial.ended_at is None else said.get(trial.k)
        )
        shown = verdict is not None and place < TRIALS_SHOWN
        yield {
            "trial": trial,
            "verdict": verdict,
            "picture": _evidence(trial, verdict) if verdict is not None and shown else None,
        }


def _verdicts(bench: Bench) -> dict[int, Mapping[str, Any]]:
    """Return the verdicts that ended trials, by the trial's k, as the audit has them."""
    entries = [
        entry
        for entry in bench.registry.audit()
        if "history" in entry.evidence and entry.action != "raised"
    ]
    return {int(str(entry.evidence["k"])): entry.evidence for entry in entries}


def _evidence(trial: Trial, verdict: Mapping[str, Any]) -> Markup:
    """Draw how evidence for and against a candidate went, from a verdict as the audit keeps it."""
    paths = [
        Line(f"{name} {trial.candidate}", *np.array([(0.0, 0.0), *verdict[key]]).T)
        for name, key in (("for", "history"), ("against", "history_against"))
        if key in verdict  # verdicts of before it was bet against candidates lack the second
    ]
    needed, unit = float(verdict["needed"]), str(verdict["unit"])
    rolls_back = float(verdict["needed_against"]) if len(paths) > 1 else None

    def draw(theme: Theme) -> Figure:
        return evidence_over_time(paths, needed, rolls_back=rolls_back, unit=unit, theme=theme)

    alt = (
        f"Line plot of the evidence for {trial.candidate} over {unit}, log scale: it rose to "
        f"{math.exp(min(float(verdict['log_evidence']), 700.0)):.3g}; {needed:,.0f} promotes."
    )
    if rolls_back is not None:
        worst = math.exp(min(float(verdict["log_evidence_against"]), 700.0))
        alt += f" The evidence against it rose to {worst:.3g}; {rolls_back:,.0f} rolls back."
    return picture(draw, alt)


def _runs(runs: Path) -> Iterator[dict[str, Any]]:
    """Yield the last training runs with their curves, the newest first."""
    shown = 0
    for file in sorted(runs.glob("*/inputs.json"), reverse=True):
        step = json.loads(file.read_text("utf-8"))["step"]
        curves = training_curves(file.parent / METRICS, step)
        if curves and shown < RUNS_SHOWN:
            shown += 1
            finished = (file.parent / "finished").exists()
            yield {
                "name": file.parent.name,
                "step": step,
                "finished": finished,
                "picture": _curves(curves, step),
            }


def _curves(curves: Mapping[str, list[Line]], step: str) -> Markup:
    ends = [
        f"{panel}{f', {line.name},' if len(lines) > 1 else ''} ends at {np.asarray(line.y)[-1]:.4g}"
        for panel, lines in curves.items()
        for line in lines
    ]

    def draw(theme: Theme) -> Figure:
        return training_curve(curves, theme=theme)

    return picture(draw, f"Line plots of {step} over optimiser steps: {'; '.join(ends)}.")


def training_curves(file: Path, step: str) -> dict[str, list[Line]]:
    """Return the curves of one run by the names of their panels.

    Args:
        file: its metrics.jsonl; a last line that is cut is left out.
        step: what kind of run it was.
    """
    found: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    lines = file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []
    for line in (json.loads(text) for text in lines if text.endswith("}\n")):
        for panel, name, metric in _drawn(step, line):
            x, y = found.setdefault(panel, {}).setdefault(name, ([], []))
            x.append(line["step"])
            y.append(line[metric])
    return {
        panel: [Line(name, x, y, reference=_is_limit(name)) for name, (x, y) in of_panel.items()]
        for panel, of_panel in found.items()
    }


def _drawn(step: str, line: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield panel, name of the line, and metric, of what is drawn of one point of the curves."""
    for (part, metric), panel in PANELS.get(step, {}).items():
        if line["part"] == part and metric in line:
            yield panel, part, metric
    for metric in line:
        for begin, panel in KEPT.items():
            if metric.startswith(begin):
                name = metric.removeprefix(begin)
                yield panel, f"{LIMIT}{name}" if begin == "limit_" else name, metric


def _is_limit(name: str) -> bool:
    return name.startswith(LIMIT)


def _evaluations(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield the rankings that ``evaluate`` found, the newest version first."""
    known = {version.name for version in bench.registry.versions()}
    for file in sorted((bench.runs / EVALUATIONS).glob("[0-9]*.json"), reverse=True):
        evaluation = json.loads(file.read_text("utf-8"))
        ranking = evaluation["ranking"]
        if file.stem not in known:
            continue
        rows = {}
        if ranking is not None:
            own = {k: v for k, v in ranking.items() if k not in ("beside", "gain_over_prior")}
            rows = {evaluation["policy"]: own, **ranking["beside"]}
        yield {
            **evaluation,
            "rows": rows,
            "gain": None if ranking is None else ranking["gain_over_prior"],
            "seen": _weights(evaluation.get("weights")),
            "foretold": [
                {**one, "picture": _foretold(one)} for one in evaluation.get("foretold", ())
            ],
        }


def _weights(weights: Mapping[str, Any] | None) -> Markup | None:
    """Draw importance weights, where there were decisions to weigh."""
    if weights is None:
        return None

    def draw(theme: Theme) -> Figure:
        return weights_seen(weights["edges"], weights["counts"], theme=theme)

    n, zero = sum(weights["counts"]), weights["counts"][0]
    return picture(
        draw, f"Histogram of the importance weights of {n:,} decisions; {zero:,} of them are 0."
    )


def _foretold(one: Mapping[str, Any]) -> Markup:
    """Draw what was expected of one kind of feedback beside what came."""

    def draw(theme: Theme) -> Figure:
        tables = (one["predicted"], one["observed"], one["counts"])
        return said_and_came(*tables, what=f"{one['kind']} (0 to 1)", theme=theme)

    return picture(
        draw,
        f"Reliability diagram of {one['kind']}: predictions are off by {one['error']:.3f} on "
        f"average over {sum(one['counts']):,} answers.",
    )


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _number(value: float) -> str:
    """Return a metric as people read it: four decimals, or a whole number.

    >>> _number(0.12345), _number(12.0), _number(123456)
    ('0.1235', '12', '123,456')
    """
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4f}"


def _count(value: int) -> str:
    return f"{value:,}"


def _indented(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True)
