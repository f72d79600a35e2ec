"""The domain that the docs show keeps the promises of a domain, and finds its way in."""

import importlib.util
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from heedful import workspace
from heedful.checks import CheckFailure, check_domain
from heedful.config import ConfigError
from heedful.serve import DecisionAnswer, DecisionRequest
from heedful.workspace import Workspace

FILE = Path(__file__).parents[2] / "examples" / "domain.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_domain", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_keeps_the_promises(example: ModuleType) -> None:
    check_domain(example.Letters({}, Path()))


def test_the_check_would_notice(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example.Letters, "features", 1)
    with pytest.raises(CheckFailure):
        check_domain(example.Letters({}, Path()))


@pytest.fixture
def made(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    class Installed(EntryPoint):
        def load(self) -> object:
            return example.Letters

    entry = Installed(name="letters", value="my_package:Letters", group=workspace.GROUP)
    monkeypatch.setattr(workspace, "entry_points", lambda group: [entry])
    Workspace.create(tmp_path / "post", domain="letters").close()
    return tmp_path / "post"


def test_a_wrong_option_is_told(made: Path) -> None:
    settings = made / "heedful.toml"
    settings.write_text(settings.read_text("utf-8").replace("[domain]", "[domain]\nlenght = 4"))
    with pytest.raises(ConfigError, match="lenght is unknown"):
        Workspace.open(made)


def test_it_is_served_like_any_other(example: ModuleType, made: Path) -> None:
    with Workspace.open(made) as post:
        post.promote(post.popularity(), by="test")
        with post.serving() as service:
            [answer] = service.decide([DecisionRequest(user="ada", context={"word": "abc"})])
    assert isinstance(answer, DecisionAnswer)
    assert answer.units[-1] == example.END or len(answer.units) == 8
