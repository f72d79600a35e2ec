"""A plain SASRec, as a peer to measure against; it is no part of heedful.

Kang & McAuley, Self-Attentive Sequential Recommendation, arXiv 1808.09781: learned positions,
layer norm before attention on the queries, a point-wise feed-forward, tied item vectors. Each
subject is one row of its last ``LENGTH`` training units, padded on the left. Trained with binary
cross-entropy against one sampled unit, as in the paper, or with the full softmax (Klenitskiy &
Vasilev, arXiv 2309.07602).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from heedful.contract import Streams
from heedful.evaluate import ndcg
from heedful.evaluate.held_out import Split
from heedful.evaluate.ranking import ranks

LENGTH, BATCH, RATE, DROPOUT, LAYERS = 200, 128, 1e-3, 0.2, 2


class SASRec(nn.Module):
    """Item 0 is padding; item v + 1 is unit v."""

    def __init__(self, size: int, width: int) -> None:
        """Make a network over ``size`` units."""
        super().__init__()
        self.items = nn.Embedding(size + 1, width, padding_idx=0)
        self.places = nn.Embedding(LENGTH, width)
        self.drop = nn.Dropout(DROPOUT)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * LAYERS + 1))
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(width, 1, DROPOUT, batch_first=True) for _ in range(LAYERS)
        )
        self.forwards = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width), self.drop, nn.ReLU(), nn.Linear(width, width), self.drop
            )
            for _ in range(LAYERS)
        )
        nn.init.xavier_normal_(self.items.weight)
        nn.init.xavier_normal_(self.places.weight)

    def forward(self, rows: Tensor) -> Tensor:
        """Return [B, L, D] from items [B, L]."""
        x = self.items(rows) * math.sqrt(self.items.embedding_dim) + self.places.weight
        real = (rows != 0)[..., None]
        x = self.drop(x) * real
        future = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
        for i in range(LAYERS):
            query = self.norms[2 * i](x)
            mixed, _ = self.attention[i](query, x, x, attn_mask=future, need_weights=False)
            x = self.norms[2 * i + 1](query + mixed)
            x = (x + self.forwards[i](x)) * real
        return torch.as_tensor(self.norms[-1](x))


def train(
    streams: Streams, split: Split, *, full: bool, epochs: int, width: int, seed: int
) -> dict[str, Any]:
    """Return the ranks of the test units at the best epoch of validation, and what it cost."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    size = streams.schema.size
    learned = _sequences(streams, split.train)
    network = SASRec(size, width)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE, betas=(0.9, 0.98))
    best: tuple[float, dict[str, Tensor]] = (-1.0, {})
    seconds, units = 0.0, 0
    for epoch in range(epochs):
        began = time.process_time()
        network.train()
        for part in np.array_split(rng.permutation(len(learned)), math.ceil(len(learned) / BATCH)):
            units += _step(network, optimiser, [learned[i] for i in part], rng, full=full)
        seconds += time.process_time() - began
        if epoch % 5 == 4 or epoch == epochs - 1:
            score = float(ndcg(_ranks(network, streams, split.validation), 10).mean())
            if score > best[0]:
                best = (score, copy.deepcopy(network.state_dict()))
    network.load_state_dict(best[1])
    found = _ranks(network, streams, split.test)
    return {"ranks": found.tolist(), "cpu_seconds": seconds, "units": units}


def _sequences(streams: Streams, kept: np.ndarray) -> list[np.ndarray]:
    bounds = streams.slot_offsets
    cut = [slice(low, high) for low, high in pairwise(bounds)]
    found = [streams.slots.unit[part][kept[part]] + 1 for part in cut]
    return [sequence for sequence in found if len(sequence) > 1]


def _step(
    network: SASRec,
    optimiser: torch.optim.Optimizer,
    sequences: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    full: bool,
) -> int:
    """Take a step on some subjects' rows; return how many units were learned from."""
    rows = _padded([sequence[:-1] for sequence in sequences])
    target = _padded([sequence[1:] for sequence in sequences])
    real = target != 0
    known, wanted = network(rows)[real], target[real]
    if full:
        loss = functional.cross_entropy(known @ network.items.weight[1:].T, wanted - 1)
    else:
        other = torch.from_numpy(rng.integers(1, network.items.num_embeddings, len(wanted)))
        scores = torch.stack([(known * network.items(u)).sum(-1) for u in (wanted, other)])
        truth = torch.tensor([[1.0], [0.0]]).expand_as(scores)
        loss = functional.binary_cross_entropy_with_logits(scores, truth) * 2
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return len(wanted)


def _padded(sequences: Sequence[np.ndarray]) -> Tensor:
    rows = np.zeros((len(sequences), LENGTH), np.int64)
    for row, sequence in zip(rows, sequences, strict=True):
        last = sequence[-LENGTH:]
        row[LENGTH - len(last) :] = last
    return torch.from_numpy(rows)


@torch.no_grad()
def _ranks(network: SASRec, streams: Streams, slots: np.ndarray) -> np.ndarray:
    """Return the rank of the unit at each slot given all units before it, seen ones filtered."""
    network.eval()
    found = np.empty(len(slots))
    begins = streams.slot_offsets[streams.slots.stream[slots]]
    for low in range(0, len(slots), BATCH):
        part = slots[low : low + BATCH]
        before = [
            streams.slots.unit[begin:slot] + 1
            for begin, slot in zip(begins[low : low + BATCH], part, strict=True)
        ]
        logits = network(_padded(before))[:, -1] @ network.items.weight[1:].T
        for row, seen in zip(logits, before, strict=True):
            row[seen - 1] = -torch.inf
        found[low : low + len(part)] = ranks(logits.numpy(), streams.slots.unit[part])
    return found
