"""Series of numbers before they are imported: resampled, lagged, in windows, counted so far.

For observations that a game does not have but a player does: what the last five moves earned, how
often this player has won. Every function takes columns, one number a row, and looks at the past
alone: what stands in a row follows from rows before it, to the bit, whatever comes later
(tests/domains/games/test_series.py changes the future and compares). Missing numbers are NaN, and
so is what nothing is known of.

Rows of a series stand in order of time; series may stand one after the other, or mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = Sequence[Any] | npt.NDArray[Any]
"""Which series, player or match each row belongs to: texts or numbers, [n]."""


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Series at moments that are a fixed step apart.

    Attributes:
        series: which of the keys each row is of, [m].
        time: [m], ascending within a series.
        values: [m], NaN where nothing was known yet.
    """

    series: npt.NDArray[Any]
    time: Floats
    values: Floats


def resample(
    series: Keys,
    time: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    step: float,
    how: Literal["last", "mean", "sum"] = "last",
) -> Resampled:
    """Return series at multiples of ``step``, from the first not before their first row.

    A moment t speaks of the rows in (t - step, t]. "last" is the last known number up to t, also
    where nothing happened since; "mean" and "sum" are over those rows, and where there are none
    NaN and 0. Costs O(n log n + m) for n rows and m moments.

    Args:
        series: [n].
        time: [n], in any unit.
        values: [n].
        step: between two moments, in the unit of time; above 0.
        how: what a moment says of the rows in it.

    Raises:
        ValueError: the lengths differ, a time is no finite number, or the step is not above 0.

    >>> found = resample(["a", "a", "a"], [0.2, 0.4, 2.9], [1.0, 3.0, 5.0], step=1.0)
    >>> found.time.tolist(), found.values.tolist()
    ([1.0, 2.0, 3.0], [3.0, 3.0, 5.0])
    """
    names, code = np.unique(np.asarray(series), return_inverse=True)
    at, known = _column("time", time, len(code)), _column("values", values, len(code))
    if not step > 0:
        raise ValueError(f"step: expected a number above 0, got {step}")
    if not np.isfinite(at).all():
        raise ValueError(f"time: row {int(np.flatnonzero(~np.isfinite(at))[0])} has none")
    order = np.lexsort((at, code))
    code, known = code[order], known[order]
    moment = np.ceil(at[order] / step - 1e-9).astype(np.int64)
    begins = np.flatnonzero(np.diff(code, prepend=-1))
    ends = np.append(begins[1:], len(code)) - 1
    widths = moment[ends] - moment[begins] + 1 if len(code) else np.empty(0, np.int64)
    first = np.cumsum(widths) - widths
    place = np.repeat(first - moment[begins], np.diff(np.append(begins, len(code)))) + moment
    m, real = int(widths.sum()), ~np.isnan(known)
    grid = np.arange(m) - np.repeat(first - moment[begins], widths)
    count = np.bincount(place[real], minlength=m)
    total = np.bincount(place[real], weights=known[real], minlength=m).astype(np.float64)
    found = total if how == "sum" else _over(total, count.astype(np.float64))
    if how == "last":
        found = _carried(place[real], known[real], np.repeat(first, widths), m)
    return Resampled(np.repeat(names[code[begins]], widths), grid * step, found)


def lags(series: Keys, values: npt.ArrayLike, back: Iterable[int]) -> Floats:
    """Return what stood so many rows before in the same series, [n, k]; NaN before its first row.

    Costs O(n k), after one sort of the keys.

    Args:
        series: [n].
        values: [n], rows of a series in order of time.
        back: k distances, each at least 1: a row does not see itself.

    Raises:
        ValueError: the lengths differ, or a distance is below 1.

    >>> lags(["a", "b", "a", "a"], [1, 2, 3, 4], [1, 2]).tolist()
    [[nan, nan], [nan, nan], [1.0, nan], [3.0, 1.0]]
    """
    rows = _Rows(series)
    known = _column("values", values, rows.n)[rows.order]
    distances = list(back)
    if any(distance < 1 for distance in distances):
        raise ValueError(
            f"back: {min(distances)} is below 1, which would show a row its own future"
        )
    found = np.full((rows.n, len(distances)), np.nan)
    for number, distance in enumerate(distances):
        far = np.flatnonzero(rows.place >= distance)
        found[rows.order[far], number] = known[far - distance]
    return found


def rolling(
    series: Keys,
    values: npt.ArrayLike,
    width: int,
    *,
    how: Literal["mean", "sum", "count"] = "mean",
) -> Floats:
    """Return the mean, sum or number of what is known of the ``width`` rows before each, [n].

    The row itself is not among them. A mean of nothing is NaN, a sum of nothing 0. Costs
    O(n width), a matrix of that size.

    Args:
        series: [n].
        values: [n], rows of a series in order of time.
        width: how many rows, at least 1.
        how: what is said of them.

    >>> rolling(["a"] * 4, [1, 2, 4, 8], 2).tolist()
    [nan, 1.0, 1.5, 3.0]
    """
    seen = lags(series, values, range(1, width + 1))
    count: Floats = (~np.isnan(seen)).sum(axis=1).astype(np.float64)
    if how == "count":
        return count
    total: Floats = np.nansum(seen, axis=1)
    return total if how == "sum" else _over(total, count)


