#!/usr/bin/env python3
"""Make heedful's virtual environment when that is due, then run one verb inside it.

    python3 bootstrap.py VERB [ARGUMENTS ...]

Standard library only: a machine with Python 3.11 and a way for pip to reach packages is enough.
``.venv`` is installed when it is absent or broken, or when pyproject.toml or constraints.txt
changed since the last good install; a stamp, written last, says what that was made from. This file
keeps to syntax that Python 3.6 parses, so that an old interpreter is answered with a sentence.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)


def refuse_old_python() -> None:
    """Exit with advice where the running interpreter is too old for heedful."""
    if sys.version_info[:2] >= OLDEST:
        return
    advice = "install Python 3.11 or newer"
    for name in ("python3.11", "python3.12", "python3.13"):
        if shutil.which(name) and subprocess.call([name, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            advice = f"run: make VERB PYTHON={name}"
            break
    running = ".".join(str(part) for part in sys.version_info[:3])
    sys.exit(f"heedful needs Python 3.11 or newer, this is {running} ({sys.executable}); {advice}")


refuse_old_python()

ROOT = Path(__file__).resolve().parent
SPACE = 3 * 1024**3  # bytes: 1.5 GiB with torch for the CPU, as much again while pip unpacks
BEAT = 10.0  # seconds between two lines about a stage that is still running
TAIL = 20  # lines of the log that a failure shows
BUILT = (
    ".venv",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    ".import_linter_cache",
    "demo",
    "docs/_build",
    "dist",
)

# What a verb runs: tools of the environment. All steps of a verb run, whatever fails on the way.
VERBS: dict[str, tuple[str, list[list[str]]]] = {
    "install": ("make or refresh .venv, nothing else", []),
    "demo": ("watch a small shop improve itself, about three minutes", [["heedful", "demo"]]),
    "test": ("the tests, without the slow ones", [["pytest", "-n", "2"]]),
    "check": (
        "lint, format, types, floors, doctests",
        [
            ["ruff", "check", "."],
            ["ruff", "format", "--check", "."],
            ["mypy"],
            ["lint-imports"],
            ["pytest", "-q", "--doctest-modules", "src"],
        ],
    ),
    "bench": ("the benchmarks that write the tables of docs/", [["python", "-m", "benchmarks"]]),
    "soak": (
        "the slow tests and the studies",
        [["pytest", "-n", "2", "--timeout", "1800", "-m", "slow or soak"]],
    ),
    "docs": (
        "build docs/_build/html",
        [["sphinx-build", "-W", "--keep-going", "docs", "docs/_build/html"]],
    ),
    "clean": ("remove .venv and everything else that was built", []),
}


class Failure(Exception):
    """Something the person at the terminal has to know; its text says what to do."""


def say(text: str) -> None:
    """Tell what goes on: on stderr, since stdout belongs to the verb."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; wait for whoever holds it. The system frees it if we die."""
    import fcntl  # here: on Windows its absence must not hide the message of check_machine

    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another bootstrap is at work in this folder; waiting for it to finish")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def check_machine(root: Path, space: int = SPACE) -> None:
    """Refuse early what would fail late.

    Args:
        root: Where the environment will be.
        space: Bytes that have to be free there.

    Raises:
        Failure: no POSIX system, no ``venv`` in this Python, or too little space.
    """
    if os.name != "posix":
        raise Failure("heedful runs on Linux and macOS; on Windows, run it inside WSL")
    if any(importlib.util.find_spec(module) is None for module in ("venv", "ensurepip")):
        raise Failure(
            f"{sys.executable} cannot make virtual environments: install its venv package "
            "(Debian, Ubuntu: apt install python3-venv) and run the same command again"
        )
    free = shutil.disk_usage(root).free
    if free < space:
        raise Failure(
            f"the install needs about {space / 1024**3:.1f} GiB and {root} has "
            f"{free / 1024**3:.1f} GiB free: make room and run the same command again"
        )


