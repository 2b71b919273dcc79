"""The pipelines that there are: how each is built, and what its tasks leave."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, Literal, get_args

from nasflow.core.artifacts import Dataset, Document, Endpoint, Evaluation, Model, RegisteredModel, Search
from nasflow.retrain.documents import Incumbent, Review

PipelineName = Literal["automl", "retrain"]
PIPELINES: tuple[PipelineName, ...] = get_args(PipelineName)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One pipeline."""

    name: PipelineName
    steps: Mapping[str, type[Document]]
    """The document of each task, in the order in which they run."""
    instead: Mapping[str, tuple[str, ...]]
    """Task → those that do not run where it does."""

    def build(self, experiment: Any, **options: Any) -> Any:
        """The kfp pipeline; see `nasflow_pipelines.automl.build`."""
        return importlib.import_module(f"nasflow_pipelines.{self.name}").build(experiment, **options)


_STEPS: Mapping[str, type[Document]] = {
    "preprocess": Dataset,
    "search": Search,
    "train": Model,
    "evaluate": Evaluation,
    "register": RegisteredModel,
    "deploy": Endpoint,
}
_AFTER_PREPROCESS = ("search", "train", "evaluate", "register", "deploy")

AUTOML = Kind(name="automl", steps=_STEPS, instead={"hold": ("deploy",)})
RETRAIN = Kind(
    name="retrain",
    steps={
        "recall": Incumbent,
        "preprocess": Dataset,
        "weigh": Review,
        **{step: _STEPS[step] for step in _AFTER_PREPROCESS},
    },
    instead={"hold": ("deploy",), "keep": _AFTER_PREPROCESS},
)


def kind_of(name: PipelineName) -> Kind:
    """By its name."""
    return {"automl": AUTOML, "retrain": RETRAIN}[name]
