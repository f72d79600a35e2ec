"""A judge who knows: does learning raise what it thinks, and who is fooled by a noisy reward?

A small model is pre-trained on a tiny language. Then it learns from a gold judge by playing, from
what the judge said of logged replies, and from logged rewards alone; and from reward models that
were fitted to the judge's choices with a quarter of them turned round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import Table, _gold_study, _gold_world
from benchmarks._gold_study import (
    ALONE,
    COMPARED,
    FOOLED,
    HISTORY,
    LOGGED,
    NOISE,
    PLAYED,
    TOGETHER,
    Study,
)
from benchmarks._kept import keep
from benchmarks._logged_shop import paired, spread
from heedful.loop.plots import png

SEEDS = (1, 2, 3, 4, 5)
IMAGE = Path(__file__).resolve().parent.parent / "docs" / "images" / "gold-judge.png"
SIZES = (1, 2, 4, 8, 16, 32, 64)
FIRST, LOG = "supervised fine-tuning", "REINFORCE from the log"
NAMES = {
    "ppo": "PPO",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "dpo": "DPO, from the log",
    "kto": "KTO, from the log",
}
JUDGES = {"gold": "the gold judge itself", ALONE: ALONE, TOGETHER: TOGETHER}


def run(quick: bool) -> list[Table]:
    """Study every seed; what is done is kept."""
    seeds = SEEDS[:1] if quick else SEEDS
    found = [_studied(seed, quick=quick) for seed in seeds]
    if not quick:
        _draw(found)
    return [_learned(found, seeds), _fooled(found, seeds)]


def _studied(seed: int, *, quick: bool) -> dict[str, Any]:
    def studied() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            return _study(Study(Path(folder), seed, quick=quick))

    settings = {"seed": seed, "quick": quick, "sizes": SIZES}
    code = [_gold_study.__name__, _gold_world.__name__, __name__]
    made: dict[str, Any] = keep(studied, code=code, settings=settings)
    return made


def _study(study: Study) -> dict[str, Any]:
    """Return what every way of learning came to, as JSON."""
    worth = {FIRST: study.worth(study.model)}
    for objective in ("ppo", "rloo", "grpo"):
        worth[NAMES[objective]] = study.worth(study.played(objective)[0])  # type: ignore[arg-type]
    for objective in ("dpo", "kto"):
        worth[NAMES[objective]] = study.worth(study.told(objective))  # type: ignore[arg-type]
    worth[LOG] = study.worth(study.from_log())
    models = study.models()
    paths, ends = {}, {}
    free = {"rounds": FOOLED, "kl": 0.0, "kl_limit": 1e6, "entropy_floor": 0.0, "fall": 0.0}
    for name, model in models.items():
        policy, paths[name] = study.played("ppo", model, **free)
        ends[name] = study.worth(policy)
    chosen = study.best_of({"gold": _gold_world.gold, **models}, SIZES)
    return {"worth": worth, "paths": paths, "ends": ends, "best_of": chosen}


def _learned(found: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> Table:
    rows = []
    before = [one["worth"][FIRST]["gold"] for one in found]
    for name in found[0]["worth"]:
        measured = {
            key: [one["worth"][name][key] for one in found] for key in ("gold", "kl", "length")
        }
        over = "-" if name == FIRST else paired(measured["gold"], before)
        kl, length = (f"{np.mean(measured[key]):.1f}" for key in ("kl", "length"))
        rows.append((name, spread(measured["gold"]), over, kl, length))
    note = (
        f"Seeds {list(seeds)}; a transformer of width {_gold_study.WIDTH} pre-trained on "
        f"{HISTORY:,} replies. PPO, RLOO and GRPO play {PLAYED.rounds} rounds of "
        f"{PLAYED.environments} replies before the gold judge; the others learn from {LOGGED:,} "
        "logged replies: DPO from the judge's choice between each two, KTO from whether a reply "
        "is above the median, REINFORCE from (prompt, reply, reward, log-probability) alone. Gold "
        "reward of 576 replies, every prompt asked as often; in brackets the range over seeds, "
        "differences paired by seed with Student's 95 % interval. Divergence from the pre-trained "
        "model in nats a reply, length in tokens with the end."
    )
    columns = ("learned by", "gold reward", "over supervised", "divergence", "length")
    return Table("What the gold judge thinks", columns, tuple(rows), note)


def _fooled(found: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> Table:
    largest = SIZES[-1]
    ways = {
        f"best of {largest}": {n: [one["best_of"][n][-1] for one in found] for n in JUDGES},
        "best of 4": {n: [one["best_of"][n][SIZES.index(4)] for one in found] for n in JUDGES},
        "PPO, at its end": {
            n: [one["ends"][n]["gold"] for one in found] for n in (ALONE, TOGETHER)
        },
        "PPO, at its best": {
            n: [_smoothed(one["paths"][n])[:, 1].max() for one in found] for n in (ALONE, TOGETHER)
        },
    }
    rows = []
    for way, of in ways.items():
        alone, together = of[ALONE], of[TOGETHER]
        perfect = spread(of["gold"]) if "gold" in of else "-"
        rows.append((way, perfect, spread(alone), spread(together), paired(together, alone)))
    note = (
        f"Reward models are linear in n-grams (`NgramReward`), fitted to {COMPARED} pairs of "
        f"logged replies with {NOISE:.0%} of the choices turned round; the ensemble's five are "
        "fitted to draws of the pairs, and count a reply lower by one standard deviation of the "
        f"five. PPO without a divergence term, {FOOLED} rounds; at its best: the highest "
        "mean of ten rounds, which nobody without the gold judge could pick."
    )
    columns = ("optimised by", "gold judge", ALONE, TOGETHER, "ensemble over single")
    return Table(f"Under {NOISE:.0%} label noise", columns, tuple(rows), note)


def _smoothed(path: Sequence[Sequence[float]], over: int = 10) -> np.ndarray:
    """Return the means of ten rounds on end of (divergence, gold), [rounds - 9, 2]."""
    points = np.array(path, float)
    over = min(over, len(points))
    sums = np.cumsum(np.concatenate([np.zeros((1, 2)), points]), 0)
    means: np.ndarray = (sums[over:] - sums[:-over]) / over
    return means


def _draw(found: Sequence[Mapping[str, Any]]) -> None:
    """Draw gold against divergence, for best-of-n and for PPO."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    colours = {"gold": "0.45", ALONE: "C1", TOGETHER: "C0"}
    n = np.array(SIZES, float)
    far = np.log(n) - (n - 1.0) / n
    for name, label in JUDGES.items():
        curves = np.array([one["best_of"][name] for one in found])
        left.plot(far, curves.T, color=colours[name], alpha=0.25, linewidth=0.8)
        left.plot(far, curves.mean(0), "o-", color=colours[name], label=label, markersize=3.5)
    for name in (ALONE, TOGETHER):
        smooth = [_smoothed(one["paths"][name]) for one in found]
        for path in smooth:
            right.plot(path[:, 0], path[:, 1], color=colours[name], alpha=0.25, linewidth=0.8)
        mean = np.mean([path[: min(map(len, smooth))] for path in smooth], 0)
        right.plot(mean[:, 0], mean[:, 1], color=colours[name], label=name)
    before = float(np.mean([one["worth"][FIRST]["gold"] for one in found]))
    for panel, title in ((left, "best of n"), (right, "PPO without a divergence term")):
        panel.axhline(before, color="0.6", linestyle=":", linewidth=1.0)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("divergence from the pre-trained model (nats a reply)")
        panel.grid(alpha=0.25)
        panel.legend(fontsize=8, frameon=False)
    left.set_ylabel("gold reward")
    left.text(far[-1], before, "pre-trained", fontsize=8, color="0.4", ha="right", va="bottom")
    IMAGE.write_bytes(png(figure))
