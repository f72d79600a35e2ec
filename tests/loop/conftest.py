"""What the tests of the loop share."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def folder(opened: Path, tmp_path: Path) -> Path:
    """A copy of the module's shop, to be changed by one test."""
    return Path(shutil.copytree(opened, tmp_path / "shop"))
