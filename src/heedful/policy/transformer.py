"""A causal transformer whose key-value cache grows by one column an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from heedful.policy.batch import Schema
from heedful.policy.network import Network
from heedful.policy.timing import angles_of_time

ROTATIONS = 10_000.0
"""The slowest pair turns by one radian in so many places."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyValueState:
    """Keys and values of every event so far, and what was known after the last.

    Attributes:
        keys, values: [layers, B, H, L, D/H]; columns from ``lengths`` on are padding.
        lengths: int64 [B], events seen, START included.
        last: [B, D].
    """

    keys: Tensor
    values: Tensor
    lengths: Tensor
    last: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths)

    def select(self, rows: Tensor) -> Self:
        """Return some of the streams, without columns that none of them uses."""
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        return type(self)(
            self.keys[:, rows, :, :longest],
            self.values[:, rows, :, :longest],
            lengths,
            self.last[rows],
        )

    def stack(self, others: Sequence[Self]) -> Self:
        """Return the streams of all the states, padded to the longest."""
        states = [self, *others]
        longest = max(state.keys.shape[3] for state in states)
        return type(self)(
            torch.cat([_widen(state.keys, longest) for state in states], dim=1),
            torch.cat([_widen(state.values, longest) for state in states], dim=1),
            torch.cat([state.lengths for state in states]),
            torch.cat([state.last for state in states]),
        )


def _widen(cache: Tensor, columns: int) -> Tensor:
    return functional.pad(cache, (0, 0, 0, columns - cache.shape[3]))


class Block(nn.Module):
    """Pre-norm attention with rotary positions, then a feed-forward layer."""

    def __init__(self, width: int, heads: int, dropout: nn.Module) -> None:
        """Make a block of D = ``width`` with ``heads`` heads."""
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = dropout

    def silence(self) -> None:
        """Let the block add nothing, so that a unit's vector is not drowned before it is learned.

        Residual branches that start at zero: Goyal et al., arXiv 1706.02677, section 5.1.
        """
        for layer in (self.out, self.mlp[2]):
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def project(self, x: Tensor, turn: Turn) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys (both turned by place and time) and values, each [B, H, L, D/H]."""
        rows, length, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(
            rows, length, 3, self.heads, width // self.heads
        )
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return turn(query), turn(key), value

    def attend(
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Return the block's output [B, L, D]; ``mask`` (True: may look) or plain causal.

        What a block adds is dropped out, attention weights are not: so the L x L weights are never
        written to memory, which halves the cost of training on a CPU.
        """
        with torch.autocast(query.device.type, enabled=False):  # on a CPU slower in bfloat16
            mixed = functional.scaled_dot_product_attention(
                query,
                key,
                value.to(query.dtype),
                attn_mask=mask,
                is_causal=mask is None,
            )
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return torch.as_tensor(x + self.dropout(self.mlp(self.norm_mlp(x))))


