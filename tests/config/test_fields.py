import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.config.fields import toml

scalars = (
    st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(scalars | st.lists(scalars) | st.dictionaries(names, scalars))
def test_whatever_is_written_reads_back_the_same(value: object) -> None:
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


@pytest.mark.parametrize(
    ("value", "text"), [(5e-05, "0.00005"), (1.5e-7, "0.00000015"), (1e-3, "0.001"), (2.0, "2.0")]
)
def test_small_numbers_are_written_for_people(value: float, text: str) -> None:
    assert toml(value) == text
