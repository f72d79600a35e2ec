"""What a domain offers beside :class:`~heedful.contract.Domain` where it has files of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from heedful.store.importing import FileRow, Findings
from heedful.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file is to be read.

    Attributes:
        key: the workspace's secret, which turns user ids into pseudonyms.
        made_by: who acted, where the file does not say so.
        now: seconds since the epoch; what is a day later has not happened yet.
        whole: a file of plain text is one document, not one a paragraph.
    """

    key: bytes
    made_by: str
    now: float
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written to a file.

    Attributes:
        rows: how many.
        left_out: what does not fit these columns, counted by reason.
    """

    rows: int
    left_out: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Files(Protocol):
    """A domain whose decisions come from files of its own."""

    def read_file(self, path: Path, findings: Findings, how: Reading) -> Iterator[FileRow]:
        """Yield the rows of a file as records.

        Args:
            path: the file.
            findings: where problems go that are none of a row's.
            how: how it is to be read.

        Raises:
            StoreError: it cannot be read, or its format is not known.
        """
        ...


@runtime_checkable
class Exports(Protocol):
    """A domain whose decisions go into files of its own."""

    def write_file(self, snapshot: Snapshot, path: Path, *, columns: str) -> Exported:
        """Write what happened to a file, which is whole or not there.

        Args:
            snapshot: what happened.
            path: the file; its ending says the format.
            columns: which kind of rows; the domain says which there are.

        Raises:
            ValueError: there are no such columns or no such format.
        """
        ...