class Turn:
    """Turns pairs of dimensions by angles that grow with place and time (RoPE).

    Source: Su et al., RoFormer, arXiv 2104.09864, equation 15: the product of a turned query and
    key depends on their distance only. Half of the pairs turn with the place in the stream and half
    with the time, so attention sees how many events ago and how long ago. Where no time is known
    the pairs of time are 0 and say nothing. Where time is not read at all, every pair turns with
    the place.
    """

    def __init__(self, positions: Tensor, at: Tensor | None, size: int, dtype: torch.dtype) -> None:
        """Compute the angles once for all blocks.

        Args:
            positions: int64 [B, L] or [1, L].
            at: float64 [B, L], NaN unknown; ``None``: time is not read.
            size: E = D/H, a multiple of 2.
            dtype: of the queries and keys.
        """
        half = size // 2
        by_time = 0 if at is None else half // 2
        place = torch.arange(half - by_time, device=positions.device) / (half - by_time)
        angle = positions[..., None] * ROTATIONS**-place
        heard = torch.ones_like(angle)
        if at is not None:
            known = ~torch.isnan(at)[..., None]
            of_time = torch.where(known, angles_of_time(at, by_time), 0.0)
            angle = torch.cat([angle.expand(*at.shape, -1).double(), of_time], dim=-1)
            heard = torch.cat([heard.expand(*at.shape, -1), known.expand_as(of_time)], dim=-1)
        self.sine = (angle.sin() * heard).to(dtype)[:, None]
        self.cosine = (angle.cos() * heard).to(dtype)[:, None]

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``x`` [B, H, L, E], turned."""
        first, second = x.chunk(2, dim=-1)
        sine, cosine = self.sine, self.cosine
        return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class Transformer(Network):
    """A pre-norm causal transformer over events."""

    kind = "transformer"

    def __init__(
        self,
        schema: Schema,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.0,
        plain: bool = False,
    ) -> None:
        """Make a network of D = ``width``; ``plain``: without memory, time and unit biases.

        Raises:
            ValueError: ``width`` does not split into ``heads`` of an even number of dimensions.
        """
        if width % (2 * heads):
            raise ValueError(f"width {width} must be a multiple of 2 * heads = {2 * heads}")
        super().__init__(schema, width=width, dropout=dropout, plain=plain)
        self.heads, self.layers = heads, layers
        blocks = [Block(width, heads, self.dropout) for _ in range(layers)]
        if plain:
            for block in blocks:
                block.silence()
        self.blocks = nn.ModuleList(blocks)

    def spec(self) -> dict[str, object]:
        """Return the arguments this network was made with."""
        return {
            "kind": self.kind,
            "schema": self.schema.to_dict(),
            "width": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "dropout": self.dropout.p,
            "plain": self.plain,
        }

    def _last_block(self) -> list[nn.Parameter]:
        return list(self.blocks[-1].parameters())

    def _empty(self, n: int) -> KeyValueState:
        cache = self.bias.new_empty(self.layers, n, self.heads, 0, self.width // self.heads)
        lengths = torch.zeros(n, dtype=torch.int64, device=cache.device)
        return KeyValueState(cache, cache, lengths, self.bias.new_zeros(n, self.width))

    def _read(self, x: Tensor, at: Tensor, lengths: Tensor) -> Tensor:
        return self._attend(x, at, None)

    def _read_both_ways(self, x: Tensor, at: Tensor, lengths: Tensor) -> Tensor:
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return self._attend(x, at, real[:, None, None])

    def _attend(self, x: Tensor, at: Tensor, mask: Tensor | None) -> Tensor:
        positions = torch.arange(x.shape[1], device=x.device)[None]
        turn = self._turn(positions, at, x.dtype)
        for block in self.blocks:
            assert isinstance(block, Block)
            query, key, value = block.project(x, turn)
            x = block.attend(x, query, key, value, mask)
        return torch.as_tensor(self.norm(x))

    def _turn(self, positions: Tensor, at: Tensor, dtype: torch.dtype) -> Turn:
        return Turn(positions, None if self.plain else at, self.width // self.heads, dtype)

    def _extend(
        self, state: KeyValueState, x: Tensor, at: Tensor, lengths: Tensor
    ) -> tuple[KeyValueState, Tensor]:
        if x.shape[1] == 0 or not bool(lengths.any()):
            return state, state.last
        total = state.lengths + lengths
        columns = max(int(total.max()), state.keys.shape[3])
        offset = torch.arange(x.shape[1], device=x.device)[None]
        positions = state.lengths[:, None] + offset  # [B, L]
        real = offset < lengths[:, None]
        mask = torch.arange(columns, device=x.device) <= positions[..., None]  # [B, L, columns]
        place = (torch.nonzero(real)[:, 0], positions[real])
        turn = self._turn(positions, at, x.dtype)
        all_keys, all_values = [], []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            query, key, value = block.project(x, turn)
            keys = _write(_widen(state.keys[index][None], columns)[0], key, place, real)
            values = _write(_widen(state.values[index][None], columns)[0], value, place, real)
            x = block.attend(x, query, keys, values, mask[:, None])
            all_keys.append(keys)
            all_values.append(values)
        known = self.norm(x[torch.arange(len(x)), (lengths - 1).clamp(min=0)])
        last = torch.where((lengths > 0)[:, None], known, state.last)
        return KeyValueState(torch.stack(all_keys), torch.stack(all_values), total, last), last


def _write(cache: Tensor, new: Tensor, place: tuple[Tensor, Tensor], real: Tensor) -> Tensor:
    """Return a copy of ``cache`` [B, H, C, E] with the real columns of ``new`` put in place."""
    cache = cache.clone()
    cache[place[0], :, place[1]] = new.transpose(1, 2)[real]
    return cache
