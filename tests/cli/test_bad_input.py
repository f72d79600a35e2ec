"""What cannot be right is refused with its place and a remedy, and nothing of it is done."""

import gzip
from pathlib import Path

import pytest

from heedful.store.registry import Registry
from heedful.workspace import RUNS, SECRET
from tests.cli.calls import NAMED, TRAIN, result, run, watermark
from tests.small_shop import LENGTH, SUBJECTS

ROWS = SUBJECTS * LENGTH


def cell(ratings: Path, line: int, column: int, value: str) -> str:
    """Return the text of the ratings with one cell changed."""
    lines = ratings.read_text().splitlines()
    cells = lines[line - 1].split(",")
    cells[column] = value
    lines[line - 1] = ",".join(cells)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("line", "column", "value", "said"),
    [
        (1, 1, "itme", ["item", "column"]),
        (3, 2, "five", ["line 3", "column rating", "'five'", "number"]),
        (3, 2, "NaN", ["line 3", "column rating", "'NaN'"]),
        (7, 0, "", ["line 7", "column user"]),
        (7, 3, "2,3", ["line 7", "fields"]),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_added(
    empty: Path, ratings: Path, tmp_path: Path, line: int, column: int, value: str, said: list[str]
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(cell(ratings, line, column, value))
    done = run("import", empty, file, *NAMED)
    assert done.exit_code == 4
    assert done.stdout == ""
    assert "nothing was added" in done.stderr
    for part in said:
        assert part in done.stderr
    assert watermark(empty) == 0


def test_a_cut_gzip_is_refused_whole(empty: Path, ratings: Path, tmp_path: Path) -> None:
    packed = gzip.compress(ratings.read_bytes())
    file = tmp_path / "ratings.csv.gz"
    file.write_bytes(packed[: len(packed) // 2])
    done = run("import", empty, file, *NAMED, "--quarantine", tmp_path / "bad.jsonl")
    assert done.exit_code == 4
    assert "damaged" in done.stderr
    assert watermark(empty) == 0
    file.write_bytes(packed)
    assert result(run("import", empty, file, *NAMED, "--json"))["added"] == ROWS


def test_a_dry_run_lists_what_is_wrong_and_adds_nothing(
    empty: Path, ratings: Path, tmp_path: Path
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(cell(ratings, 3, 2, "five"))
    done = run("import", empty, file, *NAMED, "--dry-run")
    assert done.exit_code == 4
    for part in ("line", "column", "rule", "value", "hint", "five", "rating"):
        assert part in done.stdout
    assert f"{ROWS} rows read, 0 added" in done.stdout
    assert watermark(empty) == 0
    assert run("import", empty, ratings, *NAMED, "--dry-run").exit_code == 0
    assert watermark(empty) == 0


def test_a_quarantine_takes_the_bad_rows_and_the_good_ones_go_in(
    empty: Path, ratings: Path, tmp_path: Path
) -> None:
    file, bad = tmp_path / "bad.csv", tmp_path / "quarantine.jsonl"
    file.write_text(cell(ratings, 3, 2, "five"))
    done = run("import", empty, file, *NAMED, "--quarantine", bad, "--json")
    assert result(done) == {"read": ROWS, "added": ROWS - 1, "duplicates": 0, "refused": 1}
    assert "five" in bad.read_text()
    assert str(bad) in done.stderr


def test_a_file_of_unknown_format_or_none_at_all(empty: Path, ratings: Path) -> None:
    unknown = run("import", empty, ratings)
    assert unknown.exit_code == 4
    assert "which column is the subject" in unknown.stderr
    absent = run("import", empty, ratings.parent / "none.csv", *NAMED)
    assert absent.exit_code == 1
    assert "none.csv" in absent.stderr
    assert "Traceback" not in absent.stderr


@pytest.mark.parametrize("damage", ["bit", "cut", "gone"])
def test_a_damaged_model_file_is_never_loaded(shop: Path, damage: str) -> None:
    file = shop / "policies" / "0001" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.chmod(0o600)
    file.unlink()
    if damage != "gone":
        file.write_bytes(content if damage == "bit" else content[:-10])
    for words in (["evaluate", shop, "0001"], ["promote", shop, "0001"]):
        done = run(*words)
        assert done.exit_code == 4
        assert "0001 is damaged" in done.stderr
        assert "model.safetensors" in done.stderr
    with Registry.open(shop) as registry:
        assert registry.live() is None
    well = run("doctor", shop)
    assert well.exit_code == 1
    assert "model.safetensors" in well.stdout


def test_training_on_an_empty_log_says_what_is_missing(empty: Path) -> None:
    done = run("pretrain", empty, *TRAIN)
    assert done.exit_code == 1
    assert "there are no items: the log names none" in done.stderr
    assert run("reinforce", empty).exit_code == 1
    assert list((empty / "policies").iterdir()) == []
    assert not list(empty.glob(f"{RUNS}/*/finished"))


def test_a_secret_that_others_can_read_is_no_secret(shop: Path) -> None:
    (shop / SECRET).chmod(0o644)
    done = run("doctor", shop)
    assert done.exit_code == 1
    assert "chmod 600" in done.stdout.replace("\n", " ")


def test_faults_show_where_they_happened_only_when_asked(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heedful.workspace.Workspace.evaluate", lambda *_: 1 / 0)
    done = run("evaluate", shop)
    assert done.exit_code == 1
    assert "ZeroDivisionError" in done.stderr
    assert "HEEDFUL_DEBUG=1" in done.stderr
    assert "Traceback" not in done.stderr
    assert isinstance(
        run("evaluate", shop, env={"HEEDFUL_DEBUG": "1"}).exception, ZeroDivisionError
    )
