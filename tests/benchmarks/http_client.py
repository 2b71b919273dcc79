"""HTTP/1.1 requests over a kept connection, as cheaply as Python can: what is measured is the server."""

import socket
import time


class Connection:
    """One connection to loopback."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request):
        """Sends a whole request's bytes; returns the status, the body, and the seconds from first to last byte."""
        started = time.perf_counter()
        self._socket.sendall(request)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._received()
        head = data[:end].lower()
        length = int(head[head.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        parts, have = [data[end + 4 :]], len(data) - end - 4
        while have < length:
            parts.append(self._received())
            have += len(parts[-1])
        return int(data[9:12]), b"".join(parts), time.perf_counter() - started

    def close(self):
        self._socket.close()

    def _received(self):
        data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def post(path, body, content_type="application/json", **headers):
    """A request's bytes."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
