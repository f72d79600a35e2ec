"""A workspace of tic-tac-toe whose versions know nothing yet."""

from __future__ import annotations

from pathlib import Path

import torch

from heedful.loop.leave import register
from heedful.policy import Feedforward
from heedful.store import Snapshot
from heedful.workspace import Workspace


def make(folder: Path, **settings: object) -> Path:
    """Make a workspace with two versions that play nearly by chance; the first one is live."""
    Workspace.create(folder, domain="games").close()
    with Workspace.open(folder, settings) as workspace:
        bench, domain = workspace.bench(), workspace.domain
        vocabulary = domain.vocabulary(Snapshot.of([]))
        for seed in (0, 1):
            torch.manual_seed(seed)
            policy = Feedforward(domain.schema(vocabulary), width=32).eval()
            register(bench, policy, vocabulary, bench.log.snapshot(), step="pretrain", metrics={})
        workspace.promote("0001", by="ada")
    return folder
