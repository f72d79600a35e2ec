"""Text in a workspace, and how likely a version finds other text."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from torch import nn

from heedful.domains.dialogue.documents import documents
from heedful.evaluate.held_out import held_out_nll
from heedful.loop.form import without_floor
from heedful.policy import load
from heedful.store.registry import Version
from heedful.store.snapshot import Snapshot
from heedful.workspace import Workspace

HELD_OUT = 0.1
STRETCH = 16
COLUMNS = ("model", "parameters", "epochs", "CPU min", "nats per character", "95 % interval")
SHARED: Mapping[str, object] = {
    "domain.text": ["text.txt"],
    "domain.vocabulary": 1000,
    "policy.plain": True,
    "pretrain.validation": False,  # everything was chosen before, on the ninth tenth
    "pretrain.precision": "bfloat16",
    "pretrain.weight_decay": 0.1,
    "pretrain.warmup": 0.05,
}
NETWORKS: Mapping[str, Mapping[str, object]] = {
    "transformer": {
        "policy.kind": "transformer",
        "policy.width": 192,
        "policy.layers": 4,
        "policy.heads": 4,
        "policy.dropout": 0.1,
        "policy.window": 256,
        "pretrain.optimiser": "muon",
        "pretrain.learning_rate": 5e-3,
        "pretrain.batch": 8,
        "pretrain.epochs": 5,
    },
    "recurrent": {
        "policy.kind": "recurrent",
        "policy.width": 384,
        "policy.layers": 1,
        "policy.dropout": 0.2,
        "policy.window": 128,
        "pretrain.optimiser": "adamw",
        "pretrain.learning_rate": 4e-3,
        "pretrain.batch": 32,
        "pretrain.epochs": 7,
    },
}
"""The size, rate and passes that fit about the same CPU time."""


def settings_of(network: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of a workspace that trains ``network``."""
    return {**SHARED, **network}


def documents_of(workspace: Workspace, text: str) -> None:
    """Put ``text`` into the log as one document."""
    domain = workspace.domain
    with workspace.writing() as log:
        log.append(documents(domain, [text], at=0.0), choice_sets=[domain.choices({})])


@dataclass(frozen=True, slots=True)
class Scores:
    """How likely stretches of text are.

    Attributes:
        nats: - log p of each stretch, summed over its tokens.
        characters: of each.
        parameters: of the network.
    """

    nats: Sequence[float]
    characters: Sequence[int]
    parameters: int

    def per_character(self, draws: int = 2000) -> tuple[float, float, float]:
        """Return nats per character, and a 95 % bootstrap interval over stretches."""
        nats, characters = np.array(self.nats), np.array(self.characters)
        drawn = np.random.default_rng(0).integers(len(nats), size=(draws, len(nats)))
        ratios = nats[drawn].sum(1) / characters[drawn].sum(1)
        low, high = np.quantile(ratios, [0.025, 0.975])
        return float(nats.sum() / characters.sum()), float(low), float(high)


def score(workspace: Workspace, version: Version, text: str) -> Scores:
    """Return how likely ``version`` finds ``text``, its end token aside, by decision."""
    domain, bench = workspace.domain, workspace.bench()
    loaded = load(bench.registry.folder(version.name))
    policy = without_floor(loaded.policy)
    records = list(documents(domain, [text], at=0.0, stretch=STRETCH))
    snapshot = Snapshot.of(records, choice_sets=[domain.choices({})])
    streams = domain.encode(snapshot, loaded.vocabulary)
    slots = np.arange(len(streams.slots.unit) - 1)
    # rows are a stretch longer than the window that is asked for, and as long as those learned from
    window = bench.config.policy.window - STRETCH
    nll = held_out_nll(policy, streams, slots, window=window)
    nats = np.bincount(streams.slots.decision[slots], weights=nll)
    characters = [len(domain.text(record.units)) for record in records]
    assert sum(characters) == len(text)
    n_parameters = sum(p.numel() for p in cast(nn.Module, policy).parameters())
    return Scores(nats.tolist(), characters, n_parameters)


def trained(settings: Mapping[str, object], text: str, held_out: str) -> dict[str, Any]:
    """Return how likely a network trained on ``text`` finds ``held_out``, and what it took."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        Workspace.create(folder, domain="dialogue").close()
        with Workspace.open(folder, settings) as workspace:
            (workspace.folder / "text.txt").write_text(text, "utf-8")
            documents_of(workspace, text)
            version = workspace.pretrain()
            spent = time.process_time() - began
            found = score(workspace, version, held_out)
    return {
        "cpu_seconds": spent,
        "epochs": settings["pretrain.epochs"],
        "parameters": found.parameters,
        "nats": found.nats,
        "characters": found.characters,
    }


def row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what :func:`trained` found as cells of a table."""
    scores = Scores(found["nats"], found["characters"], found["parameters"])
    mean, low, high = scores.per_character()
    return (
        name,
        f"{found['parameters'] / 1e6:.2f}M",
        str(found["epochs"]),
        f"{found['cpu_seconds'] / 60:.1f}",
        f"{mean:.3f}",
        f"{low:.3f}–{high:.3f}",
    )
