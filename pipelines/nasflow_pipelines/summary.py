"""``summary.json``: how a run ended, in a form that other programs may rely on (`nasflow schema --summary`)."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nasflow.core.artifacts import (
    Champion,
    Dataset,
    Decision,
    Document,
    Endpoint,
    Estimate,
    Evaluation,
    RegisteredModel,
    Search,
    Trials,
)
from nasflow.core.spec import ExperimentSpec, Task
from nasflow.retrain.documents import Action, Review


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Rows(_Part):
    """Rows in each split; together, every row that was read."""

    train: int
    validation: int
    test: int
    dead: int
    """Rows that could not be used."""


class Best(_Part):
    """The best feasible architecture of the search."""

    architecture_id: str
    parameters: int
    """Trainable parameters."""
    flops: int
    """Multiply-adds × 2 of one example's forward pass."""
    score: float | None
    """The objective on validation: it ranks candidates and is optimistic; `test` is the estimate."""


class SearchSummary(_Part):
    """What the search did."""

    strategy: str
    trials: Trials
    best: Best | None
    """null where no candidate was feasible."""


class ModelSummary(_Part):
    """The registered version."""

    name: str
    version: int
    uri: str
    digest: str


class RetrainSummary(_Part):
    """What the new data of a retraining asked for."""

    action: Action
    """`keep`: the champion stays, nothing was trained; `retrain`: its architecture; `search`: a short search."""
    reasons: list[str]
    drifted: dict[str, float]
    """Population stability index by column that has drifted since the champion's data."""
    champion: int | None
    """The version that was in production; null where there was none."""


class Failure(_Part):
    """Why a run failed."""

    step: str
    message: str
    exit_code: int
    """2: the user's input; 75: run the same command again; 130: Ctrl-C; 1: anything else."""


class Summary(_Part):
    """How a run ended. A failed run has `error`, and the parts of the steps that did end."""

    status: Literal["succeeded", "failed"]
    name: str
    task: Task
    objective: str
    """What the search ranked by, by its name in the YAML."""
    error: Failure | None = None
    """Present if, and only if, the run failed."""
    retrain: RetrainSummary | None = None
    """Of `nasflow retrain` alone. Where its action is `keep`, the parts of the later steps are null."""
    rows: Rows | None = None
    search: SearchSummary | None = None
    test: dict[str, Estimate] | None = None
    """Metrics on the held-out test set, by their names in the YAML, with 95 % intervals."""
    baseline: dict[str, Estimate] | None = None
    """The same for the hand-made network."""
    other_baselines: dict[str, dict[str, Estimate]] | None = None
    """The same for further baselines: for tables, `tree`; for texts, `tfidf_linear`."""
    champion: Champion | None = None
    """The version that was in production, on the same test rows; null where there was none."""
    decision: Decision | None = None
    """Whether the model was promoted, and why."""
    model: ModelSummary | None = None
    deployed: bool = False
    """Whether the version was deployed: it is if it was promoted and answered its golden rows correctly."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall-clock seconds per step. A reused step keeps what it cost."""
    cpu_seconds: dict[str, float] = Field(default_factory=dict)
    """CPU seconds per step. A reused step keeps what it cost."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.status == "failed") != (self.error is not None):
            raise ValueError(f"status {self.status!r} with error {self.error!r}")
        parts = (self.rows, self.search, self.test, self.baseline, self.decision, self.model)
        kept = self.retrain is not None and self.retrain.action == "keep"
        if self.status == "succeeded" and not kept and any(part is None for part in parts):
            raise ValueError("a run that succeeded has all its parts")
        return self


def summarise(
    experiment: ExperimentSpec, documents: Mapping[str, Document], *, failure: Failure | None = None
) -> Summary:
    """The summary of what there is: `documents` by step."""
    parts: dict[str, Any] = {}
    for document in documents.values():
        match document:
            case Dataset():
                parts["rows"] = Rows(**document.rows)
            case Review():
                parts["retrain"] = RetrainSummary(
                    action=document.action,
                    reasons=list(document.reasons),
                    drifted=document.drifted,
                    champion=document.version,
                )
            case Search():
                parts["search"] = _search(document)
            case Evaluation():
                parts |= {"test": document.test, "baseline": document.baseline, "decision": document.decision}
                parts |= {"other_baselines": document.other_baselines, "champion": document.champion}
            case RegisteredModel():
                parts["model"] = ModelSummary(
                    name=document.name,
                    version=document.version,
                    uri=document.model_uri,
                    digest=document.model_digest,
                )
            case Endpoint():
                parts["deployed"] = document.target != "manifest"  # which others apply
    return Summary(
        status="failed" if failure else "succeeded",
        name=experiment.name,
        task=experiment.task,
        objective=experiment.metric,
        error=failure,
        seconds={step: document.seconds for step, document in documents.items()},
        cpu_seconds={step: document.cpu_seconds for step, document in documents.items()},
        **parts,
    )


def to_json(summary: Summary) -> bytes:
    """As written: numbers that are not finite (an AUC of one class) are null."""
    return summary.model_dump_json(indent=2, exclude_none=False).encode() + b"\n"


def _search(document: Search) -> SearchSummary:
    best = document.candidates[0] if document.candidates else None
    return SearchSummary(
        strategy=document.strategy,
        trials=document.trials,
        best=best
        and Best(architecture_id=best.architecture_id, parameters=best.parameters, flops=best.flops, score=best.score),
    )
