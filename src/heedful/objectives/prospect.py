"""Learning from thumbs: single decisions that were found good or bad, compared with nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from heedful.objectives.loss import Loss
from heedful.objectives.preference import given_logps, given_reference
from heedful.objectives.whole import Whole
from heedful.policy import Batch, EventKind, Events, Outputs


def kto(
    outputs: Outputs,
    batch: Batch,
    *,
    drift: Tensor,
    beta: float = 0.1,
    threshold: float = 0.0,
    desirable: float = 1.0,
    undesirable: float = 1.0,
) -> Loss:
    """Kahneman-Tversky optimisation: make what was liked likelier than policies like it usually do.

        r = log pi(y | x) / ref(y | x)
        l = desirable   (1 - sigmoid(beta (r - drift)))   where R > threshold
            undesirable (1 - sigmoid(beta (drift - r)))   where R < threshold
        L = sum over decisions of w l

    Source: Ethayarajh et al., arXiv 2402.01306, section 4.1. R is the
    decision's total reward; where it equals the threshold, or is not known (NaN), the decision says
    nothing. So thumbs as 1 and -1 go with the threshold 0, as 1 and 0 with 0.5.

    ``drift`` is how far the policy has moved in general, :func:`mismatched_drift` of the whole
    accumulation window: computed once a step, before the window is split, or the gradient would
    depend on the size of micro-batches.

    Args:
        outputs: with "logps".
        batch: with ``reference_logps``; decisions count as much as the mean of their units.
        drift: scalar, in nats, at least 0, without gradient.
        beta: how soon a deviation from the reference saturates, above 0.
        threshold: see above.
        desirable: weight of what was liked.
        undesirable: weight of what was not; choose the two so that what was liked weighs about as
            much in all as what was not.

    Raises:
        ValueError: the batch has no reference, or an option is out of range.
    """
    if not beta > 0.0 or drift.requires_grad or not float(drift) >= 0.0:
        raise ValueError(
            f"kto: beta is {beta} and has to be above 0; drift is {drift} and has to be at least "
            "0, without gradient: use objectives.mismatched_drift"
        )
    whole = Whole(batch)
    ratio = whole.total(given_logps(outputs)) - whole.total(given_reference(batch))
    above = whole.total(batch.rewards.double()) - threshold
    liked, disliked = above > 0.0, above < 0.0
    weight = torch.where(liked | disliked, whole.mean(batch.weights), 0.0)
    ahead = beta * (ratio - drift)
    loss = 1.0 - torch.sigmoid(torch.where(liked, ahead, -ahead))
    scale = weight * torch.where(liked, desirable, undesirable)
    reward = beta * ratio.detach()
    metrics = {
        "liked": (weight * liked).sum(),
        "liked_reward": (weight * liked * reward).sum(),
        "disliked_reward": (weight * disliked * reward).sum(),
        "drift": drift * weight.sum(),
    }
    return Loss((loss * scale).sum(), weight.sum(), metrics)


def mismatched(batch: Batch) -> Batch:
    """Return each asking with the answer that was given to another: x_i with y_{i+1}.

    Replies of the same batch, shifted by one, around the end; shifting hands every reply to another
    asking, as reversing does not. What is possible must not differ between askings, nor within a
    reply, or a reply to one might be impossible for the other.

    Args:
        batch: at least two rows, each with one decision, whose units follow each other.

    Raises:
        ValueError: the batch is not like that.
    """
    _check_rows(batch)
    n_events, n_units = batch.positions[:, 0] + 1, batch.mask.sum(1)
    other = torch.arange(len(batch), device=n_events.device).roll(-1)
    mask, size = batch.mask[other], n_units[other]
    place = torch.arange(batch.mask.shape[1], device=n_events.device)
    nothing = torch.zeros_like(batch.rewards)
    now = batch.choices.now
    changed: dict[str, Any] = {
        "events": _spliced(batch.events, n_events, other, size),
        "positions": torch.where(mask, n_events[:, None] - 1 + place, 0),
        "units": batch.units[other],
        "decisions": torch.where(mask, batch.decisions[:, :1], -1),
        "mask": mask,
        "bootstrap": torch.zeros_like(mask),
        "choices": replace(
            batch.choices,
            forbidden=_everywhere(batch.choices.forbidden, mask),
            now=None if now is None else now[:, :1].expand(mask.shape),
        ),
        "behaviour_logps": torch.full_like(batch.behaviour_logps, torch.nan),
        "rewards": nothing,
        "discounts": torch.zeros_like(batch.discounts),
        "weights": mask.to(batch.weights.dtype),
        "feedback": torch.full_like(batch.feedback, torch.nan),
    }
    judged = ("measured", "pairs", "groups", "reference_logps", "old_logps", "old_values")
    empty = dict.fromkeys((*judged, "advantages", "returns"))
    return replace(batch, **{**empty, **changed})


def mismatched_drift(outputs: Outputs, batch: Batch) -> Tensor:
    """Return how far a policy has moved from the reference in general, a scalar in nats.

        drift = max(0, mean over i of log pi(y_{i+1} | x_i) / ref(y_{i+1} | x_i)),  no gradient

    A rough, biased estimate of KL(pi || ref), which KTO measures rewards from (Ethayarajh et al.,
    arXiv 2402.01306, section 4.1).

    Args:
        outputs: with "logps" of the policy as it stands.
        batch: :func:`mismatched` of the whole accumulation window, with ``reference_logps``.
    """
    whole = Whole(batch)
    moved = given_logps(outputs).detach().double() - given_reference(batch).double()
    return whole.total(moved).mean().clamp(min=0.0)


def _check_rows(batch: Batch) -> None:
    if len(batch) < 2:
        raise ValueError(
            f"a batch of {len(batch)} has no second reply to mismatch: KTO needs two rows or more"
        )
    place = torch.arange(batch.mask.shape[1], device=batch.mask.device)
    one = (batch.decisions == batch.decisions[:, :1]) & (
        batch.positions == batch.positions[:, :1] + place
    )
    ends = batch.positions[:, 0] + batch.mask.sum(1)
    if not bool((one | ~batch.mask).all() and batch.mask[:, 0].all() and _fits(batch, ends)):
        raise ValueError(
            "replies are mismatched between rows with one decision each, whose units follow each "
            "other: cut the batch that way, one decision a row"
        )
    free = batch.choices.restricted is None and batch.choices.bounds is None
    if batch.gaps is not None or not (free and _alike(batch.choices.forbidden, batch.mask)):
        raise ValueError(
            "replies are mismatched only where the same units are possible at any place: with "
            "choices of its own, an asking might rule the other's reply out"
        )


def _alike(forbidden: Tensor, mask: Tensor) -> bool:
    """Whether the same units are forbidden at every place of ``mask``."""
    n_slots = int(mask.sum())
    if not len(forbidden) or not n_slots:
        return True
    places = _covered(forbidden, mask)
    units, counts = torch.unique(places[:, 1], return_counts=True)
    return bool(len(units) * n_slots == len(places)) and bool((counts == n_slots).all())


def _covered(forbidden: Tensor, mask: Tensor) -> Tensor:
    """Return each place of ``mask`` and each unit that is forbidden there, int64 [n, 2], once."""
    row, unit, first, after = forbidden.unbind(1)
    length = (after - first).clamp(min=0)
    span = torch.repeat_interleave(torch.arange(len(forbidden)), length)
    offset = torch.arange(len(span)) - (torch.cumsum(length, 0) - length)[span]
    place = row[span] * mask.shape[1] + first[span] + offset
    found = torch.stack([place, unit[span]], dim=1)
    return torch.as_tensor(torch.unique(found[mask.flatten()[place]], dim=0))


def _everywhere(forbidden: Tensor, mask: Tensor) -> Tensor:
    """Return spans that forbid the units of ``forbidden`` at every place of each row."""
    if not len(forbidden):
        return forbidden
    units, rows = torch.unique(forbidden[:, 1]), torch.arange(len(mask))
    row = rows.repeat_interleave(len(units))
    zeros = torch.zeros_like(row)
    return torch.stack([row, units.repeat(len(mask)), zeros, zeros + mask.shape[1]], dim=1)


def _fits(batch: Batch, ends: Tensor) -> bool:
    """Whether the events hold the units that they are said to end with."""
    if not bool((ends < batch.events.lengths).all()):
        return False
    behind = (batch.positions + 1) * batch.mask
    found = batch.events.unit.gather(1, behind)
    return bool(((found == batch.units) | ~batch.mask).all())


def _spliced(events: Events, n_events: Tensor, other: Tensor, size: Tensor) -> Events:
    """Return the first ``n_events`` of each row, and behind them ``size`` units of the other's."""
    lengths = n_events + size
    place = torch.arange(int(lengths.max()), device=lengths.device)
    own = place < n_events[:, None]
    real = place < lengths[:, None]
    shift = torch.where(own, 0, (n_events[other] - n_events)[:, None])
    row = torch.where(own, torch.arange(len(other), device=own.device)[:, None], other[:, None])
    at = torch.where(real, place + shift, 0)

    def gather(column: Tensor, nothing: float) -> Tensor:
        return torch.where(real, column[row, at], nothing).to(column.dtype)

    asked = events.time.gather(1, n_events[:, None])
    return Events(
        kind=gather(events.kind, int(EventKind.PAD)),
        unit=gather(events.unit, -1),
        channel=gather(events.channel, 0),
        value=gather(events.value, 0.0),
        features=events.features[row, at] * real[..., None],
        time=torch.where(own, gather(events.time, torch.nan), asked).masked_fill(~real, torch.nan),
        lengths=lengths,
    )
