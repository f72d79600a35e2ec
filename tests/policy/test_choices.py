import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heedful.policy import Choices

V, B, T = 4, 3, 5
lines = st.lists(
    st.tuples(st.integers(0, B - 1), st.integers(0, V - 1), st.integers(0, T), st.integers(0, T)),
    max_size=12,
)
flags = st.lists(st.booleans(), min_size=B * T, max_size=B * T)


def table(rows: list[tuple[int, int, int, int]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 4)


def brute_force(allowed, forbidden, restricted) -> list[list[bool]]:
    def covers(spans, row: int, slot: int, unit: int) -> bool:
        return any(r == row and u == unit and a <= slot < b for r, u, a, b in spans)

    return [
        [
            (not restricted[row * T + slot] or covers(allowed, row, slot, unit))
            and not covers(forbidden, row, slot, unit)
            for unit in range(V)
        ]
        for row in range(B)
        for slot in range(T)
    ]


@given(allowed=lines, forbidden=lines, restricted=flags, wanted=flags)
def test_masks_equal_brute_force(allowed, forbidden, restricted, wanted) -> None:
    choices = Choices(
        V, (B, T), table(allowed), table(forbidden), torch.tensor(restricted).view(B, T)
    )
    expected = torch.tensor(brute_force(allowed, forbidden, restricted))
    assert torch.equal(choices.mask(), expected)
    slots = torch.tensor(wanted).view(B, T)
    assert torch.equal(choices.mask(slots), expected[slots.flatten()])
    logits = torch.zeros(B * T, V)
    assert torch.equal(choices.apply(logits) == 0, expected)


@given(allowed=lines, forbidden=lines, restricted=flags, order=st.permutations(range(B)))
def test_select_takes_rows_in_the_order_given(allowed, forbidden, restricted, order) -> None:
    choices = Choices(
        V,
        (B, T),
        table(allowed),
        table(forbidden),
        torch.tensor(restricted).view(B, T),
        repeat=torch.arange(B) > 0,
    )
    rows = torch.tensor(order[:2])
    picked = choices.select(rows)
    expected = choices.mask().view(B, T, V)[rows].view(-1, V)
    assert torch.equal(picked.mask(), expected)
    assert picked.repeat is not None
    assert picked.repeat.tolist() == [row > 0 for row in order[:2]]


def test_nothing_forbidden_needs_no_mask() -> None:
    logits = torch.randn(2, V)
    choices = Choices.everything(V, 2)
    assert choices.mask() is None
    assert choices.apply(logits) is logits


def test_drawn_units_are_forbidden_where_they_may_not_repeat() -> None:
    choices = Choices(V, (3, 1), repeat=torch.tensor([False, True, False]))
    after = choices.without(torch.tensor([2, 2, -1]))
    assert after.forbidden.tolist() == [[0, 2, 0, 1]]
    assert len(choices.forbidden) == 0, "choices are values"
    assert choices.without(torch.tensor([-1, -1, -1])) is choices


@pytest.mark.parametrize("repeat", [None, torch.tensor([False])])
def test_without_a_word_about_repeats_nothing_repeats(repeat) -> None:
    after = Choices(V, (1, 1), repeat=repeat).without(torch.tensor([1]))
    assert after.forbidden.tolist() == [[0, 1, 0, 1]]


@given(forbidden=lines, wanted=flags)
def test_what_no_slot_may_hold_equals_brute_force(forbidden, wanted) -> None:
    """It is found exactly where one span says it, and never where slots differ."""
    choices, slots = Choices(V, (B, T), forbidden=table(forbidden)), torch.tensor(wanted).view(B, T)
    possible = torch.tensor(brute_force([], forbidden, [False] * B * T))[slots.flatten()]
    found = choices.always_out(slots)
    if found is None:
        return
    expected = torch.ones(V, dtype=torch.bool)
    expected[found] = False
    assert torch.equal(possible, expected.expand_as(possible))


def test_one_span_a_row_is_enough_to_say_that_no_slot_may_hold_it() -> None:
    spans = [(row, unit, 0, T) for row in range(B) for unit in (1, 3)]
    slots = torch.ones(B, T, dtype=torch.bool)
    slots[1, 3:] = False
    found = Choices(V, (B, T), forbidden=table(spans)).always_out(slots)
    assert found is not None
    assert found.tolist() == [1, 3]
    short = [*spans[:-1], (B - 1, 3, 0, T - 1)]
    assert Choices(V, (B, T), forbidden=table(short)).always_out(slots) is None
    assert Choices(V, (B, T), forbidden=table(spans[:-1])).always_out(slots) is None
    twice = [*spans[:-1], spans[0]]
    assert Choices(V, (B, T), forbidden=table(twice)).always_out(slots) is None