@dataclass(frozen=True, slots=True, eq=False)
class SoFar:
    """What was known of whoever a row is of, before it: each [n].

    Attributes:
        count: how many numbers.
        mean: of these; NaN where there are none.
        deviation: their standard deviation, by n; NaN where there are none.
        last: the last of them.
    """

    count: Floats
    mean: Floats
    deviation: Floats
    last: Floats


def so_far(players: Keys, time: npt.ArrayLike, values: npt.ArrayLike) -> SoFar:
    """Return statistics of each player over what came before each row.

    Rows of one player and one moment do not see each other: give all rows of a match the time at
    which it began, and its result is known from the next match on. Costs O(n log n): a sort, and a
    sum over doubling distances, in which players do not touch each other.

    Args:
        players: [n].
        time: [n], what came before is what is earlier; never NaN.
        values: [n], such as the outcome of the match.

    Raises:
        ValueError: the lengths differ, or a time is NaN.

    >>> found = so_far(["a", "a", "a", "a"], [0, 1, 1, 2], [1.0, 0.0, 0.0, 1.0])
    >>> found.count.tolist(), found.mean.tolist()
    ([0.0, 1.0, 1.0, 3.0], [nan, 1.0, 1.0, 0.3333333333333333])
    """
    rows = _Rows(players, time)
    known = _column("values", values, rows.n)[rows.order]
    real = ~np.isnan(known)
    number = np.where(real, known, 0.0)
    sums = np.stack([real.astype(np.float64), number, number**2], axis=1)
    sums = np.concatenate([np.zeros((1, 3)), _summed(sums, rows.place)])
    before = rows.before  # the rows before this moment's first, one past the last of them
    empty = before <= np.arange(rows.n) - rows.place
    found = np.where(empty[:, None], 0.0, sums[before])
    mean = _over(found[:, 1], found[:, 0])
    spread = np.sqrt(np.maximum(_over(found[:, 2], found[:, 0]) - mean**2, 0.0))
    newest = np.where(real, np.arange(rows.n), -1)
    newest = np.maximum.accumulate(newest) if rows.n else newest
    last = np.append(-1, newest)[before]
    told = ~empty & (last >= np.arange(rows.n) - rows.place)
    latest = np.where(told, known[np.maximum(last, 0)] if rows.n else np.nan, np.nan)
    columns = (found[:, 0], mean, spread, latest)
    return SoFar(*(_unsorted(column, rows.order) for column in columns))


class _Rows:
    """Rows put in order: by series, then by time where there is any, then as they stood.

    Attributes:
        n: how many.
        order: [n], where each stood.
        place: [n], its place in its series.
        before: [n], the first row of its series and moment.
    """

    def __init__(self, series: Keys, time: npt.ArrayLike | None = None) -> None:
        _, code = np.unique(np.asarray(series), return_inverse=True)
        self.n = len(code)
        at = np.zeros(self.n) if time is None else _column("time", time, self.n)
        if np.isnan(at).any():
            raise ValueError(f"time: row {int(np.flatnonzero(np.isnan(at))[0])} has none")
        self.order: Ints = np.lexsort((at, code))
        code, at = code[self.order], at[self.order]
        numbers = np.arange(self.n)
        begins = np.diff(code, prepend=-1) != 0
        fresh = begins | (np.diff(at, prepend=np.nan) != 0)
        self.place: Ints = numbers - np.maximum.accumulate(np.where(begins, numbers, 0))
        self.before: Ints = np.maximum.accumulate(np.where(fresh, numbers, 0))


def _column(name: str, values: npt.ArrayLike, n: int) -> Floats:
    found = np.asarray(values, np.float64)
    if found.shape != (n,):
        raise ValueError(f"{name}: expected {n} numbers, one a row, got shape {found.shape}")
    return found


def _summed(columns: Floats, place: Ints) -> Floats:
    """Return running sums within each series (Hillis and Steele 1986), [n, k].

    One running sum over all would round a player's by those of the players before.
    """
    found, distance = columns.copy(), 1
    while distance <= place.max(initial=0):
        more = np.flatnonzero(place >= distance)
        found[more] += found[more - distance]
        distance *= 2
    return found


def _carried(place: Ints, known: Floats, first: Ints, m: int) -> Floats:
    """Return the last of ``known`` at or before each of m moments, not before its ``first``."""
    newest = np.full(m, -1, np.int64)
    newest[place] = np.arange(len(place))  # of rows in one moment the last counts
    newest = np.maximum.accumulate(newest) if m else newest
    told = (newest >= 0) & (np.append(place, -1)[newest] >= first)
    return np.where(told, np.append(known, np.nan)[newest], np.nan)


def _over(total: Floats, count: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _unsorted(column: Floats, order: Ints) -> Floats:
    found = np.empty_like(column)
    found[order] = column
    return found
