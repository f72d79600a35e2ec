"""A command that is killed or stopped loses nothing, and the same command goes on."""

import shutil
import signal
import subprocess
import time
from hashlib import sha256
from pathlib import Path

import pytest

from heedful.store.registry import Registry
from tests.cli.calls import COMMAND, NAMED, TRAIN, result, run, watermark
from tests.small_shop import write_ratings

LONG = [*TRAIN, "--set", "pretrain.patience=100", "--epochs", "15"]
PATIENCE = 60.0  # seconds


def weights(folder: Path, version: str) -> str:
    file = folder / "policies" / version / "model.safetensors"
    return sha256(file.read_bytes()).hexdigest()


def stopped_at_checkpoint(folder: Path, how: signal.Signals, words: list[str]) -> tuple[int, str]:
    """Start the command, stop it once it has a checkpoint, and return how it ended."""
    with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True) as running:
        began = time.monotonic()
        while not list(folder.glob("runs/*/checkpoint")):
            assert running.poll() is None, "it was over before it could be stopped"
            assert time.monotonic() - began < PATIENCE
            time.sleep(0.002)
        running.send_signal(how)
        _, said = running.communicate()
    return running.returncode, said


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_training_goes_on_to_the_same_weights(shop: Path, how: signal.Signals) -> None:
    words = ["pretrain", str(shop), *LONG, "--json"]
    code, said = stopped_at_checkpoint(shop, how, words)
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    if how == signal.SIGINT:
        assert "the same command goes on from here" in said
        assert "Traceback" not in said
    with Registry.open(shop) as registry:
        assert [version.name for version in registry.versions()] == ["0001"]
    (unfinished,) = (p.parent for p in shop.glob("runs/*/checkpoint"))
    resumed = result(run(*words))["policy"]
    assert (unfinished / "finished").exists()
    undisturbed = result(run(*words))["policy"]
    assert resumed != undisturbed
    assert weights(shop, resumed) == weights(shop, undisturbed)
    assert weights(shop, resumed) != weights(shop, "0001")


@pytest.mark.slow
def test_a_promotion_that_is_killed_happened_whole_or_not_at_all(
    shop: Path, tmp_path: Path
) -> None:
    outcomes = set()
    for attempt in range(12):
        copy = Path(shutil.copytree(shop, tmp_path / f"copy-{attempt}"))
        words = [*COMMAND, "promote", str(copy), "0001", "--by", "ada"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as running:
            registry = str(copy / "registry.db")
            while registry not in open_files(running.pid) and running.poll() is None:
                time.sleep(0.0005)
            time.sleep(0.002 * attempt)
            running.kill()
        with Registry.open(copy) as opened:
            assert opened.check() == []
            live, last = opened.live(), opened.audit()[-1]
            outcomes.add(live is None)
            assert (last.action == "promoted") == (live is not None)
        if live is None:
            assert run("promote", copy, "0001", "--by", "ada").exit_code == 0
    assert outcomes  # which of the two it was is a matter of milliseconds


def open_files(pid: int) -> set[str]:
    """Return the files a process holds open; none where that cannot be told."""
    try:
        return {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


def test_an_import_that_is_killed_adds_all_or_nothing(empty: Path, tmp_path: Path) -> None:
    file = write_ratings(tmp_path / "many.csv", subjects=3_000)
    words = ["import", str(empty), str(file), *NAMED]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL) as running:
        size = (empty / "log.db-wal").stat().st_size if (empty / "log.db-wal").exists() else 0
        began = time.monotonic()
        while running.poll() is None and time.monotonic() - began < PATIENCE:
            wal = empty / "log.db-wal"
            if wal.exists() and wal.stat().st_size > size + 100_000:
                break
            time.sleep(0.001)
        assert running.poll() is None, "it was over before it could be killed"
        running.kill()
    assert watermark(empty) in (0, 60_000)
    done = result(run(*words, "--json"))
    assert done["added"] + done["duplicates"] == done["read"] == 30_000
    assert watermark(empty) == 60_000
