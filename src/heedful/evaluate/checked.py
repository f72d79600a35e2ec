"""Arrays as the judge's functions want them, or an error that names the row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def vector(name: str, values: ArrayLike, *, length: int | None = None) -> FloatArray:
    """Return ``values`` as float64 [N].

    Args:
        name: what the caller calls the array; errors begin with it.
        values: anything NumPy reads as a one-dimensional array of numbers.
        length: the N that the other arguments have, where there are others.

    Raises:
        ValueError: if the array is not one-dimensional, has another length, or holds NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one number per row, got shape {array.shape}")
    if length is not None and len(array) != length:
        raise ValueError(f"{name}: {len(array)} rows, but the other arguments have {length}")
    if len(array) and np.isnan(array.min()):  # one pass and no mask where all is well
        refuse(name, np.isnan(array), "is NaN; drop the row, or wait until its value has come")
    return array


def unit_interval(name: str, values: ArrayLike, *, length: int | None = None) -> FloatArray:
    """Return ``values`` as float64 [N], all of them within [0, 1].

    Raises:
        ValueError: as `vector`, and if a value lies outside [0, 1]: the bounds of the gate hold
            for scaled rewards only.
    """
    array = vector(name, values, length=length)
    outside = (array < 0) | (array > 1)
    refuse(name, outside, "lies outside [0, 1]; scale rewards to [0, 1] before judging", array)
    return array


def refuse(name: str, bad: NDArray[np.bool_], why: str, values: FloatArray | None = None) -> None:
    """Raise a ValueError for the first row where ``bad`` [N] is true; do nothing if none is."""
    rows = np.flatnonzero(bad)
    if len(rows) == 0:
        return
    first = int(rows[0])
    value = "" if values is None else f" ({values[first]:.6g})"
    more = "" if len(rows) == 1 else f" (and {len(rows) - 1} more)"
    raise ValueError(f"{name}: row {first}{value}{more} {why}")
