"""Learning on policy: play, look at what it earned, take some steps, and play again.

One trainer for replies and for games. Where experience comes from is :class:`Rollouts`: anything
that plays a policy and returns a :class:`~heedful.policy.Batch`. What is learned from it is one of
:mod:`heedful.objectives`, and the steps are those of :func:`heedful.objectives.descend`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from heedful.config import Interact
from heedful.loop.kept import Kept, copied, restored
from heedful.loop.run import Checkpoint, Run
from heedful.loop.watchdog import Watchdog
from heedful.objectives import (
    NEEDS,
    Loss,
    Means,
    Optimiser,
    Schedule,
    compare,
    descend,
    drift,
    generalised_advantages,
    grpo,
    mixed,
    ppo,
    prepare,
    reinforce,
)
from heedful.objectives.whole import Whole
from heedful.policy import Batch, Policy, scatter

OnPolicy = Literal["ppo", "reinforce", "rloo", "grpo"]
CHANCES = frozenset({"logps", "logits"})
SMOOTH = 5
"""Rounds over which a score is averaged before policies are compared by it."""


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """What a policy did, and what came of it.

    Attributes:
        batch: with ``behaviour_logps`` and ``rewards`` (NaN: not scored), and ``groups`` where
            decisions are compared. A row is what one environment did, in order.
        score: what policies are chosen by: the mean reward of a decision, or the mean return of the
            episodes that ended; NaN where nothing is known.
        metrics: further numbers to show.
        samples: what was said in it, as text, to look at: JSON each.
    """

    batch: Batch
    score: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: Sequence[Mapping[str, object]] = ()


class Rollouts(Protocol):
    """Where experience comes from."""

    def play(self, policy: Policy, number: int) -> Rollout:
        """Play ``policy`` for a round.

        Args:
            policy: in evaluation mode.
            number: of the round, from 0. Those whose randomness follows from it, and not from
                what was played before, can be taken up again with the same bits.
        """
        ...


@runtime_checkable
class Remembering(Rollouts, Protocol):
    """Rollouts that depend on earlier rounds by more than the policy: checkpoints hold it, too."""

    def kept(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what the next round depends on: facts as JSON, and tensors by name."""
        ...

    def take_up(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from there."""
        ...


@dataclass(frozen=True, slots=True)
class Interaction:
    """How learning went.

    Attributes:
        metrics: of the policy that is left: "score", or "mixed" where matching is part of it,
            "round" (after how many rounds it stood), and the last round's numbers under their
            names.
        collapse: what went wrong, in words; empty where nothing did.
    """

    metrics: dict[str, float]
    collapse: str = ""


def interact(
    policy: Policy,
    reference: Policy,
    rollouts: Rollouts,
    section: Interact,
    run: Run,
    *,
    objective: OnPolicy,
    seed: int,
    longest: int = 1,
    cut: Callable[[Batch], Batch] = lambda batch: batch,
    enough: Callable[[Mapping[str, float]], bool] = lambda _metrics: False,
) -> Interaction:
    """Improve ``policy`` in place by what it does itself.

    Each round the policy plays; its log-probabilities and values are computed anew, so that at the
    first step every ratio is 1; then follow ``epochs`` passes over the round in minibatches. The
    policy that is left is the one that earned most over five rounds, not the one of least loss.

    A :class:`~heedful.loop.watchdog.Watchdog` looks at every round. At a collapse learning
    stops, the last policy that was well is put back, and what went wrong is said in the result.

    Args:
        policy: in evaluation mode, and it stays there: dropout would make another policy of it.
        reference: the policy to stay near; not changed.
        rollouts: where experience comes from.
        section: how long, how fast, how far.
        run: where curves and checkpoints go. After a stop it goes on from the last checkpoint.
        objective: "ppo", "reinforce", "rloo" or "grpo".
        seed: of the order of minibatches.
        longest: the longest decision, in units: what ``per = "constant"`` divides by.
        cut: makes other rows of a batch whose advantages are known, before it is split into
            minibatches: single steps, where a policy sees no more than the last observation.
        enough: looks at each round's numbers and may end it.
    """
    job = _Learning(policy, reference, section, objective, seed, longest, cut)
    return play_and_learn(job, rollouts, run, enough=enough)


def play_and_learn(
    job: Learner,
    rollouts: Rollouts,
    run: Run,
    *,
    enough: Callable[[Mapping[str, float]], bool] = lambda _metrics: False,
) -> Interaction:
    """Let ``job`` play and learn by turns: the one loop around everything that plays.

    Args:
        job: what plays, and what it makes of it.
        rollouts: where experience comes from.
        run: where curves and checkpoints go. After a stop it goes on from the last checkpoint.
        enough: looks at each round's numbers and may end it.
    """
    section = job.section
    job.restore(run.resume(), rollouts)
    if section.normalise and not job.number:
        job.measure(rollouts)
    collapse = ""
    for number in range(job.number, section.rounds):
        rollout = rollouts.play(job.acting(number), number)
        found = job.take_in(rollout)
        collapse = job.watchdog.look(found)
        if collapse:
            job.back()
            break
        job.remember(number, found)
        done = enough(found)
        found |= {} if done else job.learn(number)
        run.log(job.optimiser.step_count, found, part="interact")
        run.show(job.optimiser.step_count, rollout.samples)
        run.progress.update(number + 1, section.rounds, _words(found))
        collapse = "" if job.finite() else "weights are not finite"
        if collapse:
            job.back()
            break
        if (number + 1) % section.save == 0:
            run.save(job.checkpoint(number + 1, found, rollouts))
        if done:
            break
    if collapse:
        run.progress.update(job.number, section.rounds, f"stopped: {collapse}")
    return job.left(collapse)


def _words(found: Mapping[str, float]) -> str:
    near = f", divergence {found['kl']:.3f} nats a unit" if "kl" in found else ""
    return f"score {found['score']:.3f}{near}"


class Learner(ABC):
    """The policy, its optimiser, and how far they have come; subclasses say how a round is used.

    Attributes:
        policy: what learns, in place.
        section: how long, how fast, how far.
        number: rounds that have been learned from.
        found: the numbers of the last one.
        scale: of rewards.
    """

    def __init__(self, policy: Policy, section: Interact, *, smooth: int = SMOOTH) -> None:
        """Begin with ``policy``, in evaluation mode; see ``SMOOTH`` for ``smooth``."""
        self.policy, self.section = policy, section
        self.module = cast(nn.Module, policy)
        self.watchdog = Watchdog(section)
        self.kept = Kept()
        self.scale = Scale()
        self.well: dict[str, Tensor] = {}
        self.scores: deque[float] = deque(maxlen=smooth)
        self.number = 0
        self.found: dict[str, float] = {}
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        schedule = Schedule(peak=section.learning_rate, steps=1)
        self.optimiser = Optimiser(parameters, schedule, clip=section.clip, eps=1e-5)

    @abstractmethod
    def take_in(self, rollout: Rollout) -> dict[str, float]:
        """Get a round ready to be learned from; return what there is to see in it."""

    @abstractmethod
    def learn(self, number: int) -> dict[str, float]:
        """Take the steps of a round; return the mean of each metric over them."""

    def acting(self, number: int) -> Policy:
        """Return what plays round ``number``."""
        return self.policy

    def comparable(self, number: int) -> bool:
        """Say whether the score of round ``number`` may be compared with those of others."""
        return True

    def measure(self, rollouts: Rollouts) -> None:
        """Find the scale of rewards, in rounds that are numbered behind all others."""
        first = self.section.rounds
        rounds = range(first, first + self.section.normalise)
        acting = self.acting(0)
        self.scale = Scale.of([rollouts.play(acting, number).batch for number in rounds])

    def schedule(self, steps: int) -> None:
        """Give the optimiser its schedule: a round has so many ``steps``."""
        section = self.section
        self.optimiser.schedule = Schedule(
            peak=section.learning_rate,
            steps=steps * section.rounds,
            warmup=0.02,
            decay=section.decay,
        )

    def remember(self, number: int, found: Mapping[str, float]) -> None:
        """Keep the weights that this round was played with, if they are well, or the best.

        Those of a round that nobody scored are not the best: nobody knows what they earn.
        """
        score = found.get("mixed", found["score"])
        scored = not math.isnan(score)
        if scored:
            self.scores.append(score)
        if self.watchdog.well:
            self.well = copied(self.module)
        if scored and self.watchdog.well and self.comparable(number):
            self.kept.look(number, float(np.mean(self.scores)), self.module)

    def back(self) -> None:
        """Put back the last weights that were well."""
        restored(self.module, self.well)

    def finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(torch.isfinite(p).all()) for p in self.optimiser.parameters)

    def left(self, collapse: str) -> Interaction:
        """Leave the policy that was asked for."""
        metrics = {n: v for n, v in self.found.items() if not math.isnan(v)}
        if self.section.keep == "best" and self.kept.weights:
            self.kept.put_back(self.module)
            chosen_by = "mixed" if self.section.match else "score"
            metrics.pop("score", None)  # the last round's, not that of the policy that is left
            metrics |= {chosen_by: self.kept.score, "round": float(self.kept.number)}
        return Interaction({**metrics, "collapsed": float(bool(collapse))}, collapse)

    def checkpoint(self, number: int, found: Mapping[str, float], rollouts: Rollouts) -> Checkpoint:
        """Return everything that the next round depends on."""
        remembered = rollouts.kept() if isinstance(rollouts, Remembering) else ({}, {})
        facts = {
            "step": self.optimiser.step_count,
            "number": number,
            "scores": list(self.scores),
            "scale": [self.scale.mean, self.scale.deviation],
            "kept": self.kept.facts(),
            "watchdog": self.watchdog.facts(),
            "found": {n: v for n, v in found.items() if not math.isnan(v)},
            "rollouts": remembered[0],
        }
        return Checkpoint.of(
            facts,
            policy=self.module.state_dict(),
            optimiser=self.optimiser.tensors(),
            kept=self.kept.weights,
            well=self.well,
            rollouts=remembered[1],
            **self.tensors(),
        )

    def restore(self, checkpoint: Checkpoint | None, rollouts: Rollouts) -> None:
        """Take up a checkpoint."""
        if checkpoint is None:
            return
        facts: dict[str, Any] = checkpoint.facts
        self.module.load_state_dict(checkpoint.group("policy"))
        self.optimiser.restore(checkpoint.group("optimiser"))
        self.well = checkpoint.group("well")
        self.kept = Kept.of(facts["kept"], checkpoint.group("kept"))
        self.watchdog.restore(facts["watchdog"])
        self.scores.extend(facts["scores"])
        self.scale = Scale(*facts["scale"])
        self.number, self.found = facts["number"], facts["found"]
        if isinstance(rollouts, Remembering):
            rollouts.take_up(facts["rollouts"], checkpoint.group("rollouts"))

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """Return what else the next round depends on, in groups; who has any restores it."""
        return {}


class _Learning(Learner):
    """Learning from the round that was just played, and from nothing before it."""

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        section: Interact,
        objective: OnPolicy,
        seed: int,
        longest: int,
        cut: Callable[[Batch], Batch],
    ) -> None:
        super().__init__(policy, section)
        self.reference, self.objective = reference, objective
        self.seed, self.longest, self.cut = seed, longest, cut
        self.ready: Batch | None = None

    def take_in(self, rollout: Rollout) -> dict[str, float]:
        """Get a round ready to be learned from; return what there is to see in it."""
        section = self.section
        near = self.reference if section.kl or section.kl_limit else None
        charge = section.kl if section.kl_in == "reward" else 0.0
        scored, told = self._mixed(self.scale.apply(rollout.batch))
        (batch,) = prepare(
            self.policy,
            [scored],
            reference=near,
            lam=section.lam,
            whiten=section.whiten,
            kl=charge,
        )
        seen = looks_of(batch.filled(rewards=rollout.batch.rewards))
        if near is None:
            del seen["kl"]  # nobody measured it
        self.found = {"score": rollout.score, **seen, **told, **rollout.metrics}
        if self.objective in ("rloo", "grpo"):
            batch, counts = self._compared(batch, charge)
            self.found |= counts
        self.ready = self.cut(batch)
        return self.found

    @torch.no_grad()
    def _mixed(self, batch: Batch) -> tuple[Batch, dict[str, float]]:
        """Return the batch with matching the reference in its reward, and how much it matched.

        What policies are then chosen by is the mean of that reward, over decisions that were
        scored: the score alone would prefer those that match least.
        """
        weight = self.section.match
        if not weight:
            return batch, {}
        said = self.reference.forward(batch, CHANCES)
        assert said.logps is not None
        assert said.logits is not None
        likeliest = scatter(torch.log_softmax(said.logits, -1).amax(-1), batch.mask)
        whole = Whole(batch)
        found = batch.filled(rewards=mixed(batch, said.logps, likeliest, weight))
        earned = whole.total(found.rewards)
        matched = float(whole.total(said.logps).exp().mean())
        return found, {"match": matched, "mixed": float(earned[~torch.isnan(earned)].mean())}

    def _compared(self, batch: Batch, charge: float) -> tuple[Batch, dict[str, float]]:
        """Return the batch with advantages within groups, and how many of them are dead.

        Raises:
            ValueError: this play is of no groups.
        """
        if batch.groups is None:
            raise ValueError(
                f'objective = "{self.objective}" compares several answers to the same asking, and '
                "here nothing is asked twice: games part ways with their first moves. Choose "
                '"ppo" or "dqn"'
            )
        rloo = self.objective == "rloo"
        charged = batch.filled(rewards=batch.rewards - charge * drift(batch)) if charge else batch
        done = compare(
            [charged],
            baseline="leave_one_out" if rloo else "mean",
            deviation=self.section.deviation and not rloo,
        )
        # A group whose rewards are all alike teaches nothing, whatever its divergences are.
        dead = compare([batch]) if charge else done
        (compared,), (uncharged,) = done.batches, dead.batches
        alive = uncharged.weights > 0.0
        assert compared.advantages is not None
        compared = compared.filled(
            advantages=torch.where(alive, compared.advantages, 0.0), weights=uncharged.weights
        )
        counts = {"groups": dead.groups, "dead_groups": dead.dead, "unscored": dead.unscored}
        return compared, {name: float(count) for name, count in counts.items()}

    def learn(self, number: int) -> dict[str, float]:
        """Take the steps of a round; return the mean of each metric over them."""
        assert self.ready is not None
        if not bool((self.ready.weights * self.ready.mask > 0.0).any()):
            self.number = number + 1
            return {"steps": 0.0}
        self.schedule(math.ceil(len(self.ready) / self.section.batch) * self.section.epochs)
        means, before = Means(), self.optimiser.step_count
        descend(self.loss, self._minibatches(number), optimiser=self.optimiser, on_step=means)
        self.number = number + 1
        shown = {n: v for n, v in means.found().items() if n not in self.found}
        return {**shown, "steps": float(self.optimiser.step_count - before)}

    def _minibatches(self, number: int) -> Iterator[Batch]:
        """Yield the minibatches of all passes, each pass in an order of its own."""
        assert self.ready is not None
        rng = np.random.default_rng([self.seed, number])
        rows, size = len(self.ready), self.section.batch
        for _ in range(self.section.epochs):
            if rows <= size:
                yield self.ready
                continue
            order = torch.from_numpy(rng.permutation(rows))
            for part in torch.split(order, size):
                yield self.ready.select(part)

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of one minibatch."""
        section, in_loss = self.section, self.section.kl_in == "loss"
        kl = section.kl if in_loss else 0.0
        if self.objective in ("rloo", "grpo"):
            rloo = self.objective == "rloo"
            return grpo(
                self.policy.forward(batch, frozenset({"logps"})),
                batch,
                clip_low=section.clip_low,
                clip_high=section.clip_high,
                dual_clip=section.dual_clip,
                kl=kl,
                per="constant" if rloo else section.per,
                longest=1 if rloo else self.longest,
            )
        outputs = self.policy.forward(batch, NEEDS)
        if self.objective == "reinforce":
            return reinforce(
                outputs, batch, kl=kl, entropy=section.entropy, value_weight=section.value_weight
            )
        return ppo(
            outputs,
            batch,
            clip_low=section.clip_low,
            clip_high=section.clip_high,
            value_clip=section.value_clip or math.inf,
            kl=kl,
            entropy=section.entropy,
            value_weight=section.value_weight,
        )


def looks_of(batch: Batch) -> dict[str, float]:
    """Return what there is to see in a round that went through :func:`objectives.prepare`.

    - ``reward_sd``: standard deviation of a decision's reward, those not scored left out;
    - ``kl``: nats a unit, by which it has left the reference (k1);
    - ``entropy``: nats a unit, as the mean surprise of what was drawn;
    - ``length``: units a decision;
    - ``sampler_gap``: the largest difference between the log-probability of a unit when it was
      drawn and when it is replayed: 0 but for rounding, or somebody else decided.

    Args:
        batch: prepared, of one round.
    """
    assert batch.old_logps is not None
    mask, whole = batch.mask, Whole(batch)
    n = max(1, int(mask.sum()))
    totals = whole.total(batch.rewards)
    totals = totals[~torch.isnan(totals)]
    gap = (batch.behaviour_logps - batch.old_logps)[mask].abs()
    gap = gap[~torch.isnan(gap)]
    return {
        "reward_sd": float(totals.std()) if len(totals) > 1 else 0.0,
        "kl": float(drift(batch).sum() / n),
        "entropy": float(-batch.old_logps[mask].sum() / n),
        "length": n / max(1, len(whole)),
        "sampler_gap": float(gap.max()) if len(gap) else 0.0,
    }


@dataclass(frozen=True, slots=True)
class Scale:
    """Makes rewards have mean 0 and variance 1 on what the first policy does.

    Rewards of different origin then ask for the same strengths of ``kl`` and ``entropy``. It is
    measured once: a scale that moved with the policy would hide what it earns.

    Where decisions follow one another it is their discounted returns that have variance 1, and the
    mean stays: taken off every step, it would pay for long episodes, or for short ones.
    """

    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Scale:
        """Measure it on the decisions of ``batches`` that were scored."""
        if any(bool((batch.discounts[_last_units(batch)] > 0.0).any()) for batch in batches):
            deviation = float(torch.cat([_returns(batch) for batch in batches]).std())
            return cls(0.0, deviation) if deviation > 0.0 else cls()
        totals = torch.cat([Whole(batch).total(batch.rewards.double()) for batch in batches])
        totals = totals[~torch.isnan(totals)]
        if len(totals) < 2 or not float(totals.std()) > 0.0:
            return cls()
        return cls(float(totals.mean()), float(totals.std()))

    def apply(self, batch: Batch) -> Batch:
        """Return ``batch`` with rewards on this scale; the mean is taken off each last unit."""
        if self == Scale():
            return batch
        rewards = (batch.rewards - self.mean * _last_units(batch)) / self.deviation
        return batch.filled(rewards=rewards)


def _last_units(batch: Batch) -> Tensor:
    """Return where a decision ends, bool [B, T]."""
    following = torch.nn.functional.pad(batch.decisions[:, 1:], (0, 1), value=-1)
    return batch.mask & (following != batch.decisions)


def _returns(batch: Batch) -> Tensor:
    """Return what each unit and those after it earned in the round, discounted, float64 [N]."""
    rewards = batch.rewards.double().nan_to_num(nan=0.0)
    nothing = torch.zeros_like(rewards)
    returns = generalised_advantages(
        rewards, nothing, batch.discounts, batch.slots, batch.bootstrap, lam=1.0
    )
    return returns[batch.mask]
