"""Step 3: reinforcement from the feedback in the log."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
from torch import nn

from heedful.config import Reinforce
from heedful.contract import Streams, Window
from heedful.loop.pretrain import by_length
from heedful.loop.run import Checkpoint, Run
from heedful.objectives import (
    NEEDS,
    Lagrangian,
    Loss,
    Means,
    Metrics,
    Optimiser,
    Schedule,
    balanced,
    descend,
    feedback_loss,
    joint,
    ours,
    prepare,
    reinforce,
)
from heedful.policy import Batch, Policy


def reinforce_from_log(
    policy: Policy,
    reference: Policy,
    streams: Streams,
    section: Reinforce,
    run: Run,
    *,
    after: int,
    window: int,
    seed: int,
    constraints: Lagrangian | None = None,
) -> dict[str, float]:
    """Improve ``policy`` in place by REINFORCE on decisions the log has probabilities for.

    Before each pass the baseline and the returns are computed with the policy as it stands; the
    importance weights always compare with whoever acted. The feedback head learns along. Where
    ``[reinforce] next_unit`` has a weight, every step also sees as many streams of history, and
    what people chose in them themselves stays likely.

    Args:
        policy: in evaluation mode, and it stays there: dropout would make another policy of it.
        reference: the policy to stay near; not changed.
        streams: encoded with rewards.
        section: how long, how fast, how far.
        run: where curves and checkpoints go.
        after: rows after this sequence number are new; of the older ones a share is replayed, so
            that a round costs as much as its new rows and does not forget the old ones.
        window: events a stream is long.
        seed: of the order of batches.
        constraints: what is kept to, over what the slots of ``streams`` have measured; nothing by
            default.

    Raises:
        ValueError: no new decision in the log has both a reward and probabilities.
    """
    rows = _rows(streams, window, after=after, replay=section.replay, seed=seed)
    if not rows:
        raise ValueError(
            f"there is nothing to reinforce: no decision after sequence number {after} carries "
            "log-probabilities and a reward that has matured; serve a policy and collect feedback"
        )
    history = _history(streams, window) if section.next_unit else []
    kept = Lagrangian() if constraints is None else constraints
    job = _Reinforcement(policy, reference, streams, rows, history, section, seed, kept)
    job.restore(run.resume())
    metrics: dict[str, float] = {}
    for epoch in range(job.epoch, section.epochs):
        metrics = job.pass_over(epoch)
        run.log(job.optimiser.step_count, metrics, part="reinforce")
        run.save(job.checkpoint(epoch + 1, metrics))
        words = [f"mean reward in the log {metrics['reward']:.4f}", *kept.words()]
        run.progress.update(epoch + 1, section.epochs, ", ".join(words))
    return metrics or job.metrics


def _rows(streams: Streams, window: int, *, after: int, replay: float, seed: int) -> list[Window]:
    """Return the windows with new decisions, and a sample of the others that have probabilities."""
    learnable = ~np.isnan(streams.slots.behaviour_logp)
    new = streams.windows(window, learnable & (streams.slots.seq > after))
    kept = {row.slots.start for row in new}
    old = [row for row in streams.windows(window, learnable) if row.slots.start not in kept]
    n_old = min(len(old), round(replay * len(new)))
    chosen = np.random.default_rng([seed, after]).choice(len(old), n_old, replace=False)
    return new + [old[i] for i in sorted(chosen)] if new else []


def _history(streams: Streams, window: int) -> list[Window]:
    """Return the windows with something that people chose themselves, to be learned from."""
    own = np.isnan(streams.slots.behaviour_logp) & (streams.slots.weight > 0)
    return streams.windows(window, own)


class _Reinforcement:
    """The policy, its optimiser, and how far they have come."""

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        streams: Streams,
        rows: Sequence[Window],
        history: Sequence[Window],
        section: Reinforce,
        seed: int,
        constraints: Lagrangian,
    ) -> None:
        self.policy, self.reference, self.streams = policy, reference, streams
        self.section, self.seed, self.constraints = section, seed, constraints
        self.module = cast(nn.Module, policy)
        self.epoch = 0
        self.metrics: dict[str, float] = {}
        self.rows, self.history = rows, history
        self.steps = math.ceil(len(self.rows) / section.batch) * section.epochs
        schedule = Schedule(
            peak=section.learning_rate, steps=self.steps, warmup=0.05, decay="linear"
        )
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.optimiser = Optimiser(parameters, schedule, clip=1.0, eps=1e-5)

    def pass_over(self, epoch: int) -> dict[str, float]:
        """Take one pass over all rows; return the mean of each metric over the steps."""
        means = Means()

        def settled(step: int, metrics: Metrics) -> None:
            means(step, self.constraints.settle(metrics, share=1 / self.steps))

        descend(self.loss, self.batches(epoch), optimiser=self.optimiser, on_step=settled)
        found = means.found() | self.constraints.shown()
        if not self.section.kl:
            found.pop("kl")
        return found

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield prepared batches in random order, each with as many rows of history beside it."""
        rng = np.random.default_rng([self.seed, epoch])
        # Without a KL term nothing looks at the reference: its pass would be for nothing.
        reference = self.reference if self.section.kl else None
        for group in by_length(self.rows, self.section.batch, rng):
            batch = self.streams.batch(group + self._replayed(len(group), rng))
            batch = balanced(batch) if self.section.next_unit else batch
            charged = self.constraints.charged(batch)
            prepared = prepare(
                self.policy,
                [charged],
                reference=reference,
                lam=self.section.lam,
                off_policy=self.section.cap if self.section.v_trace else 0.0,
            )
            for ready in prepared:
                yield ready.filled(rewards=batch.rewards)  # advantages and returns are charged

    def _replayed(self, n: int, rng: np.random.Generator) -> list[Window]:
        if not self.history:
            return []
        return [self.history[i] for i in rng.integers(len(self.history), size=n)]

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of one batch: REINFORCE, the feedback head's, and the joint term."""
        section, channels = self.section, self.streams.schema.channels
        outputs = self.policy.forward(batch, NEEDS | ({"feedback"} if channels else frozenset()))
        rewarded = ours(batch)  # only decisions with probabilities
        loss = reinforce(
            outputs,
            rewarded,
            cap=section.cap,
            kl=section.kl,
            entropy=section.entropy,
            value_weight=section.value_weight,
        )
        assert outputs.logps is not None
        seen = self.constraints.seen(outputs.logps, rewarded)
        loss = Loss(loss.value, loss.count, {**loss.metrics, **seen})
        if channels and section.feedback_weight:
            answers = (feedback_loss(outputs, batch, channels) * rewarded.weights).sum()
            metrics = {**loss.metrics, "feedback_loss": answers.detach()}
            loss = Loss(loss.value + section.feedback_weight * answers, loss.count, metrics)
        return joint(loss, outputs, batch, weight=section.next_unit) if section.next_unit else loss

    def checkpoint(self, epoch: int, metrics: dict[str, float]) -> Checkpoint:
        """Return everything that the next pass depends on."""
        return Checkpoint.of(
            {"step": self.optimiser.step_count, "epoch": epoch, "metrics": metrics},
            policy=self.module.state_dict(),
            optimiser=self.optimiser.tensors(),
            constraints=self.constraints.tensors(),
        )

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Take up a checkpoint."""
        if checkpoint is None:
            return
        self.module.load_state_dict(checkpoint.group("policy"))
        self.optimiser.restore(checkpoint.group("optimiser"))
        self.constraints.restore(checkpoint.group("constraints"))
        self.epoch, self.metrics = checkpoint.facts["epoch"], checkpoint.facts["metrics"]
