"""Pre-training on text: nats per character of what was held out.

The last tenth of tinyshakespeare is held out and looked at once, by what comes out of the whole
training. Sizes and rates were chosen on the ninth tenth, by ``python -m benchmarks._text_sizes``.
CPU time is that of the process from nothing to a version in the registry, tokenizer and import
included. Real data: the folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import Table
from benchmarks._data import real
from benchmarks._kept import keep
from benchmarks._ngrams import WittenBell
from benchmarks._text import COLUMNS, HELD_OUT, NETWORKS, Scores, row, settings_of, trained

STRETCH = 1000
QUICK = 60_000


def run(quick: bool) -> list[Table]:
    """Train every network, and count n-grams beside it."""
    text, held_out = _parts(quick)
    rows = [_floor(text, held_out)]
    rows += [row(name, measured(name, quick=quick)) for name in NETWORKS]
    return [
        Table(
            "tinyshakespeare",
            COLUMNS,
            tuple(rows),
            f"The last {len(held_out):,} of {len(text) + len(held_out):,} characters, held out. "
            "Seed 0, one thread; the interval is over stretches of the held-out text. A network's "
            "figure is the likelihood of its tokens (a byte-level BPE of the other nine tenths), "
            "summed, by the number of characters.",
        )
    ]


def measured(name: str, *, quick: bool = False) -> dict[str, Any]:
    """Return what :func:`benchmarks._text.trained` finds with the network called ``name``."""
    settings = settings_of(NETWORKS[name]) | ({"pretrain.epochs": 1} if quick else {})
    text, held_out = _parts(quick)
    found: dict[str, Any] = keep(
        lambda: trained(settings, text, held_out),
        code=[__name__, "benchmarks._text"],
        data=[real("tinyshakespeare", "input.txt")],
        settings={**settings, "quick": quick},
    )
    return found


def _parts(quick: bool) -> tuple[str, str]:
    text = real("tinyshakespeare", "input.txt").read_text("utf-8")
    text = text[:QUICK] if quick else text
    cut = round(len(text) * (1 - HELD_OUT))
    return text[:cut], text[cut:]


def _floor(text: str, held_out: str) -> tuple[str, ...]:
    began = time.process_time()
    nats = WittenBell(5).fit(text).nats(held_out)
    cost = (time.process_time() - began) / 60
    pieces = [nats[low : low + STRETCH] for low in range(0, len(nats), STRETCH)]
    scores = Scores([float(one.sum()) for one in pieces], [len(one) for one in pieces], 0)
    mean, low, high = scores.per_character()
    return ("Witten-Bell 5-gram", "-", "1", f"{cost:.1f}", f"{mean:.3f}", f"{low:.3f}–{high:.3f}")
