"""``heedful import`` of decisions that somebody else made, as it is typed."""

from pathlib import Path

import numpy as np
import pytest

from heedful.workspace import Workspace
from tests.cli.calls import result, run, watermark

ROWS = (
    "who,page,place,what,p,clicked,hour,at\n"
    "ann,a,1,tea,0.5,1,7,2024-05-01T10:00:00Z\n"
    "ann,a,2,ice,0.25,0,7,2024-05-01T10:00:00Z\n"
    "bob,b,1,ice,0.2,,8,2024-05-01T10:00:01Z\n"
)
FLAGS = [
    *("--subject", "who", "--unit", "what", "--click", "clicked", "--time", "at"),
    *("--decision", "page", "--position", "place", "--propensity", "p", "--context", "hour"),
]


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    path = tmp_path / "pages.csv"
    path.write_text(ROWS)
    return path


def test_slates_with_probabilities(empty: Path, pages: Path) -> None:
    words = ("import", empty, pages, *FLAGS, "--made-by", "editors", "--json")
    assert result(run(*words)) == {"read": 3, "added": 3, "duplicates": 0, "refused": 0}
    assert result(run(*words))["duplicates"] == 3
    with Workspace.open(empty) as workspace:
        snapshot = workspace.log.snapshot()
    assert snapshot.decisions.offsets.tolist() == [0, 2, 3]
    assert np.allclose(np.exp(snapshot.decisions.logps), [0.5, 0.25, 0.2])
    assert list(snapshot.decisions.contexts) == ['{"hour":7}', '{"hour":8}']
    assert list(snapshot.names.policies) == ["import:editors"]


def test_the_same_columns_in_the_file_of_settings(empty: Path, pages: Path) -> None:
    run("import", empty, pages, *FLAGS)
    settings = empty / "heedful.toml"
    text = settings.read_text()
    for key, value in (
        ("subject", '"who"'),
        ("unit", '"what"'),
        ("click", '"clicked"'),
        ("time", '"at"'),
        ("decision", '"page"'),
        ("position", '"place"'),
        ("propensity", '"p"'),
        ("context", '["hour"]'),
    ):
        empty_value = "[]" if key == "context" else '""'
        assert f"\n{key} = {empty_value}" in text
        text = text.replace(f"\n{key} = {empty_value}", f"\n{key} = {value}", 1)
    settings.write_text(text)
    assert result(run("import", empty, pages, "--json"))["duplicates"] == 3


def test_rows_that_name_nobody(empty: Path, pages: Path) -> None:
    flags = ["--anonymous", "--unit", "what", "--time", "at", "--policy", "page"]
    assert result(run("import", empty, pages, *flags, "--json"))["added"] == 3
    with Workspace.open(empty) as workspace:
        snapshot = workspace.log.snapshot()
    assert len(snapshot.names.subjects) == snapshot.ends.n == 3
    assert list(snapshot.names.policies) == ["import:a", "import:b"]


def test_bots_are_set_aside(empty: Path, tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    rows = [f"bot,item-{i},{1_700_000_000 + i}" for i in range(300)]
    path.write_text("\n".join(["u,i,t", "ann,item-1,1700000000", *rows]) + "\n")
    words = ["import", empty, path, "--subject", "u", "--unit", "i", "--time", "t"]
    words += ["--set", "import.bot_rate=20"]
    done = run(*words)
    assert (done.exit_code, watermark(empty)) == (4, 0)
    assert "300 decisions within ten minutes, above the 20 a minute" in done.stderr
    done = run(*words, "--quarantine", tmp_path / "bad.jsonl")
    assert "301 rows read, 1 added, 0 duplicates, 300 refused." in done.stdout


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([*FLAGS, "--propensity", "hour"], 4, "above 0 and at most 1"),
        ([*FLAGS, "--anonymous"], 2, "name their subject or are anonymous"),
        (["--anonymous"], 2, "both the subject and the unit"),
        ([*FLAGS, "--context", "hour,hour"], 1, "each once"),
        ([*FLAGS, "--context", "hour,minute"], 4, "minute: column: is missing"),
    ],
)
def test_what_cannot_be_read_adds_nothing(
    empty: Path, pages: Path, flags: list[str], code: int, message: str
) -> None:
    done = run("import", empty, pages, *flags)
    assert (done.exit_code, watermark(empty)) == (code, 0)
    assert message in " ".join(done.stderr.split())
