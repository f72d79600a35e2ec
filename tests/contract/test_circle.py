"""The circle turns with the same code everywhere: act, log, snapshot, batch, replay, loss, gate.

Nothing below asks which domain it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from heedful.checks.records import records_of
from heedful.contract import Streams
from heedful.evaluate import Verdict, assignment, judge, per_subject
from heedful.loop.collect import Collector
from heedful.objectives import (
    NEEDS,
    Loss,
    Optimiser,
    Schedule,
    descend,
    ppo,
    prepare,
    reinforce,
)
from heedful.policy import Batch, Policy, Transformer, clone, replay
from heedful.record import Feedback
from heedful.reward import Earned, earn
from heedful.store import Log, Record, Snapshot
from tests.contract.policies import SORTS, make
from tests.contract.toys import TOYS, Toy

toys = pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)

WINDOW, GAMMA = 32, 0.9
ROUNDS, PEOPLE, TURNS, STEPS = 20, 24, 8, 10
SUBJECTS = 100  # in each arm of the trial


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log.open(tmp_path / "log.db", write=True) as opened:
        yield opened


def act(log: Log, toy: Toy, policy: Policy, name: str, *, people: int, seed: int) -> None:
    """Let ``people`` new subjects meet ``policy``, and log what happened as a server would."""
    environment = toy.environment(people, seed, {})
    vocabulary = toy.vocabulary(Snapshot.of([]))
    collector = Collector(toy, vocabulary, environment, window=WINDOW, seed=seed, name=name)
    rollout = collector.play(policy, TURNS, version=name)
    records = [named(record, name) for _, record in records_of(rollout)]
    receipts = log.append(records, choice_sets=rollout.names.choice_sets)
    assert {receipt.status for receipt in receipts} == {"added"}


def named(record: Record, name: str) -> Record:
    """Return ``record`` with ids that no other rollout has."""
    record = replace(record, id=f"{name}/{record.id}")
    return (
        replace(record, about=f"{name}/{record.about}") if isinstance(record, Feedback) else record
    )


@dataclass
class Read:
    """What the log says: everything, encoded with what it earned."""

    snapshot: Snapshot
    earned: Earned
    streams: Streams

    @property
    def totals(self) -> np.ndarray:
        """What each decision earned."""
        n = self.snapshot.decisions.n
        return np.bincount(self.snapshot.decisions.of_unit, weights=self.earned.units, minlength=n)


def read(log: Log, toy: Toy) -> Read:
    snapshot = log.snapshot()
    earned = earn(snapshot, toy.reward, maturity=0.0, now=0.0)
    streams = toy.encode(
        snapshot,
        toy.vocabulary(snapshot),
        rewards=earned.units,
        matured=earned.matured,
        gamma=GAMMA,
    )
    return Read(snapshot, earned, streams)


def newest(streams: Streams, watermark: int) -> Batch:
    """Return everything decided after ``watermark``."""
    return streams.batch(streams.windows(WINDOW, streams.slots.seq > watermark))


def train(log: Log, toy: Toy, policy: nn.Module, objective: Callable[..., Loss]) -> None:
    """Go round: act, log, read, prepare, descend."""
    reference = clone(policy)
    schedule = Schedule(peak=0.01, steps=ROUNDS * STEPS, warmup=0.05, decay="linear")
    optimiser = Optimiser(list(policy.parameters()), schedule, eps=1e-5)
    for number in range(ROUNDS):
        watermark = log.watermark()
        act(log, toy, policy, f"round-{number}", people=PEOPLE, seed=number)
        batch = newest(read(log, toy).streams, watermark)
        with torch.no_grad():
            error = (replay(policy, batch) - batch.behaviour_logps)[batch.mask].abs().max()
        assert float(error) < 1e-9, "what was logged is what was replayed"
        prepared = prepare(policy, [batch], reference=reference, lam=0.95, whiten=True)
        descend(
            lambda b: objective(policy.forward(b, NEEDS), b, kl=0.001, entropy=0.003),
            prepared * STEPS,
            optimiser=optimiser,
        )


def trial(log: Log, toy: Toy, live: Policy, candidate: Policy) -> tuple[Read, np.ndarray, int]:
    """Assign new subjects to two policies; return what they earned, and which arm each was in."""
    watermark = log.watermark()
    for name, policy, seed in (("live", live, 1001), ("candidate", candidate, 1002)):
        act(log, toy, policy, name, people=SUBJECTS, seed=seed)
    found = read(log, toy)
    arms = found.snapshot.decisions.policy == found.snapshot.names.policies.code("candidate")
    return found, arms, watermark


def verdict(found: Read, arms: np.ndarray, watermark: int, toy: Toy) -> Verdict:
    """Judge by one mean reward a subject, in an order that has nothing to do with the arm."""
    decisions = found.snapshot.decisions
    fresh = decisions.seq > watermark
    subjects = decisions.subject[fresh]
    shuffled = np.random.default_rng(0).permutation(len(found.snapshot.names.subjects))
    begun = shuffled[subjects].astype(float)
    rows = per_subject(
        subjects, found.totals[fresh] / toy.most, begun, window=1.0, maturity=0.0, now=np.inf
    )
    arm_of = dict(zip(subjects.tolist(), arms[fresh].tolist(), strict=True))
    arm = np.array([arm_of[int(subject)] for subject in rows.subjects])
    return judge(assignment(rows.rewards, arm, 0.5))


@toys
@pytest.mark.parametrize("objective", [reinforce, ppo], ids=lambda loss: loss.__name__)
def test_the_circle_turns(log: Log, toy: Toy, objective: Callable[..., Loss]) -> None:
    torch.manual_seed(0)
    schema = toy.schema(toy.vocabulary(Snapshot.of([])))
    policy = Transformer(schema, width=16, layers=1, heads=2).double().eval()
    untrained = clone(policy)
    train(log, toy, policy, objective)
    found, arms, watermark = trial(log, toy, untrained, policy)
    fresh = found.snapshot.decisions.seq > watermark
    before, after = (float(found.totals[fresh & (arms == arm)].mean()) for arm in (False, True))
    assert after > toy.good > before
    assert verdict(found, arms, watermark, toy).promote
    assert not verdict(found, ~arms, watermark, toy).promote


@toys
@pytest.mark.parametrize("sort", SORTS)
def test_every_policy_goes_round(log: Log, toy: Toy, sort: str) -> None:
    """Act, log, snapshot, batch, replay, loss: a table and counts are policies, too."""
    policy = make(sort, toy)
    act(log, toy, policy, "first", people=8, seed=0)
    found = read(log, toy)
    assert found.snapshot.names.policies[0] == "first"
    batch = newest(found.streams, 0)
    assert int(batch.mask.sum()) == len(found.snapshot.decisions.units)
    batch = prepare(policy, [batch])[0]
    torch.testing.assert_close(batch.old_logps, batch.behaviour_logps, rtol=0, atol=1e-9)
    for objective in (reinforce, ppo):
        loss = objective(policy.forward(batch, NEEDS), batch)
        assert bool(torch.isfinite(loss.value))
        assert float(loss.count) == float(batch.mask.sum())
