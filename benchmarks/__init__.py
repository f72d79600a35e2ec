"""Benchmarks that write the tables of docs/benchmarks/.

A benchmark is a module of this package with ``run(quick: bool) -> list[Table]``; its file name,
with hyphens for underscores, is its name. ``python -m benchmarks --list`` names them all. Packages
and modules with a leading underscore are parts that several of them share.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Table:
    """What a benchmark measured, as cells of text, with a note on how."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown, without headings, ready to stand in a page."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        body = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return "\n\n".join(part for part in (f"**{self.title}**", body, self.note) if part)


def names() -> list[str]:
    """Names of all benchmarks, sorted."""
    found = (module for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    return sorted(m.name.replace("_", "-") for m in found if not m.name.startswith("_"))


def load(name: str) -> ModuleType:
    """Import the benchmark called ``name``."""
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def summary(module: ModuleType) -> str:
    """First line of a benchmark's docstring."""
    return (module.__doc__ or "").strip().partition("\n")[0]


def between_markers(page: str, name: str, tables: Sequence[Table]) -> str:
    """Return ``page`` with the part between the markers of ``name`` replaced by ``tables``.

    Raises:
        ValueError: if the page has not exactly one such pair of markers, in order.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
        raise ValueError(f"expected one '{begin}' and, below it, one '{end}'")
    head, _, rest = page.partition(begin)
    tail = rest.partition(end)[2]
    body = "\n\n".join(table.markdown() for table in tables)
    return f"{head}{begin}\n\n{body}\n\n{end}{tail}"
