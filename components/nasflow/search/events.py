"""Where a ledger's lines are: JSON, one an event, in one file or several objects.

An object store cannot append: a line more is the whole object written anew. There, lines go to the last of several
objects (``ledger.jsonl``, ``ledger.jsonl.1``, …) of 128 KiB at most, so that what a line costs does not grow with the
study. On a file system there is one file, however long.

A process that is killed inside a line leaves a torn one: it is skipped, and what it said is done again.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from nasflow.core.storage import is_local, storage_for

logger = logging.getLogger(__name__)

_OBJECT_BYTES = 128 << 10


class Events:
    """The lines at a URI. One writer at a time (see `nasflow.core.workspace`)."""

    def __init__(self, uri: str, *, most_bytes: int | None = None) -> None:
        """`most_bytes`: of one object; None: on a file system any number, elsewhere 128 KiB."""
        self._uri, self._storage = uri, storage_for(uri)
        self._most = most_bytes or (None if is_local(uri) else _OBJECT_BYTES)
        self._part, self._bytes = 0, 0

    def read(self) -> Iterator[dict[str, Any]]:
        """All that were written, in their order; none where there is no file."""
        for part, content in self._contents():
            self._part, self._bytes = part, len(content)
            for number, line in enumerate(content.splitlines(), start=1):
                try:
                    yield json.loads(line)
                except ValueError:
                    torn = "torn line skipped: the process that wrote it was killed"
                    logger.warning("%s:%d: %s", self._name(part), number, torn)

    def age_seconds(self) -> float:
        """Since the last line was written.

        Raises:
            FileNotFoundError: there is no file.
        """
        part = 0
        while self._storage.exists(self._name(part + 1)):
            part += 1
        return self._storage.age_seconds(self._name(part))

    def append(self, event: Mapping[str, Any]) -> None:
        """One more, durably. What is there must have been read before."""
        line = json.dumps(event, allow_nan=False).encode()
        if self._most is not None and self._bytes and self._bytes + len(line) >= self._most:
            self._part, self._bytes = self._part + 1, 0
        self._storage.append(self._name(self._part), line)
        self._bytes += len(line) + 1

    def _contents(self) -> Iterator[tuple[int, bytes]]:
        part = 0
        while True:
            try:
                content = self._storage.read(self._name(part))
            except FileNotFoundError:
                return
            yield part, content
            part += 1

    def _name(self, part: int) -> str:
        return f"{self._uri}.{part}" if part else self._uri
