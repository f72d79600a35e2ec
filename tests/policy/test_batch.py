import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.policy import Channel, EventKind, Events, Outputs, Schema, outputs_from_logits, scatter


def test_a_schema_survives_json() -> None:
    assert Schema.from_dict(EXAMPLE_SCHEMA.to_dict()) == EXAMPLE_SCHEMA
    with pytest.raises(ValueError, match="integer size"):
        Schema.from_dict({**EXAMPLE_SCHEMA.to_dict(), "size": "7"})


@pytest.mark.parametrize(("value", "scaled"), [(1.0, 0.0), (3.0, 0.5), (9.0, 1.0), (-4.0, 0.0)])
def test_values_are_scaled_and_cut_off(value: float, scaled: float) -> None:
    assert Channel("rating", binary=False, low=1.0, high=5.0).scale(value) == scaled


def test_split_is_a_partition_in_order() -> None:
    batch = random_batch(EXAMPLE_SCHEMA, rows=5)
    parts = batch.split(2)
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part.units for part in parts]), batch.units)
    masks = torch.cat([part.choices.mask() for part in parts])
    assert torch.equal(masks, batch.choices.mask())


def test_select_keeps_what_was_filled_in() -> None:
    batch = random_batch(EXAMPLE_SCHEMA, rows=3)
    batch = batch.filled(advantages=torch.arange(3.0)[:, None].expand(batch.mask.shape))
    picked = batch.select(torch.tensor([2, 0]))
    assert picked.advantages is not None
    assert picked.advantages[:, 0].tolist() == [2.0, 0.0]
    assert picked.old_logps is None


def test_entropy_and_log_probability_of_a_choice() -> None:
    batch = random_batch(EXAMPLE_SCHEMA, rows=2)
    n_units = int(batch.mask.sum())
    even = batch.choices.apply(torch.zeros(n_units, 7), batch.mask)
    outputs = outputs_from_logits(even, batch, frozenset({"logps", "entropy"}), Outputs())
    n_possible = batch.choices.mask(batch.mask).sum(1).float()
    assert outputs.logps is not None
    assert outputs.entropy is not None
    torch.testing.assert_close(outputs.logps[batch.mask], -n_possible.log())
    torch.testing.assert_close(outputs.entropy[batch.mask], n_possible.log())
    assert outputs.logits is None


def test_scatter_puts_values_at_the_true_places() -> None:
    mask = torch.tensor([[True, False], [False, True]])
    assert scatter(torch.tensor([1.0, 2.0]), mask).tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert scatter(torch.ones(2, 3), mask).sum(-1).tolist() == [[3.0, 0.0], [0.0, 3.0]]


def test_events_of_units_skip_rows_without_one() -> None:
    events = Events.of_units(torch.tensor([4, -1]))
    assert events.lengths.tolist() == [1, 0]
    assert events.kind.tolist() == [[EventKind.UNIT], [EventKind.PAD]]
    assert len(Events.none(3, 2)) == 3


def test_split_keeps_the_rows_of_a_pair_together() -> None:
    batch = random_batch(EXAMPLE_SCHEMA, rows=7)
    number = torch.tensor([3, -1, 8, 3, -1, 8, -1])[:, None].expand(batch.mask.shape)
    paired = batch.filled(pairs=torch.where(batch.mask, number, -1))
    for rows, sizes in ((1, [2, 1, 2, 1, 1]), (2, [2, 1, 2, 2]), (3, [3, 3, 1]), (7, [7])):
        parts = paired.split(rows)
        assert [len(part) for part in parts] == sizes
        found = torch.cat([part.events.lengths for part in parts])
        assert torch.equal(found, batch.events.lengths[[0, 3, 1, 2, 5, 4, 6]])


def test_split_follows_pairs_from_row_to_row() -> None:
    batch = random_batch(EXAMPLE_SCHEMA, rows=6)
    pairs = torch.full(batch.mask.shape, -1)
    pairs[4, 0] = pairs[2, 0] = 0
    pairs[2, 1] = pairs[0, 0] = 1
    pairs[0, 1] = pairs[5, 0] = 2
    batch = batch.filled(pairs=pairs, mask=batch.mask | (pairs >= 0))
    assert [len(part) for part in batch.split(1)] == [4, 1, 1]
