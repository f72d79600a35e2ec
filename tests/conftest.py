import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports numpy or torch, which read it once. One thread: small work is faster so,
# sums have one order, and pytest-xdist's workers do not fight over the cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")

# The same examples on every machine: a failure in one place is a failure in all of them.
settings.register_profile("heedful", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("heedful")


def pytest_report_header() -> str:
    folder = os.environ.get("HEEDFUL_DATA")
    return f"real data: {folder or 'none (HEEDFUL_DATA is unset; tests marked data are skipped)'}"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; a test that uses it is marked ``data``."""
    named = os.environ.get("HEEDFUL_DATA")
    if not named:
        pytest.skip("needs real data: set HEEDFUL_DATA to the folder that holds ml-100k and others")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"HEEDFUL_DATA names {folder}, which is not a folder", pytrace=False)
    return folder
