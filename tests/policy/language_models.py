"""Small models of transformers with fresh numbers, larger ones than theirs so that they differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from heedful.checks import EXAMPLE_SCHEMA
from heedful.policy import Batch, Channel, Choices, EventKind, Events, Schema
from heedful.policy.huggingface import HuggingFace

LLAMA = {"intermediate_size": 24, "num_key_value_heads": 1}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": SIZES | LLAMA | {"max_position_embeddings": 64},
    "gpt_neox": SIZES | {"intermediate_size": 24, "max_position_embeddings": 64},
    "qwen2": SIZES | LLAMA | {"max_position_embeddings": 64, "tie_word_embeddings": True},
}
ODD: dict[str, dict[str, Any]] = {
    # windows of attention, positions counted by the model itself, capped logits
    "mistral": SIZES | LLAMA | {"max_position_embeddings": 64, "sliding_window": 3},
    "gpt_neo": {
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 3,
        "max_position_embeddings": 64,
    },
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "gemma2": SIZES
    | LLAMA
    | {"head_dim": 8, "max_position_embeddings": 64, "final_logit_softcapping": 2.0},
}
HALVES = {
    f"{half}_{part}": number
    for half in ("encoder", "decoder")
    for part, number in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 24))
}
PAIRS: dict[str, dict[str, Any]] = {
    "m2m_100": {"d_model": 16, "max_position_embeddings": 64, "init_std": 0.5, **HALVES},
    "bart": {"d_model": 16, "max_position_embeddings": 64, "init_std": 0.5, **HALVES},
    "t5": {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_kv": 8, "d_ff": 24},
}
WORDS = Schema(30, (Channel("click", binary=True),))
MARKS = {"click": [3, 4], "rating": [0, 1, 2, 5, 6]}


def config_of(kind: str, *, bos: int | None = 1, rows: int = 9) -> dict[str, Any]:
    """Return the configuration of a small model with two rows more than the schema has units."""
    ends = {"bos_token_id": bos, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.5}
    if kind in PAIRS:  # they take what is padding for padding wherever it stands
        ends |= {"decoder_start_token_id": 2, "pad_token_id": rows - 1}
    return {"model_type": kind, "vocab_size": rows, **ends, **(CONFIGS | ODD | PAIRS)[kind]}


def language_model(
    kind: str,
    schema: Schema = EXAMPLE_SCHEMA,
    *,
    seed: int = 0,
    bos: int | None = 1,
    **options: Any,
) -> HuggingFace:
    """Return a policy in evaluation mode."""
    torch.manual_seed(seed)
    options.setdefault("marks", {k: v for k, v in MARKS.items() if schema is EXAMPLE_SCHEMA})
    config = config_of(kind, bos=bos, rows=schema.size + 2)
    return HuggingFace(schema, config=config, **options).eval()


def stream(units: list[int], reply: int) -> Batch:
    """Return one row: START, a prompt of contexts, and a decision of the last ``reply`` units."""
    n, prompt = len(units), len(units) - reply
    kind = [EventKind.START, *[EventKind.CONTEXT] * prompt, *[EventKind.UNIT] * reply]
    zeros = torch.zeros(1, n + 1)
    events = Events(
        torch.tensor([[int(k) for k in kind]]),
        torch.tensor([[-1, *units]]),
        zeros.long(),
        zeros,
        zeros[..., None][..., :0],
        torch.full((1, n + 1), torch.nan, dtype=torch.float64),
        torch.tensor([n + 1]),
    )
    shape = (1, reply)
    blank = torch.zeros(shape)
    return Batch(
        events=events,
        positions=prompt + torch.arange(reply)[None],
        units=torch.tensor([units[prompt:]]),
        decisions=torch.zeros(shape, dtype=torch.int64),
        mask=torch.ones(shape, dtype=torch.bool),
        bootstrap=torch.zeros(shape, dtype=torch.bool),
        choices=Choices.everything(WORDS.size, *shape),
        behaviour_logps=blank.double(),
        rewards=blank,
        discounts=blank,
        weights=blank + 1,
        feedback=torch.full((*shape, 1), torch.nan),
    )


def rows_of(batches: list[Batch]) -> Batch:
    """Return one batch of the rows of several of one shape."""
    first = batches[0]
    names = list(Events.__slots__)
    events = Events(*(torch.cat([getattr(b.events, name) for b in batches]) for name in names))
    own = {
        name: torch.cat([getattr(b, name) for b in batches])
        for name in ("positions", "units", "decisions", "mask", "bootstrap", "weights", "feedback")
    }
    shape = (len(batches), first.mask.shape[1])
    zeros = torch.zeros(shape)
    return replace(
        first,
        events=events,
        choices=Choices.everything(WORDS.size, *shape),
        behaviour_logps=zeros.double(),
        rewards=zeros,
        discounts=zeros,
        **own,
    )
