import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heedful.store.registry import (
    Card,
    Code,
    Draft,
    Environment,
    ManifestError,
    Registry,
    RegistryError,
)
from heedful.store.registry.folders import hold
from heedful.store.registry.manifest import Entry, check_name, decode, encode, measure

CARD = Card(
    kind="popularity",
    step="pretrain",
    parent=None,
    snapshot=None,
    configuration={},
    seed=0,
    code=Code(version="0.1.0", revision=None, digest="cd"),
    environment=Environment(python="3", platform="x", device="cpu", threads=1, packages={}),
    created_at=0.0,
)
MODEL = "model.safetensors"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def folder(registry: Registry) -> Path:
    with registry.new(CARD) as draft:
        (draft.folder / MODEL).write_bytes(bytes(range(256)))
        (draft.folder / "sub").mkdir()
        (draft.folder / "sub" / "config.json").write_text("{}")
    return draft.folder


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def link(path: Path) -> None:
    other = path.with_suffix(".elsewhere")
    moved = path.parents[2] / other.name
    shutil.move(path, moved)
    path.symlink_to(moved)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (flip, "256 bytes with SHA-256"),
        (cut, "255 bytes"),
        (Path.unlink, "no file"),
        (folder_instead, "something that is no file"),
        (link, "a symbolic link"),
    ],
)
def test_a_changed_file_is_named(
    registry: Registry, folder: Path, damage: Callable[[Path], None], found: str
) -> None:
    registry.verify("0001")
    damage(folder / MODEL)
    for call in (registry.verify, registry.folder):
        with pytest.raises(ManifestError) as caught:
            call("0001")
        (fault,) = caught.value.faults
        assert (fault.file, fault.found.startswith(found)) == (MODEL, True)
        assert fault.expected.startswith("256 bytes with SHA-256 ")
        assert "restore the folder from a backup" in str(caught.value)


@pytest.mark.parametrize("name", ["extra.bin", "sub/extra.bin", ".hidden"])
def test_an_extra_file_is_named(registry: Registry, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(ManifestError, match=r"found an extra file \(move it out") as caught:
        registry.verify("0001")
    assert [fault.file for fault in caught.value.faults] == [name]


def test_a_renamed_file_is_missing_here_and_extra_there(registry: Registry, folder: Path) -> None:
    (folder / MODEL).rename(folder / "renamed")
    with pytest.raises(ManifestError) as caught:
        registry.verify("0001")
    assert [fault.file for fault in caught.value.faults] == [MODEL, "renamed"]


def test_a_folder_reached_by_a_link_inside_is_refused(registry: Registry, folder: Path) -> None:
    (folder / "sub").rename(folder.parent / "moved")
    (folder / "sub").symlink_to(folder.parent / "moved")
    with pytest.raises(ManifestError, match="a symbolic link"):
        registry.verify("0001")


def test_whoever_changes_file_and_manifest_is_found_out(registry: Registry, folder: Path) -> None:
    flip(folder / MODEL)
    manifest = dict(decode((folder / "manifest.json").read_bytes()))
    manifest[MODEL] = measure(folder / MODEL)
    (folder / "manifest.json").write_bytes(encode(manifest))
    with pytest.raises(ManifestError) as caught:
        registry.verify("0001")
    assert [fault.file for fault in caught.value.faults] == ["manifest.json"]


def test_a_missing_folder_or_manifest_is_named(registry: Registry, folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(ManifestError, match=r"manifest.json: .* found no plain file"):
        registry.verify("0001")
    shutil.rmtree(folder)
    with pytest.raises(ManifestError, match=r"manifest.json: .* found no plain file"):
        registry.folder("0001")


def test_a_changed_card_is_not_believed(registry: Registry, folder: Path) -> None:
    text = (folder / "card.json").read_text()
    (folder / "card.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ManifestError, match=r"card\.json"):
        registry.card("0001")


def test_check_names_damage_and_strays(registry: Registry, folder: Path) -> None:
    assert registry.check() == []
    cut(folder / MODEL)
    (folder.parent / "0099").mkdir()
    damaged, stray = registry.check()
    assert MODEL in damaged
    assert "0099: not registered" in stray


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/..", "a/../../x"),
        *("/x", "a/", "a//b", "./a", "a\\b", "C:x"),
        *("a\x00b", "a\nb", "manifest.json"),
    ],
)
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(RegistryError, match="no plain relative path"):
        check_name(name)
    with pytest.raises(RegistryError, match="no plain relative path"):
        decode(encode({name: Entry(size=1, sha256="0" * 64)}))


@pytest.mark.parametrize("name", ["a", "a/b.json", ".hidden", "a..b", "ü/ñ"])
def test_plain_names_are_not(name: str) -> None:
    check_name(name)
    manifest = {name: Entry(size=1, sha256="0" * 64)}
    assert decode(encode(manifest)) == manifest


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b'{"format": 1, "files": {"a": 3}}', b'{"format": 9}']
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(RegistryError, match=r"manifest\.json: "):
        decode(content)


