"""What made a policy: the code and the environment, for its card."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from heedful.store.registry.card import Code, Environment
from heedful.store.registry.errors import RegistryError

PACKAGE = "heedful"
COMPUTES = ("torch", "numpy", "gymnasium", "safetensors")
GIT_SECONDS = 10.0


def current_code(plugins: Sequence[str] = ()) -> Code:
    """Return the identity of the code that runs now.

    Args:
        plugins: importable modules or packages outside heedful that take part, such as a domain
            or a reward function; their sources enter the digest.

    Raises:
        RegistryError: a plugin cannot be found.
    """
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        version = "not installed"
    sources = hashlib.sha256()
    for name in (PACKAGE, *plugins):
        for label, file in _sources(name):
            content = file.read_bytes()
            sources.update(f"{label}\0{len(content)}\0".encode())
            sources.update(content)
    folder = _sources(PACKAGE)[0][1].parent
    return Code(version=version, revision=_revision(folder), digest=sources.hexdigest())


def current_environment(*, device: str, threads: int) -> Environment:
    """Return the identity of the environment; imports none of the packages it names."""
    packages = {}
    for name in COMPUTES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        device=device,
        threads=threads,
        packages=packages,
    )


def _sources(name: str) -> list[tuple[str, Path]]:
    """Return the source files of a module or package with names that hold on any machine."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise RegistryError(f"the sources of {name!r} cannot be found; name an importable module")
    origin = Path(spec.origin)
    if not spec.submodule_search_locations:
        return [(name, origin)]
    files = sorted(p for p in origin.parent.rglob("*") if p.suffix in {".py", ".sql"})
    return [(f"{name}/{file.relative_to(origin.parent).as_posix()}", file) for file in files]


def _revision(folder: Path) -> str | None:
    """Return the git revision of ``folder``, if git keeps these very files.

    A package installed into an environment inside somebody's repository is not that repository's.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
