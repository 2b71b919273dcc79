"""ExperimentSpec: the YAML that a user writes. Everything but `task`, `data.train` and `data.label` has a default.

Its sections are in `nasflow.core.sections`, a file for each part of the YAML; all their names can be had from here.
"""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from nasflow.core.sections._base import (
    BINARY_METRICS,
    CLASSIFICATION_METRICS,
    COSTS,
    REGRESSION_METRICS,
    TASKS,
    Metric,
    Name,
    Objective,
    Section,
    Task,
    is_custom,
    parse_count,
    parse_metric,
)
from nasflow.core.sections.columns import (
    ColumnSection,
    DateEncoding,
    DatePart,
    Imputation,
    Kind,
    Scaling,
)
from nasflow.core.sections.data import (
    CsvSection,
    DataSection,
    OptimiseSection,
    SplitSection,
    parse_class_names,
)
from nasflow.core.sections.judging import (
    EvaluateSection,
    TrainSection,
)
from nasflow.core.sections.preprocess import (
    BeamRunner,
    PreprocessSection,
)
from nasflow.core.sections.production import (
    DeploySection,
    RegisterSection,
)
from nasflow.core.sections.resources import (
    AcceleratorSection,
    ResourcesSection,
)
from nasflow.core.sections.retraining import (
    RetrainSection,
)
from nasflow.core.sections.search import (
    BudgetSection,
    ConstraintsSection,
    FilterSection,
    LauncherSection,
    Proxy,
    RuntimeSection,
    SearchSection,
    StoppingSection,
    ValidationSection,
)

__all__ = [
    "BINARY_METRICS",
    "CLASSIFICATION_METRICS",
    "COSTS",
    "REGRESSION_METRICS",
    "TASKS",
    "AcceleratorSection",
    "BeamRunner",
    "BudgetSection",
    "ColumnSection",
    "ConstraintsSection",
    "CsvSection",
    "DataSection",
    "DateEncoding",
    "DatePart",
    "DeploySection",
    "EvaluateSection",
    "ExperimentSpec",
    "FilterSection",
    "Imputation",
    "Kind",
    "LauncherSection",
    "Metric",
    "Name",
    "Objective",
    "OptimiseSection",
    "PreprocessSection",
    "Proxy",
    "RegisterSection",
    "ResourcesSection",
    "RetrainSection",
    "RuntimeSection",
    "Scaling",
    "SearchSection",
    "Section",
    "SplitSection",
    "StoppingSection",
    "Task",
    "TrainSection",
    "ValidationSection",
    "is_custom",
    "parse_class_names",
    "parse_count",
    "parse_metric",
]


class ExperimentSpec(Section):
    """One experiment."""

    name: Name = "experiment"
    """Lower-case letters, digits and dashes: names the run, the pipeline and the model."""
    task: Task
    """`image_classification`, `text_classification`, `tabular_classification` or `tabular_regression`. Tables may hold
    texts (and, by `data.image`, an image) beside numbers and categories; text_classification insists on a text."""
    data: DataSection
    """Data and label."""
    preprocess: PreprocessSection = PreprocessSection()
    """Which engine reads the data."""
    objective: Metric | Annotated[tuple[Objective, ...], Field(min_length=2, max_length=4)] | None = None
    """What the search maximises (accuracy, f1, f1_macro, f1_weighted, precision, precision_macro, recall, recall_macro,
    auc, average_precision, r2) or minimises (log_loss, mse, rmse, mae), on validation; f1, precision and recall are
    those of the second of two classes. `[maximise|minimise] package.module:function` is called with labels and
    predictions. A list is a Pareto search: metrics, and costs of which less is better (parameters, flops, memory_mb,
    size_mb, latency_ms); the first metric is what everything after the search goes by. Left out: accuracy or rmse."""
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
    retrain: RetrainSection = RetrainSection()
    """When `nasflow retrain` trains another model."""
    resources: ResourcesSection = ResourcesSection()
    """Kubernetes resources."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The one seed: same seed, data and machine type, same result on CPU."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    @model_validator(mode="after")
    def _objective_fits_task(self) -> Self:
        allowed = REGRESSION_METRICS if self.task == "tabular_regression" else CLASSIFICATION_METRICS
        for objective in self.objectives:
            if not is_custom(objective) and objective not in (*allowed, *COSTS):
                raise ValueError(
                    f"objective {objective!r} does not fit task {self.task}; use one of {', '.join(allowed)}"
                )
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objective names something twice: {', '.join(self.objectives)}; name each once")
        if all(objective in COSTS for objective in self.objectives):
            raise ValueError(f"objective needs a metric, got only costs: {', '.join(self.objectives)}")
        return self

    @model_validator(mode="after")
    def _data_fits_task(self) -> Self:
        split, optimise = self.data.split, self.data.optimise
        if self.data.image is not None and self.data.image == self.data.label:
            raise ValueError(f"data.image: {self.data.image!r} is the label; name the column of the images")
        if self.data.text and self.task == "image_classification":
            raise ValueError(
                f"data.text: {self.data.text[0]!r} is no image; with texts set task: tabular_classification"
            )
        if split.key == self.data.label:
            raise ValueError(f"data.split.key: {split.key!r} is the label; to keep its classes' shares: by: stratified")
        if self.task == "tabular_regression" and split.by == "stratified":
            raise ValueError("data.split.by: stratified needs classes, but task tabular_regression has none; use hash")
        if self.task == "tabular_regression" and self.data.label_map:
            raise ValueError("data.label_map renames classes, but task tabular_regression has none; remove it")
        wrong = [
            key for key in ("drop_conflicting_labels", "drop_suspect_labels", "class_weights") if getattr(optimise, key)
        ]
        if wrong and self.task == "tabular_regression":
            raise ValueError(f"data.optimise.{wrong[0]} needs classes, but task is {self.task}; take it out")
        if self.evaluate.compare_optimised and not optimise.remedies:
            raise ValueError(
                "evaluate.compare_optimised: no remedy of data.optimise is on, so there is nothing to compare; switch "
                "one on, e.g. data.optimise.drop_duplicates: true, or leave compare_optimised out"
            )
        return self

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All of them, with the task's default filled in."""
        if self.objective is None:
            return ("rmse" if self.task == "tabular_regression" else "accuracy",)
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @property
    def metric(self) -> Metric:
        """The first objective that is a metric."""
        return next(objective for objective in self.objectives if objective not in COSTS)

    @property
    def model_name(self) -> str:
        """The name in the registry."""
        return self.register_.name or self.name
