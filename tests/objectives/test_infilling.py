from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from heedful.checks import random_batch
from heedful.objectives import Loss, infill, masked_unit, next_unit
from heedful.policy import Batch, Channel, Choices, EventKind, Recurrent, Schema, Transformer
from heedful.policy.network import Network
from tests.policy.batches import slates_as_batch

SCHEMA = Schema(40, channels=(Channel("click", binary=True),), features=2)
LOGITS = frozenset({"logits"})


class Chosen:
    """Stands in for a generator: hides the slots that are marked."""

    def __init__(self, hidden: list[list[int]]) -> None:
        self.hidden = np.array(hidden, dtype=bool)

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.where(self.hidden, 0.0, 1.0).reshape(shape)


def streams() -> Batch:
    """Two streams of four units each, in one decision each, with nothing forbidden."""
    batch = slates_as_batch(SCHEMA, torch.tensor([[11, 12, 13, 14], [21, 22, 23, 24]]))
    channel = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 1, 1, 0]])
    events = replace(batch.events, channel=channel, value=channel * 0.5)
    return replace(batch, events=events, choices=Choices.everything(SCHEMA.size, 2, 4))


def network(kind: type[Network] = Recurrent, **options: int) -> Network:
    torch.manual_seed(0)
    made = kind(SCHEMA, width=8, **options).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_a_gap_is_asked_for_behind_the_row_between_its_neighbours() -> None:
    hidden = [[0, 1, 0, 0], [1, 0, 1, 0]]
    found = infill(streams(), 0.5, Chosen(hidden), keep=True)  # type: ignore[arg-type]
    start, unit, pad = int(EventKind.START), int(EventKind.UNIT), int(EventKind.PAD)
    assert found.events.kind.tolist() == [
        [start, unit, unit, unit, unit, start, unit, pad, pad],
        [start, unit, unit, unit, unit, start, unit, start, unit],
    ]
    assert found.events.unit.tolist() == [
        [-1, 11, -1, 13, 14, 13, 11, -1, -1],
        [-1, -1, 22, -1, 24, 22, -1, 24, 22],
    ]
    assert found.events.channel.tolist() == [
        [0, 1, 0, 0, 0, 0, 1, 0, 0],  # the answers to 12, 21 and 23 are gone with them
        [0, 0, 1, 0, 0, 1, 0, 0, 1],
    ]
    assert found.events.lengths.tolist() == [7, 9]
    assert found.gaps is not None
    assert found.gaps.tolist() == [[False] * 4 + [True, False], [False] * 4 + [True, True]]
    assert found.units.tolist() == [[11, 12, 13, 14, 12, 0], [21, 22, 23, 24, 21, 23]]
    assert found.positions[:, 4:].tolist() == [[6, 0], [6, 8]]
    assert torch.equal(found.mask, torch.cat([torch.ones(2, 4).bool(), found.gaps[:, 4:]], dim=1))
    assert not found.both_ways


def test_alone_the_last_unit_is_asked_for_as_well() -> None:
    hidden = [[0, 1, 0, 0], [0, 0, 0, 1]]
    found = infill(streams(), 0.5, Chosen(hidden), keep=False)  # type: ignore[arg-type]
    assert found.units.tolist() == [[0, 0, 0, 14, 12], [0, 0, 0, 24, 24]]
    assert found.mask.tolist() == [[False] * 3 + [True] * 2, [False] * 3 + [True] * 2]
    short = streams()
    short = replace(short, events=replace(short.events, lengths=short.events.lengths - 1))
    found = infill(short, 0.5, Chosen(hidden), keep=False)  # type: ignore[arg-type]
    assert found.units.tolist() == [[0, 0, 0, 14, 12], [0, 0, 0, 24, 0]], "it has no right side"


def test_in_place_it_is_asked_for_where_it_stood() -> None:
    hidden = [[0, 1, 0, 0], [1, 0, 1, 0]]
    found = infill(streams(), 0.5, Chosen(hidden), keep=False, in_place=True)  # type: ignore[arg-type]
    assert found.events.unit.tolist() == [[-1, 11, -1, 13, 14], [-1, -1, 22, -1, 24]]
    assert found.positions[:, 4:][found.mask[:, 4:]].tolist() == [2, 1, 3]
    assert found.both_ways


