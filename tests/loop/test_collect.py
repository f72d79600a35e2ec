"""One scripted game behind all three of Gymnasium's autoreset modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from heedful.loop.collect import Collector
from heedful.policy import Greedy, replay
from heedful.store import Snapshot
from tests.contract.policies import make
from tests.contract.toys import Grid, Slates

MODES = list(AutoresetMode)


class Walk:
    """A walk on the line from 0; environment i terminates at 3 and is cut off after 4 + i moves."""

    def __init__(self, n: int, mode: AutoresetMode) -> None:
        self.num_envs, self.mode = n, mode
        self.metadata: dict[str, Any] = {"autoreset_mode": mode}
        self.at, self.t = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.over = np.zeros(n, bool)
        self.resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        self.at[mask], self.t[mask], self.over[mask] = 0, 0, False
        self.resets += 1
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> Any:
        fresh = self.over & (self.mode is AutoresetMode.NEXT_STEP)
        assert fresh.any() or not self.over.any(), "a step after the end"
        self.at = np.where(fresh, 0, self.at + np.array([-1, 1, 0])[actions[:, 0]])
        self.t = np.where(fresh, 0, self.t + 1)
        terminated = ~fresh & (self.at == 3)
        truncated = ~fresh & ~terminated & (self.t >= 4 + np.arange(self.num_envs))
        self.over = terminated | truncated
        info: dict[str, Any] = {}
        if self.mode is AutoresetMode.SAME_STEP and self.over.any():
            final = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(self.over):
                final[i] = self._observe()[i]
            info = {"final_obs": final, "_final_obs": self.over.copy()}
            self.reset(options={"reset_mask": self.over.copy()})
        return self._observe(), terminated.astype(float), terminated, truncated, info

    def _observe(self) -> np.ndarray:
        return np.stack([np.clip(self.at, 0, 4), self.t / 12], axis=1).astype(np.float32)

    def close(self) -> None:
        pass


def histories(snapshot: Snapshot) -> dict[str, list[tuple]]:
    """Return what happened to each subject, in order."""
    rows: list[tuple[int, str, tuple]] = []
    names, decisions = snapshot.names, snapshot.decisions
    owner = dict(zip(decisions.episode.tolist(), decisions.subject.tolist(), strict=True))
    for i, seq in enumerate(decisions.seq.tolist()):
        unit = names.units[int(decisions.units[i])]
        what = (names.episodes[int(decisions.episode[i])], int(decisions.step[i]), unit)
        rows.append((seq, int(decisions.subject[i]), (*what, decisions.contexts[i])))
    for i, seq in enumerate(snapshot.feedback.seq.tolist()):
        about = int(snapshot.feedback.decision[i])
        value = float(snapshot.feedback.value[i])
        rows.append((seq, int(decisions.subject[about]), ("reward", value)))
    for i, seq in enumerate(snapshot.ends.seq.tolist()):
        episode = int(snapshot.ends.episode[i])
        ended = ("end", bool(snapshot.ends.terminated[i]), snapshot.ends.contexts[i])
        rows.append((seq, owner[episode], ended))
    found: dict[str, list[tuple]] = {}
    for _, subject, what in sorted(rows):
        found.setdefault(names.subjects[subject], []).append(what)
    return found


def rollout(mode: AutoresetMode, policy, n: int, turns: int) -> dict[str, list[tuple]]:
    toy = Grid()
    environment = Walk(n, mode)
    collector = Collector(toy, toy.vocabulary(None), environment, window=16, seed=3)
    return histories(collector.play(policy, turns))


@pytest.mark.parametrize("mode", MODES[:1] + MODES[2:], ids=lambda mode: mode.name)
def test_all_autoreset_modes_give_the_same_rollout(mode: AutoresetMode) -> None:
    """Environments end at different times; a mode that spends steps on resets gets less far."""
    policy = Greedy(make("transformer", Grid(), seed=1))
    expected = rollout(AutoresetMode.SAME_STEP, policy, 3, 40)
    found = rollout(mode, policy, 3, 40)
    assert expected.keys() == found.keys()
    for subject, events in found.items():
        assert events == expected[subject][: len(events)]
        assert sum(event[0] == "end" for event in events) >= 3
        if mode is AutoresetMode.DISABLED:
            assert len(events) == len(expected[subject])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_drawn_at_random_they_are_the_same_too(mode: AutoresetMode) -> None:
    policy = make("popularity", Grid())
    expected = rollout(AutoresetMode.SAME_STEP, policy, 1, 150)
    found = rollout(mode, policy, 1, 150)
    (events,), (reference,) = found.values(), expected.values()
    assert events == reference[: len(events)]
    ends = [event for event in events if event[0] == "end"]
    assert {terminated for _, terminated, _ in ends} == {True, False}
    for _, terminated, context in ends:
        assert (context.startswith('{"at":[3.0')) == terminated, "the final observation"


def play(collector: Collector, policy, toy: Any, turns: int) -> tuple[Snapshot, float]:
    """Return a rollout and the largest difference between told and replayed log-probabilities."""
    snapshot = collector.play(policy, turns)
    streams = toy.encode(snapshot, toy.vocabulary(snapshot))
    batch = streams.batch(streams.windows(16))
    with torch.no_grad():
        difference = replay(policy, batch) - batch.behaviour_logps
    return snapshot, float(difference[batch.mask].abs().max())


@pytest.mark.parametrize("toy", [Slates(), Grid()], ids=lambda toy: toy.name)
def test_each_rollout_holds_all_that_its_policy_saw(toy: Any) -> None:
    """Also after the policy has learned: neither old states nor an untold history reach it."""
    policy = make("transformer", toy)
    collector = Collector(toy, toy.vocabulary(None), toy.environment(4, 0, {}), window=16, seed=0)
    ids: set[str] = set()
    for _ in range(3):
        snapshot, error = play(collector, policy, toy, 7)
        assert error < 1e-9
        episodes = snapshot.names.episodes
        steps = zip(snapshot.decisions.episode, snapshot.decisions.step, strict=True)
        new = {f"{episodes[int(e)]}/{int(s)}" for e, s in steps}
        assert len(new) == 28
        assert not new & ids, "episodes go on from rollout to rollout"
        ids |= new
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter += 0.1 * torch.randn_like(parameter)


def test_late_feedback_is_about_the_decision_it_names() -> None:
    """Slates' clicks come one decision late and name the unit; the first has none, nor a reward."""
    toy = Slates()
    policy = make("popularity", toy)
    collector = Collector(toy, toy.vocabulary(None), toy.environment(2, 0, {}), window=16, seed=0)
    snapshot = collector.play(policy, 9)
    feedback, decisions = snapshot.feedback, snapshot.decisions
    assert len(feedback.seq) > 0
    names = snapshot.names.units
    for row in range(len(feedback.seq)):
        about = int(feedback.decision[row])
        unit = int(decisions.units[decisions.offsets[about] + int(feedback.unit[row])])
        assert names[unit] in ("item-0", "item-1")
        between = (decisions.seq > decisions.seq[about]) & (decisions.seq < feedback.seq[row])
        own = between & (decisions.subject == decisions.subject[about])
        assert int(own.sum()) == 1
    assert set(feedback.kind.tolist()) == {0}, "clicks, and no reward nobody asked for"


