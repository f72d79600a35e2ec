"""Step 4: fine-tuning on a few labels that are trusted."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from heedful.config import Tune
from heedful.contract import Label, Streams, Window, as_shown, demonstrations, labelled
from heedful.loop.pretrain import Best, by_length
from heedful.loop.run import Checkpoint, Run
from heedful.loop.start import network_within
from heedful.objectives import (
    IMITATE_NEEDS,
    PARENT_NEEDS,
    Loss,
    Means,
    Optimiser,
    Schedule,
    descend,
    divergence,
    imitate,
)
from heedful.policy import Batch, Policy, Vocabulary
from heedful.reward import approved
from heedful.store.snapshot import Snapshot

ANCHORS = 1024  # moments that nobody labelled, at most so many


@dataclass(frozen=True, slots=True)
class Labels:
    """What is learned from, and what was left out.

    Attributes:
        streams: a stream for each label, then one for each moment that only holds the parent.
        held_out: bool [S], labels of subjects that early stopping looks at.
        labels: bool [S], the labels; the others are of weight 0.
        left_out: counts by reason, for the card.
    """

    streams: Streams
    labels: np.ndarray
    held_out: np.ndarray
    left_out: dict[str, int]

    def chosen(self) -> np.ndarray:
        """Return the units of the labels, int64 indexes."""
        slots = self.streams.slots
        return np.unique(slots.unit[slots.weight > 0])

    def windows(self, which: np.ndarray, window: int) -> list[Window]:
        """Return the rows of the streams where ``which`` [S] is true."""
        return self.streams.windows(window, which[self.streams.slots.stream])


class TooFewLabelsError(ValueError):
    """There is not enough to tune on."""


def gather(
    snapshot: Snapshot,
    streams: Streams,
    vocabulary: Vocabulary,
    parent: Policy,
    section: Tune,
    *,
    givers: Collection[str],
    ratings: tuple[float, float],
    spared: np.ndarray,
    window: int,
    seed: int,
) -> Labels:
    """Return the trusted labels in ``snapshot``, some subjects' held out.

    Demonstrations count, whoever gave them; what ``givers`` clicked or rated counts with the
    worth they gave it. A label is left out where the policy does not know its unit, where the
    decision's choices did not allow it, and where it is what a held-out unit of the log was.

    Args:
        snapshot: everything up to a watermark.
        streams: of it, with no reward that waits.
        vocabulary: of the parent.
        parent: the policy to start from.
        section: how many are needed, and what share is held out.
        givers: pseudonyms of people whose clicks and ratings are labels.
        ratings: the ratings that are worth 0 and 1.
        spared: bool [U], slots that may be learned from.
        window: events a stream is long.
        seed: of the split and of the moments that are held.

    Raises:
        TooFewLabelsError: says how many there are and what was left out.
    """
    labels, unknown = demonstrations(snapshot, vocabulary)
    if givers:
        labels += _approved(snapshot, streams, givers, ratings)
    held = _held_out_units(streams, spared)
    kept = [label for label in labels if not _overlaps(label, held)]
    possible = _possible(parent, streams, kept, window)
    heard = set(snapshot.names.people)
    left_out = {
        "trusted_people_who_said_nothing": sum(giver not in heard for giver in givers),
        "labels_of_held_out_units": len(labels) - len(kept),
        "labels_not_allowed": len(kept) - len(possible),
        "units_unknown": len(unknown),
    }
    subjects = snapshot.decisions.subject[[label.decision for label in possible]]
    _check_enough(len(possible), len(np.unique(subjects)), section.minimum, left_out, unknown)
    rng = np.random.default_rng([seed, 2])
    anchors = _anchors(streams, {label.decision for label in possible}, rng)
    made = labelled(streams, [*possible, *anchors])
    is_label = np.arange(len(made)) < len(possible)
    held_out = np.zeros(len(made), bool)
    held_out[: len(possible)] = _split(subjects, section.held_out, rng)
    return Labels(made, is_label, held_out, left_out)


def tune(
    policy: Policy,
    parent: Policy,
    labels: Labels,
    section: Tune,
    run: Run,
    *,
    window: int,
    seed: int,
) -> dict[str, float]:
    """Move ``policy`` in place towards the labels, near ``parent``, while held-out ones profit.

    Args:
        policy: in evaluation mode, and it stays there; only what ``[tune] scope`` names changes.
        parent: the policy to stay near; not changed.
        labels: what to learn.
        section: how long, how fast, how far.
        run: where curves and checkpoints go.
        window: events a stream is long.
        seed: of the order of batches.

    Returns:
        Metrics of the best epoch on the labels held out, and where it began.

    Raises:
        ValueError: not one epoch did better on held-out labels than the parent.
    """
    job = _Tuning(policy, parent, labels, section, window, seed)
    watch = Best(section.patience)
    began = job.held_out()
    watch.look(-1, -began, job.module)
    job.restore(run.resume(), watch)
    for epoch in range(job.epoch, section.epochs):
        if watch.stale(epoch - 1):
            break
        job.pass_over(epoch, run)
        found = job.held_out()
        watch.look(epoch, -found, job.module)
        run.log(job.optimiser.step_count, {"nll": found, "epoch": epoch}, part="validation")
        run.save(job.checkpoint(epoch + 1, watch))
        run.progress.update(epoch + 1, section.epochs, f"held-out labels {found:.4f} nats")
    watch.put_back(job.module)
    if watch.epoch < 0:
        raise ValueError(
            f"tuning on {job.n_labels} labels made none of the held-out ones likelier: their "
            f"loss is {began:.4f} nats with the parent and never fell. The labels may "
            "contradict each other, or be too few; collect more, or let more change with "
            "[tune] scope"
        )
    return {
        "nll": job.held_out(),
        "nll_before": began,
        "kl": job.drift(),
        "epoch": watch.epoch,
        "labels": job.n_labels,
        "labels_held_out": int(labels.held_out.sum()),
        "parameters": sum(p.numel() for p in job.optimiser.parameters),
        **labels.left_out,
    }


class _Tuning:
    """The policy, its optimiser, and how far they have come."""

    def __init__(
        self,
        policy: Policy,
        parent: Policy,
        labels: Labels,
        section: Tune,
        window: int,
        seed: int,
    ) -> None:
        self.policy, self.parent, self.streams = policy, parent, labels.streams
        self.section, self.seed = section, seed
        self.module = cast(nn.Module, policy)
        self.rows = labels.windows(labels.labels & ~labels.held_out, window)
        self.anchors = labels.windows(~labels.labels, window)
        self.tests = labels.windows(labels.held_out, window)
        self.n_labels = len(self.rows)
        self.epoch = 0
        steps = math.ceil(len(self.rows) / section.batch) * section.epochs
        schedule = Schedule(peak=section.learning_rate, steps=steps, warmup=0.02)
        self.optimiser = Optimiser(changing(policy, section.scope), schedule, eps=1e-5)

    def pass_over(self, epoch: int, run: Run) -> None:
        """Take one pass over the labels."""
        means = Means()
        descend(self.loss, self.batches(epoch), optimiser=self.optimiser, on_step=means)
        run.log(self.optimiser.step_count, means.found(), part="tune")

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield labels in random order, each with a moment beside it that nobody labelled."""
        rng = np.random.default_rng([self.seed, epoch])
        for group in by_length(self.rows, self.section.batch, rng):
            beside = rng.integers(len(self.anchors), size=len(group) if self.anchors else 0)
            yield self.streams.batch(group + [self.anchors[i] for i in beside])

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of one batch."""
        with torch.no_grad():
            parent = self.parent.forward(batch, PARENT_NEEDS)
        outputs = self.policy.forward(batch, IMITATE_NEEDS)
        return imitate(outputs, parent, batch, kl=self.section.kl)

    @torch.no_grad()
    def held_out(self) -> float:
        """Return the loss of the held-out labels, in nats a unit."""
        nll = weight = 0.0
        for batch in _batched(self.streams, self.tests, self.section.batch):
            logps = self.policy.forward(batch, frozenset({"logps"})).logps
            assert logps is not None
            nll -= float((logps * batch.weights)[batch.mask].sum())
            weight += float(batch.weights[batch.mask].sum())
        return nll / weight

    @torch.no_grad()
    def drift(self) -> float:
        """Return the mean divergence, in nats a unit, at moments of the log nobody labelled."""
        total, n = 0.0, 0
        for batch in _batched(self.streams, self.anchors[:256], self.section.batch):
            of, to = (
                policy.forward(batch, PARENT_NEEDS).logits for policy in (self.parent, self.policy)
            )
            assert of is not None
            assert to is not None
            total, n = total + float(divergence(of, to).sum()), n + len(of)
        return total / max(1, n)

    def checkpoint(self, epoch: int, watch: Best) -> Checkpoint:
        """Return everything that the next epoch depends on."""
        return Checkpoint.of(
            {"step": self.optimiser.step_count, "epoch": epoch, "best": watch.facts()},
            policy=self.module.state_dict(),
            optimiser=self.optimiser.tensors(),
            best=watch.weights,
        )

    def restore(self, checkpoint: Checkpoint | None, watch: Best) -> None:
        """Take up a checkpoint."""
        if checkpoint is None:
            return
        self.module.load_state_dict(checkpoint.group("policy"))
        self.optimiser.restore(checkpoint.group("optimiser"))
        watch.restore(checkpoint.group("best"), checkpoint.facts["best"])
        self.epoch = checkpoint.facts["epoch"]


def changing(policy: Policy, scope: str) -> list[nn.Parameter]:
    """Return the parameters that may change, and freeze all others.

    Raises:
        ValueError: there is no network in it, or one that cannot tell its parts from each other.
    """
    network = cast(nn.Module, network_within(policy))
    cast(nn.Module, policy).requires_grad_(requires_grad=False)
    ours = [module for module in network.modules() if hasattr(module, "parameters_of")]
    if ours:  # one, or the members of an ensemble
        chosen = [parameter for one in ours for parameter in cast(Any, one).parameters_of(scope)]
    elif scope == "all":
        chosen = list(network.parameters())
    else:
        kind = cast(Policy, network).spec()["kind"]
        raise ValueError(
            f"a policy of kind {kind!r} does not say what its {scope} are: set tune.scope = "
            '"all" in heedful.toml'
        )
    for parameter in chosen:
        parameter.requires_grad = True
    return chosen


def _approved(
    snapshot: Snapshot, streams: Streams, givers: Collection[str], ratings: tuple[float, float]
) -> list[Label]:
    """Return what was shown and trusted people approved of, each unit a label of its own."""
    low, high = ratings
    worth = np.nan_to_num(approved(snapshot, givers, low=low, high=high))
    slots = streams.slots
    worth = worth[snapshot.decisions.offsets[slots.decision] + slots.position]
    return [
        Label(
            int(slots.decision[slot]),
            int(slots.position[slot]),
            (int(slots.unit[slot]),),
            float(worth[slot]),
        )
        for slot in np.flatnonzero(worth > 0)
    ]


def _held_out_units(streams: Streams, spared: np.ndarray) -> set[tuple[int, int]]:
    """Return (decision, unit) of the slots that ranking is measured on."""
    slots = streams.slots
    chosen = np.flatnonzero(~spared)
    return set(zip(slots.decision[chosen].tolist(), slots.unit[chosen].tolist(), strict=True))


def _overlaps(label: Label, held: set[tuple[int, int]]) -> bool:
    return any((label.decision, unit) in held for unit in label.units)


@torch.no_grad()
def _possible(
    parent: Policy, streams: Streams, labels: Sequence[Label], window: int
) -> list[Label]:
    """Return the labels that the choices of their decisions allowed, and that have a stream."""
    known = set(np.unique(streams.slots.decision).tolist())
    placed = [label for label in labels if label.decision in known]
    made = labelled(streams, placed)
    allowed = np.ones(len(placed), bool)
    rows = made.windows(window)
    for low in range(0, len(rows), 64):
        group = rows[low : low + 64]
        batch = made.batch(group)
        logps = parent.forward(batch, frozenset({"logps"})).logps
        assert logps is not None
        fine = torch.isfinite(logps) | (batch.weights == 0) | ~batch.mask
        allowed[[row.stream for row in group]] = fine.all(1).numpy()
    return [label for label, good in zip(placed, allowed, strict=True) if good]


def _check_enough(
    n: int, n_subjects: int, minimum: int, left_out: dict[str, int], unknown: Sequence[str]
) -> None:
    if n >= minimum and n_subjects >= 2:
        return
    reasons = [f"{count:g} {name.replace('_', ' ')}" for name, count in left_out.items() if count]
    without = f" (left out: {', '.join(reasons)})" if reasons else ""
    named = f"; unknown are {', '.join(sorted(set(unknown))[:3])}" if unknown else ""
    raise TooFewLabelsError(
        f"there are {n} trusted labels about {n_subjects} subjects{without}{named}: tuning needs "
        f"at least {minimum}, about two subjects or more, as some are held out. Send feedback of "
        "kind demonstration, name people whose clicks and ratings count under [tune] trusted, or "
        "lower [tune] minimum"
    )


def _anchors(streams: Streams, taken: set[int], rng: np.random.Generator) -> list[Label]:
    """Return moments of the log without a label, drawn at random."""
    free = np.setdiff1d(streams.slots.decision, np.array(sorted(taken), np.int64))
    chosen = rng.choice(free, min(ANCHORS, len(free)), replace=False)
    return as_shown(streams, chosen.tolist())


def _split(subjects: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return which labels [N] are held out: whole subjects, at least one, never all."""
    names, owner, counts = np.unique(subjects, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(counts[order]), share * len(subjects))) + 1
    held = np.zeros(len(names), bool)
    held[order[: min(enough, len(names) - 1)]] = True
    return held[owner]


def _batched(streams: Streams, rows: Sequence[Window], size: int) -> Iterator[Batch]:
    for low in range(0, len(rows), size):
        yield streams.batch(rows[low : low + size])
