"""Learning from what people said of whole decisions, without any probability of those who acted.

Comparisons go to DPO or IPO, thumbs to KTO, numbers to weighted regression. What is learned from is
:class:`~heedful.loop.told.Told`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from heedful.config import Reinforce
from heedful.contract import Window
from heedful.loop.kept import Kept
from heedful.loop.pretrain import by_length
from heedful.loop.reference import Reference
from heedful.loop.run import Checkpoint, Run
from heedful.loop.told import Floats, Sort, Told
from heedful.objectives import (
    DIRECT_NEEDS,
    Loss,
    Means,
    Optimiser,
    Schedule,
    descend,
    dpo,
    kto,
    mismatched,
    mismatched_drift,
    prepare,
    weighted_regression,
)
from heedful.objectives.whole import Whole
from heedful.policy import Batch, Policy

Direct = Literal["dpo", "ipo", "kto", "regression"]
SORT_OF: dict[str, Sort] = {
    "dpo": "pairs",
    "ipo": "pairs",
    "kto": "thumbs",
    "regression": "numbers",
}
LIKED = 0.5
"""The threshold between thumbs down, 0, and up, 1."""


def learn_directly(
    policy: Policy,
    reference: Policy,
    told: Told,
    section: Reinforce,
    run: Run,
    *,
    objective: Direct,
    window: int,
    seed: int,
    cache: Path | None = None,
) -> dict[str, float]:
    """Improve ``policy`` in place by what people said, staying near ``reference``.

    After each pass it is judged on the conversations held out by ``accuracy``: of two decisions of
    which people thought differently (those of a pair, else any two), how often the better one has
    become likelier by more, as seen from the reference. The policy that is left is that of the best
    pass.

    Args:
        policy: in evaluation mode, and it stays there.
        reference: the policy to stay near; not changed.
        told: what people said.
        section: how long, how fast, how far.
        run: where curves and checkpoints go.
        objective: "dpo", "ipo", "kto" or "regression".
        window: events a stream is long; even.
        seed: of the order of batches.
        cache: folder in which the reference's log-probabilities are kept.

    Raises:
        ValueError: too little is left to learn from; the message says what was left out.
    """
    job = _Direct(policy, reference, told, section, objective, window, seed, cache)
    job.restore(run.resume())
    metrics: dict[str, float] = {}
    for epoch in range(job.epoch, section.epochs):
        metrics = job.pass_over(epoch)
        run.log(job.optimiser.step_count, metrics, part="reinforce")
        judged = job.judged()
        if judged:
            run.log(job.optimiser.step_count, judged, part="held_out")
        job.look(epoch, metrics, judged)
        run.save(job.checkpoint(epoch + 1))
        run.progress.update(epoch + 1, section.epochs, _words(judged or metrics))
    return job.left()


def _words(found: dict[str, float]) -> str:
    shown = ("accuracy", "margin", "nll")
    return ", ".join(f"{name} {found[name]:.3f}" for name in shown if name in found)


class _Direct:
    """The policy, its optimiser, and how far they have come."""

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        told: Told,
        section: Reinforce,
        objective: Direct,
        window: int,
        seed: int,
        cache: Path | None,
    ) -> None:
        self.policy, self.reference, self.told = policy, reference, told
        self.section, self.objective, self.seed = section, objective, seed
        self.module = cast(nn.Module, policy)
        rows = told.streams.windows(window)
        self.rows = {row.stream: row for row in rows}
        self.known = Reference(reference, told.streams, rows, cache)
        lead = range(0, len(told), 2 if told.pairs is not None else 1)
        self.train = [self.rows[i] for i in lead if not told.held_out[i]]
        self.tests = [self.rows[i] for i in lead if told.held_out[i]]
        self._check()
        self.paid = _Paid.of(told.rewards[~told.held_out])
        self.size = max(1, section.batch // 2) if told.pairs is not None else section.batch
        steps = math.ceil(len(self.train) / self.size) * section.epochs
        schedule = Schedule(peak=section.learning_rate, steps=steps, warmup=0.05, decay="linear")
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.optimiser = Optimiser(parameters, schedule, clip=1.0, eps=1e-5)
        self.drift = torch.zeros(())
        self.epoch, self.kept = 0, Kept()
        self.found: dict[str, float] = {}

    def _check(self) -> None:
        """Refuse to learn from what says nothing.

        Raises:
            ValueError: there is too little, or it is all alike.
        """
        told, learned = self.told, self.told.rewards[~self.told.held_out]
        out = ", ".join(f"{name} {count}" for name, count in told.left_out.items() if count)
        out = f" (left out: {out})" if out else ""
        enough = 1 if told.pairs is not None else 2
        if len(self.train) < enough:
            raise ValueError(
                f"{self.objective} has {len(self.train)} {SORT_OF[self.objective]} to learn from"
                f"{out} and needs {enough}: collect more, or hold out less with [reinforce] "
                "held_out"
            )
        if told.pairs is None and len(np.unique(learned)) < 2:
            raise ValueError(
                f"all {len(learned)} {SORT_OF[self.objective]} say {learned[0]:g}{out}: what is "
                "liked can only be learned beside what is not"
            )

    def pass_over(self, epoch: int) -> dict[str, float]:
        """Take one pass over all rows; return the mean of each metric over the steps."""
        means = Means()
        descend(self.loss, self.batches(epoch), optimiser=self.optimiser, on_step=means)
        self.epoch = epoch + 1
        return means.found()

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield accumulation windows in random order; pairs stay whole."""
        rng = np.random.default_rng([self.seed, epoch])
        for group in by_length(self.train, self.size, rng):
            if self.objective == "kto" and len(group) < 2:
                continue  # one reply alone cannot be mismatched; another pass mixes anew
            batch = self.batch(group)
            if self.objective == "kto":
                self.drift = self._drift(batch)
            yield batch

    def batch(self, lead: Sequence[Window]) -> Batch:
        """Return the batch of these rows, each with its partner where they are pairs."""
        told = self.told
        two = told.pairs is not None
        rows = [row for one in lead for row in self._with_partner(one)] if two else list(lead)
        batch = self.known.fill(told.streams.batch(rows), rows)
        numbers = np.array([row.stream for row in rows])
        rewards = torch.from_numpy(told.rewards[numbers])
        last = batch.mask.sum(1) - 1
        placed = torch.zeros(batch.mask.shape, dtype=torch.float64)
        placed[torch.arange(len(rows)), last] = rewards
        batch = batch.filled(rewards=placed)
        if told.pairs is not None:
            of_row = torch.from_numpy(told.pairs[numbers])[:, None]
            return batch.filled(pairs=torch.where(batch.mask, of_row, -1))
        if self.objective == "regression":
            above = self.paid.scaled(rewards)[:, None] * batch.mask
            return batch.filled(advantages=above)
        return batch

    def _with_partner(self, row: Window) -> tuple[Window, Window]:
        return row, self.rows[row.stream + 1]

    @torch.no_grad()
    def _drift(self, batch: Batch) -> Tensor:
        """Return how far the policy has moved in general, on replies to other askings."""
        (other,) = prepare(self.policy, [mismatched(batch)], reference=self.reference)
        return mismatched_drift(self.policy.forward(other, DIRECT_NEEDS), other)

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of one micro-batch."""
        section, outputs = self.section, self.policy.forward(batch, DIRECT_NEEDS)
        match self.objective:
            case "dpo" | "ipo":
                return dpo(
                    outputs,
                    batch,
                    beta=section.beta,
                    form="ipo" if self.objective == "ipo" else "sigmoid",
                    margin=section.margin,
                    noise=section.noise,
                )
            case "kto":
                liked, disliked = self.paid.weights
                return kto(
                    outputs,
                    batch,
                    drift=self.drift,
                    beta=section.beta,
                    threshold=LIKED,
                    desirable=liked,
                    undesirable=disliked,
                )
            case "regression":
                return weighted_regression(outputs, batch, temperature=section.temperature)

    @torch.no_grad()
    def judged(self) -> dict[str, float]:
        """Return how the conversations held out are judged; nothing where there are none."""
        if not self.tests:
            return {}
        ratios, nll, units = [], 0.0, 0
        for low in range(0, len(self.tests), self.size):
            batch = self.batch(self.tests[low : low + self.size])
            logps = self.policy.forward(batch, DIRECT_NEEDS).logps
            assert logps is not None
            assert batch.reference_logps is not None
            whole = Whole(batch)
            ratios.append(whole.total(logps) - whole.total(batch.reference_logps))
            nll -= float(logps[batch.mask].sum())
            units += int(batch.mask.sum())
        found, lead = torch.cat(ratios).double().numpy(), [row.stream for row in self.tests]
        if self.told.pairs is not None:
            ahead = found[0::2] - found[1::2]
            known = ahead[self.told.rewards[lead] > self.told.rewards[[i + 1 for i in lead]]]
        else:
            known = _ahead(found, self.told.rewards[lead])
        judged = {"nll": nll / units}
        if len(known):
            share = np.mean(known > 0.0) + 0.5 * np.mean(known == 0.0)
            judged |= {"accuracy": float(share), "margin": float(known.mean())}
        return judged

    def look(self, epoch: int, metrics: dict[str, float], judged: dict[str, float]) -> None:
        """Keep the weights if none were better on what is held out, and what is known of them."""
        self.kept.look(epoch, judged.get("accuracy", 0.0), self.module)
        if self.kept.number == epoch:
            held = {f"held_out_{name}": value for name, value in judged.items()}
            self.found = {**metrics, **held}

    def left(self) -> dict[str, float]:
        """Leave the policy of the best pass, and return its numbers."""
        self.kept.put_back(self.module)
        counts = {name: float(count) for name, count in self.told.left_out.items()}
        rows = len(self.train)
        return {**self.found, "epoch": float(self.kept.number), "rows": float(rows), **counts}

    def checkpoint(self, epoch: int) -> Checkpoint:
        """Return everything that the next pass depends on."""
        facts = {
            "step": self.optimiser.step_count,
            "epoch": epoch,
            "kept": self.kept.facts(),
            "found": self.found,
        }
        return Checkpoint.of(
            facts,
            policy=self.module.state_dict(),
            optimiser=self.optimiser.tensors(),
            kept=self.kept.weights,
        )

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Take up a checkpoint."""
        if checkpoint is None:
            return
        self.module.load_state_dict(checkpoint.group("policy"))
        self.optimiser.restore(checkpoint.group("optimiser"))
        self.kept = Kept.of(checkpoint.facts["kept"], checkpoint.group("kept"))
        self.epoch, self.found = checkpoint.facts["epoch"], checkpoint.facts["found"]


def _ahead(ratios: Floats, rewards: Floats) -> Floats:
    """Return by how much the better one of any two is ahead, in nats; none of equals."""
    better = rewards[:, None] > rewards
    found: Floats = (ratios[:, None] - ratios)[better]
    return found


@dataclass(frozen=True, slots=True)
class _Paid:
    """What is known of the rewards that are learned from.

    Attributes:
        mean, deviation: of all.
        weights: of what was liked and of what was not, so that both count the same in all.
    """

    mean: float
    deviation: float
    weights: tuple[float, float]

    @classmethod
    def of(cls, rewards: Floats) -> Self:
        up = max(1, int((rewards > LIKED).sum()))
        down = max(1, int((rewards < LIKED).sum()))
        half = 0.5 * (up + down)
        deviation = float(rewards.std()) or 1.0
        return cls(float(rewards.mean()), deviation, (half / up, half / down))

    def scaled(self, rewards: Tensor) -> Tensor:
        """Return ``rewards`` with mean 0 and variance 1."""
        return (rewards - self.mean) / self.deviation
