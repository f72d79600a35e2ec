"""What the audit says the registry holds: played from its first entry, and compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from heedful.store.registry.audit import AuditEntry
from heedful.store.registry.version import State

AFTER: dict[str, State] = {
    "created": "candidate",
    "adopted": "candidate",
    "trial begun": "canary",
    "raised": "canary",
    "trial ended": "candidate",
    "promoted": "live",
    "refused": "refused",
    "rolled back": "live",
    "stopped": "refused",
}
"""The state of a version after an entry about it; other entries change none."""


@dataclass(slots=True)
class Standing:
    """What a registry holds, as far as decisions depend on it.

    Attributes:
        states: of every version, by name.
        stage: of the open trial, from 0; ``None`` where none is open.
        blocked: units that no decision may hold.
        faults: entries of the audit that do not follow from those before, in words.
    """

    states: dict[str, State] = field(default_factory=dict)
    stage: int | None = None
    blocked: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @property
    def live(self) -> list[str]:
        """The versions that are live: one, or none before the first promotion."""
        return [name for name, state in self.states.items() if state == "live"]

    def differences(self, other: Standing) -> list[str]:
        """Return in words where this, which the audit says, is not what ``other`` says."""
        found = list(self.faults)
        for name in sorted({*self.states, *other.states}):
            said, there = self.states.get(name, "unknown"), other.states.get(name, "unknown")
            if said != there:
                found.append(f"version {name} is {there}, and by the audit it is {said}")
        if self.stage != other.stage:
            found.append(f"the trial's stage is {other.stage}, and by the audit {self.stage}")
        for unit in sorted(self.blocked ^ other.blocked):
            there, said = ("", "not ") if unit in other.blocked else ("not ", "")
            found.append(f"unit {unit!r} is {there}blocked, and by the audit it is {said}blocked")
        return found


def replayed(audit: Iterable[AuditEntry]) -> Standing:
    """Return what follows from the audit alone, entry by entry."""
    standing = Standing()
    for entry in audit:
        _play(standing, entry)
        if len(standing.live) > 1:
            standing.faults.append(f"audit {entry.id}: more than one version is live after it")
    return standing


def _play(standing: Standing, entry: AuditEntry) -> None:
    if entry.unit is not None:
        change = standing.blocked.add if entry.action == "blocked" else standing.blocked.discard
        change(entry.unit)
        return
    assert entry.version is not None
    if entry.action in ("promoted", "rolled back"):
        _retire(standing, entry)
    if entry.action in AFTER:
        standing.states[entry.version] = AFTER[entry.action]
    if entry.action == "trial begun":
        standing.stage = 0
    elif entry.action == "raised" and standing.stage is not None:
        standing.stage += 1
    elif entry.action == "trial ended":
        standing.stage = None


def _retire(standing: Standing, entry: AuditEntry) -> None:
    """Retire the version that was live, which must be the one that the entry names."""
    before = standing.live
    if before != ([entry.previous] if entry.previous else []):
        standing.faults.append(
            f"audit {entry.id}: {entry.previous or 'nothing'} was live before it, "
            f"and by the entries before {', '.join(before) or 'nothing'}"
        )
    standing.states.update(dict.fromkeys(before, "retired"))
