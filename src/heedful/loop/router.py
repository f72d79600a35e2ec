"""From the kinds of feedback in a log to the objectives that can use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heedful.loop.told import comparisons, numbers, standing, thumbs
from heedful.record import Kind
from heedful.store.snapshot import Snapshot

AUTO, REINFORCE = "auto", "reinforce"
FROM_LOG = (REINFORCE, "dpo", "ipo", "kto", "regression")
"""Those that learn from the log; of several that can use as much, "auto" takes the first."""
DEEP_Q = "dqn"
PLAYED = ("ppo", "rloo", "grpo", DEEP_Q)
"""Objectives that learn from what the policy does itself, and need somebody to judge it."""

ASKS_FOR = {
    "reinforce": "decisions with logged probabilities, of which [reward] reads a number",
    "dpo": "comparisons of decisions",
    "ipo": "comparisons of decisions",
    "kto": "thumbs up and thumbs down on whole decisions",
    "regression": "decisions of which [reward] reads a number",
}


class NothingToLearnError(ValueError):
    """The objective that was asked for cannot use anything in the log."""


@dataclass(frozen=True, slots=True)
class Found:
    """What feedback there is, and is not taken back.

    Attributes:
        logged: decisions with probabilities of which ``[reward]`` reads a number.
        numbers: decisions of which it does, whether or not there are probabilities.
        pairs: comparisons between decisions, ties among them.
        ties: of these, in which neither was better.
        up: decisions as wholes that were liked.
        down: that were not.
        edits: demonstrations of what should have been done.
        comments: said in words.
    """

    logged: int = 0
    numbers: int = 0
    pairs: int = 0
    ties: int = 0
    up: int = 0
    down: int = 0
    edits: int = 0
    comments: int = 0

    def uses(self) -> dict[str, int]:
        """Return how many decisions each objective of the log can learn from."""
        compared = 2 * (self.pairs - self.ties) and 2 * self.pairs
        both = self.up + self.down if self.up and self.down else 0
        counts = (self.logged, compared, compared, both, self.numbers)
        return dict(zip(FROM_LOG, counts, strict=True))

    def words(self) -> str:
        """Return what there is, in words."""
        parts = {
            "with a probability and a reward": self.logged,
            "with a reward": self.numbers,
            "compared in pairs": 2 * self.pairs,
            "liked": self.up,
            "disliked": self.down,
            "edited": self.edits,
        }
        said = [f"{count:,} {what}" for what, count in parts.items() if count]
        return f"decisions {', '.join(said)}" if said else "nothing that anybody said of decisions"


def found_in(snapshot: Snapshot, earned: npt.NDArray[np.float64], *, after: int = 0) -> Found:
    """Count the feedback in ``snapshot``.

    Args:
        snapshot: what happened.
        earned: float64 [M], what ``[reward]`` reads of each unit; NaN where nobody said anything.
        after: only what was said after this sequence number.
    """
    compared, (_, says) = comparisons(snapshot, after), thumbs(snapshot, after)
    decided, _ = numbers(snapshot, earned, after)
    known = ~np.isnan(np.add.reduceat(snapshot.decisions.logps, snapshot.decisions.offsets[:-1]))
    return Found(
        logged=int((known & (snapshot.decisions.seq > after))[decided].sum()),
        numbers=len(decided),
        pairs=len(compared),
        ties=int(compared.ties.sum()),
        up=int((says > 0).sum()),
        down=int((says == 0).sum()),
        edits=len(standing(snapshot, Kind.DEMONSTRATION, after)),
        comments=len(standing(snapshot, Kind.COMMENT, after)),
    )


@dataclass(frozen=True, slots=True)
class Route:
    """Which objective learns, and why.

    Attributes:
        objective: its name.
        asked: what ``[reinforce] objective`` says.
        found: what there is to learn from.
    """

    objective: str
    asked: str
    found: Found

    def words(self) -> str:
        """Return the choice in words."""
        others = {
            name: count
            for name, count in self.found.uses().items()
            if count and name != self.objective
        }
        also = ", ".join(f"{name} ({count:,})" for name, count in others.items())
        why = "as [reinforce] objective asks for" if self.asked != AUTO else "chosen by the log"
        text = f"learns by {self.objective}, {why}; the log has {self.found.words()}"
        text += f"; it could feed {also} as well" if also else ""
        tune = f"; {self.found.edits:,} edits are for heedful tune" if self.found.edits else ""
        return text + tune

    def to_card(self) -> dict[str, object]:
        """Return what stands on the card of a version that learned by it."""
        uses = {name: count for name, count in self.found.uses().items() if count}
        return {"objective": self.objective, "could_learn_from": uses}

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON: the objective, and how many decisions each one could learn from."""
        uses: Mapping[str, int] = self.found.uses()
        return {"objective": self.objective, "asked": self.asked, "uses": dict(uses)}


def route(asked: str, found: Found) -> Route:
    """Return the objective that learns.

    "auto" takes the one that can use most decisions. Where several can use as many, REINFORCE
    comes first: it knows with what probability the log's policies acted. Where none can use any it
    is REINFORCE too, which knows what silence means.

    Raises:
        NothingToLearnError: an objective of the log was asked for that can use nothing in it.
    """
    uses = found.uses()
    if asked == AUTO:
        return Route(max(FROM_LOG, key=lambda name: uses[name]), asked, found)
    if asked in uses and asked != REINFORCE and not uses[asked]:
        feeds = ", ".join(f'"{name}" ({count:,})' for name, count in uses.items() if count)
        feeds = f"It can feed {feeds}" if feeds else "It can feed none of the others either"
        raise NothingToLearnError(
            f'[reinforce] objective = "{asked}" learns from {ASKS_FOR[asked]}, and the log has '
            f"none that it could use: there are {found.words()}. {feeds} (decisions); "
            'objective = "auto" chooses'
        )
    return Route(asked, asked, found)
