from pathlib import Path

import pytest

from heedful.policy import FeatureEncoder, Vocabulary


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


def test_how_descriptions_are_read_stands_beside_the_units(tmp_path: Path) -> None:
    of_units = FeatureEncoder.fit([{"genre": ["Drama"], "title": "a long night"}])
    of_subjects = FeatureEncoder.fit([{"age": 30}, {"age": 40}])
    described = Vocabulary(["a"]).described(of_units=of_units, of_subjects=of_subjects)
    described.save(tmp_path / "units.json")
    loaded = Vocabulary.load(tmp_path / "units.json")
    assert (loaded.of_units, loaded.of_subjects) == (of_units, of_subjects)
    assert loaded.digest() == described.digest() != Vocabulary(["a"]).digest()
    only = Vocabulary(["a"]).described(of_units=None, of_subjects=of_subjects)
    only.save(tmp_path / "units.json")
    assert Vocabulary.load(tmp_path / "units.json").of_units is None
    assert len({vocabulary.digest() for vocabulary in (described, only, Vocabulary(["a"]))}) == 3


def test_new_units_stand_behind_the_old_ones() -> None:
    old = Vocabulary(["b", "a"], of_units=FeatureEncoder.fit([{"year": 2000}]))
    grown = old.grown(["c", "a", "d", "b"])
    assert grown.units == ("b", "a", "c", "d")
    assert grown.of_units == old.of_units
