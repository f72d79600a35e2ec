"""Models of transformers: made of a configuration, read from a folder, resized."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from heedful.policy.batch import Schema
from heedful.policy.folder import PolicyFolderError

NOT_THE_FORM = {
    *("dtype", "torch_dtype", "_name_or_path", "transformers_version"),
    *("id2label", "label2id", "auto_map", "architectures"),
}
FULL, SLIDING = "full_attention", "sliding_attention"
NEEDS = "needs transformers: pip install 'heedful[dialogue]'"


def library() -> Any:
    """Return the module ``transformers``.

    Raises:
        ImportError: it is not installed; says how to.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f"a policy of kind 'huggingface' {NEEDS}") from error
    return transformers


def fresh_model(config: Mapping[str, Any] | None) -> Any:
    """Return a model of ``config`` with fresh numbers, in torch's default precision."""
    if config is None:
        raise ValueError("give a model's configuration, or a model of transformers")
    options = {name: value for name, value in config.items() if name not in NOT_THE_FORM}
    known = _config_of(options, "the configuration")
    return _auto(known, "the configuration").from_config(known)


def plain_config(config: Any) -> dict[str, Any]:
    """Return a configuration as JSON, without what says nothing of the model's form."""
    plain = json.loads(config.to_json_string(use_diff=False))
    return {name: value for name, value in sorted(plain.items()) if name not in NOT_THE_FORM}


def model_in(folder: Path) -> Any:
    """Return the model in ``folder``, in float32 and evaluation mode; nothing is downloaded or run.

    Raises:
        PolicyFolderError: there is no folder, no configuration, weights that are pickled only, code
            of its own, or no model that generates.
    """
    if not folder.is_dir():
        raise PolicyFolderError(f"{folder}: no such folder; name one in Hugging Face's layout")
    options = _read_config(folder)
    known = _config_of(options, str(folder))
    auto = _auto(known, str(folder))
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        raise PolicyFolderError(
            f"{folder} holds pickled weights only ({', '.join(pickled)}), which can run code when "
            "they are read: convert them to safetensors"
            if pickled
            else f"{folder} holds no weights: model.safetensors is missing"
        )
    logging = library().utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, found = auto.from_pretrained(
            folder,
            config=known,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise PolicyFolderError(f"{folder}: the model cannot be read: {error}") from error
    finally:
        if shown:
            logging.enable_progress_bar()
    if found["missing_keys"]:
        raise PolicyFolderError(
            f"{folder}: the weights lack {', '.join(sorted(found['missing_keys'])[:3])}, which "
            "would begin as random numbers: the files do not belong together"
        )
    return model


def tokens_in(folder: Path) -> int | None:
    """Return how many tokens the tokenizer in ``folder`` has, ``None`` where that is not written.

    A model may have more rows, which nothing was learned in.
    """
    try:
        written = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = written["model"]["vocab"]
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        return 1 + max(map(int, [*ids, *(token["id"] for token in written["added_tokens"])]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        options = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PolicyFolderError(
            f"{folder} holds no config.json: name a folder in Hugging Face's layout"
        ) from None
    except ValueError as error:
        raise PolicyFolderError(f"{folder}/config.json is no JSON: {error}") from None
    if not isinstance(options, dict):
        raise PolicyFolderError(f"{folder}/config.json is no object")
    return options


def _config_of(options: Mapping[str, Any], where: str) -> Any:
    """Return the configuration class's reading of ``options``."""
    transformers = library()
    kind = options.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        if options.get("auto_map"):
            raise PolicyFolderError(
                f"{where}: a model of type {kind!r} comes with code of its own, which is never "
                "run: take a model whose class is part of transformers"
            )
        raise PolicyFolderError(
            f"{where}: transformers {transformers.__version__} knows no model of type {kind!r}: "
            "correct model_type in config.json, or install a newer version"
        )
    rest = {name: value for name, value in options.items() if name != "model_type"}
    return transformers.AutoConfig.for_model(kind, **rest)


def _auto(config: Any, where: str) -> Any:
    """Return the class that makes models of ``config``."""
    transformers = library()
    auto = (
        transformers.AutoModelForSeq2SeqLM
        if config.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )
    if type(config) not in auto._model_mapping:
        raise PolicyFolderError(
            f"{where}: a model of type {config.model_type!r} does not generate text: take a causal "
            "or an encoder-decoder one"
        )
    return auto


def refuse_unreadable(model: Any, schema: Schema) -> None:
    """Refuse a model that cannot be read as a stream of events.

    Raises:
        ValueError: says why.
    """
    config, kind = model.config, model.config.model_type
    if schema.unit_features:
        raise ValueError("a language model does not read descriptions of units: leave them out")
    rows = model.get_input_embeddings().weight.shape[0]
    if rows < schema.size:
        raise ValueError(f"a model of {rows} tokens for {schema.size} units: resize it first")
    if model.get_output_embeddings() is None:
        raise ValueError(f"a model of type {kind!r} has no language head")
    others = set(getattr(config, "layer_types", None) or ()) - {FULL, SLIDING}
    if others or getattr(model, "_is_stateful", False):
        raise ValueError(
            f"a model of type {kind!r} remembers more than keys and values "
            f"({', '.join(sorted(others)) or 'a state'}), which is not supported: take one whose "
            "blocks all attend"
        )


def needs_alignment(model: Any) -> bool:
    """Say whether a token's place in the cache has to be its position.

    That is so where the model counts positions itself, or attends to the last columns only. Rows of
    different lengths are read one after the other then.
    """
    config = model.config
    counts = "position_ids" not in inspect.signature(model.forward).parameters
    window = getattr(config, "sliding_window", None) is not None
    window |= SLIDING in (getattr(config, "layer_types", None) or ())
    return counts or window or "local" in (getattr(config, "attention_layers", None) or ())


def blocks_of(model: nn.Module) -> tuple[nn.ModuleList, list[nn.Module]]:
    """Return the model's last stack of blocks, and the modules that stand behind it.

    Raises:
        ValueError: there is no stack.
    """
    found = list(stacks(model))
    if not found:
        raise ValueError('this model has no stack of blocks: set tune.scope = "all"')
    return found[-1]


def stacks(module: nn.Module) -> Iterator[tuple[nn.ModuleList, list[nn.Module]]]:
    """Yield every stack of blocks in ``module``, and the modules that stand behind it."""
    children = list(module.children())
    for place, child in enumerate(children):
        if isinstance(child, nn.ModuleList):
            yield child, children[place + 1 :]
        else:
            yield from stacks(child)


@torch.no_grad()
def resize(model: Any, rows: int, fresh: Iterable[int]) -> None:
    """Give ``model`` ``rows`` tokens in place; the rows of ``fresh`` are the mean of all others."""
    before = model.get_input_embeddings().weight.shape[0]
    if rows != before:
        with torch.random.fork_rng(devices=[]):
            model.resize_token_embeddings(rows, mean_resizing=False)
    new = torch.zeros(rows, dtype=torch.bool)
    new[list(fresh)] = True
    new[before:] = True
    for table in _tables(model):
        table[new.to(table.device)] = table[~new.to(table.device)].mean(0)


def _tables(model: Any) -> list[Tensor]:
    """Return what has a row or a number a token, each once: tables that are tied are one."""
    head = model.get_output_embeddings()
    tables = [model.get_input_embeddings().weight, head.weight, getattr(head, "bias", None)]
    return list({id(table): table for table in tables if table is not None}.values())
