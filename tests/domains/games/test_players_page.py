"""The page on players' logs does what it says."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heedful.cli.app import command
from heedful.workspace import Workspace

PAGE = (Path(__file__).parents[3] / "docs" / "concepts" / "players.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    return found


def test_columns_of_the_past(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("python")
    exec(compile(example, "players.md", "exec"), {})
    assert capsys.readouterr().out == blocks("text")[-1]


def test_a_dry_run_shows_what_is_wrong(tmp_path: Path) -> None:
    file, shown = tmp_path / "matches.csv", blocks("text")[1]
    file.write_text(blocks("text")[0])
    (settings,) = (text for text in blocks("toml") if "[workspace]" in text)
    settings = settings.replace("observed = 0", "observed = 1")
    Workspace.create(tmp_path / "play", domain="games", settings=settings).close()
    arguments = ["import", str(tmp_path / "play"), str(file), "--dry-run"]
    result = CliRunner().invoke(command(), arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 4
    printed = [line.split() for line in result.output.splitlines() if line.strip()]
    assert sorted(printed) == sorted(line.split() for line in shown.splitlines() if line.strip())
