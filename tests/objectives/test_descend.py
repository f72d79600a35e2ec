import itertools
import math

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.objectives import (
    NEEDS,
    RULES,
    Loss,
    Means,
    Optimiser,
    Plateau,
    Schedule,
    Sweep,
    descend,
    next_unit,
    prepare,
    reinforce,
)
from heedful.policy import Batch, Recurrent

BATCHES = [random_batch(EXAMPLE_SCHEMA, seed=seed) for seed in range(6)]


def network(double: bool = True) -> Recurrent:
    torch.manual_seed(0)
    made = Recurrent(EXAMPLE_SCHEMA, width=8).eval()
    return made.double() if double else made


def loss_of(policy: Recurrent):
    need = frozenset({"logps", "feedback"})
    return lambda b: next_unit(
        policy.forward(b, need), b, channels=EXAMPLE_SCHEMA.channels, feedback_weight=0.5
    )


def optimiser(policy: nn.Module, **options) -> Optimiser:
    schedule = Schedule(peak=0.01, steps=len(BATCHES), warmup=0.3, decay="cosine")
    return Optimiser(list(policy.parameters()), schedule, weight_decay=0.1, **options)


rules = pytest.mark.parametrize("rule", list(RULES))


def weights(policy: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


def trained(**options) -> tuple[torch.Tensor, list[dict[str, float]]]:
    policy, told = network(options.pop("double", True)), []
    descend(
        loss_of(policy),
        BATCHES,
        optimiser=optimiser(policy, **options),
        on_step=lambda _step, metrics: told.append(dict(metrics)),
    )
    return weights(policy), told


def test_the_loss_goes_down() -> None:
    policy = network()
    told: list[float] = []
    schedule = Schedule(peak=0.03, steps=40)
    descend(
        loss_of(policy),
        [BATCHES[0]] * 40,
        optimiser=Optimiser(list(policy.parameters()), schedule),
        on_step=lambda _step, metrics: told.append(metrics["nll"]),
    )
    assert told[-1] < 0.6 * told[0]


def test_the_same_seed_gives_the_same_bits() -> None:
    assert torch.equal(trained(double=False)[0], trained(double=False)[0])


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_micro_batches_change_nothing(micro_batch: int) -> None:
    whole, told = trained()
    parts, told_in_parts = trained(micro_batch=micro_batch)
    # Adam divides by the gradient's size: where that is 1e-12, rounding may show; elsewhere not.
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-8)
    for a, b in zip(told, told_in_parts, strict=True):
        assert a == pytest.approx(b, rel=1e-6)


def gradient_at_first_step(loss, policy: Recurrent, batch: Batch, **options) -> torch.Tensor:
    stopped = optimiser(policy, **options)
    found: list[torch.Tensor] = []

    def keep(count: float) -> dict[str, float]:
        parts = [p.grad / count for p in stopped.parameters if p.grad is not None]
        found.append(torch.cat([part.flatten() for part in parts]))
        return {}

    stopped.step = keep  # type: ignore[method-assign]
    descend(loss, [batch], optimiser=stopped)
    return found[0]


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_the_same_gradient_in_1_2_and_4_micro_batches(micro_batch: int) -> None:
    policy = network()
    batch = prepare(policy, [BATCHES[0]])[0]
    losses = [loss_of(policy), lambda b: reinforce(policy.forward(b, NEEDS), b, kl=0.1)]
    for loss in losses:
        whole = gradient_at_first_step(loss, policy, batch)
        parts = gradient_at_first_step(loss, policy, batch, micro_batch=micro_batch)
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_when_memory_runs_out_the_micro_batch_halves_and_the_gradient_stays() -> None:
    policy = network()
    plain, sizes = loss_of(policy), []

    def small_device(batch: Batch) -> Loss:
        sizes.append(len(batch))
        loss = plain(batch)
        if len(batch) > 1:
            (0.5 * loss.value).backward()  # what a failed pass has left behind must not count
            raise torch.OutOfMemoryError("too large")
        return loss

    whole = gradient_at_first_step(plain, policy, BATCHES[0])
    found = gradient_at_first_step(small_device, policy, BATCHES[0])
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
    assert sizes == [4, 2, 1, 1, 1, 1]


def test_when_one_stream_does_not_fit_there_is_nothing_to_halve() -> None:
    def no_device(batch: Batch) -> Loss:
        raise torch.OutOfMemoryError("too large")

    with pytest.raises(torch.OutOfMemoryError):
        descend(no_device, [BATCHES[0]], optimiser=optimiser(network()))


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    policy = network()
    steered, told = optimiser(policy), []
    before = weights(policy)
    plain = loss_of(policy)

    def broken(batch: Batch) -> Loss:
        loss = plain(batch)
        return Loss(loss.value * math.inf, loss.count)

    descend(broken, BATCHES[:1], optimiser=steered, on_step=lambda _, m: told.append(m))
    assert torch.equal(weights(policy), before)
    assert told[0]["skipped"] == 1.0
    descend(plain, BATCHES[1:2], optimiser=steered, on_step=lambda _, m: told.append(m))
    assert told[1]["skipped"] == 0.0
    moved = weights(policy)
    assert not torch.equal(moved, before)
    assert bool(torch.isfinite(moved).all())


