"""The six documents in which steps meet.

    Dataset → Search → Model → Evaluation → RegisteredModel → Endpoint

A document is a directory: small files and a ``manifest.json``, which is written last. A directory without a manifest
does not exist for any reader. Big data (shards, model bundles) stays under ``work_dir``; the manifest names it by URI.
"""

import datetime as dt
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from nasflow.core.errors import DocumentError
from nasflow.core.storage import join, sha256, sha256_of, storage_for
from nasflow.core.version import VERSION

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_VOLATILE = {"created", "seconds", "cpu_seconds", "environment"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Frozen):
    """A small file inside the document's own directory."""

    size: int
    sha256: str


class External(_Frozen):
    """A big file under ``work_dir``, named by absolute URI."""

    uri: str
    size: int
    sha256: str

    @classmethod
    def of(cls, uri: str) -> Self:
        """Reads the object once to take its digest."""
        digest, size = sha256_of(uri)
        return cls(uri=uri, size=size, sha256=digest)

    def check(self) -> None:
        """Recomputes the digest.

        Raises:
            DocumentError: the file is gone or changed.
        """
        try:
            found, _ = sha256_of(self.uri)
        except FileNotFoundError as error:
            raise DocumentError(f"{self.uri}: missing; run the step that wrote it again") from error
        if found != self.sha256:
            raise DocumentError(f"{self.uri}: sha256 is {found}, the manifest says {self.sha256}; it was changed")


class Shard(External):
    """One Parquet file of one split."""

    rows: int


class Estimate(_Frozen):
    """A number with its 95 % interval."""

    value: float
    ci95: tuple[float, float]


class Document(_Frozen):
    """What every document carries. `digest` covers all of it but times and host."""

    kind: str
    schema_version: int = SCHEMA_VERSION
    producer: str = f"nasflow {VERSION}"
    created: str = Field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    seconds: float = 0.0
    """Wall-clock seconds of the attempt that finished the step."""
    cpu_seconds: float = 0.0
    """CPU seconds of that attempt's processes."""
    environment: dict[str, str] = Field(default_factory=lambda: {"python": platform.python_version()})
    inputs: dict[str, str] = Field(default_factory=dict)
    """Digests of the documents that this one was made from, by name."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    """Small files beside the manifest, by name."""

    KIND: ClassVar[str] = "Document"
    _uri: str = PrivateAttr(default="")

    @property
    def uri(self) -> str:
        """The directory that this document was read from or published to."""
        return self._uri

    @property
    def digest(self) -> str:
        """sha256 of the canonical manifest without times: equal content, equal digest."""
        content = {key: value for key, value in self.model_dump(mode="json").items() if key not in _VOLATILE}
        return sha256(json.dumps(content, sort_keys=True).encode())

    @classmethod
    def exists(cls, uri: str) -> bool:
        """Whether a finished document is there."""
        return storage_for(uri).exists(join(uri, MANIFEST))

    @classmethod
    def read(cls, uri: str) -> Self:
        """Reads a manifest.

        Raises:
            DocumentError: it is missing, not JSON, of another kind, or of a schema version this nasflow cannot read.
        """
        manifest = join(uri, MANIFEST)
        try:
            content = json.loads(storage_for(uri).read(manifest))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DocumentError(
                f"{uri}: no {cls.KIND} here (no {MANIFEST}); the step that makes it has not finished"
            ) from error
        except ValueError as error:
            raise DocumentError(f"{manifest}: damaged: {error}") from error
        if content.get("kind") != cls.KIND:
            raise DocumentError(f"{uri}: expected a {cls.KIND}, found a {content.get('kind')!r}")
        if content.get("schema_version") != SCHEMA_VERSION:
            raise DocumentError(
                f"{manifest}: schema_version {content.get('schema_version')!r}; nasflow {VERSION} reads "
                f"{SCHEMA_VERSION}. Run the step again with this version"
            )
        try:
            document = cls.model_validate(content)
        except ValidationError as error:
            raise DocumentError(f"{manifest}: damaged: {error}") from error
        document._uri = uri
        return document

    def publish(self, uri: str, files: Mapping[str, bytes]) -> Self:
        """Writes `files`, then the manifest, into the directory `uri`; returns the published document."""
        entries = {name: FileEntry(size=len(data), sha256=sha256(data)) for name, data in sorted(files.items())}
        document = self.model_copy(update={"files": entries})
        storage = storage_for(uri)
        for name, data in files.items():
            storage.write(join(uri, name), data)
        storage.write(join(uri, MANIFEST), document.model_dump_json(indent=1).encode())
        document._uri = uri
        return document

    def copy_to(self, uri: str) -> Self:
        """Publishes the same document in another directory; the digest stays."""
        return self.publish(uri, {name: self.file(name) for name in self.files})

    def file(self, name: str) -> bytes:
        """A small file's bytes.

        Raises:
            DocumentError: it is not listed, gone, or its digest differs.
        """
        if name not in self.files:
            raise DocumentError(f"{self._uri}: {self.KIND} has no file {name!r}; it has {sorted(self.files)}")
        try:
            data = storage_for(self._uri).read(join(self._uri, name))
        except FileNotFoundError as error:
            raise DocumentError(f"{join(self._uri, name)}: missing; run the step again") from error
        if sha256(data) != self.files[name].sha256:
            raise DocumentError(f"{join(self._uri, name)}: changed since it was written (sha256 differs)")
        return data

    def json(self, name: str) -> Any:  # type: ignore[override]  # pydantic's deprecated namesake
        """A small JSON file, parsed."""
        return json.loads(self.file(name))

    def copy_file(self, name: str, path: str | Path) -> None:
        """Writes a small file to a local path, for a KFP artifact."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.file(name))


