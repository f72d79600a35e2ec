"""A subject and what a policy remembers of it: one more event costs one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from heedful.contract.stream import Stream, pad
from heedful.contract.streams import Rule
from heedful.policy import Acts, Choices, NothingToChooseError, Policy, State, Tally, sample
from heedful.policy.choices import bounds_of
from heedful.record import Context, Decision


@dataclass(slots=True)
class Session:
    """A stream and the state of a policy that has read part of it.

    Attributes:
        stream: everything that happened to the subject.
        state: one row, or ``None`` before the first decision.
        first: the event the state begins with.
        read: the event after the last one the state has read.
    """

    stream: Stream
    state: State | None = None
    first: int = 0
    read: int = 0

    def commit(self, state: State, first: int, decision: Decision) -> None:
        """Take over what :func:`decide` prepared, now that ``decision`` is in the log."""
        self.stream.append(decision)
        # The last unit stays unread: feedback to it may still be fused into its event.
        self.state, self.first, self.read = state, first, len(self.stream) - 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """Decisions that were drawn and not yet kept.

    Attributes:
        acts: units and log-probabilities, one row a session.
        state: the policy's state for all rows.
        firsts: the event each row's state begins with.
    """

    acts: Acts
    state: State
    firsts: tuple[int, ...]

    def commit(self, row: int, session: Session, decision: Decision) -> None:
        """Keep row ``row`` as ``session``'s."""
        session.commit(self.state.select(torch.tensor([row])), self.firsts[row], decision)


@torch.no_grad()
def decide(
    policy: Policy,
    sessions: Sequence[Session],
    contexts: Sequence[Context],
    rules: Sequence[Rule],
    rng: torch.Generator | None,
    *,
    length: int,
    window: int,
    now: float | Sequence[float],
) -> Prepared:
    """Draw a decision for each session; nothing changes until it is committed.

    Args:
        policy: what decides, in evaluation mode.
        sessions: B different subjects.
        contexts: what is known now of each.
        rules: what is possible for each.
        rng: randomness of the draw; ``None`` takes the likeliest unit at every place.
        length: K, the longest decision.
        window: events a stream is long; even.
        now: the moment of asking, seconds since the epoch, one for all or each session's own; the
            decisions' ``made_at``.
    """
    states: list[State] = []
    pending, firsts = [], []
    moments = [now] * len(sessions) if isinstance(now, float | int) else now
    fresh = policy.start(1)
    for session, context, moment in zip(sessions, contexts, moments, strict=True):
        first = session.stream.start(window)
        state = session.state if session.first == first else None
        keep = state is not None
        states.append(fresh if state is None else state)
        pending.append(
            [
                *session.stream.since(session.read if keep else first),
                *session.stream.context(context, moment),
            ]
        )
        firsts.append(first)
    head, *tail = states
    seen = [session.stream.seen for session in sessions]
    choices = as_choices(rules, seen, policy.schema.size, moments)
    joined = head.stack(tail)
    joined, _ = policy.step(joined, pad(pending, policy.schema.features), choices)
    joined, acts = sample(policy, joined, choices, rng, length=length)
    return Prepared(acts, joined, tuple(firsts))


def as_choices(
    rules: Sequence[Rule],
    seen: Sequence[set[int]],
    size: int,
    now: float | Sequence[float] = math.nan,
) -> Choices:
    """Return what is possible for the first unit of B decisions asked for at ``now``.

    Raises:
        ValueError: decisions that end in different ways cannot be drawn together.
        NothingToChooseError: what some rule requires cannot be had.
    """
    ends = {rule.end for rule in rules}
    if len(ends) > 1:
        raise ValueError("decisions with different end units must be drawn in separate calls")
    allowed: list[tuple[int, int, int, int]] = []
    forbidden: list[tuple[int, int, int, int]] = []
    for row, rule in enumerate(rules):
        if rule.allowed is not None:
            allowed += [(row, int(unit), 0, 1) for unit in rule.allowed]
        forbidden += [(row, int(unit), 0, 1) for unit in rule.forbidden]
        if not rule.seen:
            forbidden += [(row, unit, 0, 1) for unit in sorted(seen[row] - {rule.end})]
    tallies = _tallies(rules, seen, size)
    restricted = torch.tensor([[rule.allowed is not None] for rule in rules])
    return Choices(
        size=size,
        shape=(len(rules), 1),
        allowed=torch.tensor(allowed, dtype=torch.int64).reshape(-1, 4),
        forbidden=torch.tensor(forbidden, dtype=torch.int64).reshape(-1, 4),
        restricted=restricted if bool(restricted.any()) else None,
        repeat=torch.tensor([rule.repeat for rule in rules]),
        end=ends.pop(),
        now=torch.tensor(now, dtype=torch.float64).expand(len(rules))[:, None],
        bounds=None if tallies is None else bounds_of(tallies),
        tallies=tallies,
    )


def _tallies(
    rules: Sequence[Rule], seen: Sequence[set[int]], size: int
) -> tuple[Tally | None, ...] | None:
    """Begin decisions whose rules speak of groups; ``None`` where no rule does."""
    if all(rule.quotas is None for rule in rules):
        return None
    tallies: list[Tally | None] = []
    for row, rule in enumerate(rules):
        if rule.quotas is None:
            tallies.append(None)
            continue
        possible = rule.possible(size, np.fromiter(seen[row], np.int64))
        plan = rule.quotas.plan(possible)
        if plan is None:
            raise NothingToChooseError(f"row {row}: {rule.quotas.refusal(possible)}")
        tallies.append(rule.quotas.start(plan))
    return tuple(tallies)
