"""Parts of long benchmarks that are done: what was measured once is not measured again.

A part is kept under everything its result depends on: the code of heedful and of the modules that
are named, the packages, the data and the settings. Change any of them and it is measured anew. The
folder ``.benchmarks`` may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heedful.store.registry import current_code, current_environment

FOLDER = Path(__file__).resolve().parent.parent / ".benchmarks"


def keep(
    compute: Callable[[], Any],
    *,
    code: Sequence[str],
    data: Sequence[Path] = (),
    settings: Mapping[str, object],
) -> Any:
    """Return what ``compute`` gives, from an earlier run if nothing it depends on has changed.

    Args:
        compute: gives JSON.
        code: the modules beside heedful that take part; the first one names the benchmark.
        data: files that are read.
        settings: JSON; what tells this part from the others.
    """
    return keep_in(lambda _folder: compute(), code=code, data=data, settings=settings)


def keep_in(
    compute: Callable[[Path], Any],
    *,
    code: Sequence[str],
    data: Sequence[Path] = (),
    settings: Mapping[str, object],
) -> Any:
    """Return what ``compute`` gives, as :func:`keep` does; one that was killed goes on.

    Args:
        compute: gives JSON, from a folder of its own that is still there if it was killed.
        code: the modules beside heedful that take part; the first one names the benchmark.
        data: files that are read.
        settings: JSON; what tells this part from the others.
    """
    key = {
        "code": current_code(code).digest,
        "packages": dict(current_environment(device="cpu", threads=1).packages),
        "data": [_digest(file) for file in data],
        "settings": dict(settings),
    }
    text = json.dumps(key, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    file = FOLDER / code[0].rpartition(".")[2] / f"{name}.json"
    if file.is_file():
        return json.loads(file.read_text("utf-8"))["value"]
    folder = file.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    value = compute(folder)
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps({"key": key, "value": value}), "utf-8")
    unfinished.replace(file)
    shutil.rmtree(folder)
    return value


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
