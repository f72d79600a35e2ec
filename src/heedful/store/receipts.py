"""What became of a record that was appended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["added", "duplicate", "parked", "conflict", "refused"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer for one record; it is durable by the time the caller sees it.

    Attributes:
        status: ``added``; ``duplicate``: it was here already and counts once; ``parked``: kept
            until what it is about arrives; ``conflict``: something else is here in its place;
            ``refused``: it can never be true. The last two leave no trace.
        seq: its place in the log, where it has one.
        reason: why, in words; empty where it was added.
    """

    status: Status
    seq: int | None = None
    reason: str = ""

    @property
    def kept(self) -> bool:
        """Whether the record is in the log or waiting to be."""
        return self.status in ("added", "duplicate", "parked")
