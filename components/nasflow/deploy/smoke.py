"""Golden rows through a running server: does the served model answer as it was evaluated?"""

import json
import shlex
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from pydantic import ValidationError

from nasflow.core.artifacts import Evaluation, RegisteredModel
from nasflow.core.errors import DocumentError, NasflowError
from nasflow.core.storage import join, storage_for
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.deploy import golden
from nasflow.deploy.local_server import serve_command
from nasflow.serving.server import DEFAULT_PORT, LOOPBACK
from nasflow.serving.signature import AnsweredRows, Signature

Request = Callable[[str, str, bytes | None], tuple[int, bytes]]
"""(method, url, body) → (HTTP status, body); raises OSError where nobody answers."""


class NoAnswerError(NasflowError):
    """The server did not answer, or with HTTP 404 or 5xx: it may still be starting, or broken."""


class Server(Protocol):
    """What a golden request needs; `nasflow.deploy.local_server.LocalServer` is one."""

    @property
    def v1_url(self) -> str: ...

    @property
    def v2_url(self) -> str: ...

    def post(self, url: str, body: Any) -> Any: ...


class RemoteServer:
    """A server behind a URL."""

    def __init__(self, url: str, name: str, request: Request) -> None:
        self.url = url.rstrip("/")
        self.name = name
        self._request = request

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
            NoAnswerError: no answer, HTTP 404 or 5xx.
            NasflowError: the server refused the request; with what it said.
        """
        try:
            status, data = self._request("POST", url, json.dumps(body, allow_nan=False).encode())
        except OSError as error:
            raise NoAnswerError(f"{url}: no answer: {error}") from error
        text = data[:2000].decode(errors="replace")
        if status == 404 or status >= 500:
            raise NoAnswerError(f"{url}: HTTP {status}: {text}")
        if status != 200:
            raise NasflowError(f"{url}: HTTP {status}: {text}")
        try:
            return json.loads(data)
        except ValueError as error:
            raise NasflowError(f"{url}: not JSON: {text}") from error

    def metrics(self) -> str:
        """The server's metrics page; empty where there is none."""
        try:
            status, data = self._request("GET", f"{self.url}/metrics", None)
        except OSError:
            return ""  # counted by the probe that follows
        return data.decode(errors="replace") if status == 200 else ""


def evaluated_rows(evaluation: Evaluation) -> AnsweredRows:
    """The rows that evaluate asked, and what the model said.

    Raises:
        DocumentError: damaged, or no rows.
    """
    return _rows(evaluation.json("predictions.json"), join(evaluation.uri, "predictions.json"))


def bundle_rows(bundle_uri: str) -> AnsweredRows:
    """The rows inside a bundle, and what the exporter saw: for a deployment without an evaluation at hand.

    Raises:
        DocumentError: missing, damaged, or no rows.
    """
    uri = join(bundle_uri, "golden.json")
    try:
        return _rows(json.loads(storage_for(uri).read(uri)), uri)
    except (FileNotFoundError, ValueError) as error:
        raise DocumentError(f"{uri}: cannot be read: {error}; register the model again") from error


def compare(server: Server, bundle_uri: str, answered: AnsweredRows) -> float:
    """Asks all rows over V1 and V2; returns the largest difference from `answered`.

    Raises:
        NasflowError: another answer; names protocol and row.
    """
    storage = storage_for(bundle_uri)
    schema = Schema.model_validate_json(storage.read(join(bundle_uri, "schema.json")))
    transform = TransformSpec.model_validate_json(storage.read(join(bundle_uri, "transform.json")))
    signature = Signature.model_validate_json(storage.read(join(bundle_uri, "signature.json")))
    expected = np.asarray(answered.predictions, dtype=np.float64)
    allowed = golden.tolerance(schema, transform)
    v1 = server.post(server.v1_url, golden.v1_request(answered.rows))
    v2 = server.post(server.v2_url, golden.v2_request(answered.rows, schema, signature))
    return max(
        golden.largest_difference("V1", golden.v1_predictions(v1, signature), expected, allowed=allowed),
        golden.largest_difference("V2", golden.v2_predictions(v2, signature), expected, allowed=allowed),
    )


def example(server: Server, registered: RegisteredModel, answered: AnsweredRows) -> dict[str, Any]:
    """One request, its answer, and the commands to have it again on loopback."""
    request = golden.v1_request(answered.rows[:1])
    again = f"http://{LOOPBACK}:{DEFAULT_PORT}/v1/models/{registered.name}:predict"
    curl = ["curl", "-sS", again, "-H", "Content-Type: application/json", "-d", json.dumps(request)]
    return {
        "url": server.v1_url,
        "request": request,
        "response": server.post(server.v1_url, request),
        "label": answered.labels[0],
        "serve": shlex.join(serve_command(registered.model_uri, registered.name, DEFAULT_PORT)),
        "curl": shlex.join(curl),
    }


def _rows(content: Any, uri: str) -> AnsweredRows:
    try:
        answered = AnsweredRows.model_validate(content)
    except ValidationError as error:
        raise DocumentError(f"{uri}: damaged: {error}") from error
    if not answered.rows:
        raise DocumentError(f"{uri}: no golden rows, so the server cannot be checked; the test split must not be empty")
    return answered
