"""JSON messages over a socket: a Unix socket on one machine, TCP between machines; both sides prove that they know the
study's key (multiprocessing's HMAC challenge). Nothing is ever unpickled.
"""

import contextlib
import json
import os
import socket
import struct
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, answer_challenge, deliver_challenge
from typing import Any

Address = str | tuple[str, int]
"""A path of a Unix socket, or (host, port)."""

_GREETING_SECONDS = 20
_SILENT_SECONDS = 60
"""A machine that acknowledges nothing for so long is gone. Workers send a beat every 5 s, so that this is noticed."""


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
    connection = Client(address, authkey=key)
    if not isinstance(address, str) and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        _set(connection, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, struct.pack("i", _SILENT_SECONDS * 1000))
    return Channel(connection)


def greet(connection: Any, key: bytes) -> tuple[Channel, Any]:
    """The listener's side of `dial`: the key is proved both ways, then the first message, a hello, is read; all within
    20 s, so that somebody who connects and says nothing holds no place.

    Raises:
        multiprocessing.AuthenticationError: another key.
        EOFError, OSError: gone, or silent.
        ValueError: no hello.
    """
    try:
        _set(connection, socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _GREETING_SECONDS, 0))
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        channel = Channel(connection)
        kind, content = channel.receive()
        if kind != "hello":
            raise ValueError(f"expected a hello, got {kind}")
        _set(connection, socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
    except (AuthenticationError, EOFError, OSError, ValueError):
        connection.close()
        raise
    return channel, content


def _set(connection: Any, level: int, option: int, value: bytes) -> None:
    """An option of the socket that is below a connection, which has no method for it."""
    with socket.socket(fileno=os.dup(connection.fileno())) as below:
        below.setsockopt(level, option, value)


def parse_address(text: str) -> Address:
    """As the command line gives it.

    >>> parse_address("10.0.0.7:5000"), parse_address("/tmp/s/search.sock")
    (('10.0.0.7', 5000), '/tmp/s/search.sock')
    """
    host, _, port = text.rpartition(":")
    return (host, int(port)) if host and port.isdigit() else text
