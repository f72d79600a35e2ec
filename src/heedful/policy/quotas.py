"""What a decision may hold of groups of units: at least, at most, and at what price.

What is possible at a place depends on what was drawn before it in the same decision, and on nothing
else that is not known when the decision begins. So the sampler, which goes from place to place, and
a batch, which looks back at all of them, walk the same :class:`Tally`, and logged probabilities
replay.

Groups may overlap, so whether requirements can be met under limits is a question of set cover.
It is answered once a decision, before anything is drawn: a *plan*, units that would meet what is
required. Each draw must leave a plan behind, which is checked with the one there is; so drawing
never comes to a place from which no way leads on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_LIMIT = 1 << 40
TRIES = 2_000
"""Steps of the search for a plan before it gives up: one request must not hold up the others."""

Plan = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Quota:
    """A :class:`heedful.record.Group` in the numbers of a vocabulary.

    Attributes:
        units: indexes, ascending.
        least, most, penalty, name: as there.
    """

    units: Ints
    least: int = 0
    most: int | None = None
    penalty: float = 0.0
    name: str = "group"


class Quotas:
    """The groups of one choice set, and the sets of units they cut the vocabulary into.

    Units that are members of the same groups are interchangeable to any rule: they are a *class*.
    Sets are numbered: the G groups, then the C classes, then the unit that ends a decision.
    """

    def __init__(
        self,
        quotas: Sequence[Quota],
        size: int,
        *,
        places: int | None = None,
        repeat: bool = False,
        end: int = -1,
    ) -> None:
        """Prepare for decisions from ``size`` units.

        Args:
            quotas: G groups.
            size: V.
            places: the longest decision.
            repeat: whether a unit may stand twice in it.
            end: the unit that closes it, or -1.

        Raises:
            ValueError: something is required of a decision of unknown length.
        """
        self.names = tuple(quota.name for quota in quotas)
        self.least = np.array([quota.least for quota in quotas], np.int64)
        limits = [NO_LIMIT if quota.most is None else quota.most for quota in quotas]
        self.most = np.array(limits, np.int64)
        self.penalty = np.array([quota.penalty for quota in quotas], np.float64)
        self.requires = bool(self.least.any())
        if self.requires and places is None:
            raise ValueError(
                "choices: units are required of a decision of no stated length; say it with "
                "ChoiceSet.within(places)"
            )
        self.places, self.repeat, self.end = places or NO_LIMIT, repeat, end
        self._last: tuple[bytes, _Search] | None = None
        owner = np.repeat(np.arange(len(quotas)), [len(quota.units) for quota in quotas])
        units = np.concatenate([np.empty(0, np.int64), *(quota.units for quota in quotas)])
        order = np.lexsort((owner, units))
        self._unit, self._group = units[order], owner[order]
        self.sets: list[Ints] = [quota.units for quota in quotas]
        self.class_of: Ints = np.empty(0, np.int64)
        self.groups_in: tuple[tuple[int, ...], ...] = ((),)
        if self.requires:
            self._classify(size)

    def within(self, places: int) -> Self:
        """Return the same for decisions of at most ``places`` units."""
        other = copy.copy(self)
        other.places, other._last = places, None
        return other

    def groups_of(self, unit: int) -> Ints:
        """Return the groups that ``unit`` is a member of."""
        low, high = np.searchsorted(self._unit, [unit, unit + 1])
        return self._group[low:high]

    def plan(self, possible: Flags) -> Plan | None:
        """Return classes whose units would meet what is required, ``None`` if nothing would.

        Args:
            possible: bool [V], what may be chosen at all.
        """
        return () if not self.requires else self._searched(possible).found

    def refusal(self, possible: Flags) -> str | None:
        """Say why no decision from what is ``possible`` keeps the rules, ``None`` if one does."""
        if self.plan(possible) is not None:
            return None
        for name, least, units in zip(self.names, self.least.tolist(), self.sets, strict=False):
            found = int(possible[units].sum())
            found = self.places if self.repeat and found else found
            if least > self.places:
                return f"{name}: requires {least} units of a decision of {self.places}"
            if least > found:
                return (
                    f"{name}: requires {least} of its units, and {found} can be chosen: the others "
                    "are forbidden, shown before, or not known to the policy"
                )
        required = " and ".join(
            name for name, least in zip(self.names, self.least.tolist(), strict=True) if least
        )
        if self._searched(possible).gave_up:
            return (
                f"{required}: no way was found to meet this with {self.places} units, in "
                f"{TRIES:,} steps of trying; require fewer, or ask for a longer decision"
            )
        return f"{required}: no {self.places} units meet this under the limits; require fewer"

    def start(self, plan: Plan) -> Tally:
        """Begin a decision."""
        return Tally(self, np.zeros(len(self.least), np.int64), self.places, plan)

    def _classify(self, size: int) -> None:
        binding = (self.least > 0) | (self.most < NO_LIMIT)
        kept = binding[self._group]
        unit, group = self._unit[kept], self._group[kept]
        numbers: dict[tuple[int, ...], int] = {(): 0}
        self.class_of = np.zeros(size, np.int64)
        for low, high in pairwise([*np.flatnonzero(np.diff(unit, prepend=-1)), len(unit)]):
            groups = tuple(group[low:high].tolist())
            self.class_of[unit[low]] = numbers.setdefault(groups, len(numbers))
        self.groups_in = tuple(numbers)
        order = np.argsort(self.class_of, kind="stable")
        edges = np.searchsorted(self.class_of[order], np.arange(len(numbers) + 1))
        self.sets += [order[low:high] for low, high in pairwise(edges)]
        self.sets.append(np.array([self.end] if self.end >= 0 else [], np.int64))
        owners = [(c, g) for c, groups in enumerate(self.groups_in) for g in groups]
        self.pairs = np.array(owners, np.int64).reshape(-1, 2)  # class, group

    def _searched(self, possible: Flags) -> _Search:
        """Search for a plan once: whoever asks whether there is one draws with it next."""
        asked = possible.tobytes()
        if self._last is None or self._last[0] != asked:
            self._last = asked, _Search(self, self._supply(possible))
        return self._last[1]

    def _supply(self, possible: Flags) -> list[int]:
        """Return how many units of each class can be chosen."""
        possible = possible.copy()
        if self.end >= 0:
            possible[self.end] = False  # it closes the decision: no plan goes on behind it
        supply = np.bincount(self.class_of[possible], minlength=len(self.groups_in))
        return [self.places if self.repeat and n else n for n in supply.tolist()]


class _Search:
    """Depth first, the class first that serves most groups and is limited by fewest.

    Attributes:
        found: the plan; ``None`` where there is none, or none was found.
        gave_up: the search ended before it had tried everything.
    """

    def __init__(self, quotas: Quotas, supply: list[int]) -> None:
        self._groups_in, self._places = quotas.groups_in, quotas.places
        self._supply = supply
        self._needs, self._room = quotas.least.tolist(), quotas.most.tolist()
        self._limited = [limit < NO_LIMIT for limit in self._room]
        self.gave_up = False
        self.found = self._run()

    def _run(self) -> Plan | None:
        chosen: list[int] = []
        ways = [self._ways() if self._within(0) else iter(())]
        for _ in range(TRIES):
            option = next(ways[-1], None)
            if option is None:
                ways.pop()
                if not chosen:
                    return None
                self._move(chosen.pop(), -1)
                continue
            self._move(option, 1)
            chosen.append(option)
            if max(self._needs) <= 0:
                return tuple(chosen)
            ways.append(self._ways() if self._within(len(chosen)) else iter(()))
        self.gave_up = True
        return None

    def _within(self, n_chosen: int) -> bool:
        return bool(n_chosen + max(self._needs) <= self._places)

    def _ways(self) -> Iterator[int]:
        """Return the classes that serve the first group in need, the most promising first."""
        group = next(g for g, need in enumerate(self._needs) if need > 0)
        able = [
            (-sum(self._needs[g] > 0 for g in groups), sum(self._limited[g] for g in groups), c)
            for c, groups in enumerate(self._groups_in)
            if group in groups and self._supply[c] > 0 and all(self._room[g] > 0 for g in groups)
        ]
        return iter([c for _, _, c in sorted(able)])

    def _move(self, option: int, n: int) -> None:
        self._supply[option] -= n
        for group in self._groups_in[option]:
            self._needs[group] -= n
            self._room[group] -= n


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """How far one decision has come.

    Attributes:
        quotas: its rules.
        held: int64 [G], units drawn of each group.
        left: places that are left.
        plan: classes of units that would meet what is still required, at most ``left`` of them.
    """

    quotas: Quotas
    held: Ints
    left: int
    plan: Plan

    def after(self, unit: int) -> Tally:
        """Return the tally after ``unit`` was drawn; -1 for one the vocabulary does not know."""
        if unit < 0:
            return replace(self, left=self.left - 1)
        held = self.held.copy()
        held[self.quotas.groups_of(unit)] += 1
        plan = self._plan_after(int(self.quotas.class_of[unit])) if self.plan else ()
        return replace(self, held=held, left=self.left - 1, plan=plan)

    def barred(self) -> Ints:
        """Return the numbers of the sets of units that are not possible now."""
        if self.plan:
            return self._barred_classes()
        return np.flatnonzero(self.held >= self.quotas.most)

    def lowered(self) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return the groups whose members' logits are lowered now, and by how much."""
        by = self.quotas.penalty * self.held
        groups = np.flatnonzero(by)
        return groups, by[groups]

    def _barred_classes(self) -> Ints:
        """Return the classes, and the end, that would leave no plan behind."""
        quotas = self.quotas
        barred = np.full(len(quotas.groups_in), len(self.plan) >= self.left)
        room = quotas.most - self.held
        np.subtract.at(room, [g for c in self.plan for g in quotas.groups_in[c]], 1)
        of_class, group = quotas.pairs.T
        barred[of_class[room[group] <= 0]] = True
        # Those that serve what is required take a part of the plan over: one by one.
        needy = (quotas.least > self.held)[group]
        for c in {*of_class[needy].tolist(), *self.plan}:
            barred[c] = not self._leaves_a_plan(c)
        n_groups = len(quotas.least)
        return np.append(n_groups + np.flatnonzero(barred), n_groups + len(barred))

    def _leaves_a_plan(self, option: int) -> bool:
        plan, groups_in = self._plan_after(option), self.quotas.groups_in
        if len(plan) >= self.left:
            return False
        held = {g: 1 + sum(g in groups_in[c] for c in plan) for g in groups_in[option]}
        return all(self.held[g] + n <= self.quotas.most[g] for g, n in held.items())

    def _plan_after(self, option: int) -> Plan:
        """Return the plan without what is not needed any more once ``option`` was drawn."""
        groups_in, plan = self.quotas.groups_in, list(self.plan)
        if option in plan:
            plan.remove(option)
        spare = self.held - self.quotas.least
        for c in (option, *plan):
            spare[list(groups_in[c])] += 1
        required = self.quotas.least > 0
        for c in reversed(plan.copy()):
            groups = [g for g in groups_in[c] if required[g]]
            if (spare[groups] > 0).all():
                plan.remove(c)
                spare[groups] -= 1
        return tuple(plan)


