"""The six documents in which steps meet.

    Dataset → Search → Model → Evaluation → RegisteredModel → Endpoint

What a document is, how it is written and checked, is in `nasflow.core.document`; its names can be had from here. Big
data (shards, model bundles) stays under ``work_dir``; a manifest names it by URI.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from nasflow.core.document import MANIFEST, Document, External, Frozen
from nasflow.core.storage import sha256

__all__ = [
    "MANIFEST",
    "SPLITS",
    "Candidate",
    "Champion",
    "Dataset",
    "Decision",
    "Document",
    "Endpoint",
    "Estimate",
    "Evaluation",
    "External",
    "Model",
    "Original",
    "RegisteredModel",
    "Search",
    "Shard",
    "Split",
    "Trials",
    "bundle_digest",
]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Shard(External):
    """One file of rows: of a split, as Arrow IPC, or of the raw test rows, as Parquet."""

    rows: int


class Estimate(Frozen):
    """A number with its 95 % interval."""

    value: float
    ci95: tuple[float, float]


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


class Trials(Frozen):
    """How the trials of a study ended."""

    completed: int
    failed: int
    infeasible: int
    same: int = 0
    """Points that mean the same architecture and recipe as a trial before them, and were not trained."""
    filtered: int = 0
    """Points that `search.filter` left out."""
    looks: int = 0
    """Of those that completed or failed: second looks at finalists, which were trained again with other seeds."""


class Candidate(Frozen):
    """An architecture that a search found."""

    trial_id: str
    architecture_id: str
    values: dict[str, Any]
    """The point in the space, by parameter name."""
    parameters: int
    flops: int
    """Multiply-adds × 2 of one example's forward pass."""
    score: float | None
    """The objective on validation; a ranking, not an estimate: the best of many is optimistic. Of a finalist that was
    trained again: the mean over its trainings."""
    scores: tuple[float, ...] = ()
    """Of a finalist: each of its trainings, its trial's own first; the score is the mean of those that all finalists
    have, and the trial's own where one of them failed. Empty: it was trained once."""
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


class Champion(Frozen):
    """The version that was the registry's champion when a model was judged, on the same test rows."""

    name: str
    version: int
    bundle_digest: str
    problem: str = ""
    """Why the two cannot be compared; empty where they were."""
    test: dict[str, Estimate] = Field(default_factory=dict)
    gain: Estimate | None = None
    """How much better the model is in the objective, positive is better; paired bootstrap. None: no value."""


class Decision(Frozen):
    """Whether the model may go to production, and why."""

    promoted: bool
    reasons: tuple[str, ...]


class Original(Frozen):
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
