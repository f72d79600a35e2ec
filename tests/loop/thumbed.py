"""A log of short replies and what people said of them, in the toy world of replies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heedful.record import (
    UNKNOWN,
    ChoiceSet,
    Decision,
    Feedback,
    Kind,
    Outcome,
    Preference,
    Value,
)
from heedful.store import Record
from tests.contract.toys import Replies

TOY = Replies()
CHOICES = ChoiceSet(repeat=True, end="<end>")


def reply(
    name: str,
    prompt: Sequence[str],
    units: Sequence[str],
    *,
    logps: Sequence[float] | None = None,
    episode: str | None = None,
    step: int = 0,
) -> Decision:
    """Return a reply of a subject of its own."""
    return Decision(
        id=name,
        episode=episode or f"{name}-talk",
        step=step,
        subject=f"{episode or name}-somebody",
        units=tuple(units),
        logps=UNKNOWN if logps is None else tuple(logps),
        policy="elsewhere",
        made_at=0.0,
        context={"prompt": list(prompt)},
        choices=CHOICES.digest(),
        vocabulary="toy",
    )


def said(
    about: Decision, kind: Kind, value: Value | None, *, by: str = "who", **more: object
) -> Feedback:
    """Return feedback to a whole reply."""
    name = f"{about.id}/{kind}/{by}/{len(str(more))}"
    return Feedback(
        id=name,
        by=by,
        about=about.id,
        kind=kind,
        value=value,
        given_at=0.0,
        received_at=0.0,
        **more,
    )  # type: ignore[arg-type]


def prefers(one: Decision, other: Decision, outcome: Outcome = Outcome.CHOSEN) -> Feedback:
    """Return that ``one`` was ``outcome`` over ``other``."""
    return said(one, Kind.PREFERENCE, Preference(outcome, other.id), by=f"to-{other.id}")


def good(decision: Decision) -> bool:
    """Whether a reply repeats the first token of what was asked, as the toy's people like it."""
    prompt = decision.context["prompt"]
    assert isinstance(prompt, list)
    return prompt[0] in decision.units


def talk(seed: int, n: int) -> list[Decision]:
    """Return ``n`` askings with two replies each, one of which is good: 2 n decisions."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        prompt = [TOY.units[i] for i in rng.integers(0, 4, 2)]
        others = [unit for unit in TOY.units[:4] if unit != prompt[0]]
        liked = [*rng.choice(others, int(rng.integers(0, 2))), prompt[0], "<end>"]
        not_liked = [*rng.choice(others, int(rng.integers(1, 3))), "<end>"]
        made.append(reply(f"{seed}-{number}-a", prompt, liked))
        made.append(reply(f"{seed}-{number}-b", prompt, not_liked))
    return made


def compared(decisions: Sequence[Decision]) -> list[Record]:
    """Return the replies and, behind each two, which one people like better."""
    records: list[Record] = []
    for one, other in zip(decisions[::2], decisions[1::2], strict=True):
        better, worse = (one, other) if good(one) else (other, one)
        records += [one, other, prefers(better, worse)]
    return records
