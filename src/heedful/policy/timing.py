"""How long ago: gaps of time as vectors, and time as an angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PER_OCTAVE = 2
OCTAVES = 32  # 2^32 seconds are 136 years
BUCKETS = PER_OCTAVE * OCTAVES
MINUTE, YEAR = 60.0, 365.25 * 86_400.0


class TimeGaps(nn.Module):
    """A vector for each gap of time, in steps of half an octave of 1 + seconds.

    New tables are zero: time says nothing until it has been learned from. What is not known has a
    row of its own; time that runs backwards (clocks disagree) counts as none.
    """

    def __init__(self, width: int) -> None:
        """Make vectors of D = ``width``."""
        super().__init__()
        self.table = nn.Embedding(BUCKETS + 1, width)
        nn.init.zeros_(self.table.weight)

    def forward(self, gaps: Tensor) -> Tensor:
        """Return [..., D] for ``gaps`` [...], in seconds, NaN unknown."""
        octave = torch.log2(1.0 + gaps.clamp(min=0.0)) * PER_OCTAVE
        bucket = octave.nan_to_num(nan=float(BUCKETS)).clamp(max=float(BUCKETS))
        known = bucket.clamp(max=float(BUCKETS - 1))
        bucket = torch.where(torch.isnan(gaps), float(BUCKETS), known)
        return torch.as_tensor(self.table(bucket.long()))


def last_known(time: Tensor, before: Tensor | None = None) -> Tensor:
    """Return the last time that is known at each event, float64 [B, L], NaN where there is none.

    Args:
        time: [B, L], NaN unknown.
        before: [B], what was known before the first.
    """
    head = time.new_full((len(time), 1), torch.nan) if before is None else before[:, None]
    line = torch.cat([head, time], dim=1)
    place = torch.arange(line.shape[1], device=time.device).expand_as(line)
    newest = torch.where(torch.isnan(line), 0, place).cummax(dim=1).values
    return line.gather(1, newest)[:, 1:]


def since_last(time: Tensor, at: Tensor, before: Tensor | None = None) -> Tensor:
    """Return the seconds between each event and the one before it whose time is known, [B, L].

    Args:
        time: [B, L], NaN unknown.
        at: what :func:`last_known` makes of it.
        before: [B], what was known before the first.
    """
    head = time.new_full((len(time), 1), torch.nan) if before is None else before[:, None]
    return time - torch.cat([head, at[:, :-1]], dim=1)[:, : time.shape[1]]


def angles_of_time(at: Tensor, n: int) -> Tensor:
    """Return the angles [B, L, n] at which ``n`` hands stand, turning once a minute to once a year.

    Computed in float64: a float32 cannot tell today's minutes apart.
    """
    if not n:
        return at.new_zeros(*at.shape, 0)
    periods = MINUTE * (YEAR / MINUTE) ** (torch.arange(n, device=at.device) / max(1, n - 1))
    return (at[..., None] / periods.to(torch.float64)).frac() * (2.0 * math.pi)
