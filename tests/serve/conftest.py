from collections.abc import Iterator
from pathlib import Path

import pytest

from heedful.serve import Service
from tests.serve.world import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path)
    yield workspace
    workspace.close()


@pytest.fixture
def service(workspace: Workspace) -> Iterator[Service]:
    with workspace.serve() as service:
        yield service
