"""Finished seed runs, one line each, so that a killed step does not train them again."""

import json
import logging
import math

from pydantic import BaseModel, ConfigDict, ValidationError

from nasflow.core.storage import storage_for

logger = logging.getLogger(__name__)


class Point(BaseModel):
    """One epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    loss: float
    score: float | None
    """The objective on validation; None where there was no validation."""


class SeedRun(BaseModel):
    """One training of one candidate on the train split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture_id: str
    candidate: int
    """Place among the search's candidates."""
    number: int
    """Which of `train.seeds` this is, from 0."""
    seed: int
    score: float | None
    """The objective on validation after the last epoch; None: the training failed or the score is not finite."""
    error: str = ""
    """Why it failed."""
    seconds: float
    curve: tuple[Point, ...] = ()

    @property
    def value(self) -> float:
        """The score, NaN for a failure."""
        return math.nan if self.score is None else self.score


class Ledger:
    """An append-only file of seed runs."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def read(self) -> dict[tuple[int, int], SeedRun]:
        """By (candidate, number). A line cut by a kill is skipped: its run is simply done again."""
        storage = storage_for(self._uri)
        if not storage.exists(self._uri):
            return {}
        runs: dict[tuple[int, int], SeedRun] = {}
        for line in storage.read(self._uri).splitlines():
            try:
                run = SeedRun.model_validate(json.loads(line))
            except (ValueError, ValidationError):
                logger.warning("train: %s: skipped a damaged line", self._uri)
                continue
            runs[run.candidate, run.number] = run
        return runs

    def add(self, run: SeedRun) -> None:
        """Notes a finished run, durably."""
        storage_for(self._uri).append(self._uri, run.model_dump_json().encode())