def drafts(registry: Registry) -> list[str]:
    return [path.name for path in registry._policies.iterdir() if path.name.startswith(".new-")]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_removes_the_draft(registry: Registry, error: type[BaseException]) -> None:
    def save() -> None:
        with registry.new(CARD) as draft:
            kept.append(draft)
            (draft.folder / MODEL).write_bytes(b"half")
            raise error

    kept: list[Draft] = []
    with pytest.raises(error):
        save()
    assert (drafts(registry), registry.versions()) == ([], [])
    with pytest.raises(RegistryError, match="not registered; leave the with block"):
        _ = kept[0].version


def test_an_empty_draft_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="nothing was saved"), registry.new(CARD):
        pass
    assert drafts(registry) == []


@pytest.mark.parametrize("name", ["card.json", "manifest.json"])
def test_our_own_names_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(RegistryError, match="use another name"), registry.new(CARD) as draft:
        (draft.folder / name).write_text("{}")


def test_links_and_special_files_are_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="only plain files"), registry.new(CARD) as draft:
        (draft.folder / "link").symlink_to(tmp_path)
    with pytest.raises(RegistryError, match="only plain files"), registry.new(CARD) as draft:
        os.mkfifo(draft.folder / "pipe")
    assert registry.versions() == []


def test_a_draft_in_use_survives_another_opening_and_an_abandoned_one_does_not(
    registry: Registry, tmp_path: Path
) -> None:
    abandoned = tmp_path / "policies" / ".new-dead"
    abandoned.mkdir()
    (abandoned / MODEL).write_bytes(b"half")
    with registry.new(CARD) as draft:
        assert not abandoned.exists()
        (draft.folder / MODEL).write_bytes(b"one")
        with Registry.open(tmp_path) as other, other.new(CARD) as second:
            assert draft.folder.exists()
            (second.folder / MODEL).write_bytes(b"two")
    assert (second.version.name, draft.version.name) == ("0001", "0002")
    assert (registry.folder("0002") / MODEL).read_bytes() == b"one"


def test_holding_excludes(tmp_path: Path) -> None:
    with hold(tmp_path) as mine, hold(tmp_path) as yours:
        assert (mine, yours) == (True, False)
    with hold(tmp_path) as again:
        assert again


def test_a_whole_folder_without_its_row_is_adopted(registry: Registry, folder: Path) -> None:
    with registry._database.transaction() as connection:
        connection.execute("DELETE FROM versions")
    with Registry.open(folder.parents[1]) as other:
        assert [version.name for version in other.versions()] == ["0001"]
        other.verify("0001")
        assert other.audit()[-1].action == "adopted"
        generation = other.generation()
    with Registry.open(folder.parents[1]) as again:
        assert again.generation() == generation


def cut_model(copy: Path) -> None:
    cut(copy / MODEL)


def no_manifest(copy: Path) -> None:
    (copy / "manifest.json").unlink()


def traversal(copy: Path) -> None:
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace(MODEL, f"../0001/{MODEL}"))


def odd_card(copy: Path) -> None:
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps(card | {"number": "0002"}))
    content = (copy / "card.json").read_bytes()
    manifest = dict(decode((copy / "manifest.json").read_bytes()))
    digest = hashlib.sha256(content).hexdigest()
    manifest["card.json"] = Entry(size=len(content), sha256=digest)
    (copy / "manifest.json").write_bytes(encode(manifest))


def untouched(copy: Path) -> None:
    """A copy under another number: its card gives it away."""


@pytest.mark.parametrize("change", [cut_model, no_manifest, traversal, odd_card, untouched])
def test_anything_else_is_left_alone_and_its_number_with_it(
    registry: Registry, folder: Path, change: Callable[[Path], None]
) -> None:
    copy = folder.parent / "0002"
    shutil.copytree(folder, copy)
    change(copy)
    with Registry.open(folder.parents[1]) as other:
        assert [version.name for version in other.versions()] == ["0001"]
        with other.new(CARD) as draft:
            (draft.folder / MODEL).write_bytes(b"x")
        assert draft.version.name == "0003"
    assert copy.exists()


def test_a_full_disk_is_a_clear_error(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RegistryError, match="No space left on device"), registry.new(CARD) as draft:
        (draft.folder / MODEL).write_bytes(b"x")
    assert (drafts(registry), registry.versions()) == ([], [])
