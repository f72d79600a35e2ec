import json
from pathlib import Path

import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.policy import (
    Floor,
    PolicyFolderError,
    Recurrent,
    Vocabulary,
    build,
    clone,
    load,
    replay,
    save,
)

UNITS = Vocabulary(f"unit {i}" for i in range(EXAMPLE_SCHEMA.size))


@pytest.fixture
def policy() -> Floor:
    torch.manual_seed(0)
    return Floor(Recurrent(EXAMPLE_SCHEMA, width=8, layers=2, dropout=0.5), share=0.1).eval()


def test_a_folder_gives_back_what_was_put_in(policy: Floor, tmp_path: Path) -> None:
    save(policy, UNITS, tmp_path)
    loaded = load(tmp_path)
    batch = random_batch(EXAMPLE_SCHEMA)
    assert torch.equal(replay(loaded.policy, batch), replay(policy, batch))
    assert loaded.vocabulary.units == UNITS.units
    assert loaded.policy.spec() == policy.spec()
    assert not loaded.policy.training


def test_a_clone_shares_nothing(policy: Floor) -> None:
    with torch.no_grad():
        for parameter in policy.double().parameters():
            parameter += 1.0 / 3.0  # what float32 would round
    copy, batch = clone(policy), random_batch(EXAMPLE_SCHEMA)
    before = replay(copy, batch)
    assert torch.equal(before, replay(policy, batch))
    assert not before.requires_grad
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 1.0
    assert torch.equal(before, replay(copy, batch))


def test_the_vocabulary_has_to_fit(policy: Floor, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 units for a policy over 7"):
        save(policy, Vocabulary("abc"), tmp_path)


@pytest.mark.parametrize("name", ["policy.json", "model.safetensors", "vocabulary.json"])
def test_a_missing_file_is_named(policy: Floor, tmp_path: Path, name: str) -> None:
    save(policy, UNITS, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(PolicyFolderError, match=name):
        load(tmp_path)


@pytest.mark.parametrize("name", ["policy.json", "model.safetensors", "vocabulary.json"])
def test_a_truncated_file_is_refused_with_a_remedy(
    policy: Floor, tmp_path: Path, name: str
) -> None:
    save(policy, UNITS, tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolicyFolderError, match="roll back to another version"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "oracle", "no policy of kind 'oracle' is installed; known: .*recurrent"),
        ("share", 7, "must lie in"),
        ("colour", "red", "colour"),
        ("inner", {"kind": "recurrent"}, "schema"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(
    policy: Floor, tmp_path: Path, key: str, value: object, message: str
) -> None:
    save(policy, UNITS, tmp_path)
    form = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps({**form, key: value}))
    with pytest.raises(PolicyFolderError, match=message):
        load(tmp_path)


def test_numbers_of_another_form_are_refused(policy: Floor, tmp_path: Path) -> None:
    save(policy, UNITS, tmp_path)
    spec = policy.spec()
    spec["inner"] = {**policy.inner.spec(), "width": 16}
    (tmp_path / "policy.json").write_text(json.dumps(spec))
    with pytest.raises(PolicyFolderError, match="size mismatch"):
        load(tmp_path)


def test_what_is_built_has_fresh_numbers(policy: Floor) -> None:
    fresh = build(policy.spec())
    assert not torch.equal(fresh.inner.gru.weight_ih_l0, policy.inner.gru.weight_ih_l0)
