"""Learning on policy, with the toys: replies, slates and moves through one trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.config import Interact
from heedful.loop.interact import Interaction, OnPolicy, Rollout, Scale, _Learning, interact
from heedful.loop.rollouts import Recorded
from heedful.loop.run import Run
from heedful.objectives.whole import Whole
from heedful.policy import Policy, Transformer, clone
from heedful.store import Snapshot
from tests.contract.toys import TOYS, Replies, Toy

OBJECTIVES: tuple[OnPolicy, ...] = ("ppo", "reinforce", "rloo", "grpo")
BASE = Interact(
    rounds=25,
    environments=48,
    group=4,
    epochs=4,
    batch=24,
    learning_rate=0.01,
    kl=0.01,
    cut_off=1.0,
)


def network(toy: Toy, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    schema = toy.schema(toy.vocabulary(Snapshot.of([])))
    return Transformer(schema, width=16, layers=1, heads=2).double().eval()


class Asked:
    """Listeners of whom ``group`` are asked the same, one after the other."""

    def __init__(self, inner: Any, group: int) -> None:
        self.inner, self.group = inner, group
        self.num_envs, self.metadata = inner.num_envs, inner.metadata

    def _alike(self, observation: Any) -> Any:
        self.inner._prompt = observation.repeat(self.group, 0)[: self.num_envs]
        return self.inner._prompt

    def _info(self) -> dict[str, Any]:
        return {"group": torch.arange(self.num_envs).div(self.group, rounding_mode="floor").numpy()}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.inner.__init__(self.num_envs, seed)
        observation, info = self.inner.reset()
        return self._alike(observation), {**info, **self._info()}

    def step(self, actions: Any) -> Any:
        observation, rewards, terminated, truncated, info = self.inner.step(actions)
        return self._alike(observation), rewards, terminated, truncated, {**info, **self._info()}

    def close(self) -> None: ...


def rollouts(toy: Toy, section: Interact, *, seed: int = 0, decisions: int = 1) -> Recorded:
    environment = toy.environment(section.environments, seed, {})  # type: ignore[attr-defined]
    if isinstance(toy, Replies):
        environment = Asked(environment, section.group)
    return Recorded(
        toy,
        toy.vocabulary(Snapshot.of([])),
        environment,
        decisions=decisions,
        window=32,
        gamma=section.gamma,
        seed=seed,
        fresh=isinstance(toy, Replies),
        reward=toy.reward,
    )


def learn(
    toy: Toy, section: Interact, folder: Path, objective: OnPolicy, **options: Any
) -> tuple[Interaction, Policy]:
    policy = network(toy)
    folder.mkdir(exist_ok=True)
    run = Run(folder, {})
    try:
        made = interact(
            policy,
            clone(policy),
            rollouts(toy, section, **options),
            section,
            run,
            objective=objective,
            seed=0,
            longest=toy.length,
        )
    finally:
        run.close()
    return made, policy


def worth(toy: Toy, policy: Policy) -> float:
    """Return the mean reward over eight rounds that nothing was learned from."""
    played = rollouts(toy, BASE, seed=7)
    return sum(played.play(policy, number).score for number in range(8)) / 8


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_replies_learn_what_pays(tmp_path: Path, objective: OnPolicy) -> None:
    toy = Replies()
    made, policy = learn(toy, BASE, tmp_path, objective)
    assert worth(toy, policy) > toy.good > worth(toy, network(toy))
    assert not made.collapse
    assert made.metrics["sampler_gap"] < 1e-9  # float64: who drew is who is replayed


@pytest.mark.parametrize(
    "toy", [toy for toy in TOYS if toy.name != "replies"], ids=lambda t: t.name
)
def test_slates_and_moves_go_through_the_same_trainer(tmp_path: Path, toy: Toy) -> None:
    section = BASE.model_copy(update={"gamma": 0.9, "entropy": 0.003, "environments": 8})
    section = section.model_copy(update={"rounds": 15, "epochs": 8, "batch": 8})
    before = rollouts(toy, section, decisions=8).play(network(toy), 0).score
    _, policy = learn(toy, section, tmp_path, "ppo", decisions=8)
    after = rollouts(toy, section, decisions=8, seed=7).play(policy, 0).score
    assert after > before + 0.1 * toy.most


def test_the_same_seed_gives_the_same_bits_and_a_stopped_run_goes_on_with_them(
    tmp_path: Path,
) -> None:
    section = BASE.model_copy(update={"rounds": 6, "save": 2})
    whole, again = (learn(Replies(), section, tmp_path / n, "ppo") for n in ("a", "b"))
    assert whole[0] == again[0]
    same(whole[1], again[1])

    class Stopped(Exception): ...

    def stop_in_the_fifth(self: Recorded, policy: Policy, number: int) -> Rollout:
        if number == 4:
            raise Stopped
        return play(self, policy, number)

    play = Recorded.play
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorded, "play", stop_in_the_fifth)
        with pytest.raises(Stopped):
            learn(Replies(), section, tmp_path / "c", "ppo")
    resumed = learn(Replies(), section, tmp_path / "c", "ppo")
    assert resumed[0] == whole[0]
    same(resumed[1], whole[1])
    for name in ("metrics.jsonl", "samples.jsonl"):
        one, other = ((tmp_path / run / name).read_text() for run in "ac")
        assert one == other
    assert '"decision": "' in one


def same(one: Policy, other: Policy) -> None:
    theirs = other.state_dict()  # type: ignore[attr-defined]
    for name, tensor in one.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(tensor, theirs[name]), name


def test_a_huge_step_collapses_and_the_last_good_state_is_put_back(tmp_path: Path) -> None:
    """A real collapse: with a step size of 1 the policy says one thing for ever."""
    toy = Replies()
    section = BASE.model_copy(
        update={"learning_rate": 1.0, "clip_high": 1e3, "kl": 0.0, "clip": 1e6, "rounds": 40}
    )
    made, policy = learn(toy, section, tmp_path, "reinforce")
    print(made)
    assert made.collapse
    assert made.metrics["collapsed"] == 1.0
    assert all(bool(torch.isfinite(p).all()) for p in policy.parameters())  # type: ignore[attr-defined]
    assert worth(toy, policy) >= worth(toy, network(toy)) - 0.1


def test_what_nobody_scored_moves_nothing(tmp_path: Path) -> None:
    """With no reward at all there is no step, and no KL term pulls either."""

    class Deaf(Replies):
        def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Any:
            made = super().environment(n, seed, options)
            step = made.step

            def silent(actions: Any) -> Any:
                *rest, _ = step(actions)
                return (*rest, {"feedback": [[] for _ in range(n)]})

            made.step = silent  # type: ignore[method-assign]
            return made

    section = BASE.model_copy(update={"rounds": 2})
    for objective in ("ppo", "grpo"):
        made, policy = learn(Deaf(), section, tmp_path / objective, objective)
        assert made.metrics["unscored"] == section.environments
        same(policy, network(Deaf()))


def test_dead_groups_are_counted_and_have_no_part(tmp_path: Path) -> None:
    """Whoever says the same four times to one asking learns nothing from it."""
    section = BASE.model_copy(update={"rounds": 1, "group": 1})
    made, policy = learn(Replies(), section, tmp_path, "rloo")
    assert (made.metrics["groups"], made.metrics["dead_groups"]) == (48.0, 48.0)
    same(policy, network(Replies()))


@pytest.mark.parametrize("objective", ["rloo", "grpo"])
def test_no_divergence_is_charged_to_a_group_that_is_dead(objective: OnPolicy) -> None:
    """C22: with the price in the reward, replies that are worth the same would still differ."""
    toy = Replies()
    section = BASE.model_copy(update={"kl": 0.3, "kl_in": "reward"})
    policy = network(toy)
    job = _Learning(policy, network(toy, 1), section, objective, 0, toy.length, lambda b: b)
    rollout = rollouts(toy, section).play(policy, 0)
    rewards = rollout.batch.rewards
    for alike, dead in ((torch.zeros_like(rewards), 12.0), (rewards, None)):
        seen = job.take_in(replace(rollout, batch=rollout.batch.filled(rewards=alike)))
        assert job.ready is not None
        assert job.ready.advantages is not None
        alive = job.ready.advantages != 0
        assert (not alive.any()) == (seen["dead_groups"] == dead)
        assert not (alive & (job.ready.weights == 0)).any()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_minibatch_in_1_2_and_4_parts_has_one_gradient_and_ratios_of_1(
    objective: OnPolicy,
) -> None:
    """C26 and C34, for the very losses that are descended, with every term in them."""
    toy = Replies()
    section = BASE.model_copy(
        update={"kl": 0.3, "kl_in": "loss", "entropy": 0.1, "value_clip": 0.2, "per": "units"}
    )
    policy, reference = network(toy), network(toy, 1)
    job = _Learning(policy, reference, section, objective, 0, toy.length, lambda batch: batch)
    seen = job.take_in(rollouts(toy, section).play(policy, 0))
    assert seen["sampler_gap"] < 1e-9
    assert job.ready is not None
    found = []
    for size in (len(job.ready), 24, 12):
        policy.zero_grad()
        count = 0.0
        for part in job.ready.split(size):
            loss = job.loss(part)
            if "ratio" in loss.metrics:
                assert abs(float(loss.metrics["ratio"] / loss.count) - 1.0) < 1e-12
            loss.value.backward()
            count += float(loss.count)
        found.append([p.grad.clone() / count for p in policy.parameters() if p.grad is not None])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


def test_rewards_have_mean_0_and_variance_1_on_what_the_first_policy_does() -> None:
    toy = Replies()
    batches = [rollouts(toy, BASE).play(network(toy), number).batch for number in range(3)]
    scale = Scale.of(batches)
    scaled = torch.cat([Whole(b).total(scale.apply(b).rewards.double()) for b in batches])
    assert abs(float(scaled.mean())) < 1e-6
    assert abs(float(scaled.std()) - 1.0) < 1e-6
    last = scale.apply(batches[0])
    inside = last.mask.clone()
    inside[torch.arange(len(last)), last.mask.sum(1) - 1] = False
    assert bool((last.rewards[inside] == 0).all()), "the reward stays on the last unit (C4)"
    alike = batches[0].filled(rewards=torch.zeros_like(batches[0].rewards))
    assert Scale.of([alike]) == Scale()


def test_a_run_may_end_when_it_is_good_enough(tmp_path: Path) -> None:
    toy, policy = Replies(), network(Replies())
    run = Run(tmp_path, {})
    made = interact(
        policy,
        clone(policy),
        rollouts(toy, BASE),
        BASE,
        run,
        objective="ppo",
        seed=0,
        enough=lambda metrics: metrics["score"] > 0.0,
    )
    run.close()
    assert made.metrics["round"] == 0.0
    same(policy, network(toy))


def test_the_policy_that_is_left_is_the_one_that_earned_most_and_not_the_last(
    tmp_path: Path,
) -> None:
    """C41: scored 0, 5, 1, 1, ..., the best is the one of the second round, after one update."""
    section = BASE.model_copy(update={"decay": "constant", "rounds": 5, "environments": 8})
    section = section.model_copy(update={"epochs": 1, "batch": 4, "fall": 0.0})
    played = rollouts(Replies(), section)

    class Scripted:
        def play(self, policy: Policy, number: int) -> Rollout:
            return replace(played.play(policy, 0), score=[0.0, 5.0, 1.0, 1.0, 1.0][number])

    found = []
    for name, changes in {"best": {}, "last": {"rounds": 1, "keep": "last"}}.items():
        policy = network(Replies())
        (tmp_path / name).mkdir()
        run = Run(tmp_path / name, {})
        changed = section.model_copy(update=changes)
        made = interact(policy, clone(policy), Scripted(), changed, run, objective="ppo", seed=0)
        run.close()
        found.append((made, policy))
    assert found[0][0].metrics["round"] == 1.0
    same(found[0][1], found[1][1])


def test_what_nobody_scored_is_not_the_best(tmp_path: Path) -> None:
    """The round after the best one is played by weights that nobody has judged."""
    section = BASE.model_copy(update={"rounds": 3, "environments": 8, "batch": 8, "epochs": 1})
    played = rollouts(Replies(), section)
    policies: list[Policy] = []

    class Scripted:
        def play(self, policy: Policy, number: int) -> Rollout:
            policies.append(clone(policy))
            return replace(played.play(policy, 0), score=[1.0, 2.0, float("nan")][number])

    policy, run = network(Replies()), Run(tmp_path, {})
    made = interact(policy, clone(policy), Scripted(), section, run, objective="ppo", seed=0)
    run.close()
    assert made.metrics["round"] == 1.0
    same(policy, policies[1])


def test_where_decisions_follow_one_another_returns_have_variance_1_and_the_mean_stays() -> None:
    """A mean taken off every step would pay for leaving early, or for never leaving."""
    toy = TOYS[-1]  # moves on a grid
    section = BASE.model_copy(update={"gamma": 0.9, "environments": 8})
    batches = [rollouts(toy, section, decisions=8).play(network(toy), n).batch for n in range(3)]
    scale = Scale.of(batches)
    assert scale.mean == 0.0
    scaled = [scale.apply(batch) for batch in batches]
    found = []
    for batch in scaled:
        for row in range(len(batch)):
            total, returns = 0.0, []
            for t in reversed(range(batch.mask.shape[1])):
                if not batch.mask[row, t]:
                    total = 0.0
                    continue
                total = float(batch.rewards[row, t]) + float(batch.discounts[row, t]) * total
                returns.append(total)
            found += returns
    assert torch.tensor(found).std() == pytest.approx(1.0, abs=1e-4)
    assert torch.tensor(found).mean().abs() > 0.1
