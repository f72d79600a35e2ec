import shutil
from pathlib import Path
from typing import Any

import pytest

from heedful.workspace import Workspace
from tests.cli.calls import NAMED, TRAIN, process, result
from tests.small_shop import write_ratings


@pytest.fixture(scope="session")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ratings(tmp_path_factory.mktemp("data") / "ratings.csv")


@pytest.fixture(scope="session")
def walked(ratings: Path) -> dict[str, Any]:
    """What a stranger with a file gets, every step in a process of its own."""
    folder = ratings.parent / "shop"
    steps = {
        "init": ["init", folder],
        "import": ["import", folder, ratings, *NAMED],
        "pretrain": ["pretrain", folder, *TRAIN],
        "evaluate": ["evaluate", folder, *TRAIN],
        "doctor": ["doctor", folder],
    }
    found = {name: result(process(*words, "--json")) for name, words in steps.items()}
    return {"folder": folder, **found}


@pytest.fixture
def shop(walked: dict[str, Any], tmp_path: Path) -> Path:
    """A workspace with ratings and one candidate."""
    return Path(shutil.copytree(walked["folder"], tmp_path / "shop"))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A workspace with an empty log."""
    Workspace.create(tmp_path / "shop").close()
    return tmp_path / "shop"
