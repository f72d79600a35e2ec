"""Pre-training on text: nats per character of what was held out, at equal cost.

The last tenth of tinyshakespeare is held out and looked at once, by what comes out of the whole
training. Sizes and rates were chosen on the ninth tenth, by ``python -m benchmarks._text_sizes``.
Each network gets what CPU time it takes for the same number of minutes, set-up and tokenizer
included. Real data: the folder that HEEDFUL_DATA names.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks import Table
from benchmarks._data import real
from benchmarks._kept import keep
from benchmarks._ngrams import WittenBell
from benchmarks._text import COLUMNS, HELD_OUT, NETWORKS, Scores, row, settings_of, trained

PARTS = [__name__, "benchmarks._text", "benchmarks._ngrams"]


def run(quick: bool) -> list[Table]:
    """Train every network, and count n-grams beside it."""
    data = real("tinyshakespeare", "input.txt")
    text = data.read_text("utf-8")
    if quick:
        text = text[:60_000]
    cut = round(len(text) * (1 - HELD_OUT))
    rows = [_floor(text[:cut], text[cut:])]
    for name, network in NETWORKS.items():
        settings = settings_of(network) | ({"pretrain.epochs": 1} if quick else {})

        def train(settings: Mapping[str, object] = settings) -> dict[str, Any]:
            return trained(settings, text[:cut], text[cut:])

        found = keep(train, code=PARTS, data=[data], settings={**settings, "quick": quick})
        rows.append(row(name, found))
    held_out = len(text) - cut
    return [
        Table(
            "tinyshakespeare",
            COLUMNS,
            tuple(rows),
            f"The last {held_out:,} of {len(text):,} characters, held out. One seed, one thread; "
            "the interval is over stretches of the held-out text. A network's figure is the "
            "likelihood of its tokens (a byte-level BPE of the other nine tenths), summed, by the "
            "number of characters; each token sees at least half a window before it.",
        )
    ]


def _floor(text: str, held_out: str) -> tuple[str, ...]:
    began = time.process_time()
    nats = WittenBell(5).fit(text).nats(held_out)
    cost = (time.process_time() - began) / 60
    size = 1000
    pieces = [float(nats[i : i + size].sum()) for i in range(0, len(nats), size)]
    characters = [len(nats[i : i + size]) for i in range(0, len(nats), size)]
    mean, low, high = Scores(pieces, characters, 0).per_character()
    return ("Witten-Bell 5-gram", "-", "1", f"{cost:.1f}", f"{mean:.3f}", f"{low:.3f}–{high:.3f}")
