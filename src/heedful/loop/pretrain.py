"""Step 2: self-supervised pre-training on the units people chose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from heedful.config import Pretrain
from heedful.config.rates import PRETRAINED
from heedful.contract import Streams, Window
from heedful.evaluate.held_out import held_out_ndcg, held_out_nll
from heedful.loop.augment import Similar, crop, hide_feedback, mask
from heedful.loop.run import Checkpoint, Run
from heedful.objectives import (
    NEXT_UNIT_NEEDS,
    Loss,
    Means,
    Metrics,
    Optimiser,
    Plateau,
    Rates,
    Schedule,
    adversarial,
    descend,
    hidden_matrices,
    infill,
    masked_unit,
    next_unit,
)
from heedful.policy import Batch, Policy

LOGPS = frozenset({"logps"})

Reread = Callable[[Streams, np.random.Generator], Streams]
"""Returns the same streams, read differently in each pass."""


def as_recorded(streams: Streams, rng: np.random.Generator) -> Streams:
    """Return ``streams``."""
    return streams


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
    reread: Reread = as_recorded,
) -> dict[str, float]:
    """Train ``policy`` in place on what people chose, and keep the weights of its best epoch.

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
        reread: what is learned from in each pass, and what the best epoch is chosen by, with the
            same events and slots.

    Returns:
        Metrics of the best epoch.

    Raises:
        ValueError: nothing has a weight, or the rate is to follow what is held out and nothing is.
    """
    validated = bool(len(validation))
    training = Training(
        policy, streams, section, train, window, seed, validated=validated, reread=reread
    )
    if isinstance(training.optimiser.schedule, Plateau) and not validated:
        raise ValueError(
            "the rate falls when what is held out gets no likelier, and nothing is held out: "
            'import more, or set pretrain.schedule = "cosine"'
        )
    watch = Best(section.patience)
    training.restore(run.resume(), watch)
    # A policy that can be asked for an outcome is no better where nobody asks: there is nothing to
    # choose an epoch by. So it is examined in the way it learns; judging reads what was recorded.
    told = reread(streams, np.random.default_rng([seed, 4]))
    exam = Exam(told, validation, window, seen=seen, by_likelihood=section.by_likelihood)
    for epoch in range(training.epoch, section.epochs):
        # before a pass: one that was taken up may have ended already
        if watch.stale(epoch - 1) or training.converged:
            break
        training.pass_over(epoch, run)
        with training.averaged():
            score = exam.score(policy)
            watch.look(epoch, score, training.module)
        training.heed(score)
        found, words = exam.shown(score)
        run.log(training.optimiser.step_count, {**found, "epoch": epoch}, part="validation")
        run.save(training.checkpoint(epoch + 1, watch))
        run.progress.update(epoch + 1, section.epochs, words)
    watch.put_back(training.module)
    training.module.eval()
    found, _ = exam.shown(watch.score)
    return {**found, "epoch": watch.epoch, "steps": training.optimiser.step_count}


@dataclass(frozen=True, slots=True)
class Exam:
    """What says which epoch is best: how it ranks what is held out, or how likely it finds it.

    Attributes:
        streams: what was encoded.
        slots: int64, the slots held out for validation.
        window: events a stream is long.
        seen: whether units a subject has had are ranked.
        by_likelihood: whether likelihood counts; where units are words, a rank says little.
    """

    streams: Streams
    slots: np.ndarray
    window: int
    seen: bool
    by_likelihood: bool

    def score(self, policy: Policy) -> float | None:
        """Return the mean NDCG@10, or the mean log-likelihood in nats; ``None`` with no slots."""
        if not len(self.slots):
            return None
        if self.by_likelihood:
            nll = held_out_nll(policy, self.streams, self.slots, window=self.window)
            return -float(nll.mean())
        return held_out_ndcg(policy, self.streams, self.slots, window=self.window, seen=self.seen)

    def shown(self, score: float | None) -> tuple[dict[str, float], str]:
        """Return a score as a metric and in words; what was not measured is no metric."""
        if score is None:
            return {}, "nothing held out to validate on"
        if self.by_likelihood:
            return {"nll": -score}, f"validation {-score:.4f} nats per unit"
        return {"ndcg@10": score}, f"validation NDCG@10 {score:.4f}"


class Training:
    """The network, its optimiser and its average, and how far they have come."""

    def __init__(
        self,
        policy: Policy,
        streams: Streams,
        section: Pretrain,
        train: np.ndarray,
        window: int,
        seed: int,
        *,
        schedule: Rates | None = None,
        validated: bool = True,
        reread: Reread = as_recorded,
    ) -> None:
        """Begin, with what :func:`pretrain` is given.

        Args:
            policy: a network.
            streams: what was encoded.
            section: how long, how fast, and what against over-fitting.
            train: [U] weights of the slots.
            window: events a stream is long.
            seed: of everything random.
            schedule: of the rates; by default as ``section`` asks for.
            validated: whether there will be scores that a rate can follow.
            reread: what is learned from in each pass.

        Raises:
            ValueError: no unit has a weight.
        """
        if not train.any():
            raise ValueError(
                "there is nothing to pre-train on: no unit in the log was chosen by people "
                "themselves or liked by them; import history, or collect feedback first"
            )
        self.policy, self.section, self.window, self.seed = policy, section, window, seed
        self.module = cast(nn.Module, policy)
        self.streams = replace(
            streams, slots=replace(streams.slots, weight=train.astype(np.float64))
        )
        self.reread = reread
        self.answered = not np.isnan(streams.slots.feedback).all()  # nobody answers a text
        self.similar = similar_units(self.streams) if section.substitute else None
        self.epoch = 0
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.optimiser = Optimiser(
            parameters,
            schedule or self._schedule(validated=validated),
            rule=section.optimiser,
            weight_decay=section.decay,
            clip=section.clip,
            precision=section.precision,
            matrices=hidden_matrices(self.module, streams.schema.size),
        )
        self.average = Average(parameters, section.ema)

    @property
    def by_turns(self) -> bool:
        """Whether next and hidden units are asked for in steps of their own.

        In one pass a body reads either one way or both.
        """
        return self.section.objective == "both" and self.section.bidirectional

    def _schedule(self, *, validated: bool) -> Rates:
        section, elsewhere = self.section, bool(getattr(self.policy, "pretrained", False))
        steps = math.ceil(len(self.rows(0)) / section.batch) * section.epochs
        steps *= 2 if self.by_turns else 1
        peak = section.learning_rate or (PRETRAINED if elsewhere else section.rate)
        decay = section.schedule
        if decay == "auto":
            decay = "plateau" if elsewhere and validated else "cosine"
        if decay == "plateau":
            return Plateau(peak=peak, steps=steps, warmup=section.warmup)
        return Schedule(peak=peak, steps=steps, warmup=section.warmup, decay=decay)

    @property
    def converged(self) -> bool:
        """Whether the rate has fallen as far as it may."""
        schedule = self.optimiser.schedule
        return isinstance(schedule, Plateau) and schedule.converged

    def heed(self, score: float | None) -> None:
        """Let the rate follow a validation score; higher is better."""
        schedule = self.optimiser.schedule
        if isinstance(schedule, Plateau) and score is not None:
            schedule.look(-score)

    def rows(self, epoch: int) -> list[Window]:
        """Return the windows of one pass, cut anew each time, if something is learned there."""
        rng = np.random.default_rng([self.seed, epoch])
        rows = self.streams.chunks(self.window, rng)
        starts = np.array([row.slots.start for row in rows])
        learned = np.add.reduceat(self.streams.slots.weight, starts) > 0
        rows = [row for row, keep in zip(rows, learned, strict=True) if keep]
        if self.section.objective != "next":
            rows = [self._learned(row) for row in rows]
        if self.section.crop:
            rows = crop(
                self.streams, rows, self.section.crop, np.random.default_rng([self.seed, epoch, 2])
            )
        return rows

    def _learned(self, row: Window) -> Window:
        """Return ``row`` up to its last unit with a weight.

        Hidden units are asked for with all of the row in view, so what is held out, which always
        stands behind what is learned, must not be in it.
        """
        weight = self.streams.slots.weight[row.slots.start : row.slots.stop]
        last = row.slots.start + int(np.flatnonzero(weight)[-1])
        return self.streams.part(row, range(row.slots.start, last + 1))

    def pass_over(self, epoch: int, run: Run) -> None:
        """Take one pass over the streams."""
        means = Means()

        def on_step(step: int, metrics: Metrics) -> None:
            self.average.update()
            means(step, metrics)

        self.descend(epoch, on_step)
        run.log(self.optimiser.step_count, means.found(), part="train")

    def descend(self, epoch: int, on_step: Callable[[int, Metrics], None]) -> None:
        """Take the steps of one pass; ``on_step`` is told of each, and may raise to stop."""
        torch.manual_seed(hash((self.seed, epoch)) & 0x7FFF_FFFF)
        rng = np.random.default_rng([self.seed, epoch, 1])
        self.module.train()
        try:
            descend(self.loss, self.batches(epoch, rng), optimiser=self.optimiser, on_step=on_step)
        finally:
            self.module.eval()

    def batches(self, epoch: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of rows of like length, in random order, with some of them hidden."""
        section = self.section
        streams = self.reread(self.streams, np.random.default_rng([self.seed, epoch, 3]))
        for group in by_length(self.rows(epoch), section.batch, rng):
            batch = streams.batch(group, seen=True)
            if self.similar is not None:
                batch = self.similar.substitute(batch, section.substitute, rng)
            batch = mask(batch, section.mask, rng)
            batch = hide_feedback(batch, section.feedback_dropout, rng)
            if section.objective == "next" or self.by_turns:
                yield batch
            if section.objective != "next":
                keep = section.objective == "both" and not self.by_turns
                share, in_place = section.masked_share, section.bidirectional
                yield infill(batch, share, rng, keep=keep, in_place=in_place)

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of one batch."""
        if not self.section.adversarial:
            return self._loss(batch)
        reader = getattr(self.module, "embed", nn.Identity())
        return adversarial(self._loss, batch, reader, self.section.adversarial)

    def _loss(self, batch: Batch) -> Loss:
        weight = self.section.feedback_weight if self.answered else 0.0
        channels = self.streams.schema.channels
        needs = NEXT_UNIT_NEEDS if weight and channels else LOGPS
        outputs = self.policy.forward(batch, needs)
        loss = next_unit(outputs, batch, channels=channels, feedback_weight=weight)
        return loss if batch.gaps is None else loss.plus(masked_unit(outputs, batch))

    def averaged(self) -> Average:
        """Return a context in which the network has its averaged weights."""
        return self.average

    def checkpoint(self, epoch: int, watch: Best) -> Checkpoint:
        """Return everything that the next epoch depends on."""
        return Checkpoint.of(
            {
                "step": self.optimiser.step_count,
                "epoch": epoch,
                "best": watch.facts(),
                "plateau": self._plateau(),
            },
            policy=self.module.state_dict(),
            optimiser=self.optimiser.tensors(),
            average=self.average.tensors(),
            best=watch.weights,
        )

    def restore(self, checkpoint: Checkpoint | None, watch: Best) -> None:
        """Take up a checkpoint."""
        if checkpoint is None:
            return
        self.module.load_state_dict(checkpoint.group("policy"))
        self.optimiser.restore(checkpoint.group("optimiser"))
        self.average.restore(checkpoint.group("average"))
        watch.restore(checkpoint.group("best"), checkpoint.facts["best"])
        self.epoch = checkpoint.facts["epoch"]
        if isinstance(self.optimiser.schedule, Plateau):
            schedule = self.optimiser.schedule
            schedule.best, schedule.share = checkpoint.facts["plateau"]

    def _plateau(self) -> list[float | None]:
        schedule = self.optimiser.schedule
        return [schedule.best, schedule.share] if isinstance(schedule, Plateau) else []


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

    def facts(self) -> list[float | None]:
        """Return what :meth:`restore` takes beside the weights, as JSON."""
        return [self.epoch, self.score]

    def restore(self, weights: dict[str, Tensor], facts: Sequence[Any]) -> None:
        """Take up where another stood."""
        self.weights, (self.epoch, self.score) = weights, facts

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

    def tensors(self) -> dict[str, Tensor]:
        """Return what :meth:`restore` takes."""
        return {str(number): tensor for number, tensor in enumerate(self.shadow)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up where another stood."""
        self.shadow = [tensors[str(number)] for number in range(len(tensors))]

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


def similar_units(streams: Streams) -> Similar:
    """Return which units of ``streams`` are similar, by the slots that have a weight alone."""
    learned, unit = streams.slots.weight > 0, streams.slots.unit
    sequences = [unit[low:high][learned[low:high]] for low, high in pairwise(streams.slot_offsets)]
    return Similar.fit(sequences, streams.schema.size)
