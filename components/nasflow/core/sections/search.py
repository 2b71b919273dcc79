"""`constraints` and `search`: what is searched, how, and what it may cost."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from nasflow.core.sections._base import Count, Section
from nasflow.core.sections.resources import AcceleratorSection


class ConstraintsSection(Section):
    """Hard limits: what a search returns never breaks them."""

    parameters: Count | None = None
    """At most so many trainable parameters."""
    flops: Count | None = None
    """At most so many floating-point operations (2 × multiply-adds) for one example."""
    memory_mb: Annotated[float, Field(gt=0)] | None = None
    """At most so many 10⁶ bytes of activations for one example, as float32, all layers kept as in training."""
    size_mb: Annotated[float, Field(gt=0)] | None = None
    """The SavedModel that is served has at most so many 10⁶ bytes; measured on the export."""
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """One row through the SavedModel takes at most so many milliseconds (median, without HTTP), measured on the export,
    on the machine that searches."""


class BudgetSection(Section):
    """What the search may cost. It ends at whichever limit comes first."""

    trials: Annotated[int, Field(ge=1)] | None = 20
    """Trials that may start; null: no limit."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Wall-clock hours of searching, over all attempts; null: no limit."""
    device_hours: Annotated[float, Field(gt=0)] | None = None
    """Hours of trials, summed over workers (each has one CPU share or one GPU); null: no limit."""
    money: Annotated[float, Field(gt=0)] | None = None
    """What the device-hours may cost, in the currency of `price_per_device_hour`; null: no limit."""
    price_per_device_hour: Annotated[float, Field(gt=0)] | None = None
    """Price of one device for an hour; needed for `money`."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of one trial at most. Left out: 10, and more where there are fewer than 2,000 training rows, up to 40."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if all(limit is None for limit in (self.trials, self.hours, self.device_hours, self.money)):
            raise ValueError("set trials, hours, device_hours or money: a search without a limit never ends")
        if self.money is not None and self.price_per_device_hour is None:
            raise ValueError(f"money is {self.money:g}, but not the price: set price_per_device_hour")
        return self


class ValidationSection(Section):
    """What a trial is scored on. By default the dataset's validation split, once."""

    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    """k-fold cross-validation on train + validation: every trial is trained k times; null: the validation split."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 1
    """Repeats of the k folds, each with its own shuffle."""
    seeds: Annotated[int, Field(ge=1, le=20)] = 1
    """Trainings of a trial with different seeds (of every fold). The score is their mean less `caution` standard
    deviations."""
    caution: Annotated[float, Field(ge=0.0)] = 1.0
    """How many standard deviations between seeds are taken off the mean; without effect with one seed."""

    @model_validator(mode="after")
    def _repeats_need_folds(self) -> Self:
        if self.repeats > 1 and self.folds is None:
            raise ValueError(f"repeats is {self.repeats}, but there are no folds to repeat; set folds, or use seeds")
        return self


class StoppingSection(Section):
    """When a trial ends before its last epoch. Scores after a stop are those of the epochs that were trained."""

    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better score; the best epoch's weights are restored. Null: none. With a schedule that anneals
    (the presets') the last epochs are the best ones: leave it out there."""
    median: bool = False
    """Stop a trial whose best score so far is below the median of the others' running means at that epoch (Golovin et
    al. 2017, Google Vizier, section 3.2.2)."""
    curve: bool = False
    """Stop a trial that has less than a 5 % chance to beat the best one, by a regression on the curves of the finished
    trials (after Baker et al. 2017)."""
    after: Annotated[int, Field(ge=1)] = 5
    """Finished trials that `median` and `curve` need first. Trials are compared with those of as many epochs only."""


Proxy = Literal["naswot", "synflow", "grad_norm", "snip", "jacob_cov", "parameters", "flops", "activations", "depth"]
"""What can be said of an architecture without training it: see `nasflow.models.proxies`, and counts."""


class FilterSection(Section):
    """Which proposed points are not worth a trial, by what their untrained networks say."""

    by: Proxy = "synflow"
    """`naswot`, `synflow`, `grad_norm`, `snip`, `jacob_cov` (one batch through the untrained network), or `parameters`,
    `flops`, `activations`, `depth`; more is better. Which ranks well depends on the space and the data."""
    keep: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """The share of proposed points that is trained: those with the best scores among the last 50. Presets are always
    trained, and so is a point of which the proxy says nothing."""
    after: Annotated[int, Field(ge=1)] = 5
    """Points that are trained before any is left out."""


