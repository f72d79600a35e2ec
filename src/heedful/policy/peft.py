"""A few parameters beside a frozen model: LoRA, IA3, prefix tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from heedful.policy.batch import Batch, Events, Outputs, Schema
from heedful.policy.choices import Choices
from heedful.policy.huggingface_cache import Layers, as_cache, as_layers
from heedful.policy.huggingface_folder import stacks

OPTIONS: dict[str, dict[str, object]] = {
    "lora": {"rank": 8, "alpha": 16.0, "dropout": 0.0, "targets": "all-linear"},
    "ia3": {"targets": None, "feedforward": None},
    "prefix": {"length": 8},
}
NEEDS = "needs peft: pip install 'heedful[dialogue]'"


def completed(adapter: Mapping[str, object]) -> dict[str, object]:
    """Return ``adapter`` with every option of its kind.

    - ``lora`` (Hu et al., arXiv 2106.09685): W + (alpha / rank) B A beside every linear layer but
      the language head, or those whose names end in one of ``targets``; B begins at zero.
    - ``ia3`` (Liu et al., arXiv 2205.05638): keys, values and what feeds forward, times a vector
      that begins at one. ``targets`` and, of them, ``feedforward`` are names of layers; peft knows
      them for common types of model.
    - ``prefix`` (Li and Liang, ACL 2021): ``length`` columns of keys and values in front of every
      stream, which begin as those of the first tokens of the vocabulary. They take positions.

    Raises:
        ValueError: an unknown kind or option.
    """
    kind = adapter.get("kind")
    if kind not in OPTIONS:
        raise ValueError(f"no adapter of kind {kind!r}; there are {', '.join(OPTIONS)}")
    known = OPTIONS[str(kind)]
    unknown = set(adapter) - set(known) - {"kind"}
    if unknown:
        raise ValueError(
            f"an adapter of kind {kind!r} has no option {min(unknown)!r}; it has {', '.join(known)}"
        )
    return {**known, **adapter}


def adapt(model: Any, adapter: Mapping[str, Any]) -> None:
    """Put an adapter into ``model`` in place, and freeze all else in it; a prefix is no part of it.

    Raises:
        ValueError: peft does not know which layers to adapt, or none has that name.
        ImportError: peft is not installed.
    """
    if adapter["kind"] != "prefix":
        try:
            import peft
        except ImportError as error:
            raise ImportError(f"an adapter of kind {adapter['kind']!r} {NEEDS}") from error
        # GPT-2 keeps its weights the other way round, which peft wants to be told.
        turned = any(type(module).__name__ == "Conv1D" for module in model.modules())
        if adapter["kind"] == "lora":
            form = peft.LoraConfig(
                fan_in_fan_out=turned,
                r=adapter["rank"],
                lora_alpha=adapter["alpha"],
                lora_dropout=adapter["dropout"],
                target_modules=adapter["targets"],
            )
        else:
            form = peft.IA3Config(
                fan_in_fan_out=turned,
                target_modules=adapter["targets"],
                feedforward_modules=adapter["feedforward"],
            )
        try:
            peft.inject_adapter_in_model(form, model)
        except ValueError as error:
            raise ValueError(
                f"no adapter for a model of type {model.config.model_type!r}: {error} "
                "(name the layers as targets)"
            ) from error
    freeze(model)


def freeze(model: nn.Module) -> None:
    """Make all of ``model`` but its adapter buffers, in place.

    They are saved and moved as before, and out of reach of whatever trains parameters: no caller
    has to know which of them may change.
    """
    adapters = {
        id(parameter)
        for layer in _adapted_layers(model)
        for name in layer.adapter_layer_names
        for parameter in getattr(layer, name, nn.ParameterDict()).parameters()
    }
    frozen: dict[int, Tensor] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and id(parameter) not in adapters:
                del module._parameters[name]
                tensor = frozen.setdefault(id(parameter), parameter.detach())  # tied ones stay so
                module.register_buffer(name, tensor)


def _adapted_layers(model: nn.Module) -> Iterator[Any]:
    return (module for module in model.modules() if hasattr(module, "adapter_layer_names"))


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """Let ``model`` be what it was before it was adapted."""
    layers = list(_adapted_layers(model))
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter, flag in flags:  # peft turns gradients off and on as it likes
            parameter.requires_grad = flag


class Prefix(nn.Module):
    """Columns of keys and values that stand in front of every stream, learned."""

    def __init__(self, model: Any, length: int) -> None:
        """Begin as what ``model`` makes of the first ``length`` tokens of its vocabulary."""
        super().__init__()
        rows = model.get_input_embeddings().weight.shape[0]
        training = model.training
        model.eval()
        with torch.no_grad():
            ids = torch.arange(length, device=model.get_input_embeddings().weight.device) % rows
            cache = as_cache(())  # keeps every column, even for a model that looks at a few
            model(ids[None], attention_mask=torch.ones_like(ids[None]), cache=cache, use_cache=True)
        model.train(training)
        self.length = length
        self.columns = nn.ParameterList(torch.cat(pair) for pair in as_layers(cache))

    def layers(self, n: int) -> Layers:
        """Return keys and values of ``n`` streams, each [n, H, length, E]."""
        return tuple(
            (columns[:1].expand(n, -1, -1, -1), columns[1:].expand(n, -1, -1, -1))
            for columns in self.columns
        )


def recompute(model: nn.Module) -> None:
    """Let blocks forget what they computed and compute it again for the gradient, in place.

    Memory grows with one block instead of all, for a third more work (Chen et al., arXiv
    1604.06174). transformers' own switch works in training mode alone, where dropout would make
    another policy of it. Inputs need no gradient, so the model may be frozen.
    """
    for blocks, _ in stacks(model):
        for block in blocks:
            block.forward = partial(_recomputed, block.forward)


def _recomputed(forward: Any, *inputs: Any, **options: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **options)
    return checkpoint(forward, *inputs, use_reentrant=False, **options)


class WithoutAdapter:
    """A model with its adapter off, as a policy: the reference that costs no memory.

    It is a view: numbers are those of the adapted policy, whose heads it shares, and a state
    belongs to the one that made it. It cannot be saved.
    """

    def __init__(self, policy: Any) -> None:
        """View ``policy``, an adapted :class:`heedful.policy.HuggingFace`."""
        self.policy = policy

    @property
    def schema(self) -> Schema:
        """The schema of the adapted policy."""
        return cast(Schema, self.policy.schema)

    def start(self, n: int) -> Any:
        """Return ``n`` streams that have seen their START."""
        with self.policy.unadapted():
            return self.policy.start(n)

    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        """Append events and score the next unit."""
        with self.policy.unadapted():
            return cast(tuple[Any, Tensor], self.policy.step(state, events, choices))

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need`` at the slots of ``batch``."""
        with self.policy.unadapted():
            return cast(Outputs, self.policy.forward(batch, need))

    def grown(self, schema: Schema) -> WithoutAdapter:
        """Return a view of the adapted policy, grown."""
        return WithoutAdapter(self.policy.grown(schema))

    def spec(self) -> dict[str, object]:
        """Return the form of the policy without its adapter."""
        return {**self.policy.spec(), "adapter": None}
