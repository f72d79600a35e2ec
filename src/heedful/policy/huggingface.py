"""Models in Hugging Face's layout as policies: a token is a unit, the language head chooses."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn

from heedful.policy.batch import Batch, Events, Outputs, Schema, outputs_from_logits, scatter
from heedful.policy.choices import Choices
from heedful.policy.folder import PolicyFolderError
from heedful.policy.huggingface_causal import Causal
from heedful.policy.huggingface_folder import (
    blocks_of,
    fresh_model,
    model_in,
    plain_config,
    refuse_unreadable,
    resize,
    tokens_in,
)
from heedful.policy.huggingface_replies import Replies
from heedful.policy.huggingface_tokens import TokenReader
from heedful.policy.peft import (
    Prefix,
    WithoutAdapter,
    adapt,
    completed,
    freeze,
    recompute,
    switched_off,
)

CHOICE = frozenset({"logps", "entropy", "logits"})


class HuggingFace(nn.Module):
    """A language model of ``transformers``, causal or an encoder-decoder, as a policy.

    Unit i is token i. Events are read as tokens (:class:`TokenReader
    <heedful.policy.huggingface_tokens.TokenReader>`), so earlier thumbs, ratings and comments
    condition what is said next; before any token every unit is equally likely. The numbers of a
    context are not read. Log-probabilities are those of the model's own forward pass in at least
    float32, logits behind the vocabulary cut off. Beside the language head stand a value head, zero
    at first, and a small feedback head.

    A policy's form holds the model's configuration and its file all numbers: a saved version needs
    no other folder, and no hub. ``trust_remote_code`` is never set.
    """

    kind = "huggingface"
    pretrained = True
    """Its numbers come from elsewhere: pre-training goes on from them with small steps."""

    def __init__(
        self,
        schema: Schema,
        *,
        config: Mapping[str, Any] | None = None,
        model: Any = None,
        start: int | Literal["bos"] | None = "bos",
        marks: Mapping[str, Sequence[int]] | None = None,
        decoder_start: int | None = None,
        forced_bos: int | None = None,
        source_end: int | Literal["eos"] | None = "eos",
        adapter: Mapping[str, Any] | None = None,
        recomputed: bool = False,
    ) -> None:
        """Make a model of ``config`` with fresh numbers, or stand around ``model``.

        Args:
            schema: V at most the model's vocabulary, units not described.
            config: what ``config.json`` holds, ``model_type`` included.
            model: a model of transformers; give this or ``config``.
            start: the token read for START, ``None`` for nothing; "bos" is the configuration's
                ``bos_token_id`` where the vocabulary has it, else nothing.
            marks: token ids that stand for answers, from low to high, by kind of channel.
            decoder_start: of an encoder-decoder: what its decoder begins with; by default the
                configuration's ``decoder_start_token_id``.
            forced_bos: of an encoder-decoder: a token behind that, as a rule of the language to
                reply in; ``None`` for none.
            source_end: of an encoder-decoder: the token behind every prompt; "eos" is the
                configuration's ``eos_token_id``, ``None`` nothing.
            adapter: what is trained beside a frozen model, besides the heads: ``kind`` "lora",
                "ia3" or "prefix" and its options (:func:`heedful.policy.peft.completed`).
            recomputed: blocks are computed again for the gradient, which saves memory.

        Raises:
            ValueError: the form makes no sense, or this model cannot be read event by event.
            ImportError: transformers is not installed, or peft for an adapter.
        """
        super().__init__()
        self.model = fresh_model(config) if model is None else model
        refuse_unreadable(self.model, schema)
        self.schema = schema
        if start == "bos":
            bos = self.model.config.bos_token_id
            start = bos if isinstance(bos, int) and bos < schema.size else None
        self.reader = TokenReader(schema, start, marks or {})
        self._ends = self._ends_of(decoder_start, forced_bos, source_end)
        self.width: int = self.model.get_output_embeddings().weight.shape[1]
        self.value_head = nn.Linear(self.width, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self.feedback_head = self._new_feedback_head() if schema.channels else None
        self.adapter = completed(adapter) if adapter else None
        self.prefix: Prefix | None = None
        self.recomputed = recomputed
        self._adapt()
        self.body = self._new_body()
        self.aliases = _aliases(self.model)
        self.register_state_dict_post_hook(_drop_aliases)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_fill_aliases)  # type: ignore[no-untyped-call]

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        schema: Schema,
        *,
        marks: Mapping[str, Sequence[int]] | None = None,
        added: int = 0,
        **options: Any,
    ) -> Self:
        """Return the model in ``folder`` as a policy in evaluation mode, in float32.

        Args:
            folder: in Hugging Face's layout: ``config.json`` and safetensors.
            schema: V is the size of the tokenizer, marks included.
            marks: token ids that stand for answers, from low to high, by kind of channel. Those
                that the model was not trained with, being none of the tokens in the folder, begin
                as the mean of all others.
            added: how many of the last units the tokenizer has that the model was not trained
                with; they begin so too.
            **options: as in the constructor.

        Raises:
            PolicyFolderError: the folder holds no such model; says what is wrong with it.
        """
        model = model_in(Path(folder))
        rows = model.get_input_embeddings().weight.shape[0]
        trained = min(rows, tokens_in(Path(folder)) or rows)
        unknown = {token for ids in (marks or {}).values() for token in ids if token >= trained}
        fresh = sorted(unknown | set(range(schema.size - added, schema.size)))
        missing = set(range(rows, schema.size)) - set(fresh)
        if missing:
            raise PolicyFolderError(
                f"{folder}: the tokenizer has {schema.size} tokens and the model {rows} "
                f"(token {min(missing)} is no mark and not added): use the tokenizer that belongs "
                "to the model, or say how many tokens were added"
            )
        if fresh:
            resize(model, max(rows, schema.size), fresh)
        return cls(schema, model=model, marks=marks, **options).eval()

    def spec(self) -> dict[str, object]:
        """Return the arguments this policy was made with, the model's configuration among them."""
        return {
            "kind": self.kind,
            "schema": self.schema.to_dict(),
            "config": plain_config(self.model.config),
            "start": self.reader.start,
            "marks": {kind: list(ids) for kind, ids in self.reader.marks.items()},
            **self._ends,
            "adapter": self.adapter,
            "recomputed": self.recomputed,
        }

    @property
    def positions(self) -> int | None:
        """How many tokens a stream may have, ``None`` for any number."""
        return self.body.limit

    def without_adapter(self) -> WithoutAdapter:
        """Return this model with its adapter off, as a policy that shares all numbers with it.

        Raises:
            ValueError: it has none.
        """
        if self.adapter is None:
            raise ValueError("this policy has no adapter: clone it to keep it as a reference")
        return WithoutAdapter(self)

    @contextmanager
    def unadapted(self) -> Iterator[None]:
        """Let the adapter be off for a while."""
        prefix, self.prefix = self.prefix, None
        self.body = self._new_body()
        try:
            with switched_off(self.model):
                yield
        finally:
            self.prefix = prefix
            self.body = self._new_body()

    def parameters_of(self, scope: str) -> list[nn.Parameter]:
        """Return the parameters that fine-tuning within ``scope`` may change.

        "heads" are what stands behind the last block (as a rule a norm), the value head and the
        feedback head; the language head belongs to "all" alone, as it may be the table that is read
        on input. "last_block" adds the last block. With an adapter, it and the heads are all there
        is to train.
        """
        if scope == "all":
            return list(self.parameters())
        blocks, behind = blocks_of(self.model)
        parts = [*behind, self.value_head]
        parts += [] if self.feedback_head is None else [self.feedback_head]
        parts += [blocks[-1]] if scope == "last_block" else []
        return [parameter for part in parts for parameter in part.parameters()]

    def grown(self, schema: Schema) -> Self:
        """Return a copy over more units; see :class:`heedful.policy.Policy`.

        The rows of new units are the mean of the old ones.
        """
        if schema.features != self.schema.features or schema.unit_features:
            raise ValueError("a language model does not read descriptions: leave them out")
        larger = copy.deepcopy(self)
        old, rows = self.schema.size, self.model.get_input_embeddings().weight.shape[0]
        resize(larger.model, max(rows, schema.size), range(old, schema.size))
        if self.adapter:
            freeze(larger.model)
        larger.schema = schema
        larger.reader = TokenReader(schema, self.reader.start, self.reader.marks)
        larger.body = larger._new_body()
        return larger

    def start(self, n: int) -> Any:
        """Return ``n`` streams that have seen their START."""
        return self.body.start(n)

    def step(self, state: Any, events: Events, choices: Choices) -> tuple[Any, Tensor]:
        """Append events and score the next unit, without gradient.

        Raises:
            ValueError: a stream has more tokens than the model has positions.
        """
        body: Any = self.body
        state = body.extend(state, events)
        return state, choices.apply(state.logits)

    def forward(self, batch: Batch, need: frozenset[str]) -> Outputs:
        """Answer ``need`` at the slots of ``batch``, with gradient.

        Logits are computed at the slots only.

        Raises:
            ValueError: a stream has more tokens than the model has positions, or is to be read in
                both directions.
        """
        if batch.both_ways:
            raise ValueError(
                "a language model reads from left to right only: set pretrain.bidirectional = false"
            )
        at_units = batch.mask[batch.slots]
        wanted = at_units if need & CHOICE else torch.zeros_like(at_units)
        known, logits = self.body.read(batch, wanted)
        outputs = Outputs(
            values=scatter(self.value_head(known)[:, 0], batch.slots) if "values" in need else None,
            feedback=scatter(self._feedback(known[at_units], batch.units[batch.mask]), batch.mask)
            if "feedback" in need
            else None,
        )
        if not need & CHOICE:
            return outputs
        return outputs_from_logits(batch.choices.apply(logits, batch.mask), batch, need, outputs)

    def _ends_of(
        self, start: int | None, forced: int | None, end: int | Literal["eos"] | None
    ) -> dict[str, int | None]:
        """Return what an encoder-decoder reads besides events."""
        config = self.model.config
        if not config.is_encoder_decoder:
            if start is not None or forced is not None or end != "eos":
                raise ValueError(
                    "decoder_start, forced_bos and source_end belong to encoder-decoders, and "
                    f"{config.model_type!r} is none: leave them out"
                )
            return {}
        start = getattr(config, "decoder_start_token_id", None) if start is None else start
        end = config.eos_token_id if end == "eos" else end
        if start is None:
            raise ValueError("the configuration does not say what its decoder begins with: name it")
        if end is None and self.reader.start is None:
            raise ValueError("an encoder needs something to hear: name a start or a source_end")
        return {"decoder_start": start, "forced_bos": forced, "source_end": end}

    def _adapt(self) -> None:
        """Put the adapter beside the model, and let blocks be computed twice where asked."""
        if self.adapter:
            if self.adapter["kind"] == "prefix":
                if self._ends or self.recomputed:
                    raise ValueError(
                        "a prefix is for causal models whose blocks are computed once: choose "
                        'another kind of adapter, as "lora"'
                    )
                self.prefix = Prefix(self.model, int(cast(int, self.adapter["length"])))
            adapt(self.model, self.adapter)
        if self.recomputed:
            recompute(self.model)

    def _new_body(self) -> Causal | Replies:
        if not self._ends:
            return Causal(
                self.model,
                self.reader,
                self.schema.size,
                prefix=self.prefix,
                recomputed=self.recomputed,
            )
        openers = [self._ends["decoder_start"], self._ends["forced_bos"]]
        return Replies(
            self.model,
            self.reader,
            self.schema.size,
            openers=[token for token in openers if token is not None],
            source_end=self._ends["source_end"],
        )

    def _new_feedback_head(self) -> nn.Linear:
        """Return what predicts the answers to a unit from what is known before it, and the unit."""
        read = self.model.get_input_embeddings().weight.shape[1]
        head = nn.Linear(self.width + read, len(self.schema.channels))
        nn.init.normal_(head.weight, std=1.0 / math.sqrt(self.width + read + 1))
        nn.init.zeros_(head.bias)
        return head

    def _feedback(self, known: Tensor, units: Tensor) -> Tensor:
        if self.feedback_head is None:
            return known[:, :0]
        unit = self.model.get_input_embeddings()(units)
        return torch.as_tensor(self.feedback_head(torch.cat([known, unit], dim=-1)))


def _aliases(model: nn.Module) -> dict[str, str]:
    """Return the other names of tied tensors, and the one each is kept under."""
    tensors = [
        *model.named_parameters(prefix="model", remove_duplicate=False),
        *model.named_buffers(prefix="model", remove_duplicate=False),
    ]
    first: dict[int, str] = {}
    return {
        name: kept for name, one in tensors if (kept := first.setdefault(id(one), name)) != name
    }


def _drop_aliases(module: nn.Module, numbers: dict[str, Any], prefix: str, _: object) -> None:
    """Keep tied tensors once: a file of safetensors holds no tensor twice."""
    for name in cast(HuggingFace, module).aliases:
        numbers.pop(prefix + name, None)


def _fill_aliases(module: nn.Module, numbers: dict[str, Any], prefix: str, *_: object) -> None:
    for name, kept in cast(HuggingFace, module).aliases.items():
        if prefix + kept in numbers:
            numbers[prefix + name] = numbers[prefix + kept]
