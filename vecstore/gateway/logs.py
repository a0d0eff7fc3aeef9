"""The log of a gateway: a line of JSON for each call. No vectors, no tokens; of a filter what was wrong with it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

# What every record has; the rest is what a call says of itself.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Time, level, message, and what stands in `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _USUAL},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def write_to_stderr(level: str) -> None:
    """For a process that is a gateway and nothing else; Python's warnings, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("vecstore").setLevel(level.upper())
    logging.captureWarnings(capture=True)
