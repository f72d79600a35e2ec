"""A workspace of conversations with one live version, small enough to talk to in a test."""

from __future__ import annotations

from pathlib import Path

from heedful.record import Kind
from heedful.store import Snapshot
from heedful.workspace import Workspace
from tests.serve.world import add_version

SETTINGS = """
[workspace]
domain = "dialogue"

[domain]
text = ["text.txt"]
vocabulary = 300
prompt = 24
reply = {reply}

[policy]
window = 64
"""
TEXT = "a tree is what people say about other trees, and über Bäume – hello hello\n" * 20


def make(folder: Path, *, reply: int = 6, seed: int = 1) -> Path:
    """Make a workspace whose live version has random weights; its replies are short noise."""
    Workspace.create(folder, domain="dialogue", settings=SETTINGS.format(reply=reply)).close()
    (folder / "text.txt").write_text(TEXT)
    with Workspace.open(folder) as workspace:
        units = workspace.domain.vocabulary(Snapshot.of([])).units
        version = add_version(workspace.registry, seed=seed, units=units, domain=workspace.domain)
        workspace.promote(version, by="test", why="the first")
    return folder


def feedback_of(workspace: Workspace) -> list[tuple[Kind, float, str]]:
    """Return kind, number and text of all feedback in the log."""
    table = workspace.log.snapshot().feedback
    kinds = [tuple(Kind)[code] for code in table.kind.tolist()]
    return list(zip(kinds, table.value.tolist(), map(str, table.texts), strict=True))
