"""The page on games does what it says."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "games.md"


def test_the_example_learns(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    exec(compile(example, PAGE.name, "exec"), {})
    printed = capsys.readouterr().out
    score = float(re.findall(r"of all games: (.+)", printed)[0])
    assert 0.6 < score <= 1.0, "who moves by chance, and first, wins 0.3 more than it loses"
