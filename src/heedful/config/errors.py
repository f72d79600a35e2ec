"""What is wrong with a configuration, said so that it can be put right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        source: where it was asked for: a file, an environment variable or a flag.
        key: ``section.key`` as in ``heedful.toml``; empty where no key is at fault.
        problem: what is wrong with it.
        found: the value that was found, as it would stand in the file; empty where there is none.
        allowed: what would be right, or what to do.
        line: the line in the file, from 1; ``None`` where it is not known.
    """

    source: str
    key: str
    problem: str
    found: str = ""
    allowed: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """Return one line: place, key, what was found, what is allowed."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        subject = f"{self.key} = {self.found}" if self.found else self.key
        text = f"{place}: {subject}: {self.problem}" if subject else f"{place}: {self.problem}"
        return f"{text} ({self.allowed})" if self.allowed else text


class ConfigWarning(UserWarning):
    """A configuration that can be used, and yet is unlikely to be what was meant."""


class ConfigError(ValueError):
    """A configuration that cannot be used; nothing of it was applied.

    Attributes:
        problems: everything that is wrong, not only the first.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
