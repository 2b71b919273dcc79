"""``study.json`` beside the ledger: what its readers must know that no trial tells (`nasflow trials` reads both)."""

import dataclasses
import json
from typing import Self

from nasflow.core.artifacts import Search
from nasflow.core.storage import storage_for

ABOUT = "study.json"
"""Its name in the search's place."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """One search."""

    strategy: str
    space: str
    metric: str
    """What `score` is, by its name in the YAML."""
    objectives: tuple[str, ...] = ()
    """Of a Pareto search."""
    epochs: int = 0
    """Of a trial at most."""

    @classmethod
    def of(cls, search: Search) -> Self:
        """From the finished document."""
        return cls(
            strategy=search.strategy,
            space=search.space,
            metric=search.objective,
            objectives=search.objectives,
            epochs=search.epochs,
        )

    @classmethod
    def read(cls, uri: str) -> Self | None:
        """From ``study.json``; None where there is none, as in searches that an older nasflow began.

        Raises:
            ValueError: it is something else.
        """
        storage = storage_for(uri)
        if not storage.exists(uri):
            return None
        try:
            content = json.loads(storage.read(uri))
            return cls(**{**content, "objectives": tuple(content["objectives"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{uri}: is no description of a search: {error}") from error

    def write(self, uri: str) -> None:
        """Creates or replaces the file."""
        storage_for(uri).write(uri, json.dumps(dataclasses.asdict(self), indent=1).encode())
