from dataclasses import replace
from pathlib import Path

import pytest

from heedful.store.registry import RegistryBusyError, RegistryError, Shelf, folders
from tests.store.test_card import CARD


def put(shelf: Shelf, content: str) -> str:
    with shelf.new(CARD) as placed:
        (placed.folder / "a").mkdir()
        (placed.folder / "a" / "numbers").write_text(content)
    return placed.name


def test_what_is_put_there_is_numbered_and_comes_back(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "rewards")
    assert shelf.newest() is None
    assert [put(shelf, "one"), put(shelf, "two")] == ["0001", "0002"]
    assert shelf.names() == ["0001", "0002"]
    assert shelf.newest() == "0002"
    assert (shelf.folder("0001") / "a" / "numbers").read_text() == "one"
    assert shelf.card("0002") == replace(CARD, number=2)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "rewards")
    with pytest.raises(ZeroDivisionError), shelf.new(CARD) as placed:
        (placed.folder / "numbers").write_text(str(1 / 0))
    with pytest.raises(RegistryError, match="nothing was saved"), shelf.new(CARD):
        pass
    assert list((tmp_path / "rewards").iterdir()) == []


def test_a_draft_left_by_a_killed_process_goes(tmp_path: Path) -> None:
    left = tmp_path / ".new-0123"
    left.mkdir()
    (left / "half").write_text("")
    assert put(Shelf(tmp_path), "one") == "0001"
    assert not left.exists()


@pytest.mark.parametrize("harm", ["change", "remove", "add"])
def test_damage_is_found_before_anything_is_loaded(tmp_path: Path, harm: str) -> None:
    shelf = Shelf(tmp_path)
    put(shelf, "one")
    file = tmp_path / "0001" / "a" / "numbers"
    if harm == "change":
        file.write_text("onf")
    elif harm == "remove":
        file.unlink()
    else:
        (file.parent / "more").write_text("")
    with pytest.raises(RegistryError, match="0001"):
        shelf.folder("0001")


def test_a_name_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such folder"):
        Shelf(tmp_path).folder("0007")
    with pytest.raises(RegistryError, match="names no policy version"):
        Shelf(tmp_path).folder("../x")


def test_two_at_once_are_told_apart(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with (
        folders.hold(tmp_path) as free,
        pytest.raises(RegistryBusyError, match="another process"),
        shelf.new(CARD),
    ):
        assert free
