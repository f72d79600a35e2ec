"""The language part of the own transformer as a folder that other tools load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from heedful.policy.batch import EventKind
from heedful.policy.transformer import ROTATIONS, Block, Transformer

CONFIG, NUMBERS = "config.json", "model.safetensors"
MODEL = "gpt_neox"


@torch.no_grad()
def export_language(
    network: Transformer,
    folder: Path,
    *,
    window: int,
    start: int | None = None,
    end: int | None = None,
    tokenizer: Path | None = None,
) -> None:
    """Write ``network`` as a GPT-NeoX model in Hugging Face's layout.

    ``AutoModelForCausalLM.from_pretrained`` loads it, and finds a text as likely as ``network``
    does, which reads it as units with nothing in between. What the architecture has no place for is
    left behind: how feedback is read, and the heads for value and feedback. What is constant in an
    event that is a unit (its kind, and that nobody has answered it) goes into the input embedding.

    Args:
        network: plain (:class:`heedful.policy.network.Network`): a memory, a sense of time or a
            bias of each unit has no place there either.
        folder: made if need be; files of the same names are replaced.
        window: the longest text, in tokens.
        start: the token that stands for the beginning of a stream, which a text then begins with;
            ``None`` where there is none to spare, and what follows the beginning is not the same.
        end: the token that ends a reply.
        tokenizer: a folder whose files are copied along.

    Raises:
        ValueError: the network is not plain.
    """
    if not network.plain:
        raise ValueError(
            "this transformer reads more than a language, and no other tool can run it: train one "
            "with policy.plain = true"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer is not None:
        shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in _tensors(network, start).items()}
    save_file(tensors, folder / NUMBERS, metadata={"format": "pt"})
    text = json.dumps(_config(network, window, start, end), indent=2)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _config(
    network: Transformer, window: int, start: int | None, end: int | None
) -> dict[str, object]:
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": MODEL,
        "vocab_size": network.schema.size,
        "hidden_size": network.width,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "intermediate_size": 4 * network.width,
        "hidden_act": "gelu",
        "layer_norm_eps": network.norm.eps,
        "max_position_embeddings": window,
        "use_parallel_residual": False,
        "attention_bias": True,
        "tie_word_embeddings": False,
        "rotary_pct": 1.0,
        "rotary_emb_base": ROTATIONS,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": ROTATIONS,
            "partial_rotary_factor": 1.0,
        },
        "bos_token_id": start,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }


def _tensors(network: Transformer, start: int | None) -> dict[str, Tensor]:
    found = {
        f"{MODEL}.embed_in.weight": _read_as(network, start),
        f"{MODEL}.final_layer_norm.weight": network.norm.weight,
        f"{MODEL}.final_layer_norm.bias": network.norm.bias,
        "embed_out.weight": network.embed.units(),
    }
    for number, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        layer = f"{MODEL}.layers.{number}"
        parts = {
            "input_layernorm": block.norm_attention,
            "post_attention_layernorm": block.norm_mlp,
            "attention.dense": block.out,
            "mlp.dense_h_to_4h": block.mlp[0],
            "mlp.dense_4h_to_h": block.mlp[2],
        }
        for name, part in parts.items():
            found |= {f"{layer}.{name}.{key}": value for key, value in part.state_dict().items()}
        found |= {
            f"{layer}.attention.query_key_value.{key}": _by_head(value, network.heads)
            for key, value in block.qkv.state_dict().items()
        }
    return {name: tensor.detach().float() for name, tensor in found.items()}


def _read_as(network: Transformer, start: int | None) -> Tensor:
    """Return what a network reads where each unit stands, unanswered, [V, D]."""
    embed = network.embed
    unanswered = embed.channel.weight[0]
    table = embed.units() + embed.kind.weight[EventKind.UNIT] + unanswered
    if start is not None:
        table = table.clone()
        table[start] = embed.kind.weight[EventKind.START] + unanswered
    return table


def _by_head(tensor: Tensor, heads: int) -> Tensor:
    """Return rows by head, then query, key and value; ours stand the other way round."""
    rows = tensor.reshape(3, heads, -1, *tensor.shape[1:])
    return rows.transpose(0, 1).reshape(tensor.shape)
