"""Training a network's feedback head alone: the source's click model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from heedful.contract import Streams
from heedful.evaluate import log_loss
from heedful.loop import start
from heedful.loop.augment import hide_feedback
from heedful.loop.bench import Bench
from heedful.loop.form import members_of, network_of
from heedful.loop.pretrain import Average, Best, by_length
from heedful.loop.run import Checkpoint, Run, fingerprint
from heedful.objectives import Loss, Means, Metrics, Optimiser, Schedule, descend, feedback_loss
from heedful.policy import Batch, Vocabulary
from heedful.policy.network import Network
from heedful.reward.answers import FEEDBACK, Answers
from heedful.store.registry import current_code
from heedful.store.snapshot import Snapshot

SMOOTHING = 5.0
"""So many answers of the mean rate stand behind each unit's own."""


def train_answers(
    bench: Bench,
    snapshot: Snapshot,
    streams: Streams,
    vocabulary: Vocabulary,
    member: int,
    *,
    weights: np.ndarray,
    validation: np.ndarray,
    channel: int,
) -> tuple[Network, Run]:
    """Train a network of the form ``[policy]`` asks for on answers alone, as ``[pretrain]`` says.

    The weights of the epoch that predicts the validation subjects best are kept. Training that was
    killed goes on where it was.

    Args:
        bench: what is worked with.
        snapshot: what was encoded.
        streams: with what silence is taken to mean.
        vocabulary: its units.
        member: which of the ensemble; each begins with other weights.
        weights: float [U], how much each slot counts; 0 for what is not learned from.
        validation: int64, slots by which the best epoch is chosen.
        channel: which kind of feedback that is judged by.

    Returns:
        The network, and the run, to be finished once the network is kept: till then a step that
        was killed finds every member that is done.
    """
    config = bench.config
    torch.manual_seed(config.workspace.seed + member)
    forms = members_of(network_of(bench, streams.schema))  # an ensemble's in turn
    network = forms[member % len(forms)]
    if not isinstance(network, Network):
        raise ValueError(
            'reward.silence = "model" trains a recurrent network or a transformer on answers, and '
            f'policy.kind is {config.policy.kind!r}: set silence = "zero"'
        )
    _begin_at_the_means(network, streams, weights)
    learned = np.unique(streams.slots.unit[weights > 0])
    start.describe([network], vocabulary, snapshot, learned)
    inputs = {
        "step": "reward",
        "member": member,
        "snapshot": {"watermark": snapshot.watermark, "digest": snapshot.digest()},
        "configuration": bench.asked_for(),
        "code": current_code().digest,
        "answered": fingerprint(streams.slots.feedback, weights),  # what has matured is in it
    }
    run = Run.open(bench.runs, inputs, bench.reporter(f"reward, model {member + 1}"))
    try:
        training = _Training(bench, network, vocabulary, streams, weights, member)
        training.until_stale(run, validation, channel)
    finally:
        run.close()
    return network.requires_grad_(requires_grad=False), run


@torch.no_grad()
def _begin_at_the_means(network: Network, streams: Streams, weights: np.ndarray) -> None:
    """Let the untrained head say the mean answer to each unit: who differs is left to be learned.

    So the network begins as the best of the models that know no history, not below it.
    """
    assert network.feedback_head is not None
    for number, channel in enumerate(streams.schema.channels):
        said = streams.slots.feedback[:, number].astype(np.float64)
        known = np.flatnonzero(~np.isnan(said) & (weights > 0))
        if not len(known):
            continue
        means = unit_means(
            streams.slots.unit[known], said[known], weights[known], streams.schema.size
        )
        means = np.clip(means, 0.01, 0.99) if channel.binary else means
        begin = np.log(means / (1.0 - means)) if channel.binary else means
        bias = network.feedback_head.bias.weight
        bias[:-1, number] = torch.from_numpy(begin).to(bias.dtype)
        bias[-1, number] = bias[:-1, number].mean()  # of units that are not known


