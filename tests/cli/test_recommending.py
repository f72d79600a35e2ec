import csv
from pathlib import Path

import pytest

from heedful.record import pseudonym
from heedful.workspace import Workspace
from tests.cli.calls import TRAIN, result, run, watermark


def recommend(shop: Path, *words: str | Path) -> dict:
    return result(run("recommend", shop, *words, *TRAIN, "--json"))


def test_what_a_version_would_show_somebody(shop: Path) -> None:
    before = watermark(shop)
    found = recommend(shop, "--subject", "user-0", "--k", "4")
    assert set(found) == {
        "subject",
        "policy",
        "decisions",
        "cold",
        "units",
        "why",
        "against",
        "unknown",
    }
    assert (found["subject"], found["policy"], found["decisions"]) == ("user-0", "0001", 10)
    assert [row["rank"] for row in found["units"]] == [1, 2, 3, 4]
    assert all(0 < row["probability"] <= 1 for row in found["units"])
    assert found["against"] is None
    assert watermark(shop) == before, "nothing is logged"


def test_another_versions_answer_stands_beside_it(shop: Path) -> None:
    assert run("pretrain", shop, "--popularity").exit_code == 0
    found = recommend(shop, "--subject", "user-0", "--version", "0001", "--against", "0002")
    assert (found["policy"], found["against"]["policy"]) == ("0001", "0002")
    assert len(found["against"]["units"]) == 10
    words = ("--subject", "user-0", "--version", "0002", "--against", "0001", "-k", "2")
    shown = run("recommend", shop, *words, *TRAIN)
    assert shown.exit_code == 0
    assert "0001" in shown.stdout
    assert "From a history of 10 decisions" in shown.stdout


def test_somebody_new_gets_the_cold_answer_and_a_word(shop: Path) -> None:
    assert recommend(shop, "--subject", "nobody")["cold"]
    shown = run("recommend", shop, "--subject", "nobody", *TRAIN)
    assert "There is no decision for this subject in the log" in " ".join(shown.stdout.split())


def test_rules_hold(shop: Path) -> None:
    rules = '{"cap": [{"most": 1, "units": ["item-1", "item-2"]}]}'
    words = ("--allowed", "item-1, item-2,item-3", "--forbidden", "item-3", "--rules", rules)
    found = recommend(shop, "--subject", "user-0", *words)
    assert found["units"][0]["unit"] in {"item-1", "item-2"}
    assert len(found["units"]) == 1
    found = recommend(shop, "--subject", "user-0", "--allowed", "never heard of")
    assert (found["units"], found["why"]) == ([], "no unit is left to show")


def test_a_list_for_everybody(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "lists.csv"
    found = recommend(shop, "--all", "--out", out, "--k", "3")
    assert found == {"out": str(out), "subjects": 40, "empty": 0, "why": "", "unknown": []}
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    with Workspace.open(shop) as workspace:
        assert rows[0]["subject"] == pseudonym("user-0", workspace.key)
    one = recommend(shop, "--subject", "user-0", "--k", "3")["units"]
    assert [row["unit"] for row in rows[:3]] == [row["unit"] for row in one]
    assert float(rows[0]["probability"]) == pytest.approx(one[0]["probability"], rel=1e-4)


def test_a_file_with_nothing_for_anybody_is_a_failure(shop: Path, tmp_path: Path) -> None:
    words = ("--all", "--out", tmp_path / "x.csv", "--allowed", "never heard of")
    done = run("recommend", shop, *words, *TRAIN)
    assert done.exit_code == 1
    assert "lists for 0 subjects" in " ".join(done.stdout.split())
    assert "40 subjects have none: no unit is left to show" in done.stderr
    assert "does not know never heard of" in done.stderr


def test_a_list_for_those_in_a_file(shop: Path, tmp_path: Path) -> None:
    users, out = tmp_path / "users.txt", tmp_path / "lists.parquet"
    users.write_text("user-3\n\nnobody\nuser-3\n")
    parquet = pytest.importorskip("pyarrow.parquet")
    found = recommend(shop, "--subjects", users, "--out", out, "--k", "2")
    assert found["subjects"] == 2
    rows = parquet.read_table(out).to_pylist()
    assert [row["subject"] for row in rows] == ["user-3", "user-3", "nobody", "nobody"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "say for whom"),
        (["--subject", "a", "--all"], 2, "say for whom"),
        (["--all"], 2, "say with --out"),
        (["--subject", "a", "--out", "x.csv"], 2, "--out belongs to"),
        (["--all", "--out", "x.csv", "--against", "0001"], 2, "--against belongs to"),
        (["--subject", "a", "--rules", "{"], 2, "is no JSON"),
        (["--subject", "a", "--rules", '{"limit": 1}'], 2, "write an object with cap"),
        (["--subject", "a", "--rules", '{"cap": {"colour": 1}}'], 1, "'colour' describes no unit"),
        (["--subject", "a", "--version", "0009"], 1, "0009"),
        (["--subject", ""], 1, "user: is empty"),
        (["--all", "--out", "x.txt"], 1, "ends in .csv or .parquet"),
        (["--all", "--out", "gone/x.csv"], 1, "gone: there is no such folder"),
        (["--subjects", "gone.txt", "--out", "x.csv"], 1, "gone.txt"),
    ],
)
def test_what_cannot_be_done_is_said(shop: Path, words: list[str], code: int, message: str) -> None:
    done = run("recommend", shop, *words, *TRAIN)
    assert done.exit_code == code
    assert message in done.stderr
    assert not Path("x.csv").exists()


def test_a_workspace_without_versions_says_so(empty: Path) -> None:
    done = run("recommend", empty, "--subject", "a")
    assert done.exit_code == 1
    assert "no policy version yet" in done.stderr
