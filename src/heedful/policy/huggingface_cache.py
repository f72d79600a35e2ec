"""What a language model remembers of streams: keys and values, a column a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

Layers = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, slots=True, eq=False)
class CacheState:
    """The keys and values of every token so far, and what is said of the next one.

    Attributes:
        layers: for each layer its keys and values, [B, H, C, E]; columns of a row from its length
            on are padding. Empty before the first token.
        lengths: int64 [B], the columns of each row.
        logits: [B, V].
        text: int64 [B], the channel whose text goes on, 0 for none.
    """

    layers: Layers
    lengths: Tensor
    logits: Tensor
    text: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths)

    @property
    def columns(self) -> int:
        """C."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams, without columns that none of them uses."""
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        layers = tuple(
            (key[rows, :, :longest], value[rows, :, :longest]) for key, value in self.layers
        )
        return type(self)(layers, lengths, self.logits[rows], self.text[rows])

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states, padded to the longest."""
        states = [self, *others]
        return type(self)(
            stacked([state.layers for state in states], [len(state) for state in states]),
            torch.cat([state.lengths for state in states]),
            torch.cat([state.logits for state in states]),
            torch.cat([state.text for state in states]),
        )


def stacked(caches: Sequence[Layers], rows: Sequence[int]) -> Layers:
    """Return the rows of all ``caches``, padded to the longest; empty ones have ``rows`` rows."""
    filled = next((layers for layers in caches if layers), ())
    if not filled:
        return ()
    columns = max(layers[0][0].shape[2] for layers in caches if layers)

    def joined(layer: int, side: int) -> Tensor:
        like = filled[layer][side]
        parts = [
            layers[layer][side] if layers else like.new_zeros(n, like.shape[1], 0, like.shape[3])
            for layers, n in zip(caches, rows, strict=True)
        ]
        return torch.cat([functional.pad(p, (0, 0, 0, columns - p.shape[2])) for p in parts])

    return tuple((joined(layer, 0), joined(layer, 1)) for layer in range(len(filled)))


def as_cache(layers: Layers) -> Any:
    """Return ``layers`` as transformers' cache, which leaves them as they are."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache()
    for key, value in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(key, value)
        layer.keys, layer.values = key, value
        cache.layers.append(layer)
    return cache


def as_layers(cache: Any) -> Layers:
    """Return the keys and values in transformers' ``cache``."""
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def settled(layers: Layers, columns: int, real: Tensor, positions: Tensor) -> Layers:
    """Move what was appended behind column ``columns`` to where it belongs in its row.

    The tensors are changed in place: they must be nobody else's.

    Args:
        layers: [B, H, C + N, E].
        columns: C, before.
        real: bool [B, N], where a token was appended.
        positions: int64 [B, N], the column each belongs to.
    """
    row, offset = torch.nonzero(real, as_tuple=True)
    place = positions[real]
    if bool((place == columns + offset).all()):
        return layers
    longest = max(columns, int(place.max()) + 1)

    def moved(appended: Tensor) -> Tensor:
        new = appended[row, :, columns + offset]
        kept = appended[:, :, :longest]
        kept[row, :, place] = new
        return kept

    return tuple((moved(key), moved(value)) for key, value in layers)
