"""Groups of people who should be served alike, by what is known of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.record import Described
from heedful.reward.rewards import RewardError
from heedful.store.snapshot import Snapshot

MOST_GROUPS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which group each decision's subject belongs to.

    Attributes:
        names: what each group has in common, in order.
        of_decision: int64 [N], an index into ``names``; -1 where nothing is known of the subject.
    """

    names: tuple[str, ...]
    of_decision: npt.NDArray[np.int64]


def groups(snapshot: Snapshot, fact: str) -> Groups:
    """Return the subjects' groups by ``fact``: those with the same value belong together.

    What is known now counts, also for decisions that were made before it was known.

    Raises:
        RewardError: nobody is described by it, all are alike, or there are too many groups.
    """
    values = of_subjects(snapshot, fact)
    of_subject = [values.get(name) for name in snapshot.names.subjects]
    names = sorted({value for value in of_subject if value is not None})
    if not 2 <= len(names) <= MOST_GROUPS:
        known = snapshot.descriptions.latest(Described.SUBJECT).values()
        others = sorted({other for facts in known for other in facts})
        raise RewardError(
            f"constraints.equal: the subjects in the log fall into {len(names)} groups by "
            f"{fact!r}; name a fact with 2 to {MOST_GROUPS} values"
            + (f" (known are {', '.join(others)})" if others else " (no subject is described)")
        )
    codes = {name: code for code, name in enumerate(names)} | {None: -1}
    code_of = np.array([codes[value] for value in of_subject], np.int64)
    return Groups(tuple(names), code_of[snapshot.decisions.subject])


def of_subjects(
    snapshot: Snapshot, fact: str, before: Mapping[str, int] | None = None
) -> dict[str, str]:
    """Return the group by ``fact`` of each subject that has one, by the subject's name.

    A number or true and false stand as JSON writes them, a list as its texts in order.

    Args:
        snapshot: what is known.
        fact: what makes the groups.
        before: by subject, the sequence number before which it must have been told; others are in
            no group. By default what is known now counts.
    """
    known: dict[str, dict[str, Any]] = {}
    for seq, name, facts in snapshot.descriptions.rows(Described.SUBJECT):
        if before is None or seq < before.get(name, 0):
            known[name] = facts
    return {
        name: _text(facts[fact]) for name, facts in known.items() if facts.get(fact) is not None
    }


def _text(fact: object) -> str:
    if isinstance(fact, list):
        return ", ".join(sorted(map(str, fact)))
    return fact if isinstance(fact, str) else json.dumps(fact)
