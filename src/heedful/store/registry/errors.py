"""What can go wrong with the registry, said with the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heedful.store.errors import StoreError


class RegistryError(StoreError):
    """The registry cannot do what it was asked; nothing of it was done."""


class RegistryBusyError(RegistryError):
    """Another process held the registry for too long; the same call may succeed later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with one file of a policy version.

    Attributes:
        file: its path within the version's folder.
        expected: what the manifest promises.
        found: what is there.
        remedy: what to do.
    """

    file: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.file}: expected {self.expected}, found {self.found} ({self.remedy})"


class ManifestError(RegistryError):
    """A policy version is not what was registered and must not be loaded.

    Attributes:
        version: its name.
        faults: everything that is wrong with it.
    """

    def __init__(self, version: str, faults: Sequence[Fault]) -> None:
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(f"policy version {version} is damaged and was not loaded:{lines}")
        self.version = version
        self.faults = tuple(faults)
