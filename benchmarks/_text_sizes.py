"""What the text benchmark's settings were chosen by: a few minutes each, on the ninth tenth.

``python -m benchmarks._text_sizes [NAME ...]`` trains on the first eight tenths of tinyshakespeare
and prints a table; the last tenth is not looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from benchmarks import Table
from benchmarks._data import real
from benchmarks._kept import keep
from benchmarks._text import COLUMNS, HELD_OUT, NETWORKS, row, settings_of, trained

TRANSFORMER, RECURRENT = ({**NETWORKS[name]} for name in ("transformer", "recurrent"))
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "transformer": TRANSFORMER,
    "AdamW": {**TRANSFORMER, "pretrain.optimiser": "adamw", "pretrain.learning_rate": 2e-3},
    "512 tokens": {**TRANSFORMER, "domain.vocabulary": 512},
    "width 256": {**TRANSFORMER, "policy.width": 256},
    "window 128": {**TRANSFORMER, "policy.window": 128, "pretrain.batch": 16},
    "recurrent": RECURRENT,
    "recurrent, Muon": {
        **RECURRENT,
        "pretrain.optimiser": "muon",
        "pretrain.learning_rate": 5e-3,
    },
}
PASSES = 2


def main(names: list[str]) -> None:
    """Train the variants called ``names``, all by default."""
    data = real("tinyshakespeare", "input.txt")
    text = data.read_text("utf-8")
    low, high = (round(len(text) * (1 - n * HELD_OUT)) for n in (2, 1))
    rows = []
    for name in names or VARIANTS:
        settings = settings_of(VARIANTS[name]) | {"pretrain.epochs": PASSES}

        def train(settings: Mapping[str, object] = settings) -> object:
            return trained(settings, text[:low], text[low:high])

        code = [__name__, "benchmarks._text"]
        found = keep(train, code=code, data=[data], settings=settings)
        rows.append(row(name, found))
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    print(Table("Sizes and rates, on the ninth tenth", COLUMNS, tuple(rows)).markdown())


if __name__ == "__main__":
    main(sys.argv[1:])
