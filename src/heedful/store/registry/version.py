"""What a policy version is called, and what can become of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from heedful.store.registry.errors import RegistryError

State = Literal["candidate", "canary", "live", "retired", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A policy version.

    Attributes:
        number: from 1, in the order of registration.
        state: candidate, canary (it decides for a share of the subjects), live, retired (was live)
            or refused, which is for good.
        created_at: when it was registered, seconds since the epoch, UTC.
    """

    number: int
    state: State
    created_at: float

    @property
    def name(self) -> str:
        """Its name everywhere, in the log's decisions too: ``"0007"``."""
        return name_of(self.number)


def name_of(number: int) -> str:
    """Return the name of a version, which is also its folder's: at least four digits."""
    return f"{number:04d}"


def is_version(name: str) -> bool:
    """Whether ``name`` is that of a version, there or not.

    >>> is_version("0007"), is_version("import"), is_version("held:0007")
    (True, False, False)
    """
    return bool(re.fullmatch("[0-9]{4,18}", name)) and int(name) > 0 and name_of(int(name)) == name


def number_of(name: str) -> int:
    """Return the number of a version.

    Raises:
        RegistryError: not a name of a version.

    >>> number_of("0007")
    7
    >>> number_of("../7")
    Traceback (most recent call last):
        ...
    heedful.store.registry.errors.RegistryError: '../7' names no policy version; write "0007"
    """
    if is_version(name):
        return int(name)
    raise RegistryError(f'{name!r} names no policy version; write "0007"')
