"""What a person sees of a local run: each step's own log lines; everything else goes to the log file only."""

import io
import json
import re
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from nasflow.core.log import fit


class Console(io.TextIOBase):
    """Stands in for stdout while kfp's local runner prints what the tasks print.

    A task's log lines are JSON objects (see `nasflow.core.log`): their messages are shown, with the time since the
    start. What libraries and kfp itself print is kept in the log file, and its last lines for an error that has no
    other explanation.
    """

    def __init__(self, log_path: Path, shown: TextIO, *, started: float | None = None) -> None:
        super().__init__()
        self.log_path = log_path
        """Where everything is kept."""
        self._log = log_path.open("w", encoding="utf-8", buffering=1)  # by line: to be followed
        self._shown = shown
        self._started = time.monotonic() if started is None else started
        self._partial = ""
        self._guard = threading.Lock()
        self._live_at: float | None = None
        """When the last live line was shown; None where the last line is no live one."""
        self.pid: int | None = None
        """Of the task that is running."""
        self.step: str | None = None
        """The task that is running, or the last one that was."""
        self.tail: list[str] = []
        """The last lines that were not shown, since the step began."""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Takes any piece of output; acts on whole lines."""
        with self._guard:
            *lines, self._partial = (self._partial + text).split("\n")
            for line in lines:
                self._line(line)
        return len(text)

    def flush(self) -> None:
        """Flushes the log file."""
        if not self._log.closed:
            self._log.flush()

    def close(self) -> None:
        """Writes what is left, and closes the log file."""
        if not self._log.closed:
            if self._partial:
                self._line(self._partial)
            self._log.close()
            if self._live_at is not None and self._shown.isatty():
                self._shown.write("\n")
        super().close()

    def say(self, message: str) -> None:
        """Shows one line of the run's own."""
        clear = "\r\x1b[K" if self._live_at is not None and self._shown.isatty() else ""
        self._live_at = None
        self._shown.write(f"{clear}{self._stamped(message)}\n")
        self._shown.flush()

    def live(self, message: str) -> None:
        """Shows how far long work is: one line in place on a terminal; elsewhere a line every ten seconds."""
        now = time.monotonic()
        if self._shown.isatty():
            self._shown.write(f"\r\x1b[K{fit(self._stamped(message), self._shown)}")
            self._shown.flush()
        elif self._live_at is None or now - self._live_at >= _LIVE_SECONDS:
            self.say(message)
        else:
            return
        self._live_at = now

    def _stamped(self, message: str) -> str:
        elapsed = int(time.monotonic() - self._started)
        return f"{elapsed // 60:3d}:{elapsed % 60:02d}  {message}"

    def _line(self, line: str) -> None:
        self._log.write(line + "\n")
        record = _record(line)
        if record is None:
            if line.strip() and not _KFP_CHATTER.match(line):
                self.tail = [*self.tail, line.strip()][-_TAIL_LINES:]
            return
        match record.get("event"):
            case "started":
                self.step, self.pid, self.tail = str(record.get("step")), record.get("pid"), []
            case "done" | "failed":
                self.pid = None
        if record.get("live"):
            self.live(str(record["message"]))
        elif record.get("event") != "failed":  # the run's end tells it, once
            self.say(str(record["message"]))


_TAIL_LINES = 20
_LIVE_SECONDS = 10.0
_KFP_CHATTER = re.compile(r"-+$|\s*$|\d\d:\d\d:\d\d\.\d+ - (INFO|ERROR) - ")


def _record(line: str) -> dict[str, Any] | None:
    text = line.strip()
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    ours = isinstance(record, dict) and str(record.get("logger", "")).startswith("nasflow") and "message" in record
    return record if ours else None
