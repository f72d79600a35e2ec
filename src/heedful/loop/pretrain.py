"""Step 2: self-supervised pre-training on the units people chose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from heedful.config import Pretrain
from heedful.contract import Streams, Window
from heedful.evaluate.held_out import held_out_ndcg
from heedful.loop.run import Checkpoint, Run, split_names
from heedful.objectives import (
    NEXT_UNIT_NEEDS,
    Loss,
    Metrics,
    Optimiser,
    Schedule,
    descend,
    next_unit,
)
from heedful.policy import Batch, EventKind, Policy

LOGPS = frozenset({"logps"})


def pretrain(
    policy: Policy,
    streams: Streams,
    section: Pretrain,
    run: Run,
    *,
    train: np.ndarray,
    validation: np.ndarray,
    window: int,
    seed: int,
    seen: bool = False,
) -> dict[str, float]:
    """Train ``policy`` in place on the next unit, and keep the weights of its best epoch.

    After each epoch the state is written down; a run that was killed goes on from there and ends
    with the same weights, to the bit, on one thread.

    Args:
        policy: a network.
        streams: what was encoded.
        section: how long, how fast.
        run: where curves and checkpoints go.
        train: [U] weights of the slots; 0 for what is not learned from.
        validation: slot numbers by which the best epoch is chosen; empty: the last is kept.
        window: events a stream is long.
        seed: of the order of batches, of dropout, and of what feedback is hidden.
        seen: whether units a subject has had may come again (in validation).

    Returns:
        Metrics of the best epoch.
    """
    if not train.any():
        raise ValueError(
            "there is nothing to pre-train on: no unit in the log was chosen by people themselves "
            "or liked by them; import history, or collect feedback first"
        )
    training = _Training(policy, streams, section, train, window, seed)
    watch = Best(section.patience)
    training.restore(run.resume(), watch)
    for epoch in range(training.epoch, section.epochs):
        training.pass_over(epoch, run)
        with training.averaged():
            score = _validate(policy, streams, validation, window, seen=seen)
            watch.look(epoch, score, training.module)
        found, words = _shown(score)
        run.log(training.optimiser.step_count, {**found, "epoch": epoch}, part="validation")
        run.save(training.checkpoint(epoch + 1, watch))
        run.progress.update(epoch + 1, section.epochs, words)
        if watch.stale(epoch):
            break
    watch.put_back(training.module)
    training.module.eval()
    found, _ = _shown(watch.score)
    return {**found, "epoch": watch.epoch, "steps": training.optimiser.step_count}


def _validate(
    policy: Policy, streams: Streams, slots: np.ndarray, window: int, *, seen: bool
) -> float | None:
    """Return the mean NDCG@10 of the validation slots; ``None`` where there are none."""
    if not len(slots):
        return None
    return held_out_ndcg(policy, streams, slots, window=window, seen=seen)


def _shown(score: float | None) -> tuple[dict[str, float], str]:
    """Return a validation score as a metric and in words; what was not measured is no metric."""
    if score is None:
        return {}, "nothing held out to validate on"
    return {"ndcg@10": score}, f"validation NDCG@10 {score:.4f}"


class _Training:
    """The network, its optimiser and its average, and how far they have come."""

    def __init__(
        self,
        policy: Policy,
        streams: Streams,
        section: Pretrain,
        train: np.ndarray,
        window: int,
        seed: int,
    ) -> None:
        self.policy, self.section, self.window, self.seed = policy, section, window, seed
        self.module = cast(nn.Module, policy)
        self.streams = replace(
            streams, slots=replace(streams.slots, weight=train.astype(np.float64))
        )
        self.epoch = 0
        steps = math.ceil(len(self.rows(0)) / section.batch) * section.epochs
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        schedule = Schedule(
            peak=section.learning_rate, steps=steps, warmup=section.warmup, decay="cosine"
        )
        self.optimiser = Optimiser(
            parameters, schedule, weight_decay=section.weight_decay, clip=section.clip
        )
        self.average = Average(parameters, section.ema)

    def rows(self, epoch: int) -> list[Window]:
        """Return the windows of one pass, cut anew each time, if something is learned there."""
        rng = np.random.default_rng([self.seed, epoch])
        rows = self.streams.chunks(self.window, rng)
        starts = np.array([row.slots.start for row in rows])
        learned = np.add.reduceat(self.streams.slots.weight, starts) > 0
        return [row for row, keep in zip(rows, learned, strict=True) if keep]

    def pass_over(self, epoch: int, run: Run) -> None:
        """Take one pass over the streams."""
        torch.manual_seed(hash((self.seed, epoch)) & 0x7FFF_FFFF)
        rng = np.random.default_rng([self.seed, epoch, 1])
        self.module.train()
        totals: dict[str, float] = {}

        def on_step(_step: int, metrics: Metrics) -> None:
            self.average.update()
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + value
            totals["steps"] = totals.get("steps", 0.0) + 1

        descend(self.loss, self.batches(epoch, rng), optimiser=self.optimiser, on_step=on_step)
        self.module.eval()
        steps = totals.pop("steps")
        means = {name: value / steps for name, value in totals.items()}
        run.log(self.optimiser.step_count, means, part="train")

    def batches(self, epoch: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of rows of like length, in random order, with some feedback hidden."""
        rows = self.rows(epoch)
        for group in by_length(rows, self.section.batch, rng):
            batch = self.streams.batch(group, seen=True)
            yield hide_feedback(batch, self.section.feedback_dropout, rng)

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of one batch."""
        weight, channels = self.section.feedback_weight, self.streams.schema.channels
        needs = NEXT_UNIT_NEEDS if weight and channels else LOGPS
        return next_unit(
            self.policy.forward(batch, needs), batch, channels=channels, feedback_weight=weight
        )

    def averaged(self) -> Average:
        """Return a context in which the network has its averaged weights."""
        return self.average

    def checkpoint(self, epoch: int, watch: Best) -> Checkpoint:
        """Return everything that the next epoch depends on."""
        tensors = {f"policy.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"optimiser.{k}": v for k, v in self.optimiser.tensors().items()}
        tensors |= {f"average.{i}": v for i, v in enumerate(self.average.shadow)}
        tensors |= {f"best.{k}": v for k, v in watch.weights.items()}
        facts = {"step": self.optimiser.step_count, "epoch": epoch}
        return Checkpoint(tensors, {**facts, "best": [watch.epoch, watch.score]})

    def restore(self, checkpoint: Checkpoint | None, watch: Best) -> None:
        """Take up a checkpoint."""
        if checkpoint is None:
            return
        groups = split_names(checkpoint.tensors)
        self.module.load_state_dict(groups["policy"])
        self.optimiser.restore(groups["optimiser"])
        averages = groups["average"]
        self.average.shadow = [averages[str(i)] for i in range(len(averages))]
        watch.weights, self.epoch = groups["best"], checkpoint.facts["epoch"]
        watch.epoch, watch.score = checkpoint.facts["best"]


@dataclass(slots=True)
class Best:
    """The weights of the best epoch so far."""

    patience: int
    epoch: int = -1
    score: float | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)

    def look(self, epoch: int, score: float | None, module: nn.Module) -> None:
        """Remember the best weights; the last ones while no score tells them apart."""
        if score is None or not self.score or score > self.score:
            self.epoch, self.score = epoch, score
            self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def stale(self, epoch: int) -> bool:
        """Say whether the best is ``patience`` epochs ago."""
        return epoch - self.epoch >= self.patience

    def put_back(self, module: nn.Module) -> None:
        """Give the network its best weights."""
        module.load_state_dict(self.weights)


class Average:
    """An exponential moving average of the weights (Polyak & Juditsky 1992); decay 0 is none.

    As a context manager it lends the network its averaged weights.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        """Start from the weights as they are."""
        self._parameters, self._decay = list(parameters), decay
        self.shadow = [p.detach().clone() for p in parameters] if decay else []
        self._own: list[Tensor] = []

    @torch.no_grad()
    def update(self) -> None:
        """Move the average a step."""
        if self.shadow:
            torch._foreach_lerp_(
                self.shadow, [p.detach() for p in self._parameters], 1.0 - self._decay
            )

    @torch.no_grad()
    def __enter__(self) -> None:
        self._own = [p.detach().clone() for p in self._parameters] if self.shadow else []
        for parameter, averaged in zip(self._parameters, self.shadow, strict=False):
            parameter.copy_(averaged)

    @torch.no_grad()
    def __exit__(self, *_: Any) -> None:
        for parameter, own in zip(self._parameters, self._own, strict=False):
            parameter.copy_(own)


def by_length(
    rows: Sequence[Window], batch: int, rng: np.random.Generator
) -> Iterator[list[Window]]:
    """Yield groups of ``batch`` rows of like length in random order.

    Half of all positions would be padding otherwise; rows are sorted within pools of many batches
    only, so that every epoch mixes anew.
    """
    order = rng.permutation(len(rows))
    pool = 16 * batch
    groups = []
    for low in range(0, len(order), pool):
        part = sorted(order[low : low + pool], key=lambda i: rows[i].last - rows[i].first)
        groups += [part[i : i + batch] for i in range(0, len(part), batch)]
    for index in rng.permutation(len(groups)):
        yield [rows[i] for i in groups[index]]


def hide_feedback(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """Return a batch in which a share of the feedback in the history is unknown.

    So that a policy is at home where nobody has answered yet. Targets stay.
    """
    if not share:
        return batch
    events = batch.events
    hidden = torch.from_numpy(rng.random(tuple(events.kind.shape)) < share)
    hidden &= events.kind == EventKind.UNIT
    return replace(
        batch,
        events=replace(
            events,
            channel=events.channel.masked_fill(hidden, 0),
            value=events.value.masked_fill(hidden, 0.0),
        ),
    )
