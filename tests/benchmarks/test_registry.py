import json

import pytest

import benchmarks
from benchmarks import __main__ as command
from benchmarks._data import NoData, real

TABLE = benchmarks.Table("Title", ("a", "b"), (("1", "2"),), "Note.")


def test_the_list_names_every_benchmark_with_its_first_line(capsys):
    assert "gate" in benchmarks.names()
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(benchmarks.names())
    assert any(line.startswith("gate ") and "errors and power" in line for line in lines)


def test_names_have_hyphens_where_modules_have_underscores():
    assert "import-speed" in benchmarks.names()
    assert benchmarks.load("import-speed").__name__ == "benchmarks.import_speed"
    assert not any(name.startswith(("-", "_")) or "_" in name for name in benchmarks.names())


def test_an_unknown_name_is_refused(capsys):
    assert command.main(["gait"]) == 2
    assert "no benchmark called gait; known: " in capsys.readouterr().err


def test_a_table_is_markdown():
    assert TABLE.markdown() == "**Title**\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nNote."


def test_a_page_is_written_between_its_markers_and_again_the_same():
    page = "Head\n<!-- begin x -->\nold\n<!-- end x -->\nTail\n"
    written = benchmarks.between_markers(page, "x", [TABLE])
    assert written.startswith("Head\n<!-- begin x -->\n\n**Title**")
    assert written.endswith("Note.\n\n<!-- end x -->\nTail\n")
    assert benchmarks.between_markers(written, "x", [TABLE]) == written
    for broken in ("", "<!-- end x --><!-- begin x -->", page + page):
        with pytest.raises(ValueError, match="begin x"):
            benchmarks.between_markers(broken, "x", [TABLE])


def test_every_benchmark_has_a_page_with_markers():
    for name in benchmarks.names():
        page = (command.PAGES / f"{name}.md").read_text(encoding="utf-8")
        assert benchmarks.between_markers(page, name, []) != ""


def test_data_that_are_not_there_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("HEEDFUL_DATA", raising=False)
    with pytest.raises(NoData, match=r"set HEEDFUL_DATA to a folder that holds a/b\.csv"):
        real("a", "b.csv")
    monkeypatch.setenv("HEEDFUL_DATA", str(tmp_path))
    with pytest.raises(NoData, match=r"needs a/b\.csv in the folder"):
        real("a", "b.csv")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.csv").touch()
    assert real("a", "b.csv") == tmp_path / "a" / "b.csv"


class Measured:
    """A benchmark that takes no time."""

    @staticmethod
    def run(*, quick):
        return [benchmarks.Table("Quick" if quick else "Full", ("a",), (("1",),))]


@pytest.fixture
def page(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "PAGES", tmp_path)
    monkeypatch.setattr(benchmarks, "load", lambda name: Measured)
    page = tmp_path / "gate.md"
    page.write_text("<!-- begin gate -->\n<!-- end gate -->\n", encoding="utf-8")
    return page


def test_a_full_run_writes_its_page_and_a_quick_one_does_not(page, capsys):
    before = page.read_text(encoding="utf-8")
    assert command.main(["gate", "--quick"]) == 0
    assert "**Quick**" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8") == before
    assert command.main(["gate"]) == 0
    assert "**Full**" in page.read_text(encoding="utf-8")


def test_json_on_stdout_alone(page, capsys):
    assert command.main(["gate", "--json", "--quick"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["name"] == "gate"
    assert answer["tables"][0]["rows"] == [["1"]]


class Needy:
    """A benchmark whose data are not there."""

    @staticmethod
    def run(*, quick):
        raise NoData("needs real data: set HEEDFUL_DATA")


def test_a_benchmark_without_its_data_fails_by_name_and_is_passed_over_among_all(
    page, monkeypatch, capsys
):
    monkeypatch.setattr(benchmarks, "names", lambda: ["gate", "needy"])
    monkeypatch.setattr(benchmarks, "load", lambda name: Needy if name == "needy" else Measured)
    assert command.main(["needy", "--quick"]) == 1
    assert "needy: needs real data: set HEEDFUL_DATA" in capsys.readouterr().err
    assert command.main(["--quick"]) == 0
    said = capsys.readouterr()
    assert "**Quick**" in said.out
    assert "needy: needs real data" in said.err
