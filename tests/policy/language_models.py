"""Small models of transformers with fresh numbers, larger ones than theirs so that they differ."""

from __future__ import annotations

from typing import Any

import torch

from heedful.checks import EXAMPLE_SCHEMA
from heedful.policy import Schema
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
MARKS = {"click": [3, 4], "rating": [0, 1, 2, 5, 6]}


def config_of(kind: str, *, bos: int | None = 1, rows: int = 9) -> dict[str, Any]:
    """Return the configuration of a small model with two rows more than the schema has units."""
    ends = {"bos_token_id": bos, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.5}
    return {"model_type": kind, "vocab_size": rows, **ends, **(CONFIGS | ODD)[kind]}


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