def test_what_has_no_weight_is_never_hidden() -> None:
    batch = streams()
    weights = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    batch = batch.filled(weights=weights)
    found = infill(batch, 0.5, Chosen([[1] * 4] * 2), keep=False)  # type: ignore[arg-type]
    assert found.units.tolist() == [[0, 0, 13, 0, 11, 13], [0, 0, 0, 0, 0, 0]]


def test_a_gap_knows_what_was_allowed_and_not_what_was_forbidden() -> None:
    batch = streams()
    restricted = torch.tensor([[False, True, False, False], [False] * 4])
    choices = Choices(
        SCHEMA.size,
        (2, 4),
        allowed=torch.tensor([[0, 12, 1, 2], [0, 15, 0, 3], [1, 7, 0, 4]]),
        forbidden=torch.tensor([[0, 12, 2, 4]]),
        restricted=restricted,
    )
    batch = replace(batch, choices=choices)
    found = infill(batch, 0.5, Chosen([[0, 1, 0, 0], [0, 1, 0, 0]]), keep=True)  # type: ignore[arg-type]
    possible = found.choices.mask(found.gaps)
    assert possible is not None
    assert torch.nonzero(possible[0]).flatten().tolist() == [12, 15]
    assert bool(possible[1].all())


def test_nothing_hidden_changes_nothing() -> None:
    batch, policy = random_batch(SCHEMA), network()
    found = infill(batch, 0.0, np.random.default_rng(0), keep=True)
    need = frozenset({"logps"})
    before, after = policy.forward(batch, need).logps, policy.forward(found, need).logps
    assert before is not None
    assert after is not None
    learned = batch.mask & (batch.weights > 0)
    assert torch.equal(before[learned], after[:, : batch.mask.shape[1]][learned])
    assert found.gaps is not None
    assert not bool(found.gaps.any())


def renamed(batch: Batch, row: int, place: int, new: int) -> Batch:
    """Return the same streams with another unit at an event, and in what speaks of it."""
    unit, kind = batch.events.unit.clone(), batch.events.kind[row]
    speaks = (kind != EventKind.UNIT) & (unit[row] == unit[row, place])
    unit[row, place] = new
    unit[row, speaks] = new
    return replace(batch, events=replace(batch.events, unit=unit))


@pytest.mark.parametrize(
    ("policy", "in_place"),
    [
        (network(), False),
        (network(Transformer, layers=2), False),
        (network(Transformer, layers=2), True),
    ],
    ids=["recurrent", "transformer", "bidirectional"],
)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), keep=st.booleans())
def test_the_hidden_unit_does_not_change_its_prediction(
    policy: Network, in_place: bool, seed: int, keep: bool
) -> None:
    batch = random_batch(SCHEMA, seed=seed)

    def hidden_in(of: Batch) -> Batch:
        return infill(of, 0.4, np.random.default_rng(seed), keep=keep, in_place=in_place)

    found = hidden_in(batch)
    before = policy.forward(found, LOGITS).logits
    width = batch.mask.shape[1]
    own = batch.positions + 1
    assert found.gaps is not None
    unnamed = sorted(set(range(SCHEMA.size)) - set(batch.events.unit.flatten().tolist()))
    for row, column in torch.nonzero(found.gaps).tolist():
        number = column - width
        events = torch.nonzero(hidden_slots(batch, seed)[row]).flatten()
        place = int(own[row, events[number]])
        other = hidden_in(renamed(batch, row, place, unnamed[0]))
        after = policy.forward(other, LOGITS).logits
        torch.testing.assert_close(after, before, rtol=0, atol=0)


def hidden_slots(batch: Batch, seed: int) -> torch.Tensor:
    """Return the slots that share 0.4 and ``seed`` hide, bool [B, T]."""
    drawn = torch.from_numpy(np.random.default_rng(seed).random(tuple(batch.units.shape)) < 0.4)
    return drawn & batch.mask & (batch.positions + 1 < batch.events.lengths[:, None])


def test_a_visible_unit_does_change_it() -> None:
    policy, batch = network(), streams()
    chosen = Chosen([[0, 1, 0, 0], [0, 1, 0, 0]])
    before = policy.forward(infill(batch, 0.5, chosen, keep=False), LOGITS).logits  # type: ignore[arg-type]
    for place in (1, 3, 4):  # left and right, near and far
        other = renamed(batch, 0, place, 30)
        found = infill(other, 0.5, chosen, keep=False)  # type: ignore[arg-type]
        after = policy.forward(found, LOGITS).logits
        gap_of_row_0 = 1
        assert not torch.allclose(before[gap_of_row_0], after[gap_of_row_0])


