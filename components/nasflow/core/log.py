"""Log lines: for people on a terminal, JSON elsewhere. Only a ``__main__`` or a task calls `set_up`."""

import json
import logging
import sys
from typing import TextIO

_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and every ``extra=`` field."""

    def format(self, record: logging.LogRecord) -> str:
        """Renders one record."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "severity": record.levelname,  # the key that Cloud Logging reads
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _RESERVED})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(*, level: int = logging.INFO, stream: TextIO | None = None, json_lines: bool | None = None) -> None:
    """Sends nasflow's log to `stream` (default stderr), as JSON lines unless it is a terminal.

    Only the ``nasflow`` loggers are configured: libraries keep their own, at warning and above.
    """
    target = stream or sys.stderr
    if json_lines is None:
        json_lines = not target.isatty()
    handler = logging.StreamHandler(target)
    handler.setFormatter(JsonFormatter() if json_lines else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in ("nasflow", "nasflow_pipelines"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
