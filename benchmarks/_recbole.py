"""RecBole's SASRec, as a peer to measure against, in an environment of its own.

It needs older packages than heedful (numpy<2, pandas<2.2, scipy<1.13, recbole==1.2.1), so it is run
by the Python that ``HEEDFUL_RECBOLE`` names; without it the race goes on with one runner less. This
file is read by both: it imports nothing of either at the top.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIABLE = "HEEDFUL_RECBOLE"
BATCHES, BATCH = 8, 1024


def units_per_second(ratings: Path, width: int) -> float | None:
    """Return units learned from per CPU second, ``None`` where no RecBole is named.

    Args:
        ratings: a file ``ml-100k/ml-100k.inter``.
        width: of its network; two layers, the full softmax, its own default length.
    """
    python = os.environ.get(VARIABLE)
    if not python:
        return None
    command = [python, __file__, str(ratings), str(width)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:  # it leaves logs where it is run
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, cwd=folder
        )
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure(ratings: Path, width: int) -> float:
    """Take steps as RecBole's trainer does; it learns from one unit a row, one row a prefix."""
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.sequential_recommender import SASRec

    torch.set_num_threads(1)
    settings = {
        "data_path": str(ratings.parent.parent),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "train_neg_sample_args": None,
        "loss_type": "CE",
        "hidden_size": width,
        "n_layers": 2,
        "n_heads": 2,
        "train_batch_size": BATCH,
        "use_gpu": False,
        "show_progress": False,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    }
    config = Config(model="SASRec", dataset="ml-100k", config_dict=settings)
    train, _, _ = data_preparation(config, create_dataset(config))
    model = SASRec(config, train.dataset)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    units, began = 0, 0.0
    for number, rows in enumerate(train):
        if number == 1:  # the first step warms up
            began = time.process_time()
        optimiser.zero_grad()
        model.calculate_loss(rows).backward()
        optimiser.step()
        units += len(rows) if number else 0
        if number == BATCHES:
            break
    return units / (time.process_time() - began)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
