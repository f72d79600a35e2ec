"""What was possible at the moment of choice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from heedful.record.errors import RecordError, check_id

ALL = "all"
"""The digest of the choice set that forbids nothing: every unit, each at most once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSet:
    """The units that could be chosen, described once and named by its digest in every decision.

    Attributes:
        allowed: only these unit ids; ``None`` means the whole vocabulary.
        forbidden: never these, whatever ``allowed`` says.
        seen: whether units of the subject's earlier decisions in the log may be chosen again.
        repeat: whether a unit may stand twice within the decision (tokens may, items may not).
        end: the unit that closes a decision of variable length, chosen like any other.
    """

    allowed: tuple[str, ...] | None = None
    forbidden: tuple[str, ...] = ()
    seen: bool = True
    repeat: bool = False
    end: str | None = None

    def __post_init__(self) -> None:
        """Check the ids and that something is left to choose from."""
        for unit in (*(self.allowed or ()), *self.forbidden):
            check_id("choices", unit)
        if self.allowed is not None and not set(self.allowed) - set(self.forbidden):
            raise RecordError(
                "choices",
                "leave nothing to choose",
                "allow at least one unit that is not forbidden",
            )

    def body(self) -> str:
        """Return canonical JSON, with the order of units removed: it does not matter to anyone."""
        allowed = None if self.allowed is None else sorted(set(self.allowed))
        fields = {
            "allowed": allowed,
            "forbidden": sorted(set(self.forbidden)),
            "seen": self.seen,
            "repeat": self.repeat,
            "end": self.end,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def digest(self) -> str:
        """Return the name of this set in a decision: ``"all"`` or 32 hexadecimal digits.

        >>> ChoiceSet().digest()
        'all'
        >>> ChoiceSet(allowed=("b", "a")).digest() == ChoiceSet(allowed=("a", "b")).digest()
        True
        """
        body = self.body()
        if body == _ALL_BODY:
            return ALL
        return hashlib.sha256(body.encode()).hexdigest()[:32]

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
        )


_ALL_BODY = ChoiceSet().body()
