from pathlib import Path

import pytest

from tests.cli.calls import TRAIN, result, run, watermark


def test_a_plan_from_the_logs_own_subjects(shop: Path) -> None:
    before = watermark(shop)
    words = ("--gain", "0.1", "--subjects", "100,1000", "--json")
    found = result(run("plan", shop, *words, *TRAIN))
    assert found["source"].endswith("subjects in the imported history")
    assert [row["subjects"] for row in found["power"]] == [100, 1000]
    assert found["power"][0]["power"] <= found["power"][1]["power"]
    assert found["per_day"] is None, "nobody was served yet"
    assert found["gain"] == 0.1
    assert watermark(shop) == before, "nothing is logged"


def test_a_plan_for_an_assumed_rate_in_words(shop: Path) -> None:
    shown = run("plan", shop, "--gain", "0.1", "--base", "0.3", "--subjects", "100,1000", *TRAIN)
    assert shown.exit_code == 0
    words = " ".join(shown.stdout.split())
    assert "an assumed click rate of 0.3 in 10 decisions" in words
    assert "promoted by then" in words
    assert "Half of the trials promote within" in words


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--gain", "0.9", "--base", "0.3"), 1, "more than there is room for"),
        (("--gain", "0.1", "--base", "1.5"), 1, "base: expected a rate"),
        (("--gain", "0.1", "--subjects", "many"), 2, "write numbers as in 500,2000"),
    ],
)
def test_what_cannot_be_planned(
    shop: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    shown = run("plan", shop, *words, *TRAIN)
    assert shown.exit_code == code
    assert message in " ".join(shown.output.split())
