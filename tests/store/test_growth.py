from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.store import Texts
from heedful.store.growth import Growing, GrowingOffsets, GrowingTexts


@given(st.lists(st.lists(st.integers(-9, 9), max_size=7)))
def test_what_was_given_away_never_changes(batches):
    column, seen = Growing("<i4"), []
    for batch in batches:
        column.extend(np.array(batch, dtype=np.int32))
        seen.append((column.rows, column.rows.tolist()))
    for rows, then in seen:
        assert rows.tolist() == then
    assert column.rows.tolist() == [value for batch in batches for value in batch]
    assert column.rows.dtype == np.dtype("<i4")


@given(st.lists(st.lists(st.integers(0, 5), max_size=5)))
def test_offsets_go_on(batches):
    offsets = GrowingOffsets()
    for batch in batches:
        offsets.extend(np.array(batch, dtype=np.int32))
    lengths = [length for batch in batches for length in batch]
    assert np.diff(offsets.rows).tolist() == lengths
    assert offsets.rows[0] == 0
    assert len(offsets) == len(lengths)


@given(st.lists(st.lists(st.text("aé☃", max_size=3), max_size=4)))
def test_texts_go_on(batches):
    texts = GrowingTexts()
    for batch in batches:
        new = Texts.of(batch)
        texts.extend(np.diff(new.offsets), new.data)
    assert list(texts.rows) == [text for batch in batches for text in batch]


def test_rows_cannot_be_written_to():
    column = Growing("<i8")
    column.extend(np.arange(3))
    with pytest.raises(ValueError, match="read-only"):
        column.rows[0] = 1


def test_the_first_rows_are_not_copied():
    column, rows = Growing("<i8"), np.arange(3)
    column.extend(rows)
    assert np.shares_memory(column.rows, rows)


def test_rows_are_moved_a_few_times_only():
    column, buffers = Growing("<i8"), set()
    for _ in range(10_000):
        column.extend(np.zeros(1, dtype=np.int64))
        buffers.add(column.nbytes)
    assert len(buffers) < 30
    assert column.nbytes < 2 * 8 * 10_000