def loss_of(policy: Network, batch: Batch) -> Loss:
    outputs = policy.forward(batch, frozenset({"logps", "feedback"}))
    loss = next_unit(outputs, batch, channels=SCHEMA.channels, feedback_weight=0.5)
    return loss.plus(masked_unit(outputs, batch))


def test_next_and_hidden_units_are_each_a_cross_entropy() -> None:
    policy = network()
    batch = infill(random_batch(SCHEMA), 0.4, np.random.default_rng(1), keep=True)
    outputs = policy.forward(batch, frozenset({"logps", "logits"}))
    each = functional.cross_entropy(outputs.logits, batch.units[batch.mask], reduction="none")
    each = each * batch.weights[batch.mask]
    assert batch.gaps is not None
    gaps = batch.gaps[batch.mask]
    assert 0 < int(gaps.sum()) < len(gaps)
    for loss, slots in (
        (masked_unit(outputs, batch), gaps),
        (next_unit(outputs, batch, channels=()), ~gaps),
    ):
        torch.testing.assert_close(loss.value, each[slots].sum(), rtol=1e-9, atol=1e-9)
        weight = batch.weights[batch.mask][slots]
        assert float(loss.count) == pytest.approx(float(weight.sum()))


@pytest.mark.parametrize("micro_batch", [1, 2])
@pytest.mark.parametrize("in_place", [False, True])
def test_micro_batches_change_nothing(micro_batch: int, in_place: bool) -> None:
    policy = network(Transformer, layers=1)
    batch = infill(
        random_batch(SCHEMA), 0.4, np.random.default_rng(1), keep=True, in_place=in_place
    )

    def gradient(parts: list[Batch]) -> torch.Tensor:
        policy.zero_grad()
        losses = [loss_of(policy, part) for part in parts]
        torch.stack([loss.value for loss in losses]).sum().backward()
        counts = sum(float(loss.count) for loss in losses)
        found = [p.grad.flatten() for p in policy.parameters() if p.grad is not None]
        return torch.cat(found) / counts

    whole, parts = gradient([batch]), gradient(batch.split(micro_batch))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_what_is_shown_is_per_unit_asked_for() -> None:
    policy = network()
    batch = infill(random_batch(SCHEMA), 0.4, np.random.default_rng(1), keep=True)
    loss, weights = loss_of(policy, batch), batch.weights * batch.mask
    shown = {name: float(value) / float(loss.count) for name, value in loss.metrics.items()}
    logps = policy.forward(batch, frozenset({"logps"})).logps
    assert logps is not None
    assert batch.gaps is not None
    logps = logps.detach()
    every = float(-(logps * weights).sum() / weights.sum())
    assert shown["nll"] == pytest.approx(every)
    hidden = weights * batch.gaps
    assert shown["hidden"] == pytest.approx(float(hidden.sum() / weights.sum()))
    per_gap = float(-(logps * hidden).sum() / hidden.sum())
    assert shown["masked_nll"] / shown["hidden"] == pytest.approx(per_gap)


def test_without_a_gap_nothing_is_lost() -> None:
    batch, policy = random_batch(SCHEMA), network()
    loss = masked_unit(policy.forward(batch, frozenset({"logps"})), batch)
    assert float(loss.value.detach()) == float(loss.count) == 0.0


def test_one_way_networks_say_that_they_cannot_read_the_other() -> None:
    batch = infill(streams(), 0.5, np.random.default_rng(0), keep=False, in_place=True)
    with pytest.raises(ValueError, match=r"bidirectional = false, or policy\.kind"):
        network().forward(batch, LOGITS)


def test_both_ways_padding_is_not_read() -> None:
    policy = network(Transformer, layers=2)
    batch = infill(random_batch(SCHEMA), 0.4, np.random.default_rng(1), keep=False, in_place=True)
    whole = policy.forward(batch, LOGITS).logits
    noise = torch.arange(batch.events.kind.shape[1]) >= batch.events.lengths[:, None]
    assert bool(noise.any())
    unit = batch.events.unit.masked_fill(noise, 3)
    noisy = replace(batch, events=replace(batch.events, unit=unit))
    torch.testing.assert_close(policy.forward(noisy, LOGITS).logits, whole, rtol=0, atol=1e-12)
