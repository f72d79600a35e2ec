import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heedful.store.registry import (
    Card,
    Code,
    Data,
    Environment,
    RegistryError,
    current_code,
    current_environment,
)

CARD = Card(
    kind="transformer",
    step="reinforce",
    parent="0001",
    snapshot=Data(watermark=10, digest="ab"),
    configuration={"policy": {"width": 64}, "weights": [1, 2.5], "none": None},
    seed=7,
    code=Code(version="0.1.0", revision="1234", digest="cd"),
    environment=Environment(
        python="3.11", platform="x", device="cpu", threads=1, packages={"numpy": "2"}
    ),
    metrics={"ndcg@10": 0.11},
    created_at=3.5,
    notes="ü",
)


@pytest.mark.parametrize("card", [CARD, replace(CARD, parent=None, snapshot=None, number=7)])
def test_a_card_reads_back_as_it_was_written(card: Card) -> None:
    assert Card.from_json(card.to_json()) == card


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"seed": 8}, False),
        ({"parent": "0002"}, False),
        ({"snapshot": None}, False),
        ({"configuration": {}}, False),
        ({"code": replace(CARD.code, digest="ef")}, False),
        ({"environment": replace(CARD.environment, threads=2)}, False),
        ({"step": "pretrain"}, False),
        ({"metrics": {}}, True),
        ({"created_at": 9.0}, True),
        ({"number": 9}, True),
        ({"notes": ""}, True),
    ],
)
def test_the_recipe_is_the_inputs_and_nothing_else(changed: dict[str, object], same: bool) -> None:
    assert (replace(CARD, **changed).recipe() == CARD.recipe()) is same


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"metrics": {"loss": float("nan")}}, "card: metrics cannot be written as JSON"),
        ({"metrics": {"loss": np.float32(1)}}, "card: metrics"),
        ({"configuration": {"path": Path()}}, "card: configuration"),
        ({"kind": ""}, "card: kind is empty"),
        ({"seed": 1.5}, "card: seed is 1.5"),
        ({"number": "0007"}, "card: number is '0007'"),
    ],
)
def test_what_json_cannot_say_is_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(RegistryError, match=says):
        replace(CARD, **changed)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "3", json.dumps(json.loads(CARD.to_json()) | {"extra": 1})]
)
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(RegistryError, match="this is no card: "):
        Card.from_json(text)


def test_the_environment_names_versions_and_imports_nothing() -> None:
    script = (
        "import sys; from heedful.store.registry import current_environment as here; "
        "e = here(device='cpu', threads=1); "
        "print('torch' in sys.modules, 'torch' in e.packages, e.threads, e.device)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True", "1", "cpu"]
    assert current_environment(device="cuda", threads=2).python.endswith(
        ".".join(map(str, sys.version_info[:3]))
    )


def test_the_code_digest_changes_with_a_plugins_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "plugin_of_a_test.py").write_text("A = 1\n")
    alone, first = current_code(), current_code(["plugin_of_a_test"])
    (tmp_path / "plugin_of_a_test.py").write_text("A = 2\n")
    second = current_code(["plugin_of_a_test"])
    assert len({alone.digest, first.digest, second.digest}) == 3
    assert current_code().digest == alone.digest
    with pytest.raises(RegistryError, match="'no_such_module' cannot be found"):
        current_code(["no_such_module"])


def test_the_revision_is_that_of_the_repository_that_keeps_the_file(tmp_path: Path) -> None:
    from heedful.store.registry.provenance import _revision

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    package, installed = tmp_path / "kept", tmp_path / "venv"
    for folder in (package, installed):
        folder.mkdir()
        (folder / "__init__.py").write_text("")
    assert _revision(package) is None
    git("init")
    git("add", "kept")
    git("commit", "-m", "first")
    revision = _revision(package)
    assert revision is not None
    assert len(revision) == 40
    assert _revision(installed) is None
    (package / "__init__.py").write_text("x = 1\n")
    assert _revision(package) == f"{revision}-dirty"
