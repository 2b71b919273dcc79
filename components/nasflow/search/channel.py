"""JSON messages over a socket: a Unix socket on one machine, TCP between machines; both sides prove that they know the
study's key (multiprocessing's HMAC challenge). Nothing is ever unpickled.
"""

import contextlib
import json
import threading
from multiprocessing.connection import Client, Connection
from typing import Any

Address = str | tuple[str, int]
"""A path of a Unix socket, or (host, port)."""


class Channel:
    """One end. Threads may send at the same time; one of them receives."""

    def __init__(self, connection: Any) -> None:
        self.connection: Connection = connection
        self._lock = threading.Lock()

    def send(self, kind: str, content: Any) -> None:
        """One message.

        Raises:
            OSError: the other side is gone.
        """
        with self._lock:
            self.connection.send_bytes(json.dumps({kind: content}, allow_nan=False).encode())

    def receive(self) -> tuple[str, Any]:
        """The next message, waiting for it.

        Raises:
            EOFError, OSError: the other side is gone.
            ValueError: it sent something else.
        """
        content = json.loads(self.connection.recv_bytes())
        if not isinstance(content, dict) or len(content) != 1:
            raise ValueError(f"not a message: {content!r:.80}")
        ((kind, value),) = content.items()
        return kind, value

    def close(self) -> None:
        """Ends it; a second time does nothing."""
        with contextlib.suppress(OSError):
            self.connection.close()


def dial(address: Address, key: bytes) -> Channel:
    """To a search that listens there.

    Raises:
        OSError: nobody listens.
        multiprocessing.AuthenticationError: another key.
    """
    return Channel(Client(address, authkey=key))


def parse_address(text: str) -> Address:
    """As the command line gives it.

    >>> parse_address("10.0.0.7:5000"), parse_address("/tmp/s/search.sock")
    (('10.0.0.7', 5000), '/tmp/s/search.sock')
    """
    host, _, port = text.rpartition(":")
    return (host, int(port)) if host and port.isdigit() else text
