"""What a Beam pipeline leaves: one JSON object, or the first problem that it met."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from nasflow.core.artifacts import Shard, Split
from nasflow.core.errors import DataError, UserError
from nasflow.core.storage import storage_for
from nasflow.preprocess.dead_letters import DeadLetters
from nasflow.preprocess.split_survey import Cuts
from nasflow.preprocess.summary import Summary


class ItemResult(BaseModel):
    """What the transform pipeline did with one item."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    shards: dict[Split, Shard]
    raw_test: Shard | None = None
    """The test rows as they came; None for images, and where there are none."""
    dead: DeadLetters


class Problem(BaseModel):
    """A DataError, as data: an exception would reach the caller as a runner's stack trace."""

    model_config = ConfigDict(frozen=True)

    index: int
    message: str


class Outcome(BaseModel):
    """Of one pipeline; what the others leave is empty."""

    model_config = ConfigDict(frozen=True)

    problems: list[Problem]
    summary: Summary | None = None
    results: list[ItemResult] = []
    cuts: Cuts | None = None


def write_results(results: Iterable[Any], uri: str) -> None:
    """What was done with each item, or the problems."""
    once = {result.index: result for result in results}  # what a runner delivers twice, and wrote to one place
    ordered = [once[index] for index in sorted(once)]
    problems = [result for result in ordered if isinstance(result, Problem)]
    write(Outcome(problems=problems, results=[] if problems else ordered), uri)


def write(outcome: Outcome, uri: str) -> None:
    """Leaves it at `uri`."""
    storage_for(uri).write(uri, outcome.model_dump_json().encode())


def read(uri: str) -> Outcome:
    """What is at `uri`.

    Raises:
        DataError: the first problem.
        UserError: nothing is there.
    """
    try:
        outcome = Outcome.model_validate_json(storage_for(uri).read(uri))
    except FileNotFoundError as error:
        raise UserError(
            f"{uri}: the Beam job ended, but its result is not here; do the workers see the same work_dir? "
            "Name a gs:// prefix or a shared folder"
        ) from error
    if outcome.problems:
        raise DataError(outcome.problems[0].message)
    return outcome
