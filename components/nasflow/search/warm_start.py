"""Warm start: what earlier studies found, as points to try first and as results that a strategy may learn from."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nasflow.core.artifacts import Candidate, Dataset, Search
from nasflow.core.errors import DocumentError, SpecError
from nasflow.core.metrics import maximised
from nasflow.core.storage import absolute
from nasflow.search.record import Record
from nasflow.search.spec import SearchSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import ArchitectureError
from nasflow.spaces.parameters import key, problems
from nasflow.strategies._base import Result


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """What is taken over."""

    points: tuple[dict[str, Any], ...] = ()
    """To be tried after the presets; valid in the space, all different."""
    prior: tuple[Result, ...] = ()
    """See `prior_of`."""


def read_earlier(uris: Sequence[str]) -> tuple[Search, ...]:
    """The documents that `search.warm_start` names.

    Raises:
        DocumentError: one is missing, unfinished, damaged, or no Search document.
    """
    found = []
    for place, uri in enumerate(uris):
        try:
            found.append(Search.read(absolute(uri)))
        except DocumentError as error:
            raise DocumentError(
                f"search.warm_start[{place}]: {error}. Name the folder of a Search document, as `document_uri` in "
                "WORK_DIR/runs/RUN_ID/search.json does"
            ) from error
    return tuple(found)


def warm_start(
    earlier: Sequence[Search], spec: SearchSpec, *, dataset: Dataset, space: Space, epochs: int, trainings: int
) -> WarmStart:
    """The best `search.warm_points` points of earlier studies that are not tried anyhow, as presets: the best of each,
    then the second of each, and so on; and their results, as far as they are comparable.

    Args:
        earlier: as `read_earlier` gives them.
        spec: of this study.
        dataset: of this study.
        space: of this study.
        epochs: of a whole trial in this study.
        trainings: of a trial in this study: seeds × repeats × folds.

    Raises:
        SpecError: a study over another space, or none of whose candidates is a point of this one.
        DocumentError: a file of an earlier study is gone or changed.
    """
    given = {key(point) for point in (*space.presets(), *spec.search.start)}  # tried anyhow: not counted
    lines = [
        [candidate for candidate in _valid(place, search, space) if key(candidate.values) not in given]
        for place, search in enumerate(earlier)
    ]
    points: dict[Any, dict[str, Any]] = {}
    for rank in range(max(map(len, lines), default=0)):
        for line in lines:
            if rank < len(line) and len(points) < spec.search.warm_points:
                points.setdefault(key(line[rank].values), dict(line[rank].values))
    prior: dict[Any, Result] = {}
    for place, search in enumerate(earlier):
        alike = search.ranked_by == (spec.search.score or "")
        if alike and not spec.objectives and comparable(search, dataset, spec.metric, epochs):
            sign = 1 if maximised(spec.search.score or spec.metric) else -1
            for result in prior_of(search, space, place=place, sign=sign, trainings=trainings):
                prior.setdefault(key(result.values), result)
    return WarmStart(points=tuple(points.values()), prior=tuple(prior.values()))


def comparable(search: Search, dataset: Dataset, metric: str, epochs: int) -> bool:
    """Whether a score of that study means here what it meant there: the same Dataset by digest, the same objective and
    that alone, as many epochs."""
    return (
        search.inputs.get("dataset") == dataset.digest
        and search.objective == metric
        and not search.objectives
        and search.epochs == epochs
    )


def prior_of(search: Search, space: Space, *, place: int, sign: int, trainings: int) -> list[Result]:
    """The completed whole trials of a comparable study that mean the same architecture and recipe here, as results with
    `prior` set. Short trials (of rungs, or stopped early) and trials of fewer or more trainings are left out.
    Not told apart: k seeds from k folds, which a document does not say."""
    found = []
    for row in search.json("trials.json"):
        record = Record(**{field.name: row[field.name] for field in dataclasses.fields(Record) if field.name in row})
        if record.look_of is not None:
            continue
        whole = record.status == "completed" and record.score is not None and record.epochs == search.epochs
        if not whole or max(1, len(record.runs)) != trainings or problems(space.parameters(), record.values):
            continue
        try:
            same = space.architecture(record.values).identity == record.architecture_id
        except ArchitectureError:
            continue
        if same:
            result = record.result(sign)
            found.append(
                dataclasses.replace(result, trial_id=f"earlier{place}/{record.trial_id}", granted=None, prior=True)
            )
    return found


def _valid(place: int, search: Search, space: Space) -> list[Candidate]:
    where = f"search.warm_start[{place}]: {search.uri}"
    if search.space != space.name:
        raise SpecError(
            [f"{where}: a search over the space {search.space!r}, this one is over {space.name!r}; take it out"]
        )
    parameters = space.parameters()
    valid = [candidate for candidate in search.candidates if not problems(parameters, candidate.values)]
    if not valid:
        first = _first_problem(parameters, search.candidates)
        none = f"none of its {len(search.candidates)} candidates is a point of this space ({first})"
        raise SpecError([f"{where}: {none}: its columns or search.space_settings were others; take it out"])
    return valid


def _first_problem(parameters: Any, candidates: Sequence[Candidate]) -> str:
    values: Mapping[str, Any] = candidates[0].values if candidates else {}
    return next(iter(problems(parameters, values)), "it has none")
