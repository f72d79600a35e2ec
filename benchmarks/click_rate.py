"""The case study: pre-train, reinforce and fine-tune on real clicks, a figure after every step.

ML-100K: x_i is a film, known by its title, year and genres; y_i is a click, a rating of 4 or 5, and
an explicit no otherwise. Half of the people, the strangers, are kept from all training: the last
films of theirs are the test, and a second click model, fitted to them, judges what a session is
worth. Choices among configurations are made on validation by successive halving. Real data: the
folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Table, _click_rate
from benchmarks._click_rate import (
    BY_ITEM,
    CLICK_MODEL,
    CONSTANT,
    LAST,
    ORACLE,
    POPULAR,
    PRETRAINED,
    REINFORCED,
    SESSION,
    SLATE,
    TUNED,
    Effort,
)
from benchmarks._data import real
from benchmarks._kept import keep_in
from heedful.evaluate import bootstrap

SEEDS = (0, 1, 2)
Tried = Mapping[str, Sequence[Mapping[str, Any]]]
CONFIGURATIONS: Tried = {
    PRETRAINED: [{"pretrain.learning_rate": 2e-3}, {"pretrain.learning_rate": 5e-3}],
    REINFORCED: [
        {"learning_rate": 1e-3, "kl": 0.02, "epochs": 2},
        {"learning_rate": 3e-3, "kl": 0.02, "epochs": 2},
    ],
    TUNED: [{"tune.scope": "heads"}, {"tune.scope": "last_block"}],
}
QUICK = Effort(pretrain=1, reinforce=1, tune=1, judge=1, readers=64)
ROWS = (CONSTANT, BY_ITEM, POPULAR, CLICK_MODEL, PRETRAINED, REINFORCED, TUNED, ORACLE)
MEASURES = {"log-loss": ".4f", "AUC": ".4f", "ECE": ".4f", "MAE": ".3f"}
BY_PERSON = {"NDCG@10": ("ndcgs", ".4f"), "return": ("return", ".2f")}


def run(quick: bool) -> list[Table]:
    """Go through the steps from each seed; what the first one chose, the others run."""
    effort = QUICK if quick else Effort()
    first = _kept(SEEDS[0], effort, _single(CONFIGURATIONS) if quick else CONFIGURATIONS)
    others: tuple[int, ...] = () if quick else SEEDS[1:]
    found = [first, *(_kept(seed, effort, _winners(first)) for seed in others)]
    return [_measures(found), _differences(found), _halvings(first)]


def _kept(seed: int, effort: Effort, configurations: Tried) -> dict[str, Any]:
    files = {kind: real("ml-100k", f"ml-100k.{kind}") for kind in ("inter", "item")}

    def measured(folder: Path) -> dict[str, Any]:
        return _click_rate.studied(folder, files, seed, effort, configurations)

    settings = {
        "seed": seed,
        "effort": asdict(effort),
        "configurations": {step: list(options) for step, options in configurations.items()},
    }
    modules = ("_click_rate", "_readers", "_halving")
    found: dict[str, Any] = keep_in(
        measured,
        code=[__name__, *(f"benchmarks.{module}" for module in modules)],
        data=list(files.values()),
        settings=settings,
    )
    return found


def _single(configurations: Tried) -> Tried:
    return {step: list(options)[:1] for step, options in configurations.items()}


def _winners(found: Mapping[str, Any]) -> Tried:
    """Return what the halvings of one seed ended with, and the budget it had."""
    won = {step: looks[-1] for step, looks in found["looks"].items()}
    return {
        step: [{**CONFIGURATIONS[step][place], "budget": budget}]
        for step, (place, budget, _) in won.items()
    }


def _measures(found: Sequence[Mapping[str, Any]]) -> Table:
    rows = [(name, *_cells([one["found"][name] for one in found])) for name in ROWS]
    first = found[0]
    judge, readers = first["judge"], first["readers"]
    seconds = sum(first["seconds"].values())
    note = (
        f"{first['units']:,} test units, the last {LAST} films of every stranger, of which "
        f"{first['clicked']:.1%} were clicked; NDCG@10 is of those, among all films the person had "
        f"not rated, persons counting alike; MAE is in stars. The return is the expected clicks of "
        f"a session of {SESSION} slates of {SLATE}, which a reader begins as a stranger, by the "
        "second click model. On people it was not fitted to that model has a log-loss of "
        f"{judge['click/log_loss']:.4f} (by film {judge['click/log_loss_by_unit']:.4f}, constant "
        f"{judge['click/log_loss_constant']:.4f}), the readers' of step 2 one of "
        f"{readers['click/log_loss']:.4f} ({readers['click/log_loss_by_unit']:.4f}, "
        f"{readers['click/log_loss_constant']:.4f}). Seeds {list(SEEDS[: len(found)])}; "
        f"{seconds:.0f} CPU seconds of one thread for the first."
    )
    return Table("The strangers' last films", ("policy", *MEASURES, *BY_PERSON), tuple(rows), note)


def _cells(of_seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = []
    for name, form in MEASURES.items():
        values = [one[name] for one in of_seeds if name in one]
        cells.append(format(np.mean(values), form) if values else "-")
    for key, form in BY_PERSON.values():
        means = [np.mean(one[key]) for one in of_seeds if key in one]
        cells.append(format(np.mean(means), form) if means else "-")
    return cells


def _differences(found: Sequence[Mapping[str, Any]]) -> Table:
    """Return what each step changed, paired by person."""
    pairs = (
        (PRETRAINED, BY_ITEM),
        (PRETRAINED, POPULAR),
        (REINFORCED, PRETRAINED),
        (TUNED, REINFORCED),
        (TUNED, PRETRAINED),
        (TUNED, BY_ITEM),
    )
    keys = ("losses", "ndcgs", "return")
    rows = []
    for name, other in pairs:
        cells = [_gain(found, name, other, key) for key in keys]
        rows.append((f"{name} - {other}", *cells))
    note = (
        "Differences paired by person (or reader), seeds averaged, with 95 % bootstrap intervals "
        "over persons. Less log-loss is better, more of the others."
    )
    columns = ("difference", "log-loss", "NDCG@10", "return")
    return Table("What a step changed", columns, tuple(rows), note)


def _gain(found: Sequence[Mapping[str, Any]], name: str, other: str, key: str) -> str:
    if any(key not in one["found"][who] for one in found for who in (name, other)):
        return "-"
    gains = [np.subtract(one["found"][name][key], one["found"][other][key]) for one in found]
    gain = bootstrap(np.mean(gains, 0), seed=0)
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _halvings(found: Mapping[str, Any]) -> Table:
    """Return every look at validation that chose."""
    judged = {
        PRETRAINED: "epochs: NDCG@10 of the learners' validation films",
        REINFORCED: "rounds: return with other readers of the training model",
        TUNED: "passes: minus the loss of the panel's held-out labels",
    }
    rows = []
    for step, looks in found["looks"].items():
        for place, budget, score in looks:
            settings = ", ".join(f"{k} {v}" for k, v in CONFIGURATIONS[step][place].items())
            rows.append((step, settings, f"{budget} {judged[step]}", f"{score:.4f}"))
    note = "The last line of each step is what was kept. No look was at a stranger."
    return Table(
        "Successive halving",
        ("step", "configuration", "budget and measure", "score"),
        tuple(rows),
        note,
    )
