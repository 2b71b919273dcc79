"""ExperimentSpec: the YAML that a user writes. Everything but `task`, `data.train` and `data.label` has a default."""

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
    by: Literal["hash"] = "hash"
    """`hash`: of the row's content, so that exact duplicates never fall into two splits."""
    salt: str = ""
    """Change it to get another split of the same data."""

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        if self.validation <= 0:
            raise ValueError(f"validation must be > 0, got {self.validation}: the search compares candidates on it")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test must be < 1, got {self.validation} + {self.test}")
        return self


class DataSection(Section):
    """Where the data is, and what is to be predicted."""

    train: str = Field(min_length=1)
    """Parquet or CSV (one file or a glob), `.npz`, an IDX images file, a folder of one image folder a class, or
    `sample:NAME` (digits, breast_cancer, wine, iris, diabetes). A local path or `gs://`."""
    test: str | None = None
    """A separate test set of the same form; left out, `split.test` of the rows are held out."""
    label: str = Field(min_length=1)
    """The column to predict. Image folders: any name, the folder names are the labels; IDX: any name; `.npz`: the
    array's name; samples: `target`."""
    ignore: tuple[str, ...] = ()
    """Columns that the model must not see (identifiers, leaks)."""
    split: SplitSection = SplitSection()
    """How the training rows are divided into train, validation and test."""
    max_bad_fraction: Annotated[float, Field(ge=0.0, le=1.0)] = 0.001
    """The run stops when more than this fraction of the rows cannot be used. Unusable rows go to the dead letters."""
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Height and width that images are resized to; left out, folders use 64 and arrays keep their own size."""


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
    """`auto`, `random`, `evolution`, `hyperband`, `bayesian` or `package.module:factory`."""
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

    target: Literal["local"] = "local"
    """`local`: the KServe server on loopback answers the golden rows, then stops; `nasflow serve` runs it for good."""
    timeout_seconds: Annotated[int, Field(ge=5)] = 120
    """The server must be ready by then."""


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
