"""A model server as a child process on a free loopback port, for as long as a ``with`` block lasts."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasflow.core.errors import NasflowError
from nasflow.serving.probe import PROBE
from nasflow.serving.server import LOOPBACK, bound

_HEADERS = {"Content-Type": "application/json", PROBE: "deploy"}
_POLL_SECONDS = 0.1
_STOP_SECONDS = 20.0
_REQUEST_SECONDS = 60.0
_TAIL_LINES = 20


class LocalServer:
    """A running server. Loopback never goes through a proxy."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def v1_url(self) -> str:
        """Where V1 rows go."""
        return f"{self.url}/v1/models/{self.name}:predict"

    @property
    def v2_url(self) -> str:
        """Where V2 tensors go."""
        return f"{self.url}/v2/models/{self.name}/infer"

    def post(self, url: str, body: Any) -> Any:
        """Sends JSON, returns JSON.

        Raises:
            NasflowError: the server refused or did not answer; with what it said.
        """
        data = json.dumps(body, allow_nan=False).encode()
        request = urllib.request.Request(url, data=data, headers=_HEADERS)  # noqa: S310  # http, ours
        try:
            with self._opener.open(request, timeout=_REQUEST_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise NasflowError(f"{url}: HTTP {error.code}: {error.read(2000).decode(errors='replace')}") from error
        except OSError as error:
            raise NasflowError(f"{url}: no answer: {error}") from error

    def ready(self) -> bool:
        """Whether the model is loaded."""
        try:
            with self._opener.open(f"{self.url}/v2/models/{self.name}/ready", timeout=_REQUEST_SECONDS) as response:
                return bool(json.load(response)["ready"])
        except OSError:
            return False


@contextlib.contextmanager
def local_server(bundle_uri: str, name: str, *, digest: str, timeout_seconds: float) -> Iterator[LocalServer]:
    """Starts a server, waits until it is ready, and stops it however the block ends.

    The port is bound here and inherited, so that nobody can take it in between. The server also stops by itself when
    this process is gone (``kill -9``).

    Raises:
        NasflowError: it ended, or was not ready in time; with the end of its log.
    """
    with tempfile.TemporaryFile(prefix="nasflow-server-") as log, bound(LOOPBACK, 0) as listener:
        command = [
            *(sys.executable, "-m", "nasflow.serving"),
            *("--bundle", bundle_uri, "--name", name, "--digest", digest),
            *("--owner", str(os.getpid()), "--listener-fd", str(listener.fileno())),
        ]
        process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=[listener.fileno()])
        try:
            server = LocalServer(f"http://{LOOPBACK}:{listener.getsockname()[1]}", name)
            listener.close()  # the child has its own: once it ends, clients are refused
            deadline = time.monotonic() + timeout_seconds
            while not server.ready():
                if process.poll() is not None:
                    raise NasflowError(
                        f"deploy: the server ended with code {process.returncode}; its log:\n{_tail(log)}"
                    )
                if time.monotonic() > deadline:
                    raise NasflowError(
                        f"deploy: the server was not ready after {timeout_seconds:g} s; raise deploy.timeout_seconds. "
                        f"Its log:\n{_tail(log)}"
                    )
                time.sleep(_POLL_SECONDS)
            yield server
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Any) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])


def serve_command(bundle_uri: str, name: str, port: int) -> list[str]:
    """What a person types to run the same server for good."""
    return [
        Path(sys.executable).name,
        "-m",
        "nasflow.serving",
        "--bundle",
        bundle_uri,
        "--name",
        name,
        "--port",
        str(port),
    ]
