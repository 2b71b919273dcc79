"""Proves that the registered model, served, answers as it was evaluated.

Target ``local``: the model server runs on loopback for as long as the golden rows take, over both protocols.
"""

import json
import logging
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from nasflow.core.artifacts import Endpoint, Evaluation, External, RegisteredModel
from nasflow.core.errors import DocumentError
from nasflow.core.storage import join, storage_for
from nasflow.core.workspace import Place, run_once
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.deploy import golden
from nasflow.deploy.local_server import LocalServer, local_server, serve_command
from nasflow.deploy.spec import DeploySpec
from nasflow.serving.server import DEFAULT_PORT, LOOPBACK
from nasflow.serving.signature import AnsweredRows, Signature

logger = logging.getLogger(__name__)


def run(
    spec: DeploySpec, *, registered: RegisteredModel, evaluation: Evaluation, work_dir: str, output: str
) -> Endpoint:
    """Serves the registry's own copy of the model, digests verified, and compares its answers with evaluate's.

    The document's ``prediction.json`` shows one request and its answer, and the commands to have it again.

    Raises:
        NasflowError: the server did not start, or a golden row is answered otherwise than evaluate saw it.
        DocumentError: a file of the registered model is missing or changed.
    """

    def produce(_place: Place) -> tuple[Endpoint, Mapping[str, bytes]]:
        _verify(registered)
        answered = _answered(evaluation)
        with local_server(
            registered.model_uri,
            registered.name,
            digest=registered.model_digest,
            timeout_seconds=spec.timeout_seconds,
        ) as server:
            difference = _compare(server, registered.model_uri, answered)
            example = _example(server, registered, answered)
        logger.info(
            "deploy: %s version %d answered %d golden rows over V1 and V2, largest difference %.2g",
            registered.name,
            registered.version,
            len(answered.rows),
            difference,
            extra={"model": registered.name, "version": registered.version, "max_difference": difference},
        )
        endpoint = Endpoint(
            target=spec.target,
            url=server.v1_url,
            name=registered.name,
            version=registered.version,
            golden_rows=len(answered.rows),
            max_difference=difference,
            running=False,
        )
        return endpoint, {"prediction.json": json.dumps(example, indent=1).encode()}

    return run_once(
        "deploy",
        Endpoint,
        produce,
        spec=spec,
        inputs={"registered": registered, "evaluation": evaluation},
        work_dir=work_dir,
        output=output,
    )


def _verify(registered: RegisteredModel) -> None:
    """The server checks one digest over all files before it loads them; this names the file that is wrong."""
    for entry in registered.json("version.json")["files"].values():
        External.model_validate(entry).check()


def _answered(evaluation: Evaluation) -> AnsweredRows:
    try:
        answered = AnsweredRows.model_validate(evaluation.json("predictions.json"))
    except ValidationError as error:
        raise DocumentError(f"{join(evaluation.uri, 'predictions.json')}: damaged: {error}") from error
    if not answered.rows:
        raise DocumentError(
            f"{join(evaluation.uri, 'predictions.json')}: no golden rows, so the server cannot be checked; "
            "the test split must not be empty"
        )
    return answered


def _compare(server: LocalServer, bundle_uri: str, answered: AnsweredRows) -> float:
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


def _example(server: LocalServer, registered: RegisteredModel, answered: AnsweredRows) -> dict[str, Any]:
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