class Dataset(Document):
    """Preprocessed data. Files: ``schema.json``, ``transform.json``, ``statistics.json``, ``golden.json``,
    ``report.html``, ``dead_letters.jsonl``."""

    KIND: ClassVar[str] = "Dataset"
    kind: Literal["Dataset"] = "Dataset"
    task: str
    rows: dict[str, int]
    """Rows in ``train``, ``validation``, ``test`` and ``dead``: together, every row that was read."""
    shards: dict[Split, tuple[Shard, ...]]
    """Transformed rows; see `nasflow.data.reader`."""
    remedies: tuple[str, ...] = ()
    """The keys of `data.optimise` that changed what a model learns from."""
    original_uri: str = ""
    """A Dataset of the same data without them, for `evaluate.compare_optimised`; empty where none was kept."""
    raw_test: tuple[Shard, ...] = ()
    """The test rows of a table as they came, in the same order; see `nasflow.data.raw_test`."""


class Trials(_Frozen):
    """How the trials of a study ended."""

    completed: int
    failed: int
    infeasible: int
    same: int = 0
    """Points that mean the same architecture and recipe as a trial before them, and were not trained."""
    filtered: int = 0
    """Points that `search.filter` left out."""


class Candidate(_Frozen):
    """An architecture that a search found."""

    trial_id: str
    architecture_id: str
    values: dict[str, Any]
    """The point in the space, by parameter name."""
    parameters: int
    flops: int
    """Multiply-adds × 2 of one example's forward pass."""
    score: float | None
    """The objective on validation; a ranking, not an estimate: the best of many is optimistic."""
    epochs: int
    """Epochs that this candidate was trained for at most."""
    measures: dict[str, float] = Field(default_factory=dict)
    """What else is known of it: other metrics on validation, memory_mb, and, where they are limited or objectives,
    size_mb and latency_ms of its export."""


class Search(Document):
    """A finished study. Files: ``architectures.json`` (architecture_id → Architecture), ``trials.json``,
    ``report.html``."""

    KIND: ClassVar[str] = "Search"
    kind: Literal["Search"] = "Search"
    strategy: str
    space: str
    objective: str
    epochs: int
    """Epochs of a trial that was not stopped early."""
    ranked_by: str = ""
    """The zero-cost proxy (`search.score`) that candidates are in the order of, which were not trained: their `score`
    is null. Empty: they are in the order of the objective."""
    trials: Trials
    candidates: tuple[Candidate, ...]
    """Best first; all feasible."""
    stopped_by: str
    """What ended the search: ``trials``, ``hours``, ``device_hours``, ``money`` or ``exhausted``."""
    objectives: tuple[str, ...] = ()
    """Of a Pareto search; its first candidate is the knee of the front."""
    front: tuple[str, ...] = ()
    """Trials that no other one beats in all objectives, in the candidates' order."""
    hypervolume: float | None = None
    """What the front dominates, each objective scaled to 0–1 between the worst and the best of all completed trials."""


