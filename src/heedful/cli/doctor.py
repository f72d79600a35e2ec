"""What ``heedful doctor`` examines: configuration, log, registry, secrets, disk."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from heedful.config import ConfigError, load
from heedful.serve.keys import FILE_NAME as KEYS
from heedful.serve.keys import Keys, KeysError
from heedful.store import Check, Log, StoreError
from heedful.store.registry import Registry
from heedful.workspace import LOG, SECRET, find_domain

LEAST_FREE = 1 << 30  # bytes, below which a log that grows is in danger
SECRET_BYTES = 32


def examine(folder: Path) -> list[Check]:
    """Return what was found in the workspace ``folder``; nothing is changed.

    One thing that is broken does not keep the others from being examined.
    """
    return [
        _configuration(folder),
        *_log(folder),
        *_registry(folder),
        _secret(folder),
        _keys(folder),
        _disk(folder),
    ]


def _configuration(folder: Path) -> Check:
    try:
        config = load(folder)
        find_domain(config, folder)
    except ConfigError as error:
        return Check("configuration", False, str(error))
    return Check("configuration", True, f"heedful.toml, domain {config.workspace.domain}")


def _log(folder: Path) -> Iterator[Check]:
    try:
        with Log.open(folder / LOG, write=False) as log:
            counts = log.counts()
            yield Check(
                "log",
                True,
                f"{counts.decisions:,} decisions and {counts.feedback:,} answers of "
                f"{counts.subjects:,} subjects",
            )
            yield from log.check()
            if counts.misfits:
                detail = f"{counts.misfits:,} answers did not fit the decision they name"
                yield Check("log misfits", True, detail, warning=True)
    except StoreError as error:
        yield Check("log", False, str(error))


def _registry(folder: Path) -> Iterator[Check]:
    if not folder.is_dir():
        return
    try:
        with Registry.open(folder) as registry:
            problems, live = registry.check(), registry.live()
            for problem in problems:
                yield Check("registry", False, problem)
            if not problems:
                versions = len(registry.versions())
                deciding = "none is live" if live is None else f"{live.name} is live"
                yield Check(
                    "registry",
                    True,
                    f"{versions} versions match their files and the audit; {deciding}",
                )
    except StoreError as error:
        yield Check("registry", False, str(error))


def _secret(folder: Path) -> Check:
    path = folder / SECRET
    try:
        length, found = len(bytes.fromhex(path.read_text().strip())), _readable_by_others(path)
    except OSError as error:
        lost = "without it known users cannot be told again: restore it from a backup"
        return Check("secret", False, f"{path}: {error.strerror}; {lost}")
    except ValueError:
        return Check("secret", False, f"{path}: is no hexadecimal text; restore it from a backup")
    if length < SECRET_BYTES:
        detail = f"{path}: has {length} bytes of {SECRET_BYTES}; restore it from a backup"
        return Check("secret", False, detail)
    return found or Check("secret", True, f"{length} bytes that only its owner can read")


def _keys(folder: Path) -> Check:
    path = folder / KEYS
    try:
        keys = Keys(path).all()
    except (KeysError, OSError) as error:
        return Check("keys", False, str(error))
    if not keys:
        detail = f"none: nobody can use the service; heedful serve {folder} --new-key NAME"
        return Check("keys", True, detail, warning=True)
    return _readable_by_others(path) or Check("keys", True, ", ".join(key.name for key in keys))


def _readable_by_others(path: Path) -> Check | None:
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        detail = f"{path}: others on this machine may read it; chmod 600 {path}"
        return Check(path.stem, False, detail)
    return None


def _disk(folder: Path) -> Check:
    place = folder if folder.is_dir() else folder.absolute().parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("disk", False, f"{place}: {error.strerror}")
    enough = free >= LEAST_FREE
    remedy = "" if enough else "; make room, or writing will fail"
    return Check("disk", enough, f"{free / 1e9:,.1f} GB free{remedy}")
