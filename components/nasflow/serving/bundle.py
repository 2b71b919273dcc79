"""A trained model as files, loaded: raw columns in, predictions out.

Only the ONNX network or the SavedModel is loaded: graphs of operations. ``model.keras`` beside them is never opened
here: a Keras archive can carry Python code, and whoever serves a model need not trust whoever made it with that.
"""

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from nasflow.core.artifacts import External, bundle_digest
from nasflow.core.errors import DataError, DocumentError
from nasflow.core.storage import absolute, is_local, join, local_path, sha256_of, storage_for
from nasflow.data.raw import raw_batch
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.serving import engines
from nasflow.serving.engines import ONNX_FILE, SAVED_MODEL, Engine, OnnxEngine, SavedModelEngine
from nasflow.serving.signature import AnsweredRows, Signature

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)

EngineChoice = Literal["auto", "onnx", "saved_model"]

TOLERANCE = 1e-4
"""How far the ONNX network's answers to the golden rows may be from the Keras model's: of a probability, or of a number
in standard deviations of the training targets. The exporter was stricter; another machine may round otherwise."""


class Bundle:
    """A loaded bundle. `predict` may be called from several threads at once.

    Attributes:
        uri: where it was loaded from.
        schema: the raw columns.
        transform: the fitted transform that the SavedModel has inside it.
        signature: the SavedModel's tensors.
        golden: rows with the predictions that the exporter saw.
        engine: what computes the predictions.
    """

    def __init__(
        self,
        *,
        uri: str,
        schema: Schema,
        transform: TransformSpec,
        signature: Signature,
        golden: AnsweredRows,
        engine: Engine,
    ) -> None:
        self.uri = uri
        self.schema = schema
        self.transform = transform
        self.signature = signature
        self.golden = golden
        self.engine = engine
        self._columns = {entry.column for entry in signature.inputs}

    @classmethod
    def load(
        cls,
        uri: str,
        verify: Mapping[str, External] | None = None,
        *,
        digest: str | None = None,
        engine: EngineChoice = "auto",
        threads: int = 1,
    ) -> Self:
        """Loads a bundle from a local folder or ``gs://`` prefix; a remote one is first downloaded.

        Args:
            uri: the bundle's folder.
            verify: the files that must be there, by path inside the bundle: each one's sha256 is compared.
            digest: `nasflow.core.artifacts.bundle_digest` of the whole folder, compared where given.
            engine: `auto`: ONNX Runtime where the bundle has the network and it answers the golden rows as the Keras
                model did, else the SavedModel.
            threads: of ONNX Runtime, for one request.

        Raises:
            DocumentError: no bundle there, a file is missing, damaged or changed; or `engine` is not `auto` and cannot
                be had.
            UserError: the SavedModel would have to serve, and there is no TensorFlow here.
        """
        uri = absolute(uri)
        with _local(uri) as folder:
            found = _files(folder)
            if not found:
                raise DocumentError(f"{uri}: no bundle here, the folder is empty or missing; name the bundle's folder")
            if verify is not None:
                _verify(uri, found, verify)
            if digest is not None and (actual := bundle_digest(found)) != digest:
                raise DocumentError(
                    f"{uri}: the bundle's digest is {actual}, expected {digest}; a file was changed, added or "
                    "removed: register the model again"
                )
            parts = _Parts(
                uri=uri,
                schema=_parse(folder, "schema.json", Schema, uri),
                transform=_parse(folder, "transform.json", TransformSpec, uri),
                signature=_parse(folder, "signature.json", Signature, uri),
                golden=_parse(folder, "golden.json", AnsweredRows, uri),
            )
            return cls(
                uri=uri,
                schema=parts.schema,
                transform=parts.transform,
                signature=parts.signature,
                golden=parts.golden,
                engine=_engine(folder, parts, engine, threads),
            )

    def predict(self, raw: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Predictions for raw columns, as `nasflow.data.raw.raw_batch` makes them.

        Args:
            raw: by column name; all with the same number of rows.

        Returns:
            Probabilities float32 [rows, classes] in class order, or float32 [rows] in the target's units.

        Raises:
            DataError: a column is missing or unknown, or an image cannot be decoded; the row is named.
        """
        if self._columns != raw.keys():
            columns = self._columns
            raise DataError(
                f"missing columns {sorted(columns - set(raw))}, unknown columns {sorted(set(raw) - columns)}; "
                f"this model takes {sorted(columns)}"
            )
        return self.engine.predict(raw)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    uri: str
    schema: Schema
    transform: TransformSpec
    signature: Signature
    golden: AnsweredRows


def _engine(folder: Path, parts: _Parts, choice: EngineChoice, threads: int) -> Engine:
    path, why = folder / ONNX_FILE, f"it has no {ONNX_FILE}"
    if choice == "onnx" and not path.is_file():
        raise DocumentError(f"{join(parts.uri, ONNX_FILE)}: missing; use engine saved_model, or train the model again")
    if choice != "saved_model" and path.is_file():
        try:
            made = OnnxEngine(path, parts.transform, threads=threads)
            _check_golden(made, parts)
        except Exception as error:  # whatever is wrong with the fast way, the other one serves
            if choice == "onnx":
                raise
            why = f"{ONNX_FILE} cannot serve here ({type(error).__name__}: {error})"
            engines.require("saved_model", parts.uri, why=why)
            logger.warning("%s: %s; the SavedModel serves, which is slower", type(error).__name__, error)
        else:
            return made
    if choice == "saved_model":
        why = "engine saved_model is asked for"
    engines.require("saved_model", parts.uri, why=why)
    return SavedModelEngine(folder / SAVED_MODEL, parts.signature)


def _check_golden(engine: Engine, parts: _Parts) -> None:
    if not parts.golden.rows:
        return
    expected = np.asarray(parts.golden.predictions, np.float64)
    answered = engine.predict(raw_batch(parts.golden.rows, parts.schema))
    scale = parts.transform.label.std if parts.signature.classes is None else 1.0
    slack = 4 * float(np.finfo(np.float32).eps) * np.abs(expected) if parts.signature.classes is None else 0.0
    largest = float((np.abs(answered - expected) - slack).max() / scale) if answered.shape == expected.shape else np.inf
    if not largest <= TOLERANCE:  # also NaN
        where = join(parts.uri, ONNX_FILE)
        raise DocumentError(f"{where}: answers the golden rows with a difference of {largest:.3g} > {TOLERANCE:g} here")


@contextlib.contextmanager
def _local(uri: str) -> Iterator[Path]:
    if is_local(uri):
        yield local_path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="nasflow-bundle-") as temporary:
        folder, storage = Path(temporary), storage_for(uri)
        for source in storage.list(uri):
            target = folder / source.removeprefix(uri).strip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            with storage.open(source) as reader, target.open("wb") as writer:
                while chunk := reader.read(1 << 20):
                    writer.write(chunk)
        yield folder  # the SavedModel reads its variables while it is loaded, and nothing afterwards


def _files(folder: Path) -> dict[str, External]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path: sha256_of(str(path)) for path in paths}
    return {
        path.relative_to(folder).as_posix(): External(uri=str(path), size=size, sha256=digest)
        for path, (digest, size) in digests.items()
    }


def _verify(uri: str, found: Mapping[str, External], expected: Mapping[str, External]) -> None:
    for name, entry in expected.items():
        if name not in found:
            raise DocumentError(f"{join(uri, name)}: missing; register the model again")
        if found[name].sha256 != entry.sha256:
            raise DocumentError(
                f"{join(uri, name)}: sha256 is {found[name].sha256}, expected {entry.sha256}; it was changed"
            )


def _parse(folder: Path, name: str, kind: type[M], uri: str) -> M:
    try:
        return kind.model_validate_json((folder / name).read_bytes())
    except FileNotFoundError as error:
        raise DocumentError(
            f"{uri}: no bundle here (no {name}); name the folder that train or register wrote"
        ) from error
    except ValidationError as error:
        raise DocumentError(f"{join(uri, name)}: damaged: {error}") from error
