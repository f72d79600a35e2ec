"""[interact] match: where winning and doing as people do part ways, the weight says which."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from heedful.config import Interact
from heedful.loop.interact import Rollout, interact
from heedful.loop.run import Run
from heedful.policy import Feedforward, Policy, Schema, TabularQ
from tests.policy.batches import slates_as_batch

WINS, HABIT, ROWS = torch.tensor([0.0, 0.2, 1.0]), torch.tensor([0.6, 0.3, 0.1]), 128
SCHEMA = Schema(3, features=1)


class Arms:
    """One move: the third wins, the first is what people do."""

    def play(self, policy: Policy, number: int) -> Rollout:
        batch = slates_as_batch(SCHEMA, torch.zeros(ROWS, 1, dtype=torch.int64))
        logits = policy.forward(batch, frozenset({"logits"})).logits
        torch.manual_seed(number)
        units = torch.multinomial(logits.detach().softmax(-1), 1)
        batch = slates_as_batch(SCHEMA, units)
        logps = logits.detach().log_softmax(-1).gather(1, units)
        rewards = WINS[units]
        return Rollout(
            batch.filled(behaviour_logps=logps.double(), rewards=rewards), float(rewards.mean())
        )


@pytest.mark.parametrize(("weight", "chosen"), [(0.0, 2), (0.6, 2), (0.72, 0), (1.0, 0)])
def test_the_best_move_changes_where_it_is_computed_to(
    weight: float, chosen: int, tmp_path: Path
) -> None:
    """(1 - w) + 0.1 w and 0.6 w are alike at w = 2/3, less 0.6 w each."""
    torch.manual_seed(0)
    policy = Feedforward(SCHEMA, width=8).eval()
    people = TabularQ(SCHEMA, states=4, look="unit").eval()
    people.q.data[:] = HABIT.log()
    section = Interact(
        rounds=60,
        environments=ROWS,
        batch=ROWS,
        epochs=4,
        learning_rate=0.02,
        kl=0.0,
        kl_limit=0.0,
        entropy_floor=0.0,
        fall=0.0,
        match=weight,
        keep="best",
    )
    run = Run(tmp_path, {})
    try:
        made = interact(policy, people, Arms(), section, run, objective="ppo", seed=0)
    finally:
        run.close()
    batch = slates_as_batch(SCHEMA, torch.tensor([[chosen]]))
    sure = float(policy.forward(batch, frozenset({"logps"})).logps.detach().exp())
    assert sure > 0.9
    best = float(((1.0 - weight) * WINS + weight * (HABIT - HABIT.max())).max())
    if weight:
        assert made.metrics["mixed"] == pytest.approx(best, abs=0.05)
        assert made.metrics["match"] == pytest.approx(float(HABIT[chosen]), abs=0.05)
    else:
        assert made.metrics["score"] == pytest.approx(best, abs=0.05)
        assert "match" not in made.metrics
