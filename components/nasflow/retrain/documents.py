"""The two documents that only a retraining has."""

from typing import Any, ClassVar, Literal

from nasflow.core.artifacts import Document

Action = Literal["keep", "retrain", "search"]

EXPERIMENT = "experiment.json"


class Incumbent(Document):
    """The champion, as the steps of a retraining need it. Files: ``experiment.json``, the experiment with its data held
    against the champion's."""

    KIND: ClassVar[str] = "Incumbent"
    kind: Literal["Incumbent"] = "Incumbent"
    name: str
    version: int | None
    """None: there is no champion; a whole search follows."""
    dataset_uri: str = ""
    """A copy of the Dataset document that it was trained on; its shards may be gone."""
    dataset_digest: str = ""
    architecture_id: str = ""
    values: dict[str, Any] | None = None
    """Its point in the space that it was found in; None where the registry does not say."""


class Review(Document):
    """What has changed since the champion was trained, and what follows. Files: ``experiment.json``, the experiment as
    the rest of the pipeline runs it; ``report.html``."""

    KIND: ClassVar[str] = "Review"
    kind: Literal["Review"] = "Review"
    action: Action
    """``keep``: nothing; ``retrain``: the champion's architecture on the new data; ``search``: a short search that
    starts at it."""
    reasons: tuple[str, ...]
    drifted: dict[str, float]
    """Population stability index by column; ``label`` for the label."""
    version: int | None
    """The champion's."""
