"""A part of the log as flat arrays: what a segment file holds, and what a snapshot is made from.

Every text column is two arrays, lengths and bytes, so that a part needs no other to be read.
References between rows are sequence numbers, which stay true whatever part they stand in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful.store.columns import Texts
from heedful.store.errors import StoreError

Part = dict[str, NDArray[Any]]

DTYPES: dict[str, str] = {
    "decisions/seq": "<i8",
    "decisions/episode": "<i4",
    "decisions/step": "<i4",
    "decisions/subject": "<i4",
    "decisions/choices": "<i4",
    "decisions/policy": "<i4",
    "decisions/vocabulary": "<i4",
    "decisions/made_at": "<f8",
    "decisions/lengths": "<i4",
    "decisions/units": "<i4",
    "decisions/logps": "<f8",
    "decisions/text_lengths": "<i4",
    "decisions/text_data": "|u1",
    "feedback/seq": "<i8",
    "feedback/decision": "<i8",
    "feedback/unit": "<i4",
    "feedback/kind": "|i1",
    "feedback/value": "<f8",
    "feedback/by": "<i4",
    "feedback/given_at": "<f8",
    "feedback/received_at": "<f8",
    "feedback/retracts": "<i8",
    "feedback/text_lengths": "<i4",
    "feedback/text_data": "|u1",
    "ends/seq": "<i8",
    "ends/episode": "<i4",
    "ends/terminated": "|b1",
    "ends/ended_at": "<f8",
    "ends/text_lengths": "<i4",
    "ends/text_data": "|u1",
}
"""Every column of a part; ``text`` is a decision's or an end's context, or what was said."""

CODED: dict[str, str] = {
    "decisions/episode": "episodes",
    "decisions/subject": "subjects",
    "decisions/choices": "choice_sets",
    "decisions/policy": "policies",
    "decisions/vocabulary": "vocabularies",
    "decisions/units": "units",
    "feedback/by": "people",
    "ends/episode": "episodes",
}
"""The columns that hold codes, and the table of names each refers to."""

NAMED = ("subjects", "episodes", "units", "policies", "vocabularies", "people", "choice_sets")
"""The tables of names, called the same in SQL and in a snapshot."""


def part_of(columns: Mapping[str, Sequence[Any]]) -> Part:
    """Return a part from plain sequences; a ``.../text`` column is a sequence of strings.

    Raises:
        StoreError: a number does not fit its column.
    """
    part: Part = {}
    for name, values in columns.items():
        if name.endswith("/text"):
            texts = Texts.of(values)
            part[f"{name}_lengths"] = np.diff(texts.offsets).astype("<i4")
            part[f"{name}_data"] = texts.data
            continue
        try:
            part[name] = np.asarray(values, dtype=DTYPES[name])
        except OverflowError as error:
            raise StoreError(f"{name}: a number is too large for {DTYPES[name]}: {error}") from None
    return part
