from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heedful.store.columns import Texts, gather, offsets_of

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(st.lists(texts), st.data())
def test_texts_come_back_and_can_be_taken(strings, data):
    packed = Texts.of(strings)
    assert list(packed) == strings
    assert len(packed) == len(strings)
    indices = st.integers(0, max(len(strings) - 1, 0))
    rows = data.draw(st.lists(indices)) if strings else []
    taken = packed.take(np.array(rows, dtype=np.int64))
    assert list(taken) == [strings[row] for row in rows]


@given(st.lists(st.integers(0, 4)), st.data())
def test_gather_finds_every_element_of_the_rows(lengths, data):
    offsets = offsets_of(np.array(lengths, dtype=np.int64))
    ragged = [list(range(offsets[i], offsets[i + 1])) for i in range(len(lengths))]
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1))) if lengths else []
    positions, new = gather(offsets, np.array(rows, dtype=np.int64))
    assert positions.tolist() == [element for row in rows for element in ragged[row]]
    assert np.diff(new).tolist() == [lengths[row] for row in rows]
