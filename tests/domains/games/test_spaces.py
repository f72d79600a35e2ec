"""Spaces as rows of numbers."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from hypothesis import given
from hypothesis import strategies as st

from heedful.domains.games import Moves, Observations, SpaceError

LEAVES = {
    "box": spaces.Box(-2.0, 2.0, (2, 3), np.float32),
    "bytes": spaces.Box(0, 255, (3, 5, 2), np.uint8),
    "discrete": spaces.Discrete(4, start=-1),
    "counted": spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "binary": spaces.MultiBinary((2, 2)),
}
NESTED = spaces.Dict({"a": LEAVES["discrete"], "b": spaces.Tuple(list(LEAVES.values()))})


def batched(space, seed: int, n: int):
    """Return n samples, and the same as a vector environment gives them."""
    space.seed(seed)
    samples = [space.sample() for _ in range(n)]
    return samples, concatenate(space, samples, create_empty_array(space, n))


@pytest.mark.parametrize("space", [*LEAVES.values(), NESTED], ids=[*LEAVES, "nested"])
@given(seed=st.integers(0, 999))
def test_rows_of_a_vector_are_the_rows_of_its_members(space, seed: int) -> None:
    seen = Observations(space)
    samples, together = batched(space, seed, 3)
    assert batch_space(space, 3).contains(together)
    rows = seen.rows(together, 3)
    assert rows.shape == (3, seen.numbers)
    assert np.array_equal(rows, np.stack([seen.row(sample) for sample in samples]))
    assert not seen.outside(rows).any()
    assert seen.read(rows).shape == (3, seen.features)
    assert np.array_equal(rows, rows.astype(np.float32))
    if space is not NESTED and space is not LEAVES["bytes"]:
        flat = [spaces.flatten(space, sample) for sample in samples]
        assert np.array_equal(seen.read(rows), np.stack(flat).astype(np.float32))


def test_cases_are_indicators_or_for_tables_numbers() -> None:
    space = LEAVES["discrete"]
    as_indicators, as_numbers = Observations(space), Observations(space, one_hot=False)
    row = as_indicators.rows(np.array([1]), 1)
    assert row.tolist() == [[2.0]]
    assert as_indicators.read(row).tolist() == [[0.0, 0.0, 1.0, 0.0]]
    assert as_numbers.read(row).tolist() == [[2.0]]


def test_a_screen_is_read_with_channels_first_between_0_and_1() -> None:
    screen = np.zeros((1, 7, 5, 3), np.uint8)
    screen[0, 6, 4, 2] = 255
    screen[0, 6, 4, 0] = 51
    seen = Observations(spaces.Box(0, 255, (7, 5, 3), np.uint8))
    assert seen.image == (3, 7, 5)
    image = seen.read(seen.rows(screen, 1)).reshape(3, 7, 5)
    assert image[2, 6, 4] == 1.0
    assert image[0, 6, 4] == pytest.approx(0.2)
    assert image.sum() == pytest.approx(1.2)


def test_planes_of_a_board_stay_where_they_are() -> None:
    space = spaces.Box(0.0, 1.0, (2, 3, 3), np.float32)
    seen, plane = Observations(space), np.arange(18, dtype=np.float32).reshape(1, 2, 3, 3)
    assert seen.image == (2, 3, 3)
    assert np.array_equal(seen.read(seen.rows(plane, 1)), plane.reshape(1, 18))
    assert Observations(spaces.Box(0.0, 1.0, (4,))).image is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.5])
def test_what_is_no_number_or_outside_is_seen(value: float) -> None:
    for high in (2.0, np.inf):
        seen = Observations(spaces.Box(-np.inf, high, (2,), np.float32))
        outside = seen.outside(np.array([[0.0, value], [1.0, 2.0]], np.float32))
        assert outside.tolist() == [value != 2.5 or high == 2.0, False]


def test_moves_are_units_whatever_their_order() -> None:
    moves = Moves(spaces.MultiDiscrete([3, 2], start=[1, 0]))
    assert moves.units == ("0/1", "0/2", "0/3", "1/0", "1/1")
    assert moves.length == 2
    assert moves.values(["1/0", "0/3"]).tolist() == [3, 0]
    assert moves.numbered(np.array([[2, 3], [0, 4]])).tolist() == [[3, 0], [1, 1]]
    assert Moves(spaces.Discrete(3, start=5)).units == ("5", "6", "7")
    assert Moves(spaces.MultiBinary(2)).units == ("0/0", "0/1", "1/0", "1/1")


@pytest.mark.parametrize(
    "space",
    [spaces.Discrete(3, start=4), spaces.MultiDiscrete([2, 4]), spaces.MultiBinary((2, 2))],
    ids=str,
)
@given(seed=st.integers(0, 99))
def test_every_action_has_its_units_and_every_unit_its_action(space, seed: int) -> None:
    moves = Moves(space)
    space.seed(seed)
    action = space.sample()
    values = np.ravel(action)
    several = not isinstance(space, spaces.Discrete)
    units = [f"{k}/{value}" if several else str(value) for k, value in enumerate(values)]
    back = moves.native(moves.values(units)[None])[0]
    assert np.array_equal(back, action)
    assert back in space


def test_continuous_moves_are_cut_into_values_with_both_ends() -> None:
    space = spaces.Box(np.float32([-2.0, 0.0]), np.float32([2.0, 1.0]))
    moves = Moves(space, bins=5)
    assert moves.units[:5] == ("0/-2", "0/-1", "0/0", "0/1", "0/2")
    assert moves.units[5:] == ("1/0", "1/0.25", "1/0.5", "1/0.75", "1/1")
    actions = moves.native(moves.values(["1/0.25", "0/2"])[None])
    assert actions.tolist() == [[2.0, 0.25]]
    assert actions[0] in space
    every = moves.native(moves.numbered(np.array([[0, 5], [4, 9]])))
    assert every.tolist() == [[-2.0, 0.0], [2.0, 1.0]]


def test_moves_that_are_none_are_refused() -> None:
    moves = Moves(spaces.MultiDiscrete([3, 2]))
    with pytest.raises(ValueError, match="'2/0' is no move here; moves are 0/0, 0/1"):
        moves.values(["2/0", "1/0"])
    with pytest.raises(ValueError, match="two values for factor 0"):
        moves.values(["0/0", "0/1"])
    with pytest.raises(ValueError, match="no value for factor 1"):
        moves.values(["0/0"])


def test_masks_come_in_one_piece_or_in_one_a_factor() -> None:
    moves = Moves(spaces.MultiDiscrete([2, 3]))
    whole = np.array([[1, 0, 1, 1, 0], [1, 1, 0, 0, 1]], np.int8)
    apart = (whole[:, :2], whole[:, 2:])
    rows = np.empty(2, object)
    rows[:] = [(row[:2], row[2:]) for row in whole]
    for given_ in (whole, apart, rows):
        assert np.array_equal(moves.mask(given_, 2), whole.astype(bool))
    with pytest.raises(ValueError, match=r"shape \(2, 4\): give \(2, 5\)"):
        moves.mask(whole[:, :4], 2)


def test_spaces_without_a_number_of_numbers_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"Text.* have no fixed number of numbers"):
        Observations(spaces.Dict({"said": spaces.Text(5)}))
    with pytest.raises(SpaceError, match=r"Text.* cannot be counted"):
        Moves(spaces.Text(5))
    with pytest.raises(SpaceError, match=r"Box.* have no bounds to stay within.*RescaleAction"):
        Moves(spaces.Box(-np.inf, 1.0, (2,)))
