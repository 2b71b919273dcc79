"""The bundle as a KServe model: metadata, readiness, and what its own routes pass on (CloudEvents).

Plain V1 and V2 requests are answered by `nasflow.serving.predictions` before they get here. Imported by the server
only: kserve takes seconds.
"""

import asyncio
import concurrent.futures
import json
import uuid
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InferenceError, InvalidInput

from nasflow.core.errors import DataError, NasflowError
from nasflow.serving import answer
from nasflow.serving.live import Live
from nasflow.serving.rows import raw_from_instances
from nasflow.serving.tensors import datatype, output_datatypes, raw_from_tensors


class Predictor(Model):
    """Works in threads of its own, so that health checks are answered while the model computes."""

    def __init__(self, name: str, live: Live, *, max_rows: int, threads: concurrent.futures.Executor) -> None:
        self._live = live
        super().__init__(name)
        self._max_rows = max_rows
        self._threads = threads

    @property
    def ready(self) -> bool:
        """Until the server is told to stop."""
        return not self._live.stopping

    @ready.setter
    def ready(self, _value: bool) -> None:
        """KServe's constructor sets it; the server alone decides."""

    def load(self) -> bool:
        """The bundle is loaded before the server starts."""
        return True

    async def predict(
        self, payload: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> Any:
        """Answers one request.

        Raises:
            InvalidInput: HTTP 400 with the reason.
            InferenceError: HTTP 500; the model's answer is not finite.
        """
        work = self._v2 if isinstance(payload, InferRequest) else self._v1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, payload)
        except DataError as error:
            raise InvalidInput(str(error)) from None
        except NasflowError as error:
            raise InferenceError(str(error)) from None

    def get_input_types(self) -> list[dict[str, Any]]:
        """For ``GET /v2/models/NAME``: -1 is the number of rows."""
        return [
            {"name": entry.column, "datatype": datatype(entry), "shape": [size or -1 for size in entry.shape]}
            for entry in self._live.current.bundle.signature.inputs
        ]

    def get_output_types(self) -> list[dict[str, Any]]:
        """For ``GET /v2/models/NAME``."""
        signature = self._live.current.bundle.signature
        shapes = {"probabilities": [-1, len(signature.classes or ())]}
        return [
            {"name": name, "datatype": kind, "shape": shapes.get(name, [-1])}
            for name, kind in output_datatypes(signature).items()
        ]

    def _v1(self, payload: Any) -> dict[str, Any]:
        bundle = self._live.current.bundle
        if isinstance(payload, bytes):  # kserve parses JSON only under a few exact content types; curl sends another
            payload = _parsed(payload)
        raw = raw_from_instances(payload, bundle.schema, max_rows=self._max_rows)
        return {"predictions": answer.predictions(bundle.predict(raw), bundle.signature)}

    def _v2(self, request: InferRequest) -> InferResponse:
        bundle = self._live.current.bundle
        raw = raw_from_tensors(request.inputs, bundle.signature, bundle.schema, max_rows=self._max_rows)
        outputs, datatypes = [], output_datatypes(bundle.signature)
        for name, values in answer.tensors(bundle.predict(raw), bundle.signature).items():
            output = InferOutput(name, list(values.shape), datatypes[name])
            output.set_data_from_numpy(values, binary_data=bool(request.use_binary_outputs))
            outputs.append(output)
        return InferResponse(
            request.id or uuid.uuid4().hex,  # kserve answers 500 to its own request without an id
            self.name,
            outputs,
            use_binary_outputs=request.use_binary_outputs,
            requested_outputs=request.request_outputs,
        )


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the body is not JSON: {error}") from error
