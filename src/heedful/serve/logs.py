"""One JSON line on stderr for each event, with no key and nothing personal in it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

logger = logging.getLogger("heedful.serve")


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Say that something happened.

    Args:
        name: what, one of a small fixed vocabulary.
        level: a level of :mod:`logging`.
        fields: facts that are neither secret nor personal: versions, counts, times.
    """
    logger.log(level, name, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """Formats a record as one line of ASCII JSON: nothing in it can begin another line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[2] is not None:
            line |= _fault(record)
        return json.dumps(line, default=str)


def _fault(record: logging.LogRecord) -> dict[str, object]:
    """Say where an exception came from; its message may quote a request, so it is left out."""
    assert record.exc_info
    kind, _, trace = record.exc_info
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert kind is not None
    assert trace is not None
    file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    return {"error": kind.__name__, "where": f"{file}:{line}"}


def to_stderr() -> None:
    """Send the events of the service and of its web server to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("heedful", logging.INFO), ("uvicorn", logging.WARNING)):
        target = logging.getLogger(name)
        target.handlers = [handler]
        target.setLevel(level)
        target.propagate = False