@rules
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_written_down_and_taken_up_again_the_bits_are_the_same(stop: int, rule: str) -> None:
    whole, _ = trained(double=False, rule=rule)
    policy = network(double=False)
    first = optimiser(policy, rule=rule)
    descend(loss_of(policy), BATCHES[:stop], optimiser=first)
    kept = save({f"o.{k}": v for k, v in first.tensors().items()} | policy.state_dict())
    found = load(kept)
    again = network(double=False)
    again.load_state_dict({k: v for k, v in found.items() if not k.startswith("o.")})
    second = optimiser(again, rule=rule)
    second.restore({k.removeprefix("o."): v for k, v in found.items() if k.startswith("o.")})
    assert second.step_count == stop
    descend(loss_of(again), BATCHES[stop:], optimiser=second)
    assert torch.equal(weights(again), whole)


def test_the_gradient_is_bounded() -> None:
    policy = network()
    told: list[float] = []
    bounded = optimiser(policy, clip=1e-3)
    descend(
        loss_of(policy),
        BATCHES[:1],
        optimiser=bounded,
        on_step=lambda _, m: told.append(m["gradient_norm"]),
    )
    clipped = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
    assert told[0] > 1e-3, "what is shown is the norm before"
    assert float(clipped.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_only_matrices_decay() -> None:
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    steered = Optimiser([matrix, vector], Schedule(peak=0.1, steps=1), weight_decay=0.5)
    for parameter in (matrix, vector):
        parameter.grad = torch.zeros_like(parameter)
    steered.step(1.0)
    assert matrix.unique().tolist() == [pytest.approx(0.95)]
    assert vector.unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("decay", "rates"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.5]),
        ("cosine", [0.5, 1.0, 1.0, 0.5]),
    ],
)
def test_schedules(decay, rates: list[float]) -> None:
    schedule = Schedule(peak=1.0, steps=4, warmup=0.5, decay=decay)
    assert [schedule.rate(step) for step in range(4)] == pytest.approx(rates)
    assert schedule.rate(9) == pytest.approx(1.0 if decay == "constant" else 0.0)


def by_hand(rule: str, gradients: list[float], rate: float, decay: float) -> float:
    """Return where a weight of 1 ends, by the rules as they are published."""
    weight, mean, square = 1.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        if rule in ("adamw", "muon"):  # of muon, what is no hidden matrix
            weight -= rate * decay * weight
        else:
            gradient += decay * weight
        kept = 0.99 if rule in ("rmsprop", "muon") else 0.999
        square = kept * square + (1 - kept) * gradient**2
        if rule == "rmsprop":
            weight -= rate * gradient / (math.sqrt(square) + 1e-8)
        else:
            mean = 0.9 * mean + 0.1 * gradient
            size = math.sqrt(square / (1 - kept**step)) + 1e-8
            weight -= rate * mean / (1 - 0.9**step) / size
    return weight


@rules
def test_each_rule_is_what_it_says(rule: str) -> None:
    weight = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
    steered = Optimiser([weight], Schedule(peak=0.1, steps=9), rule=rule, weight_decay=0.5)
    gradients = [0.3, -0.2, 0.5, 0.1]
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
        steered.step(1.0)
    assert float(weight.detach()) == pytest.approx(by_hand(rule, gradients, 0.1, 0.5), rel=1e-9)


def test_a_rule_nobody_knows() -> None:
    with pytest.raises(ValueError, match="'sgd' is unknown: use one of adamw, adam, rmsprop"):
        optimiser(network(), rule="sgd")


def test_a_precision_nobody_knows() -> None:
    with pytest.raises(ValueError, match="'half' is unknown: use one of float32, bfloat16"):
        optimiser(network(), precision="half")


def test_in_bfloat16_parameters_and_loss_stay_what_they_are() -> None:
    plain, told = trained(double=False)
    moved, told_in_half = trained(double=False, precision="bfloat16")
    assert plain.dtype == moved.dtype == torch.float32
    assert not torch.equal(plain, moved)
    for a, b in zip(told, told_in_half, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=0.02)


def test_a_plateau_halves_the_rate_down_to_its_floor() -> None:
    plateau = Plateau(peak=0.8, steps=100, warmup=0.02, floor=0.25)
    assert plateau.rate(0) == pytest.approx(0.4)
    for loss, rate in ((3.0, 0.8), (2.0, 0.8), (2.0, 0.4), (1.0, 0.4), (1.5, 0.2)):
        plateau.look(loss)
        assert plateau.rate(50) == pytest.approx(rate)
        assert not plateau.converged
    plateau.look(1.2)
    assert plateau.converged
    assert plateau.rate(50) == pytest.approx(0.2)


def test_a_sweep_grows_by_the_same_factor() -> None:
    sweep = Sweep(low=1e-5, high=1.0, steps=11)
    rates = [sweep.rate(step) for step in range(11)]
    assert rates[0] == 1e-5
    assert rates[-1] == pytest.approx(1.0)
    assert {round(b / a, 9) for a, b in itertools.pairwise(rates)} == {round(10**0.5, 9)}


def test_losses_add_up() -> None:
    one = Loss(torch.tensor(1.0), torch.tensor(2.0), {"a": torch.tensor(3.0)})
    other = Loss(torch.tensor(4.0), torch.tensor(5.0), {"a": torch.tensor(1.0), "b": one.value})
    both = one.plus(other)
    assert (float(both.value), float(both.count)) == (5.0, 7.0)
    assert {name: float(value) for name, value in both.metrics.items()} == {"a": 4.0, "b": 1.0}
    assert set(one.metrics) == {"a"}


def test_the_means_of_a_pass_are_over_its_steps() -> None:
    means = Means()
    means(1, {"loss": 1.0, "count": 4.0})
    means(2, {"loss": 4.0, "count": 2.0})
    assert means.found() == {"loss": 2.5, "count": 3.0}
