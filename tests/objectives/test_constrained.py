"""Constraints on bandits whose best policy within the limit is known by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from heedful.checks import check_objective
from heedful.objectives import (
    NEEDS,
    Alike,
    Bound,
    Gap,
    Lagrangian,
    Limit,
    Loss,
    Metrics,
    Optimiser,
    Schedule,
    descend,
    prepare,
    reinforce,
    weights_of_decisions,
)
from heedful.policy import Batch, Schema, TabularQ
from tests.policy.batches import slates_as_batch

# Three arms. Without a limit the first is best. With a mean cost of at most 0.4 it is the mixture
# of the first two that costs 0.4, one seventh of the first; a cost of 1 more would earn
# (1 - 0.6) / (1 - 0.3) more, which is its price.
REWARD = torch.tensor([1.0, 0.6, 0.2], dtype=torch.float64)
COST = torch.tensor([1.0, 0.3, 0.0], dtype=torch.float64)
LIMIT, BEST, PRICE = 0.4, 1 / 7 + 6 / 7 * 0.6, 0.4 / 0.7
BEHAVIOUR = torch.tensor([0.3, 0.4, 0.3], dtype=torch.float64)
STEPS = 20  # a pass

# Two groups, seven tenths of the people in the first. The first arm is best and leaves the second
# group with nothing; with means at most 0.2 apart it is a fifth of it and the rest of the second.
OF_GROUPS = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 0.8]], dtype=torch.float64)
SHARES = torch.tensor([0.7, 0.3], dtype=torch.float64)


def column(values: Tensor) -> Tensor:
    return values.double().reshape(-1, 1)


def arms() -> Batch:
    """Return every arm once, weighted by how often it is played: expectations without noise."""
    return slates_as_batch(Schema(3), torch.arange(3)[:, None]).filled(
        behaviour_logps=column(BEHAVIOUR.log()),
        weights=column(BEHAVIOUR),
        rewards=column(REWARD),
        measured=column(COST)[..., None],
    )


def arms_of_groups() -> Batch:
    """Return every arm once for each group."""
    return slates_as_batch(Schema(3), torch.arange(3).repeat(2)[:, None]).filled(
        behaviour_logps=column(BEHAVIOUR.log().repeat(2)),
        weights=column(SHARES[:, None] * BEHAVIOUR),
        rewards=column(OF_GROUPS),
        measured=torch.eye(2).double().repeat_interleave(3, 0)[:, None],
    )


def limit(bound: float, sign: int = 1, *, whole: bool = False) -> Limit:
    return Limit(name="cost", column=0, bound=bound, sign=sign, whole=whole)


def trained(
    batch: Batch, terms: Sequence[Bound | Gap], *, passes: int = 12
) -> tuple[Tensor, list[dict[str, float]]]:
    """Return the chances of the arms after reinforcement, and the prices of every step."""
    policy = TabularQ(Schema(3), states=4, look="unit").double().eval()
    kept, n_steps = Lagrangian(terms), passes * STEPS
    schedule = Schedule(peak=0.03, steps=n_steps, decay="linear")
    path = []

    def batches() -> Iterator[Batch]:
        for _ in range(n_steps):
            (ready,) = prepare(policy, [kept.charged(batch)])
            yield ready.filled(rewards=batch.rewards)

    def loss(batch: Batch) -> Loss:
        outputs = policy.forward(batch, NEEDS)
        assert outputs.logps is not None
        found = reinforce(outputs, batch, cap=10.0, value_weight=0.0)
        return Loss(found.value, found.count, {**found.metrics, **kept.seen(outputs.logps, batch)})

    def on_step(_: int, metrics: Metrics) -> None:
        kept.settle(metrics, share=1 / n_steps)
        path.append(kept.shown())

    descend(loss, batches(), optimiser=Optimiser([policy.q], schedule), on_step=on_step)
    return policy.q.detach()[0].softmax(0), path


def test_without_a_constraint_the_limit_is_broken() -> None:
    chances, path = trained(arms(), [])
    assert float(chances @ COST) > 0.9
    assert path[-1] == {}


def test_the_best_policy_within_the_limit_is_found_and_the_price_is_what_it_costs() -> None:
    chances, path = trained(arms(), [Bound(limit(LIMIT))])
    assert float(chances @ COST) == pytest.approx(LIMIT, abs=0.02)
    assert float(chances @ REWARD) == pytest.approx(BEST, abs=0.02)
    assert path[-1]["price_cost"] == pytest.approx(PRICE, abs=0.1)
    assert path[-1]["cost_cost"] == pytest.approx(float(chances @ COST), abs=0.01)
    assert path[-1]["limit_cost"] == LIMIT


def test_a_price_that_does_not_look_ahead_swings_past_the_optimum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("heedful.objectives.constrained.AHEAD", 0.0)
    chances, _ = trained(arms(), [Bound(limit(LIMIT))])
    assert float(chances @ COST) < LIMIT - 0.05
    assert float(chances @ REWARD) < BEST - 0.04


def test_at_least_is_the_same_upside_down() -> None:
    batch = arms()
    assert batch.measured is not None
    chances, path = trained(
        batch.filled(measured=1.0 - batch.measured), [Bound(limit(1.0 - LIMIT, -1))]
    )
    other, same = trained(arms(), [Bound(limit(LIMIT))])
    torch.testing.assert_close(chances, other)
    assert path[-1]["price_cost"] == pytest.approx(same[-1]["price_cost"])


def test_the_price_rises_while_the_limit_is_broken() -> None:
    _, path = trained(arms(), [Bound(limit(0.2))], passes=1)
    broken = [step["price_cost"] for step in path if step["cost_cost"] > 0.2]
    assert len(broken) > STEPS / 2
    assert broken[0] > 0
    assert broken[5] > broken[0]


def test_the_price_falls_to_nothing_where_the_limit_is_slack() -> None:
    chances, path = trained(arms(), [Bound(limit(1.0), price=0.5)])
    assert path[0]["price_cost"] < 0.5
    assert path[-1]["price_cost"] == 0.0
    assert float(chances[0]) > 0.9


def test_a_limit_that_cannot_be_kept_costs_no_more_than_the_highest_price() -> None:
    batch = arms()
    assert batch.measured is not None
    _, path = trained(batch.filled(measured=torch.ones_like(batch.measured)), [Bound(limit(0.1))])
    assert path[-1]["price_cost"] == 10.0


def test_groups_are_served_alike_and_no_more_is_given_up_than_that_takes() -> None:
    alike = Alike(name="equal", columns=(0, 1), within=0.2)
    free, _ = trained(arms_of_groups(), [])
    kept, path = trained(arms_of_groups(), [Gap(alike)], passes=15)
    means = [OF_GROUPS @ chances for chances in (free, kept)]
    assert float(means[0][0] - means[0][1]) > 0.8
    assert float(means[1][0] - means[1][1]) == pytest.approx(0.2, abs=0.03)
    assert float(SHARES @ means[1]) == pytest.approx(0.2 * 0.7 + 0.8 * 0.5, abs=0.02)
    assert path[-1]["cost_equal"] == pytest.approx(0.2, abs=0.03)
    assert path[-1]["price_equal"] > 0.1


def slates(chances: Tensor) -> Batch:
    """Return every slate of two of three arms, drawn without replacement from ``chances``."""
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    h = [[chances[a], chances[b] / (1 - chances[a])] for a, b in pairs]
    logged = torch.tensor(h, dtype=torch.float64)
    units = torch.tensor(pairs)
    return slates_as_batch(Schema(3), units).filled(
        behaviour_logps=logged.log(),
        weights=logged.prod(1, keepdim=True).expand(-1, 2).clone(),
        measured=COST[units][..., None],
        rewards=torch.zeros_like(logged),
    )


def test_what_is_seen_is_the_cost_of_another_policy_than_the_logs() -> None:
    policy = TabularQ(Schema(3), states=4, look="unit").double()
    policy.q.data[:] = torch.tensor([2.0, 0.0, -1.0])
    pi = policy.q.detach()[0].softmax(0)
    logged, own = slates(BEHAVIOUR), slates(pi)
    logps = policy.forward(logged, frozenset({"logps"})).logps
    assert logps is not None
    torch.testing.assert_close(logps, own.behaviour_logps)
    assert logged.measured is not None
    whole = torch.zeros_like(logged.measured)  # one of the decision: n-fold at its last unit
    whole[:, -1] = logged.measured.sum(1)
    true = float((own.weights[:, 0] * logged.measured.mean((1, 2))).sum())
    exact = Bound(limit(0.0, whole=True)).seen(logps, logged.filled(measured=whole))
    assert float(exact[0] / exact[1]) == pytest.approx(true, abs=1e-12)
    # Unit by unit: the second is what the policy would choose after what the *log* chose first.
    first_order = Bound(limit(0.0)).seen(logps, logged)
    after = sum(
        float(BEHAVIOUR[a] * pi[b] / (1 - pi[a]) * COST[b])
        for a in range(3)
        for b in range(3)
        if a != b
    )
    expected = (float(pi @ COST) + after) / 2
    assert float(first_order[0] / first_order[1]) == pytest.approx(expected, abs=1e-12)
    assert expected != pytest.approx(true, abs=0.01)


def test_a_weight_is_capped_and_nothing_unknown_counts() -> None:
    batch = arms().filled(
        behaviour_logps=torch.tensor([[-9.0], [float("nan")], [-1.0]], dtype=torch.float64),
        weights=torch.ones(3, 1),
    )
    weights = weights_of_decisions(torch.zeros(3, 1), batch, whole=False)
    assert weights[:, 0].tolist() == pytest.approx([20.0, 0.0, 2.718281828])


def test_a_decision_is_charged_as_a_whole_whatever_its_length() -> None:
    units = torch.tensor([[0, 1], [1, 2]])
    batch = slates_as_batch(Schema(3), units).filled(
        measured=COST[units][..., None], rewards=torch.zeros(2, 2).double()
    )
    short = batch.filled(mask=torch.tensor([[True, True], [True, False]]))
    kept = Lagrangian([Bound(limit(0.25), price=2.0)], units=1.5)
    charged = -kept.charged(short).rewards
    torch.testing.assert_close(
        charged.sum(1), 1.5 * 2.0 * torch.tensor([0.65 - 0.25, 0.3 - 0.25]).double()
    )


def test_a_charge_spares_what_others_did() -> None:
    batch = arms()
    unknown = batch.filled(behaviour_logps=torch.full_like(batch.behaviour_logps, torch.nan))
    kept = Lagrangian([Bound(limit(0.0), price=1.0)])
    assert torch.equal(kept.charged(unknown).rewards, batch.rewards)
    assert not torch.equal(kept.charged(batch).rewards, batch.rewards)


def test_what_is_written_down_and_taken_up_goes_on_the_same() -> None:
    def fresh() -> Lagrangian:
        alike = Alike(name="equal", columns=(0, 1), within=0.1)
        return Lagrangian([Bound(limit(0.2)), Gap(alike)])

    batch, logps = arms_of_groups(), torch.full((6, 1), -1.0)
    first = fresh()

    def step(kept: Lagrangian) -> None:
        sums = {name: float(value) for name, value in kept.seen(logps, batch).items()}
        assert kept.settle({**sums, "loss": 1.0}, share=0.1).keys() >= {"loss", "price_cost"}

    step(first)
    second = fresh()
    second.restore(first.tensors())
    step(first)
    step(second)
    assert first.shown() == second.shown()
    assert torch.equal(first.charged(batch).rewards, second.charged(batch).rewards)
    assert not torch.equal(fresh().charged(batch).rewards, second.charged(batch).rewards)


def test_sums_add_up_over_micro_batches() -> None:
    def loss(outputs: object, batch: Batch) -> Loss:
        measured = torch.linspace(0, 1, batch.mask.numel()).reshape(*batch.mask.shape, 1)
        assert outputs.logps is not None  # type: ignore[attr-defined]
        found = reinforce(outputs, batch)  # type: ignore[arg-type]
        seen = Lagrangian([Bound(limit(0.5))]).seen(
            outputs.logps,  # type: ignore[attr-defined]
            batch.filled(measured=measured.double()),
        )
        return Loss(found.value, found.count, {**found.metrics, **seen})

    check_objective(loss, NEEDS)  # type: ignore[arg-type]
