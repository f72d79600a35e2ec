"""Reading an encoder-decoder: the encoder hears what was said, the decoder replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from heedful.policy.batch import Batch, EventKind, Events
from heedful.policy.huggingface_cache import Layers, as_cache, as_layers, stacked
from heedful.policy.huggingface_causal import at_places, within
from heedful.policy.huggingface_tokens import TokenReader


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """U distinct prompts as an encoder heard them; rows that reply to the same one share it.

    Attributes:
        encoded: [U, P, D].
        real: bool [U, P], False in padding.
        layers: the decoder's keys and values of what was heard, [U, H, P, E].
    """

    encoded: Tensor
    real: Tensor
    layers: Layers

    def select(self, rows: Tensor) -> Heard:
        """Return some of the prompts."""
        layers = tuple((key[rows], value[rows]) for key, value in self.layers)
        return Heard(self.encoded[rows], self.real[rows], layers)

    def stack(self, others: Sequence[Heard]) -> Heard:
        """Return the prompts of all, padded to the longest."""
        all_heard = [self, *others]
        width = max(heard.real.shape[1] for heard in all_heard)
        each = [(heard, width - heard.real.shape[1]) for heard in all_heard]
        return Heard(
            torch.cat([functional.pad(h.encoded, (0, 0, 0, n)) for h, n in each]),
            torch.cat([functional.pad(h.real, (0, n)) for h, n in each]),
            stacked([heard.layers for heard in all_heard], [len(h.real) for h in all_heard]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReplyState:
    """What an encoder-decoder remembers of B streams.

    Attributes:
        ids: int64 [B, L], all tokens so far, padded on the right: the next prompt is made of them.
        lengths: int64 [B], how many there are.
        heard: the prompts.
        which: int64 [B], the prompt that the row replies to.
        layers: the decoder's keys and values of the reply so far, [B, H, C, E].
        columns: int64 [B], how many of those columns are the row's.
        logits: [B, V].
        text: int64 [B], the channel whose text goes on, 0 for none.
    """

    ids: Tensor
    lengths: Tensor
    heard: Heard
    which: Tensor
    layers: Layers
    columns: Tensor
    logits: Tensor
    text: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths)

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams; prompts that none of them replies to are forgotten."""
        prompts, which = torch.unique(self.which[rows], return_inverse=True)
        columns, lengths = self.columns[rows], self.lengths[rows]
        wide, long = _longest(columns), _longest(lengths)
        return type(self)(
            self.ids[rows, :long],
            lengths,
            self.heard.select(prompts),
            which,
            tuple((key[rows, :, :wide], value[rows, :, :wide]) for key, value in self.layers),
            columns,
            self.logits[rows],
            self.text[rows],
        )

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states."""
        states = [self, *others]
        long = max(state.ids.shape[1] for state in states)
        before = 0
        which = []
        for state in states:
            which.append(state.which + before)
            before += len(state.heard.real)
        return type(self)(
            torch.cat([functional.pad(s.ids, (0, long - s.ids.shape[1])) for s in states]),
            torch.cat([state.lengths for state in states]),
            self.heard.stack([state.heard for state in others]),
            torch.cat(which),
            stacked([state.layers for state in states], [len(state) for state in states]),
            torch.cat([state.columns for state in states]),
            torch.cat([state.logits for state in states]),
            torch.cat([state.text for state in states]),
        )


class Replies:
    """Reads events with an encoder-decoder.

    A reply is a run of units without answers. Whatever else happens, an answer fused into a unit
    included, closes it: then all that was said so far is the prompt of the next one. The encoder
    hears each distinct prompt once, however many rows reply to it.
    """

    def __init__(
        self,
        model: Any,
        reader: TokenReader,
        size: int,
        *,
        openers: Sequence[int],
        source_end: int | None,
    ) -> None:
        """Read with ``model``; V is ``size``.

        Args:
            model: an encoder-decoder of transformers.
            reader: how events become tokens.
            size: V.
            openers: what the decoder begins with.
            source_end: the token behind every prompt, ``None`` for none.
        """
        self.model, self.reader, self.size = model, reader, size
        self.openers, self.source_end = tuple(openers), source_end
        self.limit: int | None = getattr(model.config, "max_position_embeddings", None)
        self.filler = model.config.pad_token_id or 0

    def start(self, n: int) -> ReplyState:
        """Return ``n`` streams that have seen their START."""
        head = self.model.get_output_embeddings().weight
        tokens = self.reader.read(Events.starts(1).to(head.device))
        one = self._opened(tokens.ids, tokens.lengths, tokens.text)
        return one.select(torch.zeros(n, dtype=torch.int64, device=head.device))

    @torch.no_grad()
    def extend(self, state: ReplyState, events: Events) -> ReplyState:
        """Return the state after ``events``, ragged rows of them."""
        tokens = self.reader.read(events, state.text)
        total = state.lengths + tokens.lengths
        last = _last_closing(events)[:, -1] if events.kind.shape[1] else total * 0 - 1
        heard = torch.where(last >= 0, _at(tokens.after, last), 0)
        ids = _appended(state.ids, state.lengths, tokens.ids, tokens.lengths)
        first, fresh = state.lengths + heard, tokens.lengths - heard
        closed = torch.nonzero(last >= 0)[:, 0]
        if len(closed):
            opened = self._opened(ids[closed], first[closed], tokens.text[closed])
            state = _replaced(state, closed, opened)
        for columns in sorted(set(state.columns[fresh > 0].tolist())):
            rows = torch.nonzero((state.columns == columns) & (fresh > 0))[:, 0]
            more = self._cut(ids[rows], first[rows], fresh[rows])
            state = _replaced(state, rows, self._said(state.select(rows), more, fresh[rows]))
        return replace(state, ids=ids, lengths=total, text=tokens.text)

    def read(self, batch: Batch, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is known at the S slots, [S, D], and logits at those ``wanted``, [N, V].

        Args:
            batch: streams; the decisions of one row are read side by side.
            wanted: bool [S].
        """
        tokens = self.reader.read(batch.events)
        row, _ = torch.nonzero(batch.slots, as_tuple=True)
        event = batch.positions[batch.slots]
        last = _last_closing(batch.events)[row, event]
        heard = torch.where(last >= 0, tokens.after[row, last.clamp(min=0)], 0)
        said = tokens.after[row, event] - heard
        keys, reply = torch.unique(torch.stack([row, heard], 1), dim=0, return_inverse=True)
        if not len(keys):
            keys, reply = keys.new_zeros(1, 2), reply
        longest = said.new_zeros(len(keys)).scatter_reduce(0, reply, said, "amax")
        within(self.limit, len(self.openers) + _longest(longest))
        prompts, which = self._prompts(tokens.ids[keys[:, 0]], keys[:, 1])
        encoded, real = self._encoded(prompts)
        known, logits, _ = at_places(
            self.model,
            reply,
            len(self.openers) - 1 + said,
            self.size,
            wanted,
            encoder_outputs=self._as_output(encoded[which]),
            attention_mask=real[which],
            decoder_input_ids=self._decoded(tokens.ids[keys[:, 0]], keys[:, 1], longest),
        )
        return known, logits

    def _opened(self, ids: Tensor, lengths: Tensor, text: Tensor) -> ReplyState:
        """Return B streams that are about to reply to ``ids`` [B, L], each to ``lengths`` of it."""
        prompts, which = self._prompts(ids, lengths)
        encoded, real = self._encoded(prompts)
        n = len(encoded)
        logits, layers, crossed = self._run(
            torch.tensor([self.openers] * n, device=ids.device),
            torch.full((n,), len(self.openers) - 1, device=ids.device),
            Heard(encoded, real, ()),
            (),
        )
        columns = torch.full_like(lengths, len(self.openers))
        layers = tuple((key[which], value[which]) for key, value in layers)
        heard = Heard(encoded, real, crossed)
        return ReplyState(ids, lengths, heard, which, layers, columns, logits[which], text)

    def _said(self, state: ReplyState, ids: Tensor, fresh: Tensor) -> ReplyState:
        """Return ``state`` after ``fresh`` [B] tokens of ``ids`` [B, N].

        All of its rows have as many columns, so that the decoder may count positions itself.
        """
        before = int(state.columns[0])
        within(self.limit, before + ids.shape[1])
        logits, layers, _ = self._run(ids, fresh - 1, state.heard, state.layers, state.which)
        return replace(state, layers=layers, columns=state.columns + fresh, logits=logits)

    def _run(
        self,
        ids: Tensor,
        last: Tensor,
        heard: Heard,
        layers: Layers,
        which: Tensor | None = None,
    ) -> tuple[Tensor, Layers, Layers]:
        """Run the decoder on; return logits at ``last`` [B], its layers, and those of the heard."""
        from transformers import EncoderDecoderCache

        heard = heard if which is None else heard.select(which)
        cache = EncoderDecoderCache(as_cache(layers), as_cache(heard.layers))
        rows = torch.arange(len(ids), device=ids.device)
        _, logits, cache = at_places(
            self.model,
            rows,
            last,
            self.size,
            encoder_outputs=self._as_output(heard.encoded),
            attention_mask=heard.real,
            decoder_input_ids=ids,
            cache=cache,
            use_cache=True,
        )
        return logits, as_layers(cache.self_attention_cache), as_layers(cache.cross_attention_cache)

    def _prompts(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distinct ones of B prompts [U, P], padded with -1, and each row's number."""
        longest = _longest(lengths)
        within(self.limit, longest + (self.source_end is not None))
        offset = torch.arange(longest + 1, device=ids.device)
        padded = functional.pad(ids[:, :longest], (0, longest + 1 - min(longest, ids.shape[1])))
        ends = -1 if self.source_end is None else self.source_end
        padded = torch.where(offset == lengths[:, None], ends, padded)
        padded = torch.where(offset > lengths[:, None], -1, padded)
        prompts, which = torch.unique(padded, dim=0, return_inverse=True)
        return prompts, which

    def _encoded(self, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the encoder hears in ``prompts`` [U, P], and which of it is no padding."""
        real = prompts >= 0
        ids = prompts.masked_fill(~real, self.filler)
        output = self.model.get_encoder()(input_ids=ids, attention_mask=real)
        return output.last_hidden_state, real

    def _decoded(self, ids: Tensor, first: Tensor, lengths: Tensor) -> Tensor:
        """Return the openers and, behind them, ``lengths`` tokens of ``ids`` from ``first`` on."""
        openers = torch.tensor([self.openers] * len(ids), device=ids.device)
        return torch.cat([openers, self._cut(ids, first, lengths)], dim=1)

    def _cut(self, ids: Tensor, first: Tensor, lengths: Tensor) -> Tensor:
        offset = torch.arange(_longest(lengths), device=ids.device)
        real = offset < lengths[:, None]
        found = ids.new_full(real.shape, self.filler)
        row, column = torch.nonzero(real, as_tuple=True)
        found[row, column] = ids[row, first[row] + column]
        return found

    def _as_output(self, encoded: Tensor) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=encoded)


def _last_closing(events: Events) -> Tensor:
    """Return, at each event, the last one so far that closes a reply, -1 for none, [B, L]."""
    column = torch.arange(events.kind.shape[1], device=events.kind.device)
    open_unit = (events.kind == EventKind.UNIT) & (events.channel == 0)
    closes = ~open_unit & (column < events.lengths[:, None])
    return torch.where(closes, column, -1).cummax(dim=1).values


def _at(table: Tensor, column: Tensor) -> Tensor:
    if not table.shape[1]:
        return torch.zeros_like(column)
    return table.gather(1, column.clamp(min=0)[:, None])[:, 0]


def _appended(ids: Tensor, lengths: Tensor, more: Tensor, fresh: Tensor) -> Tensor:
    """Return each row's tokens with ``fresh`` of ``more`` behind its first ``lengths``."""
    row, column = torch.nonzero(
        torch.arange(more.shape[1], device=ids.device) < fresh[:, None], as_tuple=True
    )
    longest = max(ids.shape[1], _longest(lengths + fresh))
    longer = functional.pad(ids, (0, longest - ids.shape[1]))
    longer[row, lengths[row] + column] = more[row, column]
    return longer


def _replaced(state: ReplyState, rows: Tensor, new: ReplyState) -> ReplyState:
    """Return ``state`` with the rows numbered in ``rows`` replaced by those of ``new``."""
    kept = torch.ones(len(state), dtype=torch.bool, device=rows.device)
    kept[rows] = False
    others = torch.nonzero(kept)[:, 0]
    if not len(others):
        return new
    order = torch.argsort(torch.cat([others, rows]))
    return state.select(others).stack([new]).select(order)


def _longest(lengths: Tensor) -> int:
    return int(lengths.max()) if len(lengths) else 0