@dataclass(frozen=True, eq=False)
class Bounds:
    """What tallies say of the slots of a batch, or of the next unit of a sampler's rows.

    Attributes:
        units: int64 [M], the members of S sets, one set after the other.
        offsets: int64 [S + 1], where each begins.
        barred: int64 [n, 3], row, slot and a set that is not possible there.
        lowered: int64 [m, 3], row, slot and a set whose logits are lowered there.
        by: float64 [m], by how much.
    """

    units: Tensor
    offsets: Tensor
    barred: Tensor
    lowered: Tensor
    by: Tensor

    @classmethod
    def of(cls, tallies: Iterable[tuple[int, int, Tally]]) -> Bounds:
        """Return what tallies at (row, slot) say."""
        numbers: dict[tuple[int, int], int] = {}
        sets: list[Ints] = []
        barred: list[tuple[int, int, int]] = []
        lowered: list[tuple[int, int, int]] = []
        by: list[float] = []

        def number(quotas: Quotas, at: int) -> int:
            known = numbers.setdefault((id(quotas), at), len(sets))
            if known == len(sets):
                sets.append(quotas.sets[at])
            return known

        for row, slot, tally in tallies:
            quotas = tally.quotas
            barred += [(row, slot, number(quotas, at)) for at in tally.barred().tolist()]
            groups, amounts = tally.lowered()
            lowered += [(row, slot, number(quotas, at)) for at in groups.tolist()]
            by += amounts.tolist()
        lengths = np.array([0, *map(len, sets)], np.int64)
        return cls(
            units=torch.from_numpy(np.concatenate([np.empty(0, np.int64), *sets])),
            offsets=torch.from_numpy(np.cumsum(lengths)),
            barred=torch.tensor(barred, dtype=torch.int64).reshape(-1, 3),
            lowered=torch.tensor(lowered, dtype=torch.int64).reshape(-1, 3),
            by=torch.tensor(by, dtype=torch.float64),
        )

    def bar(self, possible: Tensor, line_of: Tensor, n_slots: int) -> None:
        """Write False into ``possible`` [N, V]; ``line_of`` [B * T] numbers its lines, or is -1."""
        line, unit, _ = self._expand(self.barred, line_of, n_slots)
        possible[line, unit] = False

    def lower(self, logits: Tensor, line_of: Tensor, n_slots: int) -> Tensor:
        """Return ``logits`` [N, V] with what is lowered taken off, with gradient."""
        line, unit, source = self._expand(self.lowered, line_of, n_slots)
        if not len(line):
            return logits
        return logits.index_put((line, unit), -self.by[source].to(logits.dtype), accumulate=True)

    def keep(self, row: Tensor) -> Bounds:
        """Return these bounds with row r as row ``row[r]``, without it where that is -1."""
        barred, lowered = (row[lines[:, 0]] for lines in (self.barred, self.lowered))
        return replace(
            self,
            barred=torch.cat([barred[:, None], self.barred[:, 1:]], dim=1)[barred >= 0],
            lowered=torch.cat([lowered[:, None], self.lowered[:, 1:]], dim=1)[lowered >= 0],
            by=self.by[lowered >= 0],
        )

    def to(self, device: torch.device) -> Bounds:
        """Return these bounds on ``device``."""
        columns = {name: value.to(device) for name, value in vars(self).items()}
        return Bounds(**columns)

    def _expand(
        self, lines: Tensor, line_of: Tensor, n_slots: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return line, unit and source of every member of the sets that ``lines`` speak of."""
        row, slot, at = lines.unbind(1)
        line = line_of[row * n_slots + slot]
        source = torch.nonzero(line >= 0).flatten()
        first, length = self.offsets[at[source]], self.offsets.diff()[at[source]]
        member = torch.repeat_interleave(torch.arange(len(source), device=line.device), length)
        begun = torch.cumsum(length, 0) - length
        place = torch.arange(len(member), device=line.device) - begun[member] + first[member]
        return line[source][member], self.units[place], source[member]
