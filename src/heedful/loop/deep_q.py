"""Deep Q-learning: a network of action values that learns again and again from what it remembers.

Mnih et al., Nature 518, 2015, with double targets (van Hasselt et al., arXiv 1509.06461) and
several steps of reward (Sutton 1988; Hessel et al., arXiv 1710.02298). The network's logits *are*
its action values: whatever acts is a wrapper around it that makes probabilities of them, while it
learns :class:`~heedful.policy.EpsilonGreedy`, afterwards :class:`~heedful.policy.Greedy`. So what
it decides is drawn, logged and replayed with exact probabilities, like anything else.

Left out: priorities in the memory, duelling heads, noisy layers and distributions of returns
(Hessel et al. 2018 measure what each adds). The steps of a target are not corrected for who chose
them: an exploring move in their midst counts as if it had been meant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from heedful.config import Interact
from heedful.loop.interact import (
    SMOOTH,
    Interaction,
    Learner,
    Rollout,
    Rollouts,
    play_and_learn,
)
from heedful.loop.memory import Memory, Steps
from heedful.loop.run import Checkpoint, Run
from heedful.loop.tabular import Linear
from heedful.objectives import (
    Q_NEEDS,
    Loss,
    Means,
    descend,
    double_q_target,
    q_loss,
)
from heedful.policy import Batch, Choices, EpsilonGreedy, Policy, clone
from heedful.policy.choices import IMPOSSIBLE

LONGEST = 20
"""Policies are compared by scores averaged over one in so many of the rounds, or over more."""


def deep_q(
    policy: Policy,
    rollouts: Rollouts,
    section: Interact,
    run: Run,
    *,
    seed: int,
    enough: Callable[[Mapping[str, float]], bool] = lambda _metrics: False,
) -> Interaction:
    """Make ``policy``'s logits the values of actions, in place, by playing.

    Each round it plays epsilon-greedily, from moves by chance alone down to ``section.epsilon`` of
    them. What it did goes into the memory, each decision with its next ``n_step`` rewards, and then
    follow as many steps as it takes for each decision to be learned from ``epochs`` times on the
    average. What follows is judged by a copy of the network that is renewed every ``target`` steps.
    Illegal moves are neither played nor ever the best of what follows.

    Args:
        policy: in evaluation mode, and without a memory of its own: it sees the last context.
        rollouts: where experience comes from: rows of decisions of one unit each.
        section: how long, how fast, how far.
        run: where curves and checkpoints go; a checkpoint holds the memory, too.
        seed: of what is drawn from the memory.
        enough: looks at each round's numbers and may end it.

    Returns:
        How it went. ``score`` is that of epsilon-greedy play.

    Raises:
        ValueError: decisions have several units.
    """
    return play_and_learn(_DeepQ(policy, section, seed), rollouts, run, enough=enough)


class _DeepQ(Learner):
    """A network, its copy from a while ago, and what is remembered."""

    def __init__(self, policy: Policy, section: Interact, seed: int) -> None:
        # A round is short here, and few episodes end in it.
        super().__init__(policy, section, smooth=max(SMOOTH, section.rounds // LONGEST))
        self.seed = seed
        self.old = clone(policy)
        self.memory = Memory(section.memory, policy.schema)
        self.fresh = 0

    def acting(self, number: int) -> Policy:
        """Return the epsilon-greedy policy around the network as it stands."""
        return EpsilonGreedy(self.policy, share=self._epsilon(number)).eval()

    def _epsilon(self, number: int) -> float:
        section = self.section
        line = Linear(1.0, section.epsilon, over=section.exploring)
        return line.at(number / section.rounds)

    def comparable(self, number: int) -> bool:
        """Say whether all of the last scores are of play with as little exploration as in the end.

        An early score is of few rounds, or of a policy that mostly explores.
        """
        section, smooth = self.section, self.scores.maxlen or SMOOTH
        return number + 1 >= section.exploring * section.rounds + smooth

    def take_in(self, rollout: Rollout) -> dict[str, float]:
        """Remember a round; return what there is to see in it."""
        steps = Steps.of(self.scale.apply(rollout.batch), n=self.section.n_step)
        self.memory.add(steps)
        self.fresh = len(steps)
        self.found = {"score": rollout.score, **rollout.metrics}
        return self.found

    def learn(self, number: int) -> dict[str, float]:
        """Take the steps of a round; return the mean of each metric over them."""
        self.number = number + 1
        shown = {"epsilon": self._epsilon(number), "remembered": float(len(self.memory))}
        section = self.section
        if len(self.memory) < min(section.warm_up, section.memory):
            return {**shown, "steps": 0.0}
        steps = math.ceil(self.fresh * section.epochs / section.batch)
        self.schedule(steps)
        means = Means()
        batches = self._minibatches(number, steps)
        descend(self._loss, batches, optimiser=self.optimiser, on_step=means)
        return {**shown, **means.found(), "steps": float(steps)}

    def _minibatches(self, number: int, steps: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, number])
        for _ in range(steps):
            if self.optimiser.step_count % self.section.target == 0:
                cast(nn.Module, self.old).load_state_dict(self.module.state_dict())
            steps_drawn = self.memory.draw(rng, self.section.batch)
            targets = self._targets(steps_drawn)
            yield steps_drawn.batch(self.policy.schema).filled(returns=targets[:, None])

    @torch.no_grad()
    def _targets(self, steps: Steps) -> Tensor:
        """Return what the values of the decisions should be, [M]."""
        events, everything = steps.led_to(), Choices.everything(self.policy.schema.size, len(steps))
        here, before = (
            policy.step(policy.start(len(steps)), events, everything)[1]
            for policy in (self.policy, self.old)
        )
        possible = here.masked_fill(~steps.possible, IMPOSSIBLE)
        return double_q_target(steps.rewards, steps.discounts, possible, before)

    def _loss(self, batch: Batch) -> Loss:
        return q_loss(self.policy.forward(batch, Q_NEEDS), batch)

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """Return the older copy and the memory."""
        old = cast(nn.Module, self.old).state_dict()
        return {"old": old, "memory": self.memory.tensors()}

    def restore(self, checkpoint: Checkpoint | None, rollouts: Rollouts) -> None:
        """Take up a checkpoint."""
        super().restore(checkpoint, rollouts)
        if checkpoint is None:
            return
        cast(nn.Module, self.old).load_state_dict(checkpoint.group("old"))
        self.memory.restore(checkpoint.group("memory"))