class Told(Slates):
    """People who answer about any of their decisions, in any order."""

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Any:
        return Chatty(n)


class Chatty(Walk):
    def __init__(self, n: int) -> None:
        super().__init__(n, AutoresetMode.SAME_STEP)

    def step(self, actions: np.ndarray) -> Any:
        self.t += 1
        said = [
            {"kind": "click", "decision_age": 2, "unit": 1, "value": False},
            {"kind": "comment", "decision_age": 0, "unit": -1, "value": "well"},
        ]
        never = np.zeros(self.num_envs, bool)
        info = {"feedback": [list(said) for _ in range(self.num_envs)]}
        return self._observe(), np.zeros(self.num_envs), never, never, info


def test_feedback_about_decisions_before_the_rollout_is_dropped() -> None:
    toy = Told()
    collector = Collector(toy, toy.vocabulary(None), toy.environment(1, 0, {}), window=16, seed=0)
    for _ in range(2):
        snapshot = collector.play(make("popularity", toy), 5)
        kinds = snapshot.feedback.kind.tolist()
        assert (kinds.count(0), kinds.count(2)) == (3, 5)
        assert snapshot.feedback.decision.tolist() == [0, 1, 0, 2, 1, 3, 2, 4]


def test_without_feedback_the_reward_is_what_is_recorded() -> None:
    toy = Grid()
    collector = Collector(
        toy, toy.vocabulary(None), Walk(2, AutoresetMode.SAME_STEP), window=16, seed=0
    )
    snapshot = collector.play(make("popularity", toy), 6)
    assert len(snapshot.feedback.seq) == len(snapshot.decisions.seq) == 12
    assert set(snapshot.feedback.unit.tolist()) == {-1}


def test_the_version_stands_in_every_decision() -> None:
    toy = Grid()
    collector = Collector(toy, toy.vocabulary(None), toy.environment(2, 0, {}), window=16, seed=0)
    snapshot = collector.play(make("popularity", toy), 3, version="0007")
    assert list(snapshot.names.policies) == ["0007"]
