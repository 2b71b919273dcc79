"""Log lines: for people on a terminal, JSON elsewhere. Only a ``__main__`` or a task calls `set_up`."""

import contextlib
import json
import logging
import os
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


class TerminalHandler(logging.StreamHandler[TextIO]):
    """Lines for people; a record with ``extra={"live": True}`` takes the place of the live one before it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._live = False

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        try:
            before, text = "\r\x1b[K" if self._live else "", self.format(record)
            self._live = bool(getattr(record, "live", False))
            self.stream.write(before + (fit(text, self.stream) if self._live else f"{text}\n"))
            self.flush()
        except Exception:  # noqa: BLE001  # as logging's own handlers do: a broken terminal ends no work
            self.handleError(record)

    def close(self) -> None:
        """Leaves the last line alone."""
        if self._live:
            self._live = False
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self.stream.write("\n")
                self.flush()
        super().close()


def fit(text: str, stream: TextIO) -> str:
    """Cut to the terminal's width: a line that wraps cannot be replaced."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal, or no file at all
        return text
    return text if len(text) < columns else f"{text[: columns - 2]}…"


def set_up(*, level: int = logging.INFO, stream: TextIO | None = None, json_lines: bool | None = None) -> None:
    """Sends nasflow's log to `stream` (default stderr), as JSON lines unless it is a terminal.

    Only the ``nasflow`` loggers are configured: libraries keep their own, at warning and above.
    """
    target = stream or sys.stderr
    if json_lines is None:
        json_lines = not target.isatty()
    handler = logging.StreamHandler(target) if json_lines else TerminalHandler(target)
    handler.setFormatter(JsonFormatter() if json_lines else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in ("nasflow", "nasflow_pipelines"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
