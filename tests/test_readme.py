"""What README and the pages say is run: commands, the Python example, the tree, the pictures."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import benchmarks
import bootstrap
from heedful.cli.app import command
from heedful.workspace import Workspace

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
SMALL = """
[policy]
width = 8
layers = 1

[pretrain]
epochs = 1
"""


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of all bash blocks, continued lines joined, as words."""
    for block in blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def said(page: Path) -> list[list[str]]:
    return list(commands(page.read_text("utf-8")))


def write_ratings(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("ratings", ROOT / "examples" / "ratings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(folder / "ratings.csv", people=100, each=10)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    for words in said(page):
        check_command(words)


def check_command(words: list[str]) -> None:
    match words:
        case ["make", *targets]:
            assert set(targets) <= set(bootstrap.VERBS), words
        case ["heedful", verb, *rest]:
            check_verb(verb, rest)
        case ["python", "-m", "benchmarks", name, *_]:
            assert name in benchmarks.names(), words
        case ["python", file, *_]:
            assert (ROOT / file).is_file(), words
        case ["curl", *_]:
            assert any(word.startswith("localhost:8642/") for word in words), words
        case _:
            assert words[0] in ("source", "pip"), words


def check_verb(verb: str, rest: list[str]) -> None:
    help_text = CliRunner().invoke(command(), [verb, "--help"], prog_name="heedful")
    assert help_text.exit_code == 0, verb
    for flag in (word for word in rest if word.startswith("--")):
        assert flag.partition("=")[0] in help_text.output, f"heedful {verb} has no {flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_two_commands_come_first() -> None:
    assert next(commands(README)) == ["make", "demo"]
    assert blocks(README, "bash")[0].split() == ["make", "demo", "make", "test"]


def test_the_tree_is_the_tree() -> None:
    tree = next(block for block in blocks(README, "text") if block.startswith("src/heedful/"))
    lines = tree.splitlines()
    inside = {line.split()[0].rstrip("/") for line in lines if line.startswith("  ")}
    package = ROOT / "src" / "heedful"
    real = {
        entry.name
        for entry in package.iterdir()
        if entry.name not in ("__pycache__", "__init__.py", "__main__.py", "py.typed")
    }
    assert inside == real
    outside = [line.split()[0] for line in lines if not line.startswith("  ")]
    assert all((ROOT / name).exists() for name in outside)
    for line in lines[1:]:
        caption = line.split(maxsplit=1)[1]
        assert len(caption.split()) <= 8, line


def test_pictures_are_light() -> None:
    pictures = [ROOT / place for place in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)]
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 150_000, picture


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Workspace.create("shop", settings=f'[workspace]\ndomain = "recommendation"\n{SMALL}').close()
    write_ratings(tmp_path)
    [example] = blocks(README, "python")
    capsys.readouterr()
    exec(compile(example, "README.md", "exec"), {})
    assert re.fullmatch(r"-?0\.\d{4} \[-?0\.\d{4}, -?0\.\d{4}\]", capsys.readouterr().out.strip())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_start_page_prints_what_it_says(tmp_path: Path) -> None:
    """Run the page from the making of ratings to the first trial; only figures may differ."""
    page = (ROOT / "docs" / "start.md").read_text("utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    pattern = r"^```bash\n(.*?)^```\n(?:\n```text\n(.*?)^```)?"
    ran = 0
    for typed, printed in re.findall(pattern, page, re.MULTILINE | re.DOTALL):
        if not printed or "own mine.csv" in typed:
            continue
        if typed == "heedful run shop\n":
            typed = f"heedful promote shop 0001 > promoted\n{SERVED}{typed}"
        typed = typed.replace("source .venv/bin/activate\n", "")
        found = subprocess.run(
            ["bash", "-ec", typed],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout
        assert shape(found) == shape(printed), typed
        ran += 1
    assert ran >= 6


SERVED = """python - <<'END'
import heedful
from heedful.record import Kind
from heedful.serve import DecisionRequest, FeedbackRequest
with heedful.open("shop") as shop, shop.serving() as service:
    [slate] = service.decide([DecisionRequest(user="ada")])
    service.feedback([FeedbackRequest(decision=slate.id, kind=Kind.CLICK, value=True, unit=0)])
END
"""


def shape(printed: str) -> list[str]:
    """Return the words without progress, the key, figures, and rows that hold only those.

    Line by line in order of the alphabet: messages and results come by two ways.
    """
    passing = re.compile(r"pretrain: |  \S+ +[\d.]+$|.*─|Next:|What it learns")
    lines = [line for line in printed.splitlines() if not passing.match(line)]
    lines = [re.sub(r"heedful_\S+.*", "KEY", line) for line in lines]
    words = " ".join(sorted(re.sub(r"[+-]?[\d.,–]+", "#", line) for line in lines)).split()
    return [word for word in words if word != "#"]
