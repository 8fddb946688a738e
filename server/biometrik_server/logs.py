"""Logs as JSON lines, one a call, without biometric data, subject ids or secrets."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

#: Set on a record by ``extra={"fields": {...}}``.
_FIELDS = "fields"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, event, and the fields that came with it.

    Of an exception it holds type and place, never the message: that could be anything.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            row["exception"] = record.exc_info[0].__name__
            row["at"] = _places(record.exc_info[2])
        return json.dumps(row, default=str, ensure_ascii=False)


def configure(level: str) -> None:
    """Send all logs of this process to standard error, as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it tells at length how it was loaded


def _places(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
