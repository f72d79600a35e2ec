"""The one place that chooses, and the one place that says how likely a past choice was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from heedful.policy.batch import Batch, Events
from heedful.policy.choices import Choices
from heedful.policy.protocol import LOGPS, Policy, State


@dataclass(frozen=True, slots=True)
class Acts:
    """Decisions as they were drawn.

    Attributes:
        units: int64 [B, K], padded with -1 behind the end.
        logps: float64 [B, K], log-probability of each unit given those before it; 0 in padding.
        lengths: int64 [B], units in each decision, the end unit included.
    """

    units: Tensor
    logps: Tensor
    lengths: Tensor


class NothingToChooseError(ValueError):
    """Every unit is forbidden in some row."""


@torch.no_grad()
def sample(
    policy: Policy, state: State, choices: Choices, rng: torch.Generator | None, *, length: int
) -> tuple[State, Acts]:
    """Draw one decision of up to ``length`` units for each of B streams, unit by unit.

    A slate is drawn without replacement: its log-probability is the sum of these sequential
    conditionals, exactly. The state that comes back holds every unit but the last of its row: the
    caller passes that one with the next step, when the feedback to it may have come.

    Where rules about groups (:class:`heedful.policy.Quotas`) leave nothing to draw after the first
    unit, a row's decision is over, as short as it is.

    Args:
        policy: what decides.
        state: B streams, brought up to the moment of choice by ``policy.step``.
        choices: what is possible, shape (B, 1), and the moment of asking, at which all units of the
            decision are chosen.
        rng: draws one uniform number a row and unit; ``None`` takes the likeliest unit instead,
            and of several the first in the vocabulary.
        length: K, the longest decision.

    Raises:
        NothingToChooseError: a row has no possible unit left.
    """
    rows = len(state)
    pending = torch.full((rows,), -1)
    running = torch.ones(rows, dtype=torch.bool)
    now = None if choices.now is None else choices.now[:, 0]
    units, logps = [], []
    for place in range(length):
        if place and choices.tallies is not None:
            running, choices = _closed(running, choices)
            pending = torch.where(running, pending, -1)
        events = Events.of_units(pending, policy.schema.features, now)
        state, logits = policy.step(state, events, choices)
        unit, logp = draw(logits, rng)
        unit = torch.where(running, unit, -1)
        units.append(unit)
        logps.append(torch.where(running, logp, 0.0))
        running = running & (unit != choices.end)
        pending = torch.where(running, unit, -1)
        choices = choices.without(pending)
        if not running.any():
            break
    drawn = torch.stack(units, dim=1)
    return state, Acts(drawn, torch.stack(logps, dim=1), (drawn >= 0).sum(1))


def _closed(running: Tensor, choices: Choices) -> tuple[Tensor, Choices]:
    """Close the rows whose rules leave nothing to draw; free of them, they disturb nobody."""
    possible = choices.mask()
    assert choices.tallies is not None
    over = torch.tensor([tally is not None for tally in choices.tallies])
    if possible is not None:
        over &= ~possible.any(1)
    return (running & ~over, choices.opened(over)) if bool(over.any()) else (running, choices)


def draw(logits: Tensor, rng: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Draw one unit a row by inverting the cumulative distribution, in float64.

    Without ``rng`` it is the likeliest unit.

    Returns:
        units int64 [B] and their log-probabilities float64 [B].
    """
    log_p = torch.log_softmax(logits.double(), dim=-1)
    if bool(torch.isnan(log_p).any()):
        row = int(torch.nonzero(torch.isnan(log_p).any(1))[0])
        raise NothingToChooseError(
            f"row {row}: no unit is possible (or a logit is NaN); allow more units, or ask for a "
            "shorter decision"
        )
    if rng is None:
        unit = log_p.argmax(dim=-1)
        return unit, log_p.gather(1, unit[:, None])[:, 0]
    cumulative = torch.cumsum(log_p.exp(), dim=-1)
    uniform = torch.rand(len(logits), 1, generator=rng, dtype=torch.float64)
    total = cumulative[:, -1:].contiguous()
    # Rounding may push the draw onto the total itself: the last unit of positive width takes it.
    unit = torch.searchsorted(cumulative, uniform * total, right=True)
    unit = torch.minimum(unit, torch.searchsorted(cumulative, total))[:, 0]
    return unit, log_p.gather(1, unit[:, None])[:, 0]


def replay(policy: Policy, batch: Batch) -> Tensor:
    """Return [B, T]: the log-probabilities the sampler would give, with gradient.

    Compute and compare in evaluation mode: dropout makes another policy of it.
    """
    logps = policy.forward(batch, LOGPS).logps
    if logps is None:
        raise TypeError(f"{type(policy).__name__}.forward gave no logps though they were asked for")
    return logps
