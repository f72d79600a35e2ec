"""Calling the command, in a process of its own or in this one."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from heedful.cli.app import command
from heedful.workspace import Workspace
from tests.small_shop import TINY, flags

COMMAND = [sys.executable, "-c", "from heedful.cli import main; main()"]
NAMED = ["--subject", "user", "--unit", "item", "--rating", "rating", "--order", "position"]
TRAIN = flags(TINY)


def process(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True)


def run(*words: str | Path, env: Mapping[str, str] | None = None) -> Result:
    """Run the command in this process, which spares the imports."""
    return CliRunner().invoke(command(), [str(word) for word in words], env=env)


def result(done: Result | subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the one JSON object on stdout."""
    code = done.exit_code if isinstance(done, Result) else done.returncode
    assert code == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def watermark(folder: Path) -> int:
    """Return how far the log of a workspace has come."""
    with Workspace.open(folder) as workspace:
        return workspace.log.watermark()