class RuntimeSection(Section):
    """How TensorFlow runs the trials."""

    xla: bool | Literal["auto"] = "auto"
    """Compile training steps with XLA. `auto`: on GPUs, for trainings of 2,000 steps and more; elsewhere off. The final
    training does the same."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: float32, on GPUs of compute capability 8.0 and above bfloat16. The final training is float32."""
    steps_per_call: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Training steps in one call of TensorFlow. `auto`: as many as 64 MB of rows hold."""


class LauncherSection(Section):
    """Where a search's workers run. No part of what a search is: it may be changed between two attempts."""

    kind: Literal["process", "kubernetes"] = "process"
    """`process`: processes on the search's own machine. `kubernetes`: pods of one Indexed Job, on the nodes of
    `accelerator`. The search task itself then needs no accelerator, and must run in the cluster with the rights of
    `manifests/components/search-workers`. A worker that is preempted loses no more than the epoch in hand (on `gs://`:
    and 15 seconds); its trial waits for the next free worker."""
    accelerator: AcceleratorSection | None = None
    """`kubernetes`: a worker's GPU and nodes; left out: those of `resources.accelerator`, one GPU for each worker."""
    cpu: str | None = None
    """`kubernetes`: CPU request and limit of a worker; left out: `resources.cpu`."""
    memory: str | None = None
    """`kubernetes`: memory request and limit of a worker; left out: `resources.memory`."""
    image: str | None = None
    """`kubernetes`: a worker's image; left out: `PREFIX/trainer-gpu` with an accelerator, else the search's own."""
    service_account: str | None = None
    """`kubernetes`: a worker's service account, which reads and writes the work dir; left out: the search task's own.
    Workers are given no token for the Kubernetes API."""
    port: Annotated[int, Field(ge=1024, le=65535)] = 7077
    """`kubernetes`: where the search listens for its workers; a NetworkPolicy must let them in."""
    start_minutes: Annotated[float, Field(gt=0)] = 30.0
    """`kubernetes`: so long may a pod wait for its node (a pool that grows from nothing takes minutes)."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if self.accelerator is not None and self.accelerator.count != 1:
            raise ValueError(
                f"accelerator.count must be 1, got {self.accelerator.count}: a trial trains on one GPU; "
                "raise search.workers instead"
            )
        return self


class SearchSection(Section):
    """How the architecture is searched."""

    space: str | dict[str, Any] = "auto"
    """`cnn`, `cell`, `nasbench201`, `darts`, `pretrained`, `mlp`, `sequence` (list columns of numbers, or an `.npz`
    array [rows, time, features]), `text`, `multimodal`, `auto` (by the data) or `package.module:name`: a factory of a
    nasflow Space, or a Keras Tuner HyperModel (an instance, a class, or a function `build(hp)`), which runs as it is.
    A space of your own without Python: its parameters and layers here, or the path of a YAML file with them."""
    space_settings: dict[str, Any] = Field(default={})
    """Settings of the space; left out, its defaults. `cell`, `nasbench201`, `darts`: topology, nodes, operations,
    stages, cells, width, recipe. `cnn`: choices, recipe. `mlp`: recipe. `pretrained`: backbones (by name in
    `keras.applications`, the path or `gs://` URI of the weights), sides. A dotted path's factory or class is called
    with them. `recipe`: how much of the training recipe is searched, `none`, `some` or `all`."""
    strategy: str = "auto"
    """`auto`, `random`, `grid`, `greedy`, `hill_climb`, `genetic`, `evolution`, `tpe`, `predictor`, `reinforce`,
    `differentiable` (spaces `cell`, `nasbench201`, `darts`), `asha`, `pasha`, `hybrid`, Keras Tuner's `hyperband` and
    `bayesian`, or `package.module:factory`."""
    settings: dict[str, Any] = Field(default={})
    """Settings of the strategy; left out, its defaults. `genetic`: population, tournament, mating, crossover, mutation,
    elites. `evolution`: population, sample, crossover. `hill_climb`: startup, step, first. `grid`: points. `greedy`:
    startup, points. `tpe`: startup, gamma, candidates, prior. `predictor`: startup, trees, candidates, elites,
    random_share, proxies, scored. `reinforce`: rate, baseline, entropy, bins. `differentiable`: top, share, epochs,
    warm_up, reach, auxiliary, skip_dropout, most_skips, partial, edge_weights, unroll, further, rest (settings of
    `auto`). `asha`, `pasha`: factor, rungs, min_epochs, promote. `hybrid`: parts, mode, weights, trials, settings.
    `auto`: startup, neighbours, evolution, model, model_share, incumbent_share, random_share. A dotted path's factory
    is called with them."""
    start: tuple[dict[str, Any], ...] = ()
    """Points of the space that are tried before everything else, presets included: `values` of an earlier search's
    candidates. What the space does not know of them is left out."""
    warm_start: tuple[str, ...] = ()
    """Earlier searches over the same space: URIs of Search documents (the folder with `manifest.json`; `document_uri`
    in `WORK_DIR/runs/RUN_ID/search.json`). Their best points are tried right after the presets. Where the Dataset (by
    its digest), the objective (a single one) and the epochs of a trial are this search's, too, strategies also see
    their whole trials as results; Keras Tuner's oracles and those that let trials go on (`asha`, `pasha`) do not."""
    warm_points: Annotated[int, Field(ge=0)] = 3
    """Points of `warm_start` to try, in all, presets not counted: the best of each search, then the second of each."""
    budget: BudgetSection = BudgetSection()
    """Trials, hours, epochs."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that train trials side by side: on this machine, where CPU threads and GPUs are divided among them, or
    where `launcher` says. With more than one, which points are suggested depends on the order in which trials end. May
    be changed between two attempts at a search."""
    launcher: LauncherSection = LauncherSection()
    """Where they run."""
    recycle: Annotated[int, Field(ge=1)] = 25
    """A worker process is replaced after so many trials: TensorFlow keeps some memory of each. With one worker and no
    more trials than this in the budget the trials run inside the search's own process."""
    validation: ValidationSection = ValidationSection()
    """Hold-out, folds, seeds."""
    finalists: Annotated[int, Field(ge=0, le=50)] | Literal["auto"] = "auto"
    """So many of the best trials (of all epochs; one an architecture; the best preset always among them) are trained
    again with other seeds at the end of the budget, and the best mean wins: the best of many scores is the luckiest.
    These trainings count as trials, and as time. `auto`: 0.41 × √trials, 10 at most (3 of 50 trials, 5 of 150), and of
    a budget of time no more than a seventh; none below 30 trials, with several `validation.seeds` or `folds`, with
    several objectives, with `score`. 0: none."""
    looks: Annotated[int, Field(ge=1, le=20)] = 2
    """Trainings more of each finalist."""
    stopping: StoppingSection = StoppingSection()
    """When a trial ends early."""
    filter: FilterSection | None = None
    """Leave out points by a zero-cost score. What is left out costs no trial; its CPU time counts in the budget."""
    score: Proxy | None = None
    """Rank by this zero-cost score and train nothing: the search's trials are untrained networks. The result is the
    best by it, presets included; no accuracy is known before the final training. Null: by the objective."""
    runtime: RuntimeSection = RuntimeSection()
    """XLA, precision."""

    @model_validator(mode="after")
    def _finalists_to_compare(self) -> Self:
        if self.finalists == 1:
            raise ValueError("finalists is 1, and one alone is compared with nothing; use 2 or more, or 0 for none")
        if self.finalists not in ("auto", 0) and self.score is not None:
            raise ValueError(
                f"finalists is {self.finalists}, but score is {self.score}: nothing is trained; take one of them out"
            )
        return self

    @model_validator(mode="after")
    def _epochs_to_give_out(self) -> Self:
        if self.score is not None and self.strategy in ("asha", "pasha", "hyperband", "differentiable"):
            does = "trains a supernet" if self.strategy == "differentiable" else "gives out epochs"
            raise ValueError(
                f"score is {self.score}, which trains nothing, but strategy {self.strategy} {does}; use another "
                "strategy, or filter instead of score"
            )
        return self
