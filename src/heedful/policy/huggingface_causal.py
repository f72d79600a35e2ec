"""Reading a causal language model: all at once, or token by token with a cache."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from heedful.policy.batch import Batch, Events
from heedful.policy.huggingface_cache import CacheState, Layers, as_cache, as_layers, settled
from heedful.policy.huggingface_folder import needs_alignment
from heedful.policy.huggingface_tokens import TokenReader, Tokens
from heedful.policy.peft import Prefix


class Causal:
    """Reads events with a causal model; positions are always given, so that rows may be ragged."""

    def __init__(
        self,
        model: Any,
        reader: TokenReader,
        size: int,
        *,
        prefix: Prefix | None = None,
        recomputed: bool = False,
    ) -> None:
        """Read with ``model``; V is ``size``.

        Args:
            model: a causal model of transformers.
            reader: how events become tokens.
            size: V.
            prefix: what stands in front of every stream.
            recomputed: whether its blocks compute everything twice.
        """
        self.model, self.reader, self.size, self.prefix = model, reader, size, prefix
        self.before = 0 if prefix is None else prefix.length
        most: int | None = getattr(model.config, "max_position_embeddings", None)
        self.limit = None if most is None else most - self.before
        self.aligned = needs_alignment(model)
        self.placed = "position_ids" in inspect.signature(model.forward).parameters
        # Blocks that are computed twice would write what they remember twice.
        self.shares = self.placed and not self.aligned and prefix is None and not recomputed
        # transformers warns of what it takes for padding: what pads here is never looked at.
        self.filler = 0 if model.config.pad_token_id != 0 else 1

    def start(self, n: int) -> CacheState:
        """Return ``n`` streams that have seen their START."""
        head = self.model.get_output_embeddings().weight
        none = torch.zeros(1, dtype=torch.int64, device=head.device)
        logits = torch.zeros(1, self.size, dtype=at_least_float(head.dtype), device=head.device)
        empty = CacheState((), none, logits, none)
        if self.prefix is not None:
            empty = replace(empty, layers=self.prefix.layers(1), lengths=none + self.before)
        one = self.extend(empty, Events.starts(1).to(head.device))
        return one.select(torch.zeros(n, dtype=torch.int64, device=head.device))

    @torch.no_grad()
    def extend(self, state: CacheState, events: Events) -> CacheState:
        """Return the state after ``events``, ragged rows of them."""
        tokens = self.reader.read(events, state.text)
        if not bool(tokens.lengths.any()):
            return replace(state, text=tokens.text)
        total = state.lengths + tokens.lengths
        within(self.limit, int(total.max()) - self.before)
        if self.aligned and bool((state.lengths != state.columns).any()):
            return self._extend_each_length(state, events)
        offset = torch.arange(tokens.ids.shape[1], device=total.device)
        real = offset < tokens.lengths[:, None]
        positions = torch.where(real, state.lengths[:, None] + offset, 0)
        columns = torch.arange(state.columns, device=total.device)
        # A row that has no token at all looks at its padding: attending to nothing gives NaN.
        looked_at = real | ((total == 0)[:, None] & (offset == 0))
        last = (tokens.lengths - 1).clamp(min=0)
        _, logits, cache = at_places(
            self.model,
            torch.arange(len(state), device=total.device),
            last,
            self.size,
            input_ids=tokens.ids.masked_fill(~real, self.filler),
            **({"position_ids": positions} if self.placed else {}),
            attention_mask=torch.cat([columns < state.lengths[:, None], looked_at], dim=1),
            cache=as_cache(state.layers),
            use_cache=True,
        )
        return CacheState(
            settled(as_layers(cache), state.columns, real, positions),
            total,
            torch.where((tokens.lengths > 0)[:, None], logits, state.logits),
            tokens.text,
        )

    def read(self, batch: Batch, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is known at the S slots, [S, D], and logits at those ``wanted``, [N, V].

        Rows that begin with the same prompt, as a group of replies does, share it: it is computed
        once, forwards and backwards.

        Args:
            batch: streams.
            wanted: bool [S].
        """
        tokens = self.reader.read(batch.events)
        row, _ = torch.nonzero(batch.slots, as_tuple=True)
        column = tokens.after[row, batch.positions[batch.slots]] - 1
        within(self.limit, int(tokens.lengths.max()))
        begun = torch.zeros_like(tokens.lengths)
        layers = () if self.prefix is None else self.prefix.layers(len(batch))
        if self.shares:
            first = tokens.lengths.scatter_reduce(0, row, column.clamp(min=0), "amin")
            if bool(first.any()):
                prompts, which = _prompts(tokens.ids, first)
                if _pays(prompts, which, first, tokens.lengths):
                    begun, layers = first, self._heard(prompts, which)
        known, logits, _ = self._run_from(tokens, begun, layers, row, column, wanted)
        return known, logits

    def _heard(self, prompts: Tensor, which: Tensor) -> Layers:
        """Return keys and values of distinct ``prompts`` [U, P], for each row its own."""
        none = which[:0]
        ids = prompts.masked_fill(prompts < 0, self.filler)
        offset = torch.arange(ids.shape[1], device=ids.device)[None]
        cache = as_cache(())
        at_places(
            self.model,
            none,
            none,
            self.size,
            input_ids=ids,
            cache=cache,
            use_cache=True,
            position_ids=offset,
        )
        return tuple((key[which], value[which]) for key, value in as_layers(cache))

    def _run_from(
        self,
        tokens: Tokens,
        begun: Tensor,
        layers: Layers,
        row: Tensor,
        column: Tensor,
        wanted: Tensor,
    ) -> tuple[Tensor, Tensor, Any]:
        """Run each row from its token ``begun`` [B] on, behind ``layers``, at places."""
        fresh = tokens.lengths - begun
        offset = torch.arange(max(1, int(fresh.max())), device=row.device)[None]
        real = offset < fresh[:, None]
        ids = torch.full(real.shape, self.filler, device=row.device)
        at, place = torch.nonzero(real, as_tuple=True)
        ids[at, place] = tokens.ids[at, begun[at] + place]
        more: dict[str, Any] = {}
        if self.placed:
            more["position_ids"] = torch.where(real, self.before + begun[:, None] + offset, 0)
        if layers:
            columns = torch.arange(layers[0][0].shape[2], device=row.device)
            heard = columns < (self.before + begun)[:, None]
            more |= {"cache": as_cache(layers), "use_cache": True}
            # A row with nothing in it looks at its padding: attending to nothing gives NaN.
            more["attention_mask"] = torch.cat([heard, real | (offset == 0)], dim=1)
        # Else padding stands on the right, where no real token of a causal model can see it.
        return at_places(
            self.model, row, column - begun[row], self.size, wanted, input_ids=ids, **more
        )

    def _extend_each_length(self, state: CacheState, events: Events) -> CacheState:
        """Do as ``extend``, with rows of one length at a time."""
        lots = [torch.nonzero(state.lengths == n)[:, 0] for n in set(state.lengths.tolist())]
        head, *tail = [self.extend(state.select(rows), events.select(rows)) for rows in lots]
        return head.stack(tail).select(torch.argsort(torch.cat(lots)))


