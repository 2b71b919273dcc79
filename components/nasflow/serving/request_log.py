"""What a server leaves of the requests that it answered: JSON lines, which `nasflow monitor` reads.

One line a request (see `Record`). Answered ones are sampled, refused ones are all there, without their rows. Columns
are kept whole, not row by row: NumPy arrays become JSON at once. A line holds the clients' data: files are readable by
their owner only, and go where such data may be.
"""

import contextlib
import dataclasses
import datetime as dt
import gzip
import json
import logging
import os
import queue
import random
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nasflow.core.errors import DataError, UserError
from nasflow.core.storage import is_local, local_path, storage_for

logger = logging.getLogger(__name__)

SUFFIX = ".requests.jsonl"
BRIGHTNESS, CONTRAST, BYTES = "brightness", "contrast", "bytes"
"""What is kept of an image, as columns named ``COLUMN/brightness`` and so on: mean and standard deviation of its
pixels, 0–255; of an encoded file, its size."""

_QUEUE = 256
_END = None
_CLOSE_SECONDS = 10.0
"""How long a server that stops waits for the disk."""


class Record(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    time: str
    """UTC, ISO 8601, to the millisecond."""
    id: str = ""
    """The request's, where it had one."""
    model: str
    version: str = ""
    """The registered version; empty where the server was started on a bare bundle."""
    status: int
    """The HTTP status that the client got: 200, or 4xx for a refused request."""
    rows: int = 0
    """Of the request; at most so many are in `columns`."""
    seconds: float = 0.0
    """Of the prediction."""
    share: float = 1.0
    """Of the answered requests that are written; each line stands for 1 / share of them."""
    dropped: int = 0
    """Requests that were not written since the line before, because the disk was slower than they came."""
    columns: dict[str, list[Any]] = Field(default_factory=dict)
    """Raw features by column: numbers (null: missing), text ("": missing), what is kept of an image."""
    predictions: list[Any] = Field(default_factory=list)
    """Probabilities by row in class order, or numbers in the target's units."""
    error: str = ""
    """Why it was refused."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where, and how much."""

    folder: Path
    share: float = 1.0
    """Of the answered requests, drawn one by one."""
    max_rows: int = 256
    """Of one request, evenly spread over it."""
    max_bytes: int = 64 * 2**20
    """Of one file; then the next is begun."""
    files: int = 16
    """The oldest of this server's files are removed beyond that."""


class RequestLog:
    """Writes records in a thread of its own: a request waits for no disk. Close it, or lose the last ones."""

    def __init__(self, settings: LogSettings, *, model: str, version: str = "") -> None:
        if not 0 <= settings.share <= 1:
            raise UserError(f"request log: share must be 0 to 1, got {settings.share}")
        try:
            settings.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"request log: cannot write to {settings.folder}: {error.strerror}") from error
        self._settings, self._model, self._version = settings, model, version
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(_QUEUE)
        self._dropped, self._dropping = 0, threading.Lock()
        self._random = random.Random()
        self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
        self._thread.start()

    def answered(
        self,
        raw: Mapping[str, NDArray[Any]],
        predictions: NDArray[Any],
        *,
        seconds: float = 0.0,
        request_id: str = "",
        version: str | None = None,
    ) -> None:
        """Notes an answered request, if chance wants it.

        Args:
            raw: as `nasflow.data.raw.raw_batch` makes them; not changed afterwards by the caller.
            predictions: float32 [rows, classes] or [rows].
            seconds: that the prediction took.
            request_id: its id.
            version: that answered; None: the one that the log was opened for.
        """
        if self._settings.share < 1 and self._random.random() >= self._settings.share:
            return
        item = {"status": 200, "rows": len(predictions), "seconds": seconds, "id": request_id}
        named = {} if version is None else {"version": version}
        self._put({**item, **named, "answer": (raw, predictions)})

    def refused(self, status: int, error: str, *, request_id: str = "") -> None:
        """Notes a refused request."""
        self._put({"status": status, "error": error[:500], "id": request_id})

    def close(self) -> None:
        """Writes what waits, then ends; after ten seconds in any case: a disk may hang."""
        deadline = time.monotonic() + _CLOSE_SECONDS
        with contextlib.suppress(queue.Full):
            self._queue.put(_END, timeout=_CLOSE_SECONDS)
        self._thread.join(timeout=max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            logger.warning("request log: %s: the disk does not keep up; what waits is lost", self._settings.folder)

    def _put(self, item: dict[str, Any]) -> None:
        item["time"] = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            with self._dropping:
                self._dropped += 1

    def _work(self) -> None:
        files = _Files(self._settings)
        while (item := self._queue.get()) is not _END:
            with self._dropping:
                dropped, self._dropped = self._dropped, 0
            try:
                files.write(self._line(item, dropped))
            except Exception as error:  # a full disk, what JSON cannot hold, a defect: the next line may be written
                with self._dropping:
                    self._dropped += dropped + 1
                expected = isinstance(error, OSError | TypeError | ValueError)
                logger.warning("request log: %s: %s", self._settings.folder, error, exc_info=not expected)
        files.close()

    def _line(self, item: dict[str, Any], dropped: int) -> bytes:
        import orjson

        record = {"schema_version": 1, "model": self._model, "version": self._version, "share": self._settings.share}
        record |= {name: value for name, value in item.items() if name != "answer" and value not in ("", 0, 0.0)}
        if dropped:
            record["dropped"] = dropped
        if "answer" in item:
            raw, predictions = item["answer"]
            places = _spread(len(predictions), self._settings.max_rows)
            record["columns"] = loggable(raw, places)
            record["predictions"] = np.ascontiguousarray(predictions[places])
        return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def loggable(raw: Mapping[str, NDArray[Any]], places: NDArray[np.int64] | slice) -> dict[str, Any]:
    """The columns of a record: numbers, vectors and text as they are, of images what tells whether they have changed.

    >>> image = np.stack([np.zeros((2, 2, 1), np.uint8), np.full((2, 2, 1), 255, np.uint8)])
    >>> {name: values.tolist() for name, values in loggable({"x": image}, slice(None)).items()}
    {'x/brightness': [0.0, 255.0], 'x/contrast': [0.0, 0.0]}
    """
    columns: dict[str, Any] = {}
    for name, values in raw.items():
        chosen = values[places]
        if chosen.ndim > 1 and chosen.dtype == np.uint8:
            flat = chosen.reshape(len(chosen), -1)
            columns[f"{name}/{BRIGHTNESS}"] = np.round(flat.mean(1, dtype=np.float64), 2)
            columns[f"{name}/{CONTRAST}"] = np.round(flat.std(1, dtype=np.float64), 2)
        elif len(chosen) and isinstance(chosen[0], bytes):
            columns[f"{name}/{BYTES}"] = np.array([len(value) for value in chosen], np.float64)
        else:
            columns[name] = chosen.tolist() if chosen.dtype == object else np.ascontiguousarray(chosen)
    return columns


def read(uris: Sequence[str]) -> Iterator[Record]:
    """All records of files and folders, in that order: of a folder its ``*.requests.jsonl`` and what a rotation made of
    them (``….requests.jsonl.1``, ``….requests.jsonl.gz``). A last line that was cut short by a killed server is left
    out, as is the end of a compressed file that was.

    Raises:
        DataError: a file is missing or damaged, or a line is no record; the message names it.
    """
    for uri in uris:
        for file in _files_of(uri):
            with storage_for(file).open(file) as stored:
                for number, line in enumerate(_lines(stored, file), start=1):
                    if not line.endswith(b"\n") and _is_cut(line):
                        break
                    yield _parsed(line, file, number)


def _lines(stored: IO[bytes], file: str) -> Iterator[bytes]:
    if not file.endswith(".gz"):
        yield from stored
        return
    try:
        yield from gzip.GzipFile(fileobj=stored)
    except EOFError:
        return  # cut short
    except (OSError, zlib.error) as error:
        raise DataError(f"{file}: is not gzip, or is damaged: {error}; leave it out, or name the good files") from error


def _is_cut(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def _parsed(line: bytes, file: str, number: int) -> Record:
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise DataError(f"{file}, line {number}: no request record: {where}: {first['msg']}") from error


def _files_of(uri: str) -> list[str]:
    if is_local(uri):
        path = local_path(uri)
        if path.is_dir():
            found = sorted(path.glob(f"*{SUFFIX}*"), key=lambda file: (file.stat().st_mtime_ns, file.name))
            if not found:
                raise DataError(f"{uri}: no *{SUFFIX} in this folder; name the server's --log-requests folder")
            return [str(file) for file in found]
        if not path.is_file():
            raise DataError(f"{uri}: no such file; name a server's request log, or the folder of them")
        return [str(path)]
    if storage_for(uri).exists(uri):
        return [uri]
    found_remote = [each for each in storage_for(uri).list(uri) if SUFFIX in each.rpartition("/")[2]]
    if not found_remote:
        raise DataError(f"{uri}: no *{SUFFIX} there; name a server's request log, or the folder of them")
    return found_remote


class _Files:
    """This process's files, the newest open."""

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        # The host, because pods that share a folder have equal process numbers, and may start in the same second.
        self._prefix = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{socket.gethostname()}-{os.getpid()}"
        self._number, self._size = 0, 0
        self._file: Any = None
        self._paths: list[Path] = []

    def write(self, line: bytes) -> None:
        if self._file is None or (self._size and self._size + len(line) > self._settings.max_bytes):
            self._next()
        self._file.write(line)
        self._file.flush()
        self._size += len(line)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _next(self) -> None:
        self.close()
        while len(self._paths) >= self._settings.files:
            self._paths.pop(0).unlink(missing_ok=True)
        path = self._settings.folder / f"{self._prefix}-{self._number:05d}{SUFFIX}"
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
        self._paths.append(path)
        self._number, self._size = self._number + 1, 0


def _spread(rows: int, most: int) -> NDArray[np.int64]:
    """At most so many places, evenly spread.

    >>> _spread(10, 3).tolist(), _spread(2, 3).tolist()
    ([0, 3, 6], [0, 1])
    """
    return np.arange(rows) if rows <= most else np.arange(most) * rows // most
