"""bootstrap.py with a fake interpreter: a script that plays venv and pip, in real processes."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

import bootstrap
import heedful
from bootstrap import VERBS, Failure, Venv

ROOT = Path(bootstrap.__file__).parent

# Keeps a diary of what was asked of it; pip.sh, where there is one, is what "pip install" does.
INTERPRETER = """#!/bin/sh
case "$2" in
venv) echo "venv" >> diary; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
pip) [ "$3" = install ] || exit 0
     shift 3; echo "pip $*" >> diary
     if [ -e pip.sh ]; then . ./pip.sh; fi ;;
esac
"""
TOOL = """#!/bin/sh
echo "$(basename "$0")${1:+ }$* [$OMP_NUM_THREADS]" >> diary
"""
WHOLE = ["venv", "pip -c constraints.txt torch", "pip -c constraints.txt -e .[dev]"]
PIP_ONLY = WHOLE[1:]


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text("[project]\n")
    (checkout / "constraints.txt").write_text("torch==2.13.0\n")
    script(checkout / "interpreter", INTERPRETER)
    return checkout


def venv_of(root: Path, beat: float = 60.0) -> Venv:
    return Venv(root, str(root / "interpreter"), beat)


def diary(root: Path) -> list[str]:
    """What was asked since the last look."""
    page = root / "diary"
    lines = page.read_text().splitlines() if page.exists() else []
    page.unlink(missing_ok=True)
    return lines


@pytest.fixture
def installed(root: Path) -> Path:
    venv_of(root).install()
    for tool in {step[0] for _, steps in VERBS.values() for step in steps} - {"python"}:
        script(root / ".venv" / "bin" / tool, TOOL)
    diary(root)
    return root


def test_first_install_runs_every_stage_and_the_second_none(root: Path) -> None:
    venv_of(root).install()
    assert diary(root) == WHOLE
    venv_of(root).install()
    assert diary(root) == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_input_installs_again_without_a_new_environment(
    installed: Path, name: str
) -> None:
    with (installed / name).open("a") as file:
        file.write("# changed\n")
    venv_of(installed).install()
    assert diary(installed) == PIP_ONLY
    assert venv_of(installed).current()


def test_moving_a_line_between_the_inputs_counts_as_a_change(installed: Path) -> None:
    first, second = installed / "pyproject.toml", installed / "constraints.txt"
    whole = first.read_text() + second.read_text()
    first.write_text(whole)
    second.write_text("")
    assert not venv_of(installed).current()


@pytest.mark.parametrize("content", [None, b"", b"gibberish\n", b"\xff\xfe"])
def test_a_lost_or_broken_stamp_installs_again(installed: Path, content: bytes | None) -> None:
    stamp = venv_of(installed).stamp
    stamp.unlink() if content is None else stamp.write_bytes(content)
    venv_of(installed).install()
    assert diary(installed)[-2:] == PIP_ONLY
    assert venv_of(installed).current()


@pytest.mark.parametrize("damage", ["python gone", "python dead", "folder moved"])
def test_a_broken_environment_is_made_anew(installed: Path, damage: str) -> None:
    python = installed / ".venv" / "bin" / "python"
    if damage == "python gone":
        python.unlink()
    elif damage == "python dead":
        script(python, "#!/bin/sh\nexit 1\n")
    else:
        installed = installed.rename(installed.with_name("elsewhere"))
    leftover = installed / ".venv" / "leftover"
    leftover.touch()
    venv_of(installed).install()
    assert diary(installed) == WHOLE
    assert not leftover.exists()


def test_an_edit_during_the_install_is_not_taken_for_installed(root: Path) -> None:
    (root / "pip.sh").write_text("echo '# later' >> pyproject.toml\n")
    venv_of(root).install()
    assert not venv_of(root).current()


def test_a_failed_stage_shows_the_end_of_the_log_and_is_taken_up_again(root: Path) -> None:
    (root / "pip.sh").write_text("seq -f 'line %g' 100\nexit 3\n")
    with pytest.raises(Failure, match=r"torch failed \(exit code 3\)") as failure:
        venv_of(root).install()
    shown = re.findall(r"line \d+", str(failure.value))
    assert shown == [f"line {n}" for n in range(101 - bootstrap.TAIL, 101)]
    log = venv_of(root).log.read_text()
    assert "line 1\n" in log
    assert not venv_of(root).current()
    assert diary(root) == WHOLE[:2]

    (root / "pip.sh").unlink()
    venv_of(root).install()
    assert diary(root) == PIP_ONLY


def test_a_failed_install_is_not_forgotten_when_its_input_is_taken_back(installed: Path) -> None:
    inputs = installed / "constraints.txt"
    before = inputs.read_text()
    inputs.write_text("torch==2.12.0\n")
    (installed / "pip.sh").write_text("case $* in *-e*) exit 1 ;; esac\n")
    with pytest.raises(Failure, match="heedful and its tools failed"):
        venv_of(installed).install()  # torch 2.12.0 is in by now
    inputs.write_text(before)
    assert not venv_of(installed).current()


def test_a_long_stage_tells_what_it_is_doing(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (root / "pip.sh").write_text("echo Collecting sympy; sleep .3\n")
    venv_of(root, beat=0.05).install()
    told, stages = capfd.readouterr().err, ("virtual environment", "torch", "heedful and its tools")
    assert re.search(r"torch: 0 s so far: Collecting sympy\n", told)
    assert all(re.search(rf"{stage}: \d+\.\d s\n", told) for stage in stages)


def run_bootstrap(root: Path, *arguments: str) -> "subprocess.Popen[str]":
    program = (
        "import sys; from pathlib import Path; from bootstrap import Venv, main\n"
        "root = Path(sys.argv[1])\n"
        "sys.exit(main(sys.argv[2:], Venv(root, str(root / 'interpreter'), beat=.05)))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(root), *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a signal can go to it and its children alone
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def test_of_two_at_once_one_installs_and_the_other_waits(root: Path) -> None:
    (root / "pip.sh").write_text("touch started; until [ -e go ]; do sleep .02; done\n")
    first = run_bootstrap(root, "install")
    wait_for(root / "started")
    second = run_bootstrap(root, "install")
    assert second.stderr is not None
    assert "waiting for it to finish" in second.stderr.readline()
    (root / "go").touch()
    assert "installed in" in first.communicate(timeout=30)[1]
    assert "installed in" not in second.communicate(timeout=30)[1]
    assert (first.returncode, second.returncode) == (0, 0)
    assert diary(root) == WHOLE


def test_a_killed_install_leaves_no_lock_and_no_stamp(root: Path) -> None:
    (root / "pip.sh").write_text("touch started; sleep 60\n")
    process = run_bootstrap(root, "install")
    wait_for(root / "started")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert not venv_of(root).current()
    (root / "pip.sh").unlink()
    diary(root)
    venv_of(root).install()
    assert diary(root) == PIP_ONLY


def test_ctrl_c_during_the_install_stops_pip_and_says_how_to_go_on(root: Path) -> None:
    (root / "pip.sh").write_text("echo $$ > started; exec sleep 60\n")
    process = run_bootstrap(root, "install")
    wait_for(root / "started")
    assert process.stderr is not None
    assert any("torch: 0 s so far" in line for line in process.stderr)  # it waits for pip
    os.kill(process.pid, signal.SIGINT)  # to bootstrap alone: it must not leave pip behind
    assert "the same command goes on from here" in process.communicate(timeout=30)[1]
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int((root / "started").read_text()), 0)


def test_ctrl_c_during_a_verb_is_the_verbs_to_answer(installed: Path) -> None:
    demo = "trap 'echo tidied >> diary; exit 7' INT\ntouch started\nwhile :; do sleep .02; done\n"
    script(installed / ".venv" / "bin" / "heedful", f"#!/bin/sh\n{demo}")
    process = run_bootstrap(installed, "demo")
    wait_for(installed / "started")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert diary(installed) == ["tidied"]


@pytest.mark.parametrize("verb", [verb for verb, (_, steps) in VERBS.items() if steps])
def test_a_verb_runs_its_tools_with_one_thread(
    installed: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(Venv, "install", lambda self: None)
    script(installed / ".venv" / "bin" / "python", TOOL)
    assert bootstrap.main([verb], venv_of(installed)) == 0
    assert diary(installed) == [f"{' '.join(step)} [1]" for step in VERBS[verb][1]]


def test_arguments_go_to_the_tool_and_the_callers_threads_stay(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert bootstrap.main(["test", "-k", "gate"], venv_of(installed)) == 0
    assert diary(installed) == ["pytest -n 2 -k gate [4]"]


def test_check_runs_every_step_and_returns_the_first_failure(
    installed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script(installed / ".venv" / "bin" / "mypy", f"{TOOL}exit 5\n")
    script(installed / ".venv" / "bin" / "pytest", f"{TOOL}kill -9 $$\n")
    assert bootstrap.main(["check"], venv_of(installed)) == 5
    assert len(diary(installed)) == len(VERBS["check"][1])
    assert "failed: mypy; pytest -q --doctest-modules src" in capfd.readouterr().err


def test_a_killed_tool_is_reported_as_shells_do(installed: Path) -> None:
    script(installed / ".venv" / "bin" / "heedful", "#!/bin/sh\nkill -9 $$\n")
    assert bootstrap.main(["demo"], venv_of(installed)) == 128 + signal.SIGKILL


def test_a_missing_tool_names_the_remedy(
    installed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (installed / ".venv" / "bin" / "heedful").unlink()
    assert bootstrap.main(["demo"], venv_of(installed)) == 1
    assert "lacks heedful: make clean" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["dance"], ["check", "-x"], ["clean", "all"]])
def test_wrong_usage_does_nothing(root: Path, arguments: list[str]) -> None:
    assert bootstrap.main(arguments, venv_of(root)) == 2
    assert diary(root) == []


def test_clean_removes_what_was_built_and_nothing_else(installed: Path) -> None:
    (installed / "docs" / "_build").mkdir(parents=True)
    kept = installed / "docs" / "index.md"
    kept.touch()
    assert bootstrap.main(["clean"], venv_of(installed)) == 0
    assert not (installed / ".venv").exists()
    assert not (installed / "docs" / "_build").exists()
    assert kept.exists()


def test_too_little_space_is_told_before_anything_is_made(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    with pytest.raises(Failure, match=r"needs about 3\.0 GiB and .* has 1\.0 GiB free"):
        venv_of(root).install()
    assert not (root / ".venv").exists()


def test_an_old_python_is_answered_with_a_sentence() -> None:
    source = (ROOT / "bootstrap.py").read_text()
    ast.parse(source, feature_version=(3, 7))
    program = "import sys; sys.version_info = (3, 9, 1); exec(open('bootstrap.py').read())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer, this is 3.9.1" in done.stderr
    assert "Traceback" not in done.stderr


def make(*arguments: str) -> str:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def make_targets() -> set[str]:
    named = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert named is not None
    return set(named[1].split())


def test_makefile_offers_every_verb_and_at_most_ten_targets() -> None:
    assert make_targets() == {"help", *VERBS}
    assert len(make_targets()) <= 10


@pytest.mark.parametrize("verb", VERBS)
def test_a_make_target_is_its_verb(verb: str) -> None:
    assert (
        make("-n", verb, "PYTHON=py", "ARGS=-k gate").strip() == f"py bootstrap.py {verb} -k gate"
    )


def test_make_alone_says_what_there_is() -> None:
    assert all(verb in make(f"PYTHON={sys.executable}") for verb in VERBS)


def test_readme_names_only_targets_that_exist() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named
    assert named <= make_targets()


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> list[str]:
    extras = project()["optional-dependencies"]
    assert isinstance(extras, dict)
    return [*project()["dependencies"], *(line for extra in extras.values() for line in extra)]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


@pytest.mark.parametrize("line", requirements())
def test_every_requirement_is_pinned_to_a_version_that_it_allows(line: str) -> None:
    wanted = Requirement(line)
    assert wanted.specifier.contains(pins()[wanted.name.lower()])


def test_version_is_said_once() -> None:
    assert project()["version"] == heedful.__version__
