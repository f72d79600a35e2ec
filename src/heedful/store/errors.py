"""The error of a store that cannot do what it was asked."""

from __future__ import annotations


class StoreError(RuntimeError):
    """The log could not be opened, read or written; the message names the place and the remedy.

    After a failed append nothing of that append is in the log.
    """