def _prompts(ids: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """Return what stands before token ``first`` [B] of each row, distinct ones of it [U, P].

    Padded with -1; and the number of each row's, int64 [B].
    """
    longest = int(first.max())
    before = torch.arange(longest, device=ids.device) < first[:, None]
    prompts, which = torch.unique(
        torch.where(before, ids[:, :longest], -1), dim=0, return_inverse=True
    )
    return prompts, which


def _pays(prompts: Tensor, which: Tensor, first: Tensor, lengths: Tensor) -> bool:
    """Say whether sharing prompts saves a quarter of the tokens, padding included.

    Below that the second pass and the mask it needs cost as much as is saved.
    """
    apart = len(which) * int((lengths - first).max())
    return prompts.numel() + apart < 0.75 * len(which) * int(lengths.max())


def at_places(
    model: Any,
    row: Tensor,
    column: Tensor,
    size: int,
    wanted: Tensor | None = None,
    **inputs: Any,
) -> tuple[Tensor, Tensor, Any]:
    """Run ``model`` with its language head at the S places (row, column) only.

    What the model does to logits behind its head (scaling, capping) is done as ever, since the
    places are taken out in front of the head, inside of the model's own pass.

    Args:
        model: a model of transformers with a language head.
        row: int64 [S].
        column: int64 [S], -1 where nothing was read: all is 0 there, so every unit as likely.
        size: V; logits behind it are cut off.
        wanted: bool [S], the N places whose logits are wanted; all by default.
        **inputs: of the model.

    Returns:
        What the head reads at the places [S, D], logits [N, V] in at least float32, and the cache.
    """
    read = column >= 0
    at_head: list[Tensor] = []

    def take(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        known = inputs[0][row, column.clamp(min=0)] * read[:, None]
        at_head.append(known)
        return ((known if wanted is None else known[wanted])[None], *inputs[1:])

    inputs.setdefault("use_cache", False)
    with model.get_output_embeddings().register_forward_pre_hook(take):
        output = model(**inputs)
    logits = output.logits[0, :, :size]
    logits = logits.to(at_least_float(logits.dtype))
    some = read if wanted is None else read[wanted]
    return at_head[0], logits * some[:, None], output.cache


def at_least_float(dtype: torch.dtype) -> torch.dtype:
    """Return float32, or ``dtype`` where that is finer: log-softmax in half precision is wrong."""
    return torch.promote_types(dtype, torch.float32)


def within(limit: int | None, tokens: int) -> None:
    """Refuse a stream of more ``tokens`` than the model has positions."""
    if limit is not None and tokens > limit:
        raise ValueError(
            f"a stream of {tokens} tokens is longer than the {limit} positions of the model: keep "
            "fewer of its last tokens, or take a model with more positions"
        )
