"""What is possible at each unit, kept sparse until a logit needs it, and when it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from heedful.policy.quotas import Bounds, Tally

IMPOSSIBLE = float("-inf")


@dataclass(frozen=True, eq=False)
class Choices:
    """The units that may stand in each slot of a batch, or next in each row of a sampler.

    ``allowed`` and ``forbidden`` list spans of slots, int64 [n, 4] with columns row, unit, first
    slot, and the slot after the last; so a unit that stays forbidden costs one line, however long
    the stream. Only slots marked in ``restricted`` are bound to their ``allowed`` list. The sampler
    sees one slot a row (T = 1).

    Attributes:
        size: V.
        shape: (B, T).
        allowed: what restricted slots may hold.
        forbidden: what slots may not hold.
        restricted: bool [B, T], or ``None`` where no slot is.
        repeat: bool [B], whether a unit may stand twice within a decision: used when sampling; in a
            batch the units already drawn are lines of ``forbidden``.
        end: the index of the unit that closes a decision, or -1 where decisions have fixed length.
        now: float64 [B, T], the moment of asking, on the clock of :attr:`Events.time
            <heedful.policy.Events>`; NaN unknown, ``None`` where none is known. It is known before
            the unit is chosen, so a policy may use it; what happened since the last event does not
            enter any other way.
        bounds: what rules about groups of units rule out or lower, ``None`` without such rules.
        tallies: how far each row's decision has come with its rules: used when sampling, as
            ``repeat`` is.
    """

    size: int
    shape: tuple[int, int]
    allowed: Tensor = field(default_factory=lambda: torch.empty(0, 4, dtype=torch.int64))
    forbidden: Tensor = field(default_factory=lambda: torch.empty(0, 4, dtype=torch.int64))
    restricted: Tensor | None = None
    repeat: Tensor | None = None
    end: int = -1
    now: Tensor | None = None
    bounds: Bounds | None = None
    tallies: tuple[Tally | None, ...] | None = None

    @property
    def unrestricted(self) -> bool:
        """Whether every unit is possible in every slot, and no logit is lowered."""
        return self.restricted is None and not len(self.forbidden) and self.bounds is None

    def always_out(self, slots: Tensor) -> Tensor | None:
        """Return the units that no slot may hold, int64 [n], where nothing else is ruled out.

        As in a language, whose marks are no words. ``None`` where slots differ.

        Args:
            slots: bool [B, T], the slots that count.
        """
        if self.unrestricted:
            return self.forbidden[:, 1]
        if self.restricted is not None or self.bounds is not None:
            return None
        row, unit, first, after = self.forbidden.unbind(1)
        place = torch.arange(self.shape[1], device=slots.device).expand_as(slots)
        head = torch.where(slots, place, self.shape[1]).amin(1)
        tail = torch.where(slots, place, -1).amax(1)
        if bool(((first > head[row]) | (after <= tail[row])).any()):
            return None
        pairs = torch.unique(row * self.size + unit)
        units, counts = torch.unique(pairs % self.size, return_counts=True)
        return units if bool((counts == int(slots.any(1).sum())).all()) else None

    def mask(self, slots: Tensor | None = None) -> Tensor | None:
        """Return which units are possible, bool [N, V], or ``None`` where all of them are.

        Args:
            slots: bool [B, T], the N slots that are wanted, in row-major order; all by default.
        """
        if self.unrestricted:
            return None
        slots, line_of = self._lines(slots)
        n_slots = self.shape[1]
        possible = torch.ones(int(slots.sum()), self.size, dtype=torch.bool, device=slots.device)
        if self.restricted is not None:
            possible[self.restricted[slots]] = False
            _fill(possible, self.allowed, line_of, n_slots, value=True)
        _fill(possible, self.forbidden, line_of, n_slots, value=False)
        if self.bounds is not None:
            self.bounds.bar(possible, line_of, n_slots)
        return possible

    def apply(self, logits: Tensor, slots: Tensor | None = None) -> Tensor:
        """Return ``logits`` [N, V], lowered as rules say, minus infinity where impossible."""
        possible = self.mask(slots)
        if possible is None:
            return logits
        if self.bounds is not None:
            logits = self.bounds.lower(logits, self._lines(slots)[1], self.shape[1])
        return logits.masked_fill(~possible, IMPOSSIBLE)

    def without(self, units: Tensor) -> Choices:
        """Return these choices after each row drew ``units`` [B] (-1: nothing), for a sampler."""
        choices = self._without(units)
        if self.tallies is None:
            return choices
        tallies = tuple(
            tally.after(unit) if tally is not None and unit >= 0 else tally
            for tally, unit in zip(self.tallies, units.tolist(), strict=True)
        )
        return replace(choices, tallies=tallies, bounds=bounds_of(tallies))

    def opened(self, rows: Tensor) -> Choices:
        """Return these choices with nothing ruled out in the rows marked in ``rows``, bool [B]."""
        where = torch.arange(len(rows)).masked_fill(rows, -1)
        return replace(
            self,
            allowed=_renumber(self.allowed, where),
            forbidden=_renumber(self.forbidden, where),
            restricted=None if self.restricted is None else self.restricted & ~rows[:, None],
            bounds=None if self.bounds is None else self.bounds.keep(where),
            tallies=None
            if self.tallies is None
            else tuple(
                None if out else tally
                for tally, out in zip(self.tallies, rows.tolist(), strict=True)
            ),
        )

    def _lines(self, slots: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the slots that are wanted, and the number of each among them, [B * T], or -1."""
        if slots is None:
            slots = torch.ones(self.shape, dtype=torch.bool, device=self.forbidden.device)
        wanted = slots.flatten()
        return slots, torch.cumsum(wanted, 0).sub_(1).masked_fill_(~wanted, -1)

    def _without(self, units: Tensor) -> Choices:
        drawn = units >= 0
        if self.repeat is not None:
            drawn = drawn & ~self.repeat
        rows = torch.nonzero(drawn).flatten()
        if not len(rows):
            return self
        zeros = torch.zeros_like(rows)
        lines = torch.stack([rows, units[rows], zeros, zeros + 1], dim=1)
        return replace(self, forbidden=torch.cat([self.forbidden, lines]))

    def select(self, rows: Tensor) -> Choices:
        """Return the choices of the rows numbered in ``rows`` [B'], in that order."""
        where = torch.full((self.shape[0],), -1, dtype=torch.int64)
        where[rows] = torch.arange(len(rows))
        return replace(
            self,
            shape=(len(rows), self.shape[1]),
            allowed=_renumber(self.allowed, where),
            forbidden=_renumber(self.forbidden, where),
            restricted=None if self.restricted is None else self.restricted[rows],
            repeat=None if self.repeat is None else self.repeat[rows],
            now=None if self.now is None else self.now[rows],
            bounds=None if self.bounds is None else self.bounds.keep(where),
            tallies=None
            if self.tallies is None
            else tuple(self.tallies[row] for row in rows.tolist()),
        )

    def to(self, device: torch.device) -> Choices:
        """Return these choices on ``device``."""
        return replace(
            self,
            allowed=self.allowed.to(device),
            forbidden=self.forbidden.to(device),
            restricted=None if self.restricted is None else self.restricted.to(device),
            repeat=None if self.repeat is None else self.repeat.to(device),
            now=None if self.now is None else self.now.to(device),
            bounds=None if self.bounds is None else self.bounds.to(device),
        )

    @classmethod
    def everything(cls, size: int, rows: int, slots: int = 1) -> Choices:
        """Return choices that forbid nothing."""
        return cls(size=size, shape=(rows, slots))


def bounds_of(tallies: Sequence[Tally | None]) -> Bounds:
    """Return what a sampler's tallies, one a row, say of the next unit."""
    return Bounds.of((row, 0, tally) for row, tally in enumerate(tallies) if tally is not None)


def _renumber(lines: Tensor, where: Tensor) -> Tensor:
    if not len(lines):
        return lines
    row = where[lines[:, 0]]
    kept = torch.cat([row[:, None], lines[:, 1:]], dim=1)
    return kept[row >= 0]


def _fill(possible: Tensor, lines: Tensor, line_of: Tensor, n_slots: int, *, value: bool) -> None:
    """Write ``value`` at every (slot, unit) the spans in ``lines`` cover."""
    if not len(lines):
        return
    row, unit, first, after = lines.unbind(1)
    length = (after - first).clamp(min=0)
    span = torch.repeat_interleave(torch.arange(len(lines), device=lines.device), length)
    start = torch.cumsum(length, 0) - length
    offset = torch.arange(len(span), device=lines.device) - start[span]
    line = line_of[row[span] * n_slots + first[span] + offset]
    wanted = line >= 0
    possible[line[wanted], unit[span][wanted]] = value
