"""Learning without reward: the next unit, a hidden one, and what people will answer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from heedful.objectives.loss import Loss
from heedful.policy import Batch, Channel, Outputs

NEXT_UNIT_NEEDS = frozenset({"logps", "feedback"})


def next_unit(
    outputs: Outputs, batch: Batch, *, channels: tuple[Channel, ...], feedback_weight: float = 0.0
) -> Loss:
    """Maximise the likelihood of the units people chose, and predict their answers beside it.

        L = - sum_t w_t log p(x_t | x_<t, y_<t) + feedback_weight * (answers' loss)

    Full softmax cross-entropy over the vocabulary (Klenitskiy & Vasilev, arXiv 2309.07602: it is
    what lifts a plain causal transformer over sampled losses). Slots that ask for a hidden unit are
    left to :func:`masked_unit`.
    """
    assert outputs.logps is not None
    slots = batch.mask if batch.gaps is None else batch.mask & ~batch.gaps
    nll = -(outputs.logps * batch.weights * slots)
    count = (batch.weights * slots).sum(dtype=torch.float64)
    metrics = {"nll": nll.sum().detach()}
    value = nll.sum()
    if feedback_weight and channels:
        answers = feedback_loss(outputs, batch, channels)
        metrics["feedback_loss"] = answers.sum().detach()
        value = value + feedback_weight * answers.sum()
    return Loss(value, count, metrics)


def masked_unit(outputs: Outputs, batch: Batch) -> Loss:
    """Maximise the likelihood of hidden units, given what stands on both sides of them.

        L = - sum_{t hidden} w_t log p(x_t | everything in the window but x_t)

    Which are hidden, and where they are asked for, :func:`heedful.objectives.infill` has decided
    (``batch.gaps``); without a gap the loss is 0. Beside ``nll``, which :func:`next_unit` has too,
    stand the part of the hidden units in it, ``masked_nll``, and their weight, ``hidden``.
    """
    assert outputs.logps is not None
    slots = torch.zeros_like(batch.mask) if batch.gaps is None else batch.mask & batch.gaps
    nll = -(outputs.logps * batch.weights * slots).sum()
    count = (batch.weights * slots).sum(dtype=torch.float64)
    shown = {"nll": nll.detach(), "masked_nll": nll.detach(), "hidden": count.to(nll.dtype)}
    return Loss(nll, count, shown)


def feedback_loss(outputs: Outputs, batch: Batch, channels: tuple[Channel, ...]) -> Tensor:
    """Return the loss of predicting people's answers, [B, T]; 0 where nothing was answered.

    Binary channels: cross-entropy of y_i given x_<=i, y_<i, the source's "RL loss" by its right
    name, conditioned on the subject's whole history. Others: half the squared error on [0, 1].
    """
    assert outputs.feedback is not None
    total = torch.zeros_like(batch.weights)
    for number, channel in enumerate(channels):
        target = batch.feedback[..., number]
        known = ~torch.isnan(target) & batch.mask
        predicted = torch.where(known, outputs.feedback[..., number], 0.0)
        target = torch.where(known, target, 0.0).to(predicted.dtype)
        if channel.binary:
            loss = functional.binary_cross_entropy_with_logits(predicted, target, reduction="none")
        else:
            loss = 0.5 * (predicted - target) ** 2
        total = total + torch.where(known, loss, 0.0)
    return total
