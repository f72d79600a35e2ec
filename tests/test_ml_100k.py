"""What a stranger with ML-100K gets from the command, and in what time."""

import os
import resource
import subprocess
from pathlib import Path

import pytest

from heedful.loop.assess import POPULARITY, PRIOR
from tests.cli.calls import process, result

ROWS, SUBJECTS = 100_000, 943
CPU_MINUTES = 10


def children_cpu() -> float:
    """Return the CPU seconds of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def counted(done: "subprocess.CompletedProcess[str]") -> tuple[int, int, int, int]:
    """Return what an import read, added, knew already and refused."""
    found = result(done)
    return found["read"], found["added"], found["duplicates"], found["refused"]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_movielens_100k_by_the_command(tmp_path: Path, data: Path) -> None:
    """Leave-one-out over all items, ties in file order: better than what costs nothing."""
    assert os.environ["OMP_NUM_THREADS"] == "1"  # so that CPU time means something
    shop, file = tmp_path / "shop", data / "ml-100k" / "ml-100k.inter"
    assert process("init", shop).returncode == 0
    assert counted(process("import", shop, file, "--json")) == (ROWS, ROWS, 0, 0)
    assert counted(process("import", shop, file, "--json")) == (ROWS, 0, ROWS, 0)
    began = children_cpu()
    trained = result(process("pretrain", shop, "--json"))["policy"]
    ranking = result(process("evaluate", shop, trained, "--json"))["ranking"]
    assert children_cpu() - began < 60 * CPU_MINUTES
    assert ranking["n"] == SUBJECTS
    assert ranking["ndcg@10"] >= 0.110
    beside = {name: found["ndcg@10"] for name, found in ranking["beside"].items()}
    assert 0 < beside[POPULARITY] < beside[PRIOR] < ranking["ndcg@10"]
    gain = ranking["gain_over_prior"]
    assert gain["low"] < gain["mean"] < gain["high"]
    assert gain["mean"] == pytest.approx(ranking["ndcg@10"] - beside[PRIOR])
    told = process("evaluate", shop, trained).stdout
    assert all(word in told for word in ("leave-one-out", POPULARITY, PRIOR, "paired by subject"))
