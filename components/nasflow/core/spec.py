"""ExperimentSpec: the YAML that a user writes. Everything but `task`, `data.train` and `data.label` has a default."""

import codecs
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Task = Literal["image_classification", "tabular_classification", "tabular_regression"]
TASKS: tuple[Task, ...] = ("image_classification", "tabular_classification", "tabular_regression")

Metric = Literal["accuracy", "f1_macro", "auc", "log_loss", "rmse", "mae", "r2"]
CLASSIFICATION_METRICS: tuple[Metric, ...] = ("accuracy", "f1_macro", "auc", "log_loss")
REGRESSION_METRICS: tuple[Metric, ...] = ("rmse", "mae", "r2")

_COUNT = re.compile(r"(?P<number>\d[\d_]*(?:\.\d+)?)\s*(?P<unit>[kKMG]?)")
_FACTORS = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def parse_count(value: Any) -> Any:
    """Reads ``50M``, ``200_000``, ``1.5k``; leaves anything else to pydantic.

    >>> parse_count("50M"), parse_count("1.5k"), parse_count(7)
    (50000000, 1500, 7)
    """
    if isinstance(value, str) and (match := _COUNT.fullmatch(value.strip())):
        return round(float(match["number"].replace("_", "")) * _FACTORS[match["unit"]])
    return value


def parse_class_names(value: Any) -> Any:
    """YAML reads `1` and `true` as number and boolean, but classes are named by text.

    >>> parse_class_names({"<=50K.": "<=50K", 1: True})
    {'<=50K.': '<=50K', '1': 'true'}
    """
    if not isinstance(value, dict):
        return value

    def name(part: Any) -> Any:
        return str(part).lower() if isinstance(part, bool) else str(part) if isinstance(part, int | float) else part

    return {name(old): name(new) for old, new in value.items()}


