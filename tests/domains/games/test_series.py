"""Series before they are imported: by hand, and blind to the future."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.domains.games.series import lags, resample, rolling, so_far

NAN = np.nan


def same(found: np.ndarray, expected: object) -> None:
    np.testing.assert_array_equal(found, np.asarray(expected, float))


def test_resampling_by_hand() -> None:
    series = ["b", "a", "a", "a", "b"]
    time, values = [10.0, 0.5, 1.0, 3.5, 10.5], [7.0, 1.0, 3.0, NAN, 9.0]
    found = resample(series, time, values, step=1.0)
    assert found.series.tolist() == ["a", "a", "a", "a", "b", "b"]
    same(found.time, [1, 2, 3, 4, 10, 11])
    same(found.values, [3, 3, 3, 3, 7, 9])
    same(resample(series, time, values, step=1.0, how="mean").values, [2, NAN, NAN, NAN, 7, 9])
    same(resample(series, time, values, step=1.0, how="sum").values, [4, 0, 0, 0, 7, 9])
    late = resample(["a", "a", "b"], [0.0, 1.0, 0.0], [NAN, 2.0, NAN], step=1.0)
    same(late.values, [NAN, 2, NAN])  # nothing of "a" is known of "b"
    assert len(resample([], [], [], step=1.0).time) == 0


def test_lags_and_windows_by_hand() -> None:
    series, values = ["a", "b", "a", "a", "b", "a"], [1.0, 10.0, 2.0, NAN, 20.0, 4.0]
    same(lags(series, values, [1, 3])[:, 0], [NAN, NAN, 1, 2, 10, NAN])
    same(lags(series, values, [1, 3])[:, 1], [NAN, NAN, NAN, NAN, NAN, 1])
    same(rolling(series, values, 2), [NAN, NAN, 1, 1.5, 10, 2])
    same(rolling(series, values, 2, how="sum"), [0, 0, 1, 3, 10, 2])
    same(rolling(series, values, 2, how="count"), [0, 0, 1, 2, 1, 1])


def test_players_so_far_by_hand() -> None:
    players = ["ann", "bob", "ann", "ann", "bob", "ann"]
    match, won = [3.0, 1.0, 1.0, 2.0, 2.0, 3.0], [1.0, 0.0, 1.0, 0.0, 1.0, NAN]
    found = so_far(players, match, won)
    same(found.count, [2, 0, 0, 1, 1, 2])
    same(found.mean, [0.5, NAN, NAN, 1, 0, 0.5])
    same(found.deviation, [0.5, NAN, NAN, 0, 0, 0.5])
    same(found.last, [0, NAN, NAN, 1, 0, 0])


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(ValueError, match="below 1, which would show a row its own future"):
        lags(["a"], [1.0], [0])
    with pytest.raises(ValueError, match="values: expected 2 numbers"):
        rolling(["a", "a"], [1.0], 2)
    with pytest.raises(ValueError, match="step: expected a number above 0"):
        resample(["a"], [1.0], [1.0], step=0.0)
    with pytest.raises(ValueError, match="time: row 1 has none"):
        so_far(["a", "a"], [1.0, NAN], [1.0, 2.0])


WAYS: list[Callable[[list[int], np.ndarray, np.ndarray], np.ndarray]] = [
    lambda player, time, values: lags(player, values, [1, 2, 5]),
    lambda player, time, values: rolling(player, values, 3)[:, None],
    lambda player, time, values: np.stack(
        [getattr(so_far(player, time, values), name) for name in ("count", "mean", "deviation")], 1
    ),
    lambda player, time, values: so_far(player, time, values).last[:, None],
]


@pytest.mark.parametrize("way", WAYS)
@given(st.data())
def test_the_future_is_not_seen(way: Callable[..., np.ndarray], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 30))
    number = st.floats(-100, 100, allow_nan=False) | st.just(NAN)
    player = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    time = np.sort(data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))).astype(float)
    values = np.array(data.draw(st.lists(number, min_size=n, max_size=n)))
    cut = data.draw(st.integers(0, n - 1))
    changed = values.copy()
    later = np.arange(n) >= cut  # the row itself is part of its future
    changed[later] = data.draw(number)
    before, after = way(player, time, values)[: cut + 1], way(player, time, changed)[: cut + 1]
    assert before.tobytes() == after.tobytes()  # to the bit


@given(st.data())
def test_a_grid_does_not_see_later_rows(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 30))
    time = np.sort(data.draw(st.lists(st.integers(0, 50), min_size=n, max_size=n))) / 4
    player = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    values = np.array(data.draw(st.lists(st.floats(-9, 9), min_size=n, max_size=n)))
    until = float(data.draw(st.integers(0, 13)))
    early = time <= until
    for how in ("last", "mean", "sum"):
        all_of = resample(player, time, values, step=1.0, how=how)
        kept = [p for p, e in zip(player, early, strict=True) if e]
        part = resample(kept, time[early], values[early], step=1.0, how=how)
        known = {(s, t): v for s, t, v in zip(part.series, part.time, part.values, strict=True)}
        for s, t, v in zip(all_of.series, all_of.time, all_of.values, strict=True):
            if t <= until and (s, t) in known:
                np.testing.assert_array_equal(known[s, t], v)


def test_players_agree_with_a_loop() -> None:
    rng = np.random.default_rng(0)
    n = 400
    player, time = rng.integers(0, 7, n), np.sort(rng.integers(0, 60, n)).astype(float)
    values = np.where(rng.random(n) < 0.1, NAN, rng.normal(size=n))
    found = so_far(player, time, values)
    for row in range(n):
        past = values[(player == player[row]) & (time < time[row])]
        past = past[~np.isnan(past)]
        assert found.count[row] == len(past)
        if len(past):
            assert found.mean[row] == pytest.approx(past.mean())
            assert found.deviation[row] == pytest.approx(past.std(), abs=1e-7)
            assert found.last[row] == past[-1]
