from pathlib import Path

import pytest

from heedful.policy import Vocabulary


def test_units_and_indexes() -> None:
    vocabulary = Vocabulary(["b", "a", "ü"])
    assert vocabulary.indexes(["a", "z", "b"]).tolist() == [1, -1, 0]
    assert ("a" in vocabulary, "z" in vocabulary) == (True, False)
    with pytest.raises(KeyError):
        vocabulary["z"]


def test_the_digest_names_units_in_their_order() -> None:
    digests = {Vocabulary(units).digest() for units in (["a", "b"], ["b", "a"], ["ab"], ["a,b"])}
    assert len(digests) == 4
    assert Vocabulary(["a", "b"]).digest() == Vocabulary(iter("ab")).digest()


def test_a_file_gives_back_the_same_units(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["ä", "\n", '"'])
    vocabulary.save(tmp_path / "units.json")
    assert Vocabulary.load(tmp_path / "units.json").units == vocabulary.units


def test_a_unit_stands_once_and_there_is_one() -> None:
    with pytest.raises(ValueError, match="'b' stands twice"):
        Vocabulary(["a", "b", "b"])
    with pytest.raises(ValueError, match="at least one unit"):
        Vocabulary([])