def unit_means(units: np.ndarray, values: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Return each unit's mean value, [size], shrunk towards the mean of all.

    (sum of its values + 5 * mean) / (their number + 5)
    """
    mean = float(np.average(values, weights=weights))
    counts = np.bincount(units, weights=weights, minlength=size)
    totals = np.bincount(units, weights=weights * values, minlength=size)
    found: np.ndarray = (totals + SMOOTHING * mean) / (counts + SMOOTHING)
    return found


class _Training:
    """The network, its optimiser and its average, and how far they have come."""

    def __init__(
        self,
        bench: Bench,
        network: Network,
        vocabulary: Vocabulary,
        streams: Streams,
        weights: np.ndarray,
        member: int,
    ) -> None:
        self.network, self.streams, self.weights = network, streams, weights
        self.section, self.window = bench.config.pretrain, bench.config.policy.window
        self.seed = [bench.config.workspace.seed, member]
        self.rows = streams.windows(self.window, weights > 0)
        self.answers = Answers((network,), vocabulary, self.window)
        steps = math.ceil(len(self.rows) / self.section.batch) * self.section.epochs
        schedule = Schedule(
            peak=self.section.rate,
            steps=steps,
            warmup=self.section.warmup,
            decay="cosine",
        )
        parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = Optimiser(
            parameters,
            schedule,
            rule=self.section.optimiser,
            weight_decay=self.section.decay,
            clip=self.section.clip,
        )
        # An average over more than a tenth of the steps would still be on its way from the start.
        self.average = Average(parameters, min(self.section.ema, max(0.0, 1.0 - 10.0 / steps)))
        self.epoch, self.watch = 0, Best(self.section.patience)

    def until_stale(self, run: Run, validation: np.ndarray, channel: int) -> None:
        """Train until ``[pretrain] patience`` epochs brought nothing; keep the best weights."""
        self._restore(run.resume())
        for epoch in range(self.epoch, self.section.epochs):
            if self.watch.stale(epoch - 1):
                break
            self._pass_over(epoch, run)
            with self.average:
                loss = self._loss_on(validation, channel)
                self.watch.look(epoch, -loss, self.network)
            run.log(self.optimiser.step_count, {"loss": loss, "epoch": epoch}, part="validation")
            run.save(self._checkpoint(epoch + 1))
            run.progress.update(epoch + 1, self.section.epochs, f"validation loss {loss:.4f}")
        self.watch.put_back(self.network)
        self.network.eval()

    def _pass_over(self, epoch: int, run: Run) -> None:
        torch.manual_seed(hash((*self.seed, epoch)) & 0x7FFF_FFFF)
        rng = np.random.default_rng([*self.seed, epoch])
        means = Means()

        def on_step(step: int, metrics: Metrics) -> None:
            self.average.update()
            means(step, metrics)

        self.network.train()
        descend(self._loss, self._batches(rng), optimiser=self.optimiser, on_step=on_step)
        self.network.eval()
        run.log(self.optimiser.step_count, means.found(), part="train")

    def _batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        for group in by_length(self.rows, self.section.batch, rng):
            batch = self.streams.batch(group, seen=True)
            counted = batch.weights.clone()
            slots = np.concatenate([np.array(row.slots) for row in group])
            counted[batch.mask] = torch.from_numpy(self.weights[slots]).to(counted.dtype)
            yield hide_feedback(batch.filled(weights=counted), self.section.feedback_dropout, rng)

    def _loss(self, batch: Batch) -> Loss:
        outputs = self.network.forward(batch, FEEDBACK)
        loss = feedback_loss(outputs, batch, self.streams.schema.channels) * batch.weights
        return Loss(loss.sum(), (batch.weights * batch.mask).sum(dtype=torch.float64), {})

    def _loss_on(self, slots: np.ndarray, channel: int) -> float:
        """Return the mean loss of one kind of answer: in nats, or half the squared error."""
        known = self.streams.schema.channels[channel]
        said = self.answers.expected(self.streams, known.kind)[0][slots]
        true = self.streams.slots.feedback[slots, channel].astype(np.float64)
        if not known.binary:
            return float(0.5 * ((said - true) ** 2).mean())
        return log_loss(said, true)

    def _checkpoint(self, epoch: int) -> Checkpoint:
        return Checkpoint.of(
            {"step": self.optimiser.step_count, "epoch": epoch, "best": self.watch.facts()},
            network=self.network.state_dict(),
            optimiser=self.optimiser.tensors(),
            average=self.average.tensors(),
            best=self.watch.weights,
        )

    def _restore(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            return
        self.network.load_state_dict(checkpoint.group("network"))
        self.optimiser.restore(checkpoint.group("optimiser"))
        self.average.restore(checkpoint.group("average"))
        self.watch.restore(checkpoint.group("best"), checkpoint.facts["best"])
        self.epoch = checkpoint.facts["epoch"]
