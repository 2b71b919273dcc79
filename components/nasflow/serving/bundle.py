"""A trained model as files, loaded: raw columns in, predictions out.

Only the SavedModel is loaded, a graph of TensorFlow operations. ``model.keras`` beside it is never opened here: a
Keras archive can carry Python code, and whoever serves a model need not trust whoever made it with that.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from nasflow.core.artifacts import External, bundle_digest
from nasflow.core.errors import DataError, DocumentError
from nasflow.core.storage import absolute, is_local, join, local_path, sha256_of, storage_for
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.serving.signature import AnsweredRows, Signature

M = TypeVar("M", bound=BaseModel)

SAVED_MODEL = "saved_model"

_DTYPES: dict[str, type] = {"float64": np.float64, "string": object, "uint8": np.uint8}


class Bundle:
    """A loaded bundle. `predict` may be called from several threads at once.

    Attributes:
        uri: where it was loaded from.
        schema: the raw columns.
        transform: the fitted transform that the SavedModel has inside it.
        signature: the SavedModel's tensors.
        golden: rows with the predictions that the exporter saw.
    """

    def __init__(
        self,
        *,
        uri: str,
        schema: Schema,
        transform: TransformSpec,
        signature: Signature,
        golden: AnsweredRows,
        saved_model: Any,
    ) -> None:
        self.uri = uri
        self.schema = schema
        self.transform = transform
        self.signature = signature
        self.golden = golden
        self._saved_model = saved_model  # owns the variables that the function reads
        self._function = saved_model.signatures["serving_default"]

    @classmethod
    def load(cls, uri: str, verify: Mapping[str, External] | None = None, *, digest: str | None = None) -> Self:
        """Loads a bundle from a local folder or ``gs://`` prefix; a remote one is first downloaded.

        Args:
            uri: the bundle's folder.
            verify: the files that must be there, by path inside the bundle: each one's sha256 is compared.
            digest: `nasflow.core.artifacts.bundle_digest` of the whole folder, compared where given.

        Raises:
            DocumentError: no bundle there, a file is missing, damaged or changed.
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
            return cls(
                uri=uri,
                schema=_parse(folder, "schema.json", Schema, uri),
                transform=_parse(folder, "transform.json", TransformSpec, uri),
                signature=_parse(folder, "signature.json", Signature, uri),
                golden=_parse(folder, "golden.json", AnsweredRows, uri),
                saved_model=_load_saved_model(folder / SAVED_MODEL, uri),
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
        columns = {entry.column for entry in self.signature.inputs}
        if columns != set(raw):
            raise DataError(
                f"missing columns {sorted(columns - set(raw))}, unknown columns {sorted(set(raw) - columns)}; "
                f"this model takes {sorted(columns)}"
            )
        import tensorflow as tf

        try:
            return self._call(raw)
        except tf.errors.InvalidArgumentError as error:
            row = self._first_bad_row(raw)
            if row is None:
                raise
            images = [entry.column for entry in self.signature.inputs if entry.kind == "image"]
            raise DataError(
                f"row {row}, column {', '.join(images)}: cannot be decoded; send a PNG, JPEG, GIF or BMP file"
            ) from error

    def _call(self, raw: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import tensorflow as tf

        tensors = {
            entry.tensor: tf.constant(np.asarray(raw[entry.column], dtype=_DTYPES[entry.dtype]), dtype=entry.dtype)
            for entry in self.signature.inputs
        }
        answer: NDArray[np.float32] = self._function(**tensors)[self.signature.outputs[0].name].numpy()
        return answer

    def _first_bad_row(self, raw: Mapping[str, NDArray[Any]]) -> int | None:
        """TensorFlow does not say which image of a batch was bad: asks one by one, from 1. None: none alone is bad."""
        import tensorflow as tf

        if self.schema.image is None:
            return None
        for row in range(len(next(iter(raw.values())))):
            try:
                self._call({name: values[row : row + 1] for name, values in raw.items()})
            except tf.errors.InvalidArgumentError:
                return row + 1
        return None


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


def _load_saved_model(folder: Path, uri: str) -> Any:
    import tensorflow as tf

    if not (folder / "saved_model.pb").is_file():
        raise DocumentError(f"{join(uri, SAVED_MODEL)}: no SavedModel here; name the bundle's folder")
    loaded = tf.saved_model.load(str(folder))
    if "serving_default" not in loaded.signatures:
        raise DocumentError(
            f"{join(uri, SAVED_MODEL)}: no signature serving_default, found {sorted(loaded.signatures)}; "
            "train the model again with this nasflow"
        )
    return loaded
