"""Language models: what sharing prompts, adapters and recomputed blocks save."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import Table
from heedful.policy import Batch, Choices, EventKind, Events, HuggingFace, Schema, replay

SCHEMA = Schema(2000)
FORM: dict[str, Any] = {
    "model_type": "gpt2",
    "vocab_size": SCHEMA.size,
    "n_embd": 128,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
ROWS = 16
SHAPES = ((256, 32), (128, 64), (64, 64), (16, 64))
BESIDE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("all of it", {}),
    ("all of it, recomputed", {"recomputed": True}),
    ("LoRA, rank 8", {"adapter": {"kind": "lora", "rank": 8}}),
    ("LoRA, rank 8, recomputed", {"adapter": {"kind": "lora", "rank": 8}, "recomputed": True}),
    ("IA3", {"adapter": {"kind": "ia3"}}),
    ("prefix of 8", {"adapter": {"kind": "prefix", "length": 8}}),
)


def run(quick: bool) -> list[Table]:
    """Measure updates of a small GPT-2 of 4 layers with fresh numbers."""
    times = 2 if quick else 7
    return [_shared(times), _adapters(times)]


def _shared(times: int) -> Table:
    policy = _model()
    rows = []
    for prompt, reply in SHAPES:
        for group in (8, 4, 2):
            batch = _batch(prompt, reply, group)
            spent = {True: [], False: []}  # type: dict[bool, list[float]]
            for _ in range(times):
                for shares in (False, True):
                    policy.body.shares = shares  # type: ignore[union-attr]
                    spent[shares].append(_timed(lambda batch=batch: _update(policy, batch)))
            apart, shared = (statistics.median(spent[shares]) for shares in (False, True))
            cells = (prompt, reply, group, _figure(spent[False]), _figure(spent[True]))
            rows.append((*map(str, cells), f"{apart / shared:.2f}"))
    note = (
        f"{ROWS} rows; CPU seconds of one pass forwards and backwards on one thread, median of "
        f"{times} (least to most)."
    )
    columns = ("prompt", "reply", "replies a prompt", "each row apart", "as it is", "times as fast")
    return Table("A prompt that is shared", columns, tuple(rows), note)


def _adapters(times: int) -> Table:
    batch = _batch(128, 64, 1)
    rows = []
    for name, options in BESIDE:
        policy = _model(**options)
        trained = sum(parameter.numel() for parameter in policy.parameters())
        kept = _kept(policy, batch)
        spent = [_timed(lambda policy=policy: _update(policy, batch)) for _ in range(times)]
        rows.append((name, f"{trained:,}", f"{kept / 2**20:.1f}", _figure(spent)))
    note = (
        f"{ROWS} rows of a prompt of 128 tokens and a reply of 64. Kept is what the pass forwards "
        "keeps for the gradient. The heads for value and answers are among the trained numbers."
    )
    columns = ("what is trained", "numbers", "kept, MiB", "CPU s")
    return Table("A few parameters, or fewer kept", columns, tuple(rows), note)


def _model(**options: Any) -> HuggingFace:
    torch.manual_seed(0)
    return HuggingFace(SCHEMA, config=FORM, **options).eval()


def _update(policy: HuggingFace, batch: Batch) -> None:
    policy.zero_grad()
    replay(policy, batch).sum().backward()


def _kept(policy: HuggingFace, batch: Batch) -> int:
    """Return how many bytes a pass forwards keeps that are not the model's own."""
    own = {tensor.untyped_storage().data_ptr() for tensor in policy.state_dict().values()}
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        replay(policy, batch)
    return sum(storages.values())


def _timed(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _figure(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def _batch(prompt: int, reply: int, group: int) -> Batch:
    """Return rows of one reply each, ``group`` of them to each prompt."""
    rng = torch.Generator().manual_seed(0)
    asked = torch.randint(2, SCHEMA.size, (ROWS // group, prompt), generator=rng)
    said = torch.randint(2, SCHEMA.size, (ROWS, reply), generator=rng)
    units = [torch.full((ROWS, 1), -1), asked.repeat_interleave(group, 0), said]
    kinds = ((EventKind.START, 1), (EventKind.CONTEXT, prompt), (EventKind.UNIT, reply))
    kind = torch.cat([torch.full((n,), int(kind)) for kind, n in kinds]).expand(ROWS, -1)
    none, zeros = torch.zeros(kind.shape), torch.zeros(ROWS, reply)
    events = Events(
        kind,
        torch.cat(units, dim=1),
        none.long(),
        none,
        none[..., None][..., :0],
        torch.full(kind.shape, torch.nan, dtype=torch.float64),
        torch.full((ROWS,), kind.shape[1]),
    )
    return Batch(
        events=events,
        positions=(prompt + torch.arange(reply)).expand(ROWS, reply),
        units=said,
        decisions=torch.arange(ROWS)[:, None].expand(ROWS, reply),
        mask=torch.ones(ROWS, reply, dtype=torch.bool),
        bootstrap=torch.zeros(ROWS, reply, dtype=torch.bool),
        choices=Choices.everything(SCHEMA.size, ROWS, reply),
        behaviour_logps=zeros.double(),
        rewards=zeros,
        discounts=zeros,
        weights=zeros + 1,
        feedback=zeros[..., None][..., :0],
    )
