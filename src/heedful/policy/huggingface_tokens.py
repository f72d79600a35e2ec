"""Events as a language model reads them: a token each, and marks for what people answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heedful.policy.batch import EventKind, Events, Schema

NOTHING = -1


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Ragged rows of tokens, padded on the right.

    Attributes:
        ids: int64 [B, N], 0 in padding.
        lengths: int64 [B].
        after: int64 [B, L], how many tokens have been read after each of the events.
        text: int64 [B], the channel whose text goes on at the end, 0 for none.
    """

    ids: Tensor
    lengths: Tensor
    after: Tensor
    text: Tensor


class TokenReader:
    """Turns events into tokens; every event gives none, one or two.

    - START: the token that opens a text, where the model has one.
    - CONTEXT, UNIT: the unit, which is the token; one not known gives nothing.
    - An answer, fused into its unit or an event of its own: the *mark* of its channel nearest to
      its value. The marks of a channel stand evenly spaced on the scale from 0 to 1.
    - A channel with a single mark is text: the mark once, then the units of its events.
    - END, RETRACTION, the numbers of a context, and channels without marks: nothing.
    """

    def __init__(
        self, schema: Schema, start: int | None, marks: Mapping[str, Sequence[int]]
    ) -> None:
        """Read ``schema`` with ``marks``, token ids from low to high by channel kind.

        Raises:
            ValueError: marks for a channel that there is not, none in a list, or not a token.
        """
        kinds = [channel.kind for channel in schema.channels]
        self.start, self.marks = start, {kind: tuple(ids) for kind, ids in marks.items()}
        for kind, ids in self.marks.items():
            if kind not in kinds:
                raise ValueError(f"marks for {kind!r}, which is no channel; there are {kinds}")
            if not ids or not all(0 <= token < schema.size for token in ids):
                raise ValueError(f"marks of {kind!r} must be token ids below {schema.size}: {ids}")
        rows = [(), *(self.marks.get(kind, ()) for kind in kinds)]
        width = max(1, *map(len, rows))
        self._table = torch.tensor([[*row, *[NOTHING] * (width - len(row))] for row in rows])
        self._counts = torch.tensor([len(row) for row in rows])

    def read(self, events: Events, text: Tensor | None = None) -> Tokens:
        """Return the tokens of ``events``.

        Args:
            events: B rows.
            text: int64 [B], the channel whose text went on at the end of what was read before.
        """
        device = events.kind.device
        if text is None:
            text = torch.zeros(len(events), dtype=torch.int64, device=device)
        mark, texts = self._marks(events)
        before = torch.cat([text[:, None], texts[:, :-1]], dim=1)[:, : texts.shape[1]]
        spoken = events.kind == EventKind.FEEDBACK
        mark = mark.masked_fill(spoken & (texts > 0) & (texts == before), NOTHING)
        chosen = (events.kind == EventKind.UNIT) | (events.kind == EventKind.CONTEXT)
        unit = events.unit.masked_fill(~chosen & ~(spoken & (texts > 0)), NOTHING)
        if self.start is not None:
            unit = torch.where(events.kind == EventKind.START, self.start, unit)
        pair = torch.stack(
            [torch.where(spoken, mark, unit), torch.where(spoken, unit, mark)], dim=2
        )
        # What has been said last, now or before: the state of a text that goes on.
        spans = torch.cat([text[:, None], texts], dim=1)
        return _packed(pair, spans.gather(1, events.lengths[:, None])[:, 0])

    def _marks(self, events: Events) -> tuple[Tensor, Tensor]:
        """Return the mark of each event or -1, and the channel of text it belongs to or 0."""
        table, counts = self._table.to(events.kind.device), self._counts.to(events.kind.device)
        answered = (events.kind == EventKind.UNIT) | (events.kind == EventKind.FEEDBACK)
        channel = events.channel * answered
        steps = counts[channel]
        nearest = (events.value * (steps - 1)).round().long().clamp(min=0)
        return table[channel, nearest], torch.where(steps == 1, channel, 0)


def _packed(pair: Tensor, text: Tensor) -> Tokens:
    """Return the tokens among ``pair`` [B, L, 2], moved left."""
    flat = pair.flatten(1)
    real = flat >= 0
    counts = torch.cumsum(real, dim=1)
    lengths = real.sum(1)
    ids = flat.new_zeros(len(flat), int(lengths.max()) if len(flat) else 0)
    row, _ = torch.nonzero(real, as_tuple=True)
    ids[row, counts[real] - 1] = flat[real]
    return Tokens(ids, lengths, counts[:, 1::2], text)
