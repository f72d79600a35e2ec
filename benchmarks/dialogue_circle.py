"""Conversations: served replies get feedback, the log alone trains the next policy, a gate judges.

People are made up (``benchmarks/_talkers.py``); what they answer goes through the service, a
candidate learns from the log, half of the people try it, the gate decides. Then: what feedback in a
conversation changes in the next reply, beside the same policy with the feedback removed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Table, _circle, _talkers
from benchmarks._circle import Scale, circle
from benchmarks._kept import keep
from heedful.evaluate import bootstrap

SEEDS = (0, 1, 2)
QUICK = Scale(people=30, groups=2, rounds=1, history=100)


def run(quick: bool) -> list[Table]:
    """Let the circle turn with every seed; what is done is kept."""
    scale, seeds = (QUICK, SEEDS[:1]) if quick else (Scale(), SEEDS)
    stories = [_story(seed, scale) for seed in seeds]
    return [_rounds(stories, seeds, scale), _asked(stories, seeds)]


def _story(seed: int, scale: Scale) -> dict[str, Any]:
    def told() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            return circle(Path(folder) / "talk", seed, scale)

    settings = {"seed": seed, "scale": asdict(scale)}
    code = [_circle.__name__, _talkers.__name__]
    found: dict[str, Any] = keep(told, code=code, settings=settings)
    return found


def _rounds(stories: Sequence[Mapping[str, Any]], seeds: Sequence[int], scale: Scale) -> Table:
    rows = []
    for seed, story in zip(seeds, stories, strict=True):
        before = None
        for number, done in enumerate(story["rounds"]):
            gold = bootstrap(done["gold"], seed=0)
            policy = "" if number == 0 else f" {done['policy']}"
            rose = "" if before is None else f"{gold.mean - before:+.3f}"
            before = gold.mean
            cells = (f"{gold.mean:.3f}", f"{gold.low:.3f} to {gold.high:.3f}", rose)
            won = done.get("wins")
            rates = [
                _rate(None if won is None else won[k]) for k in ("win_rate", "at_equal_length")
            ]
            verdict = f"{done['action']}{policy}"
            rows.append((str(seed), str(number), *cells, verdict, *rates, done["live"]))
    return Table(
        "Gold reward of what was served, round by round",
        (
            "seed",
            "round",
            "gold",
            "95 % interval over people",
            "change",
            "candidate",
            "win rate",
            "at equal length",
            "live at its end",
        ),
        tuple(rows),
        f"{scale.people * scale.groups:,} people a round have a conversation of "
        f"{_talkers.TURNS} replies each; half of them get the candidate while it is on trial. The "
        "gold reward, from 0 to 1, is seen by nobody; learned from are thumbs, given for four "
        "fifths of the replies and noisy. Win rates are those of the candidate's people over the "
        "live version's when the trial was last looked at, by thumbs, a tie counting half.",
    )


def _rate(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _asked(stories: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> Table:
    rows, each = [], 0
    for who in stories[0]["asked"]:
        for what in stories[0]["asked"][who]:
            apart = np.concatenate([story["asked"][who][what] for story in stories])
            each = len(apart) // len(stories)
            rows.append((who, what, str(bootstrap(apart, seed=0))))
    return Table(
        "What feedback in the conversation changes in the next reply",
        ("policy", "what", "with the feedback minus without, 95 % interval"),
        tuple(rows),
        f"The same conversations and random numbers, {each} for each of seeds {list(seeds)}; "
        "the first reply had two sentences and was neither kind nor rude.",
    )
