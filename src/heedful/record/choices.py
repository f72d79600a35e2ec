"""What was possible at the moment of choice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

from heedful.record.errors import RecordError, check_id, check_number

MOST_PENALTY = 1e6
"""The largest penalty, in nats: far beyond any logit, and far within what logits can hold."""

ALL = "all"
"""The digest of the choice set that forbids nothing: every unit, each at most once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What a decision may hold of some units taken together.

    Attributes:
        units: ids of its members.
        least: at least so many units of a decision are members.
        most: at most so many are; ``None`` where there is no limit, 0 forbids all members.
        penalty: taken off the logit of every member for each member chosen before it in the same
            decision, in nats, 0 or more.
        name: what the caller calls it in messages; not kept.
    """

    units: tuple[str, ...]
    least: int = 0
    most: int | None = None
    penalty: float = 0.0
    name: str = field(default="group", compare=False)
    _kept: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check ids and numbers.

        Raises:
            RecordError: names the group, the problem and the remedy.
        """
        for unit in self.units:
            check_id(self.name, unit)
        _check_count(f"{self.name}.least", self.least)
        if self.most is not None:
            _check_count(f"{self.name}.most", self.most)
            if self.least > self.most:
                problem = f"requires {self.least} units and allows {self.most}"
                raise RecordError(self.name, problem, "require at most what is allowed")
        check_number(f"{self.name}.weight", self.penalty)
        if not 0 <= self.penalty <= MOST_PENALTY:
            problem = f"is {self.penalty}"
            raise RecordError(f"{self.name}.weight", problem, f"give 0 to {MOST_PENALTY:,.0f} nats")
        object.__setattr__(self, "_kept", _json(self.fields()))

    @property
    def binds(self) -> bool:
        """Whether it says anything."""
        return self.least > 0 or (bool(self.units) and (self.most is not None or self.penalty > 0))

    def kept(self) -> str:
        """Return canonical JSON of what is kept of it."""
        return self._kept

    def fields(self) -> dict[str, object]:
        """Return what is kept of it: its members in order, and what it says of them."""
        kept: dict[str, object] = {"units": sorted(set(self.units))}
        if self.least:
            kept["least"] = self.least
        if self.most is not None:
            kept["most"] = self.most
        if self.penalty:
            kept["penalty"] = float(self.penalty)
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSet:
    """The units that could be chosen, described once and named by its digest in every decision.

    Attributes:
        allowed: only these unit ids; ``None`` means the whole vocabulary.
        forbidden: never these, whatever ``allowed`` says.
        seen: whether units of the subject's earlier decisions in the log may be chosen again.
        repeat: whether a unit may stand twice within the decision (tokens may, items may not).
        end: the unit that closes a decision of variable length, chosen like any other.
        groups: what a decision may hold of units taken together. They are put in the order in
            which the log keeps them: which units are barred on the way to what is required depends
            on it, and who replays knows no other.
        places: the longest decision, in units; said where a group requires some (see
            :meth:`within`), as what is possible then depends on how many places are left.
    """

    allowed: tuple[str, ...] | None = None
    forbidden: tuple[str, ...] = ()
    seen: bool = True
    repeat: bool = False
    end: str | None = None
    groups: tuple[Group, ...] = ()
    places: int | None = None

    def __post_init__(self) -> None:
        """Check the ids and that something is left to choose from; put the groups in order."""
        if len(self.groups) > 1:
            object.__setattr__(self, "groups", tuple(sorted(self.groups, key=Group.kept)))
        for unit in (*(self.allowed or ()), *self.forbidden):
            check_id("choices", unit)
        if self.allowed is not None and not set(self.allowed) - set(self.out):
            raise RecordError(
                "choices",
                "leave nothing to choose",
                "allow at least one unit that is not forbidden",
            )

    @property
    def out(self) -> tuple[str, ...]:
        """What is never chosen: what is forbidden, and the groups of which there may be none."""
        none_of = [group.units for group in self.groups if group.most == 0]
        return (*self.forbidden, *(unit for units in none_of for unit in units))

    @property
    def requires(self) -> bool:
        """Whether some group must be in the decision."""
        return any(group.least for group in self.groups)

    def within(self, places: int) -> Self:
        """Return the same for a decision of at most ``places`` units."""
        return replace(self, places=places) if self.requires else self

    def without(self, units: Collection[str]) -> Self:
        """Return the same with ``units`` forbidden, too.

        Raises:
            RecordError: nothing is left to choose.

        >>> ChoiceSet(allowed=("a", "b")).without({"a", "z"}).forbidden
        ('a',)
        """
        possible = units if self.allowed is None else set(units) & set(self.allowed)
        more = sorted(set(possible) - set(self.forbidden))
        return replace(self, forbidden=(*self.forbidden, *more)) if more else self

    def body(self) -> str:
        """Return canonical JSON, with the order of units removed: it does not matter to anyone.

        Raises:
            RecordError: something is required, and not of how many places.
        """
        if self.requires and self.places is None:
            problem = "require units of a decision of no stated length"
            raise RecordError("choices", problem, "say it with within(places)")
        allowed = None if self.allowed is None else sorted(set(self.allowed))
        fields: dict[str, Any] = {
            "allowed": allowed,
            "forbidden": sorted(set(self.forbidden)),
            "seen": self.seen,
            "repeat": self.repeat,
            "end": self.end,
        }
        groups = [json.loads(group.kept()) for group in self.groups if group.binds]
        if groups:  # sets without any keep the names they have in older logs
            fields["groups"] = groups
            fields["places"] = self.places
        return _json(fields)

    def digest(self) -> str:
        """Return the name of this set in a decision: ``"all"`` or 32 hexadecimal digits.

        >>> ChoiceSet().digest()
        'all'
        >>> ChoiceSet(allowed=("b", "a")).digest() == ChoiceSet(allowed=("a", "b")).digest()
        True
        """
        return _digest_of_groups(self) if self.groups else _digest(self)

    @classmethod
    def from_body(cls, body: str) -> ChoiceSet:
        """Return the set that :meth:`body` wrote."""
        fields = json.loads(body)
        allowed = fields["allowed"]
        return cls(
            allowed=None if allowed is None else tuple(allowed),
            forbidden=tuple(fields["forbidden"]),
            seen=fields["seen"],
            repeat=fields["repeat"],
            end=fields["end"],
            groups=tuple(
                Group(**{**group, "units": tuple(group["units"])})
                for group in fields.get("groups", ())
            ),
            places=fields.get("places"),
        )


def _digest(choices: ChoiceSet) -> str:
    body = choices.body()
    return ALL if body == _ALL_BODY else hashlib.sha256(body.encode()).hexdigest()[:32]


_digest_of_groups = lru_cache(maxsize=64)(_digest)
"""Rules are long lists, and the same for many requests."""


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _check_count(name: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise RecordError(name, f"is {count!r}", "give a whole number, 0 or more")


_ALL_BODY = ChoiceSet().body()
