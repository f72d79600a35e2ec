"""How a check says that a promise was not kept."""

from __future__ import annotations

import torch
from torch import Tensor


class CheckFailure(AssertionError):
    """A promise of an interface that an implementation does not keep."""

    def __init__(self, promise: str, *, expected: object, found: object, why: str) -> None:
        super().__init__(
            f"{promise}\n  expected: {expected}\n  found:    {found}\n  why:      {why}"
        )


def expect(kept: bool, promise: str, *, expected: object, found: object, why: str) -> None:
    """Raise :class:`CheckFailure` unless ``kept``."""
    if not kept:
        raise CheckFailure(promise, expected=expected, found=found, why=why)


def expect_equal(promise: str, expected: Tensor, found: Tensor, *, within: float, why: str) -> None:
    """Compare two tensors number by number; infinities have to be the same ones.

    Args:
        promise: what is checked.
        expected: any shape.
        found: the same shape.
        within: largest absolute difference.
        why: what goes wrong where they differ.
    """
    shapes = tuple(expected.shape), tuple(found.shape)
    expect(
        shapes[0] == shapes[1], f"{promise} (shape)", expected=shapes[0], found=shapes[1], why=why
    )
    left, right = expected.detach().double(), found.detach().double()
    differs = ~torch.isclose(left, right, rtol=0.0, atol=within, equal_nan=False)
    if bool(differs.any()):
        place = tuple(torch.nonzero(differs)[0].tolist())
        raise CheckFailure(
            f"{promise} (at {place}, and {int(differs.sum()) - 1} more of {differs.numel()})",
            expected=f"{float(left[place]):.9g} within {within:g}",
            found=f"{float(right[place]):.9g}",
            why=why,
        )


def tolerance(dtype: torch.dtype) -> float:
    """Return how far two ways of computing one log-probability may differ."""
    return 1e-9 if dtype == torch.float64 else 1e-4