class Venv:
    """The virtual environment ``root/.venv`` of one checkout.

    Args:
        root: The checkout.
        interpreter: The Python that makes the environment.
        beat: Seconds between two lines about a stage that is still running.
    """

    def __init__(
        self, root: Path = ROOT, interpreter: str = sys.executable, beat: float = BEAT
    ) -> None:
        self.root, self.interpreter, self.beat = root, interpreter, beat
        self.folder = root / ".venv"
        self.bin = self.folder / "bin"
        self.log = self.folder / "bootstrap.log"
        self.stamp = self.folder / "bootstrap.stamp"
        self.lock = root / ".venv.lock"  # beside the folder, which is removed under the lock

    def wanted(self) -> str:
        """Return the stamp of an up-to-date install: where it is, and the digest of what for."""
        digest = hashlib.sha256()
        for name in ("pyproject.toml", "constraints.txt"):
            digest.update(name.encode() + b"\n" + (self.root / name).read_bytes())
        return f"{self.folder}\n{digest.hexdigest()}\n"

    def stamped(self) -> str:
        """Return the stamp of the last good install; empty where there was none."""
        try:
            return self.stamp.read_text()
        except (OSError, UnicodeDecodeError):
            return ""

    def starts(self, *arguments: str) -> bool:
        """Whether the environment's Python, called with ``arguments``, ends well."""
        command = [str(self.bin / "python"), *arguments]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def current(self) -> bool:
        """Whether nothing has to be installed."""
        return self.stamped() == self.wanted() and self.starts("-c", "")

    def usable(self) -> bool:
        """Whether pip can mend the environment: it was not moved, as its scripts name the path."""
        stamped = self.stamped()
        moved = bool(stamped) and stamped.splitlines()[0] != str(self.folder)
        return not moved and self.starts("-m", "pip", "--version")

    def install(self) -> None:
        """Install what pyproject.toml asks for, unless the last good install did just that.

        Raises:
            Failure: the machine does not suffice, or a stage failed.
        """
        if self.current():
            return
        check_machine(self.root)
        with exclusive(self.lock):
            if not self.current():  # the one we waited for may have done it
                self.install_now()

    def install_now(self) -> None:
        """Run the stages of an install; the caller holds the lock."""
        start = time.monotonic()
        wanted = self.wanted()  # before the stages: an edit meanwhile makes the next run install
        usable = self.usable()
        if not usable:
            self.remove()
        self.folder.mkdir(exist_ok=True)
        self.stamp.unlink(missing_ok=True)
        say(f"installing into {self.folder} (log: {self.log})")
        if not usable:
            self.stage("virtual environment", [self.interpreter, "-m", "venv", str(self.folder)])
        pip = [str(self.bin / "python"), "-m", "pip", "install", "-c", "constraints.txt"]
        # torch apart: most of the download is its, and "no wheel for this system" should say so.
        self.stage("torch", [*pip, "torch"])
        self.stage("heedful and its tools", [*pip, "-e", ".[dev]"])
        self.write_stamp(wanted)
        say(f"installed in {time.monotonic() - start:.1f} s")

    def remove(self) -> None:
        """Remove the environment, its programs first: half removed, it must not look whole."""
        for folder in (self.bin, self.folder):
            if folder.exists():
                shutil.rmtree(folder)

    def stage(self, name: str, command: list[str]) -> None:
        """Run one command into the log, telling that it lives and how long it took.

        Raises:
            Failure: it ended with another code than 0; with the last lines of the log.
        """
        start = time.monotonic()
        with self.log.open("ab") as log:
            log.write(f"\n== {name}: {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.pip_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                code = self.wait(name, process, start)
            finally:  # stopped by Ctrl-C: leave nothing that writes on behind our back
                process.terminate()
                process.wait()
        if code:
            raise Failure(self.obituary(name, code))
        say(f"{name}: {time.monotonic() - start:.1f} s")

    def wait(self, name: str, process: "subprocess.Popen[bytes]", start: float) -> int:
        """Return the exit code of ``process``, with a line about it every beat."""
        while True:
            try:
                return process.wait(timeout=self.beat)
            except subprocess.TimeoutExpired:
                doing = self.log_lines()[-1].strip()[:80]
                say(f"{name}: {time.monotonic() - start:.0f} s so far: {doing}")

    def obituary(self, name: str, code: int) -> str:
        """Return what is known of the stage ``name`` that ended with ``code``."""
        tail = "\n".join("    " + line for line in self.log_lines()[-TAIL:])
        return (
            f"{name} failed (exit code {code}). The last lines of {self.log}:\n\n{tail}\n\n"
            "Mend that (no network? point pip at an index or at wheels that you can reach) and "
            "run the same command again: it goes on from here."
        )

    def log_lines(self) -> list[str]:
        """Return the log as lines; the first stage has written one before anybody asks."""
        return self.log.read_text(errors="replace").splitlines()

    def write_stamp(self, text: str) -> None:
        """Write the stamp whole or not at all."""
        fresh = self.stamp.with_suffix(".tmp")
        fresh.write_text(text)
        fresh.replace(self.stamp)

    def environment(self) -> dict[str, str]:
        """Return the environment variables of what runs in the environment."""
        variables = dict(os.environ)
        variables.pop("PYTHONHOME", None)
        variables["VIRTUAL_ENV"] = str(self.folder)
        variables["PATH"] = str(self.bin) + os.pathsep + variables.get("PATH", os.defpath)
        # Small models lose by a second thread, so one per process, unless the caller says more.
        variables.setdefault("OMP_NUM_THREADS", "1")
        return variables

    def pip_environment(self) -> dict[str, str]:
        """Return the environment variables of pip."""
        variables = self.environment()
        # The isolated build of "-e ." obeys these, not -c. Relative, as pip splits them at blanks.
        variables["PIP_CONSTRAINT"] = variables["PIP_BUILD_CONSTRAINT"] = "constraints.txt"
        variables["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        return variables

    def run(self, steps: list[list[str]]) -> int:
        """Run ``steps`` one after the other and return the first exit code that is not 0.

        Ctrl-C is theirs to answer: the terminal sends it to them too, and we wait until they have.

        Raises:
            Failure: a program that the install should have left is not there.
        """
        lacking = [tool for tool, *_ in steps if not (self.bin / tool).exists()]
        if lacking:
            raise Failure(f"{self.bin} lacks {', '.join(lacking)}: make clean, then try again")
        start = time.monotonic()
        failed: dict[str, int] = {}
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            for tool, *arguments in steps:
                begun = time.monotonic()
                command = [str(self.bin / tool), *arguments]
                code = subprocess.Popen(command, cwd=self.root, env=self.environment()).wait()
                words = " ".join([tool, *arguments])
                say(f"{words}: {time.monotonic() - begun:.1f} s")
                if code:  # negative: killed by a signal, for which shells say 128 + its number
                    failed[words] = code if code > 0 else 128 - code
        finally:
            signal.signal(signal.SIGINT, before)
        if len(steps) > 1:
            verdict = "failed: " + "; ".join(failed) if failed else "all passed"
            say(f"{verdict} ({time.monotonic() - start:.1f} s)")
        return next(iter(failed.values()), 0)

    def clean(self) -> None:
        """Remove what was built."""
        with exclusive(self.lock):
            for name in BUILT:
                shutil.rmtree(self.root / name, ignore_errors=True)


def usage() -> str:
    """Return the help text."""
    verbs = "\n".join(f"  {verb:8} {text}" for verb, (text, _) in VERBS.items())
    return f"python3 bootstrap.py VERB [ARGUMENTS ...]\n\n{verbs}"


def main(arguments: list[str], venv: Venv) -> int:
    """Do one verb and return its exit code, or 1: not installed, 2: usage, 130: stopped before."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"bootstrap: there is no verb {verb!r}\n\n{usage()}", file=sys.stderr)
        return 2
    steps = VERBS[verb][1]
    if rest and len(steps) != 1:
        print(f"bootstrap: {verb} takes no arguments, got: {' '.join(rest)}", file=sys.stderr)
        return 2
    try:
        if verb == "clean":
            venv.clean()
            return 0
        venv.install()
        return venv.run([[*step, *rest] for step in steps])
    except Failure as failure:
        say(str(failure))
        return 1
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Venv()))