Count = Annotated[int, BeforeValidator(parse_count), Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$")]


class Section(BaseModel):
    """A part of the spec: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SplitSection(Section):
    """How rows are split."""

    validation: Fraction = 0.1
    """Fraction of the training rows that compares candidates."""
    test: Fraction = 0.1
    """Fraction held out for the one evaluation at the end; unused where `data.test` names a file."""
    by: Literal["hash", "group", "time", "stratified", "column"] = "hash"
    """`hash`: of the row's content, so that exact duplicates never fall into two splits. `group`: rows with the same
    `key` stay together. `time`: the newest rows by `key` are test, those before them validation. `stratified`: every
    class has its share in each split, rare ones at least one row. `column`: `key` says train, validation or test."""
    key: str | None = None
    """The column that `group`, `time` and `column` go by. The model does not see it (see `keep_key`). Times are
    numbers or ISO 8601 dates."""
    keep_key: bool = False
    """Whether the key of `group` or `time` is a feature, too."""
    salt: str = ""
    """Change it to get another split of the same data."""

    @model_validator(mode="after")
    def _key_fits(self) -> Self:
        keyed = self.by in ("group", "time", "column")
        if keyed and self.key is None:
            raise ValueError(f"by: {self.by} needs a column to go by; name it in key")
        if not keyed and self.key is not None:
            raise ValueError(f"key: {self.key!r} is not used by {self.by}; remove it, or set by: group, time or column")
        if self.keep_key and self.by not in ("group", "time"):
            raise ValueError(f"keep_key: only the key of group or time can be a feature, got by: {self.by}")
        return self

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        if self.validation <= 0:
            raise ValueError(f"validation must be > 0, got {self.validation}: the search compares candidates on it")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test must be < 1, got {self.validation} + {self.test}")
        return self


class CsvSection(Section):
    """How CSV files are written. What stays the same for most files is found by itself."""

    encoding: str = "utf-8"
    """Python's name of the encoding: `utf-8` (with or without a byte-order mark), `latin-1`, `cp1252`, `utf-16`, …"""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """The character between two values; left out, the most frequent of `,` `;` tab `|` in the first line."""
    header: bool = True
    """Whether the first line names the columns; if not, name them in `columns`."""
    columns: tuple[str, ...] = ()
    """Names of all columns, in their order; where the files have a header, in place of the header's names."""
    comment: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Lines that begin with this character are no rows."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        try:
            codecs.lookup(self.encoding).incrementaldecoder  # noqa: B018  # the look-up is the check
            "".encode(self.encoding)
        except (LookupError, AttributeError) as error:
            raise ValueError(f"encoding: no text encoding {self.encoding!r}; utf-8, latin-1, cp1252, …") from error
        if not self.header and not self.columns:
            raise ValueError("header: false leaves the columns without names; list them in columns")
        if twice := sorted({name for name in self.columns if self.columns.count(name) > 1}):
            raise ValueError(f"columns: {twice[0]!r} is named more than once; give each column its own name")
        for key in ("delimiter", "comment"):
            if (value := getattr(self, key)) is not None and (value in '"\r\n' or not value.isascii()):
                raise ValueError(f"{key}: must be one ASCII character, no quotation mark or line break; got {value!r}")
        return self


class OptimiseSection(Section):
    """Remedies for what preprocess finds in the data. All are off by default, and none touches a test row: a model of
    the optimised data and one of the original are judged on the same rows. Dropped rows are dead letters with the
    reason; they do not count towards `max_bad_fraction`."""

    drop_duplicates: bool = False
    """Drops training and validation rows that equal an earlier one in features and label, or whose features are in
    `data.test`."""
    drop_conflicting_labels: bool = False
    """Drops training and validation rows whose features occur more often with another class; where two classes are
    equally frequent, all of them. Not for regression."""
    drop_leaks: bool = False
    """Hides feature columns from the model that predict the label alone (cross-validated AUC >= 0.995, R2 >= 0.99)."""
    class_weights: bool = False
    """Weights the training loss of a row by rows / (classes * rows of its class). Not for regression."""
    find_suspect_labels: bool = False
    """Looks for labels that are probably wrong (confident learning) among a sample of the training rows; takes seconds
    to a minute more. Nothing is dropped."""


class DataSection(Section):
    """Where the data is, and what is to be predicted."""

    train: str = Field(min_length=1)
    """Parquet, CSV, JSON lines, Arrow IPC or TFRecord (one file, a folder or a glob), `.npz`, an IDX images file, a
    folder of one image folder a class, or `sample:NAME` (digits, breast_cancer, wine, iris, diabetes). Local or `gs://`."""
    test: str | None = None
    """A separate test set of the same form; left out, `split.test` of the rows are held out."""
    label: str = Field(min_length=1)
    """The column to predict. Image folders: any name, the folder names are the labels; IDX: any name; `.npz`: the
    array's name; samples: `target`."""
    image: str | None = None
    """For image_classification from a table: the column of image paths (absolute, `gs://`, or relative to the table's
    folder) or of encoded image files."""
    label_map: Annotated[dict[str, str], BeforeValidator(parse_class_names)] = {}
    """Class names to read as others, e.g. `{"<=50K.": "<=50K"}` where one file writes them differently."""
    csv: CsvSection = CsvSection()
    """How CSV files are written: encoding, delimiter, header, comment lines."""
    ignore: tuple[str, ...] = ()
    """Columns that the model must not see (identifiers, leaks)."""
    split: SplitSection = SplitSection()
    """How the training rows are divided into train, validation and test."""
    max_bad_fraction: Annotated[float, Field(ge=0.0, le=1.0)] = 0.001
    """The run stops when more than this fraction of the rows cannot be used. Unusable rows go to the dead letters."""
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Height and width that images are resized to; left out, folders use 64 and arrays keep their own size."""
    optimise: OptimiseSection = OptimiseSection()
    """Remedies for duplicates, conflicting labels, leaks and unbalanced classes."""
    compare_with: str | None = None
    """An earlier Dataset document (folder or `gs://` prefix): the report says what has drifted since."""


BeamRunner = Literal["local", "portable", "flink", "spark", "dataflow"]


class PreprocessSection(Section):
    """Where Beam runs the preprocess step. The Dataset is the same, byte for byte: finished work is reused."""

    runner: BeamRunner = "local"
    """`local`: in this process. `portable`: any Beam job server (`options.job_endpoint`; `embed`: one in this process).
    `flink`, `spark`: with `options.job_endpoint`, or Beam starts a job server itself (Java). `dataflow`: Google's."""
    options: dict[str, bool | int | float | str | list[str]] = {}
    """Beam's pipeline options by their names, passed through: `{job_endpoint: "host:8099", environment_type: EXTERNAL,
    environment_config: "localhost:50000", parallelism: 8}`. The workers need nasflow and see data and work dir."""
    start_minutes: Annotated[float, Field(gt=0)] = 10.0
    """The first worker must have begun by then: a worker pool whose `python` lacks Beam never does. Not for `local`."""
    timeout_minutes: Annotated[float, Field(gt=0)] = 1440.0
    """The step's Beam jobs are cancelled after so long. Not for `local`, which `resources.timeout_hours` ends."""

    @model_validator(mode="after")
    def _has_what_the_runner_needs(self) -> Self:
        for key in self.options:
            if not _OPTION.fullmatch(key):
                raise ValueError(f"options: {key!r} is no option's name; write it without dashes, like job_name")
        if "runner" in self.options:
            raise ValueError("options: runner has a key of its own; set preprocess.runner")
        for option, why in _NEEDED_OPTIONS[self.runner].items():
            if not self.options.get(option):
                raise ValueError(f"runner {self.runner} needs options.{option}: {why}")
        return self


_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ENVIRONMENT = {
    "environment_type": "EXTERNAL (a worker pool at options.environment_config), LOOPBACK (workers in this process) or "
    "DOCKER (an image with nasflow)"
}
_NEEDED_OPTIONS: dict[BeamRunner, dict[str, str]] = {
    "local": {},
    "portable": {"job_endpoint": "host:port of the Beam job server, or embed", **_ENVIRONMENT},
    "flink": _ENVIRONMENT,
    "spark": _ENVIRONMENT,
    "dataflow": {
        "project": "the Google Cloud project",
        "region": "where the workers run",
        "temp_location": "a gs:// prefix for Dataflow's own files",
        "sdk_container_image": "the workers' image, with nasflow and Beam's /opt/apache/beam/boot",
    },
}


class ConstraintsSection(Section):
    """Hard limits: what a search returns never breaks them."""

    parameters: Count | None = None
    """At most so many trainable parameters."""
    flops: Count | None = None
    """At most so many floating-point operations (2 × multiply-adds) for one example."""


class BudgetSection(Section):
    """What the search may cost. It ends at whichever limit comes first."""

    trials: Annotated[int, Field(ge=1)] | None = 20
    """Trials that may start; null: no limit."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Wall-clock hours of searching, over all attempts; null: no limit."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of one trial at most. Left out: 10, and more where there are fewer than 2,000 training rows, up to 40."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.trials is None and self.hours is None:
            raise ValueError("set trials or hours: a search without a limit never ends")
        return self


class SearchSection(Section):
    """How the architecture is searched."""

    space: str = "auto"
    """`cnn`, `mlp`, `auto` (by the task) or `package.module:factory` (makes a nasflow Space)."""
    strategy: str = "auto"
    """`auto`, `random`, `grid`, `greedy`, `hill_climb`, `genetic`, `evolution`, `tpe`, `predictor`, `reinforce`,
    `asha`, `hybrid`, Keras Tuner's `hyperband` and `bayesian`, or `package.module:factory`."""
    settings: dict[str, Any] = {}
    """Settings of the strategy; left out, its defaults. `genetic`: population, tournament, mating, crossover, mutation,
    elites. `evolution`: population, sample, crossover. `hill_climb`: step, first. `grid`, `greedy`: points. `tpe`:
    startup, gamma, candidates, prior. `predictor`: startup, trees, candidates, elites, random_share. `reinforce`:
    rate, baseline, entropy, bins. `asha`: factor, rungs, min_epochs. `hybrid`: parts, mode, weights, trials, settings.
    `auto`: neighbours, evolution, incumbent_share, random_share. A dotted path's factory is called with them."""
    budget: BudgetSection = BudgetSection()
    """Trials, hours, epochs."""


class AcceleratorSection(Section):
    """GPUs of the search and train tasks on Kubernetes."""

    type: str = "nvidia.com/gpu"
    """The Kubernetes resource name."""
    count: Annotated[int, Field(ge=1)] = 1
    """How many for a task."""
    pool: str | None = None
    """Value of `pool_label` on the nodes to use."""
    pool_label: str = "cloud.google.com/gke-nodepool"
    """The node label that names a pool."""
    spot: bool = False
    """Tolerate and select spot nodes."""


class ResourcesSection(Section):
    """What a task gets on Kubernetes. Local runs ignore it."""

    accelerator: AcceleratorSection | None = None
    """GPUs for search and train; left out, they run on CPUs."""
    cpu: str = "2"
    """CPU request and limit of the search and train tasks."""
    memory: str = "8G"
    """Memory request and limit of the search and train tasks."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Times that a failed task is tried again; it goes on where it stopped."""
    timeout_hours: Annotated[float, Field(gt=0)] = 24.0
    """A task is ended after so long."""
    image_prefix: str = "nasflow"
    """Registry and folder of the images: `PREFIX/trainer:VERSION`."""
    service_account: str | None = None
    """Kubernetes service account of the run."""


class TrainSection(Section):
    """The final training."""

    seeds: Annotated[int, Field(ge=1, le=20)] = 2
    """Each candidate is trained with so many seeds; mean − standard deviation on validation chooses."""
    candidates: Annotated[int, Field(ge=1, le=10)] = 1
    """How many of the search's best are compared."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of a final training; left out: 1.5 × those of a trial."""


class EvaluateSection(Section):
    """What decides whether the model is promoted."""

    baseline: Literal["hand_made"] = "hand_made"
    """The network of a careful hour's work, trained on the same data. For tables a boosted tree ensemble is reported
    beside it."""
    min_gain: float = 0.0
    """The model is promoted if it is better than the baseline by at least this much, in the objective's units; a
    negative number accepts a model that is that much worse."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Resamples behind each 95 % interval."""


class RegisterSection(Section):
    """Where the model's version goes."""

    name: Name | None = None
    """The model's name; left out: the experiment's."""
    registry: Literal["file"] = "file"
    """`file`: versions and aliases as objects in a folder or bucket."""
    uri: str | None = None
    """The registry's folder or `gs://` prefix; left out: `WORK_DIR/registry`."""


class DeploySection(Section):
    """Where the promoted model goes."""

    target: Literal["local", "docker", "manifest", "kserve"] = "local"
    """`local`: the KServe server on loopback answers the golden rows, then stops; `nasflow serve` runs it for good.
    `docker`: the server's image as a container on loopback, left running. `manifest`: the InferenceService as YAML, for
    GitOps. `kserve`: applied to a cluster; a canary where an earlier version serves, then promoted or rolled back."""
    timeout_seconds: Annotated[int, Field(ge=5)] = 120
    """Targets `local`, `docker`: the server must be ready by then."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Target `docker`: the port on loopback; 0 takes a free one."""
    storage_uri: str | None = None
    """Where the cluster finds the bundle: `gs://…`, `s3://…`, `pvc://CLAIM/path`; `{name}`, `{version}` are filled in.
    Left out: the registry's copy, which must then be on `gs://`."""
    image: str | None = None
    """The server's image; left out: `PREFIX/server:VERSION`, with `resources.image_prefix`."""
    namespace: Name | None = None
    """The InferenceService's namespace; left out: that of the pod, or of kubectl's context."""
    mode: Literal["standard", "knative"] = "standard"
    """How KServe runs it: plain Deployments (canaries need KServe 0.20 or later), or Knative (scales to zero)."""
    runtime: Literal["nasflow", "tensorflow"] = "nasflow"
    """`nasflow`: our server. `tensorflow`: KServe's TensorFlow Serving; with target `manifest` only."""
    canary_percent: Annotated[int, Field(ge=0, le=99)] = 10
    """Share of the requests that a new version gets while it is watched; 0: only golden rows."""
    watch_minutes: Annotated[float, Field(ge=0)] = 10.0
    """How long a canary is watched before it is promoted."""
    ready_minutes: Annotated[float, Field(gt=0)] = 15.0
    """Target `kserve`: a version must be Ready by then."""
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """A canary is rolled back above this share of failed requests (HTTP 5xx, or no answer)."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """A canary is rolled back if its 95th percentile is above this; null: latency does not decide."""
    min_requests: Annotated[int, Field(ge=1)] = 20
    """Requests, golden rows included, that a canary must have answered before it is judged."""
    min_replicas: Annotated[int, Field(ge=0)] = 1
    """Pods at least; 0 (Knative only) lets an idle service stop."""
    max_replicas: Annotated[int, Field(ge=1)] = 3
    """Pods at most."""
    scale_target: Annotated[int, Field(ge=1)] | None = None
    """Adds pods above it. Standard: percent of the requested CPU, 80 where left out; Knative: requests in hand of a
    pod, 10 where left out."""
    service_account: str | None = None
    """Kubernetes service account of the server's pods; it reads the bundle."""
    cpu: str = "1"
    """CPU request and limit of a pod."""
    memory: str = "2Gi"
    """Memory request and limit of a pod."""
    accelerator: AcceleratorSection | None = None
    """GPUs of a pod. Our server's image has TensorFlow for CPUs: name an `image` that has CUDA."""

    @model_validator(mode="after")
    def _can_be_deployed(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas must be <= max_replicas, got {self.min_replicas} > {self.max_replicas}")
        if self.mode == "standard" and self.min_replicas < 1:
            raise ValueError("min_replicas must be >= 1, got 0: only mode knative scales to zero")
        if self.runtime == "tensorflow" and self.target == "kserve":
            raise ValueError("runtime tensorflow needs target manifest: a canary is judged by our server's metrics")
        if self.accelerator and self.runtime == "nasflow" and self.image is None:
            raise ValueError("accelerator needs image: the server's own image has TensorFlow for CPUs only")
        return self


class ExperimentSpec(Section):
    """One experiment."""

    name: Name = "experiment"
    """Lower-case letters, digits and dashes: names the run, the pipeline and the model."""
    task: Task
    """`image_classification`, `tabular_classification` or `tabular_regression`."""
    data: DataSection
    """Data and label."""
    preprocess: PreprocessSection = PreprocessSection()
    """Which engine reads the data."""
    objective: Metric | None = None
    """What the search maximises (accuracy, f1_macro, auc, r2) or minimises (log_loss, rmse, mae). Left out: accuracy
    or rmse."""
    constraints: ConstraintsSection = ConstraintsSection()
    """Hard limits."""
    search: SearchSection = SearchSection()
    """Space, strategy, budget."""
    train: TrainSection = TrainSection()
    """Final training."""
    evaluate: EvaluateSection = EvaluateSection()
    """Evaluation and decision."""
    register_: RegisterSection = Field(default=RegisterSection(), alias="register")
    """Registry."""
    deploy: DeploySection = DeploySection()
    """Deployment."""
    resources: ResourcesSection = ResourcesSection()
    """Kubernetes resources."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The one seed: same seed, data and machine type, same result on CPU."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    @model_validator(mode="after")
    def _objective_fits_task(self) -> Self:
        allowed = REGRESSION_METRICS if self.task == "tabular_regression" else CLASSIFICATION_METRICS
        if self.objective is not None and self.objective not in allowed:
            raise ValueError(
                f"objective {self.objective!r} does not fit task {self.task}; use one of {', '.join(allowed)}"
            )
        return self

    @model_validator(mode="after")
    def _data_fits_task(self) -> Self:
        split, optimise = self.data.split, self.data.optimise
        if self.data.image is not None and self.task != "image_classification":
            raise ValueError(f"data.image: {self.data.image!r} is for task image_classification, got {self.task}")
        if self.data.image is not None and self.data.image == self.data.label:
            raise ValueError(f"data.image: {self.data.image!r} is the label; name the column of the images")
        if split.key == self.data.label:
            raise ValueError(f"data.split.key: {split.key!r} is the label; to keep its classes' shares: by: stratified")
        if self.task == "tabular_regression" and split.by == "stratified":
            raise ValueError("data.split.by: stratified needs classes, but task tabular_regression has none; use hash")
        if self.task == "tabular_regression" and self.data.label_map:
            raise ValueError("data.label_map renames classes, but task tabular_regression has none; remove it")
        wrong = [key for key in ("drop_conflicting_labels", "class_weights") if getattr(optimise, key)]
        if wrong and self.task == "tabular_regression":
            raise ValueError(f"data.optimise.{wrong[0]} needs classes, but task is {self.task}; take it out")
        return self

    @property
    def metric(self) -> Metric:
        """The objective, with the task's default filled in."""
        if self.objective is not None:
            return self.objective
        return "rmse" if self.task == "tabular_regression" else "accuracy"

    @property
    def model_name(self) -> str:
        """The name in the registry."""
        return self.register_.name or self.name
