"""A larger vocabulary without losing what was learned: old units first, new ones behind them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from heedful.policy.batch import Schema
from heedful.policy.protocol import Policy

TABLES = ("embed.unit.weight", "embed.unit.features", "embed.unit.cold", "memory.key.weight")
"""A row a unit, and behind them one for a unit nobody knows; a new unit's row is zero."""

MEANS = ("bias", "feedback_head.bias.weight")
"""A number (or row) a unit, the second with one for a unit nobody knows; new ones: the mean."""


def grow(policy: Policy, schema: Schema) -> Policy:
    """Return ``policy`` over the units of ``schema``, its own first and in their order.

    Old units keep every bit of what was learned, and their order and odds among themselves. The
    same schema gives the policy itself.

    Args:
        policy: any.
        schema: larger, or wider: descriptions may have come that were not there before.

    Raises:
        ValueError: units or numbers fell away, feedback is read differently, or this kind of
            policy cannot grow.
    """
    if schema == policy.schema:
        return policy
    old = policy.schema
    described = old.unit_features in (0, schema.unit_features)
    if schema.size < old.size or schema.features < old.features or not described:
        raise ValueError(
            f"a policy of {_shape(old)} cannot grow to {_shape(schema)}: units and the numbers of "
            "a description stay as they were. Restore the domain's options, or train from scratch"
        )
    if schema.channels != old.channels:
        raise ValueError(
            "the policy reads other feedback than the domain offers now: restore the domain's "
            "options, or train from scratch"
        )
    if not hasattr(policy, "grown"):
        raise ValueError(f"{type(policy).__name__} has no method `grown`: train from scratch")
    return policy.grown(schema)


def enlarged(
    old: Mapping[str, Tensor], fresh: Mapping[str, Tensor], size: int
) -> dict[str, Tensor]:
    """Return the numbers of a network over more units: those of ``old``, and new ones beside them.

    Args:
        old: of a network over ``size`` units.
        fresh: of one of the same form, only larger; says the shapes.
        size: V, before.
    """
    cold = old.get("embed.unit.cold", torch.zeros(size + 1, dtype=torch.bool))[:size]
    return {
        name: _enlarged(name, old.get(name), numbers, size, ~cold)
        for name, numbers in fresh.items()
    }


def _enlarged(name: str, old: Tensor | None, fresh: Tensor, size: int, warm: Tensor) -> Tensor:
    new = torch.zeros_like(fresh)
    if name == "embed.unit.cold":
        new[size:-1] = True
        if old is not None:
            new[:size] = old[:size]
        return new
    if old is None:
        return new  # what reads descriptions says nothing until it has learned to
    if name in MEANS and bool(warm.any()):
        new[:] = old[:size][warm].mean(0)
    if name in TABLES or name in MEANS:
        new[:size] = old[:size]
        if len(old) > size:
            new[-1] = old[-1]
        return new
    new[tuple(slice(length) for length in old.shape)] = old
    return new


def widened(table: Tensor, *shape: int, fill: float = 0.0) -> Tensor:
    """Return ``table`` in the upper left corner of a larger one, ``fill`` elsewhere.

    >>> widened(torch.ones(1, 2), 2, 3).tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    larger = table.new_full(shape, fill)
    larger[tuple(slice(length) for length in table.shape)] = table
    return larger


def _shape(schema: Schema) -> str:
    return (
        f"{schema.size} units, {schema.features} numbers of a context and {schema.unit_features} "
        "of a unit's description"
    )
