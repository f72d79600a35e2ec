"""Real data, which are no part of the project: the folder that HEEDFUL_DATA names."""

from __future__ import annotations

import os
from pathlib import Path


class NoData(Exception):
    """The data that a benchmark needs are not there; the message says what to do."""


def real(*parts: str) -> Path:
    """Return a file of the folder that HEEDFUL_DATA names.

    Raises:
        NoData: it names no folder, or the file is not there.
    """
    folder, wanted = os.environ.get("HEEDFUL_DATA"), "/".join(parts)
    if not folder:
        raise NoData(f"needs real data: set HEEDFUL_DATA to a folder that holds {wanted}")
    file = Path(folder, *parts)
    if not file.is_file():
        raise NoData(f"needs {wanted} in the folder that HEEDFUL_DATA names, {folder}")
    return file
