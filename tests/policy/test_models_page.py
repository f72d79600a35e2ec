"""The page on language models does what it says."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "concepts" / "models.md").read_text("utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    known: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "models.md", "exec"), known)
    printed = capsys.readouterr().out
    assert "torch.Size([4, 20])" in printed
    whole, beside = map(int, re.findall(r"\d+", printed.splitlines()[-1]))
    assert beside < whole / 4