class Model(Document):
    """A trained model. Files: ``training.json`` (curves and seed scores), ``architecture.json``, ``report.html``."""

    KIND: ClassVar[str] = "Model"
    kind: Literal["Model"] = "Model"
    task: str
    architecture_id: str
    parameters: int
    """Of all members, as `flops`."""
    flops: int
    seed: int
    """Of the first member; the next ones have the numbers after it."""
    epochs: int
    members: int = 1
    """Networks whose mean the model answers with."""
    seed_scores: tuple[float, ...]
    """The objective on validation, one a seed of the chosen architecture, before the refit on train + validation."""
    bundle_uri: str
    """Folder of the bundle; see `nasflow.serving.bundle`."""
    bundle: dict[str, External]
    """Every file of the bundle, by its path inside it."""

    @property
    def bundle_digest(self) -> str:
        """One digest over all files of the bundle."""
        return bundle_digest(self.bundle)


class Champion(_Frozen):
    """The version that was the registry's champion when a model was judged, on the same test rows."""

    name: str
    version: int
    bundle_digest: str
    problem: str = ""
    """Why the two cannot be compared; empty where they were."""
    test: dict[str, Estimate] = Field(default_factory=dict)
    gain: Estimate | None = None
    """How much better the model is in the objective, positive is better; paired bootstrap. None: no value."""


class Decision(_Frozen):
    """Whether the model may go to production, and why."""

    promoted: bool
    reasons: tuple[str, ...]


class Original(_Frozen):
    """The same architecture, seed and epochs, trained on the data as it was before `data.optimise`, on the same test
    rows."""

    remedies: tuple[str, ...]
    """The keys of `data.optimise` that are compared."""
    rows: tuple[int, int]
    """Training and validation rows together: optimised, original."""
    problem: str = ""
    """Why the two cannot be compared; empty where they were."""
    test: dict[str, Estimate] = Field(default_factory=dict)
    """Of the model of the original data."""
    gain: Estimate | None = None
    """By which the model of the optimised data is better, in the objective; the interval is paired."""


class Evaluation(Document):
    """The held-out test set, once. Files: ``predictions.json`` (golden rows and what the model said of them),
    ``confusion.json`` or ``residuals.json``, ``slices.json``, ``reference.json`` (histograms of the predictions),
    ``report.html``."""

    KIND: ClassVar[str] = "Evaluation"
    kind: Literal["Evaluation"] = "Evaluation"
    objective: str
    test: dict[str, Estimate]
    baseline: dict[str, Estimate]
    """The hand-made network, same data."""
    other_baselines: dict[str, dict[str, Estimate]]
    """For tables, ``tree``: a gradient-boosted tree ensemble."""
    original: Original | None = None
    """None: `evaluate.compare_optimised` is off."""
    champion: Champion | None = None
    """None: the registry had none, or it is this very model."""
    test_rows: int
    decision: Decision


class RegisteredModel(Document):
    """A version in the registry."""

    KIND: ClassVar[str] = "RegisteredModel"
    kind: Literal["RegisteredModel"] = "RegisteredModel"
    registry: str
    """The registry's URI."""
    name: str
    version: int
    model_uri: str
    """The registry's own copy of the bundle."""
    model_digest: str
    aliases: tuple[str, ...]
    """Aliases that point at this version when the step ended."""


class Endpoint(Document):
    """A deployment that answered the golden rows correctly. Files: ``prediction.json`` (request and response)."""

    KIND: ClassVar[str] = "Endpoint"
    kind: Literal["Endpoint"] = "Endpoint"
    target: str
    url: str
    name: str
    version: int
    golden_rows: int
    max_difference: float
    """Largest absolute difference between a served and an evaluated prediction."""
    running: bool
    """Whether the endpoint was left running."""


def bundle_digest(files: Mapping[str, External]) -> str:
    """One sha256 over names and contents, independent of where the files are."""
    return sha256(json.dumps({name: entry.sha256 for name, entry in sorted(files.items())}).encode())
