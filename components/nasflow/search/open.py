"""The study of a place: what the YAML and the Dataset say, and the ledger as far as it got."""

import logging
from collections.abc import Sequence

import numpy as np

from nasflow.core.artifacts import Dataset, Search
from nasflow.core.errors import SpecError
from nasflow.core.workspace import Place
from nasflow.data.reader import read_transform
from nasflow.search.budget import Budget, epochs_of
from nasflow.search.finalists import SecondLooks
from nasflow.search.ledger import LEDGER, Ledger
from nasflow.search.limits import Limits
from nasflow.search.spec import SearchSpec
from nasflow.search.study import Study
from nasflow.search.warm_start import warm_start
from nasflow.spaces.parameters import repair
from nasflow.spaces.registry import get_space

logger = logging.getLogger(__name__)


def open_study(spec: SearchSpec, dataset: Dataset, place: Place, earlier: Sequence[Search] = ()) -> Study:
    """The study of a place, as far as it got."""
    from nasflow.models.hypermodels.space import adapt

    transform = read_transform(dataset)
    space = get_space(
        spec.search.space,
        task=spec.task,
        inputs=transform.inputs,
        output=transform.output,
        settings=spec.search.space_settings,
        adapt=adapt,
    )
    ledger = Ledger(place.at(LEDGER))
    budget = Budget(spec.search.budget, epochs_of(spec.search.budget, rows=dataset.rows["train"]), ledger)
    trainings = _trainings(spec)
    warm = warm_start(earlier, spec, dataset=dataset, space=space, epochs=budget.epochs, trainings=trainings)
    if earlier:
        logger.info(
            "warm start: %d points to try, %d results known from %d earlier searches",
            *(len(warm.points), len(warm.prior), len(earlier)),
        )
    return Study(
        space=space,
        limits=Limits(space, spec.constraints, inputs=transform.inputs, output=transform.output),
        ledger=ledger,
        budget=budget,
        metric=spec.search.score or spec.metric,
        inputs=transform.inputs,
        output=transform.output,
        seed=spec.seed,
        objectives=spec.objectives,
        cost_rows=_rows_of_an_epoch(spec, dataset),
        trainings=trainings,
        warm=warm,
        filter=spec.search.filter,
        second_looks=second_looks(spec),
        first=tuple(
            repair(space.parameters(), values, np.random.default_rng(spec.seed)) for values in spec.search.start
        ),
    )


def _rows_of_an_epoch(spec: SearchSpec, dataset: Dataset) -> int:
    folds = spec.search.validation.folds
    if folds is None:
        return dataset.rows["train"]
    return (dataset.rows["train"] + dataset.rows["validation"]) * (folds - 1) // folds


def second_looks(spec: SearchSpec) -> SecondLooks:
    """What `search.finalists` and `search.looks` say. `auto` is off where each trial is trained several times anyhow,
    where a set is returned, and where nothing is trained.

    Raises:
        SpecError: finalists are asked for where there can be none.
    """
    section = spec.search
    wanted = section.finalists
    if wanted and wanted != "auto" and spec.objectives:
        raise SpecError(
            [
                (
                    f"search.finalists is {wanted}, but objective is a list, got {list(spec.objectives)}: a Pareto "
                    "search returns a set; leave finalists out, or use search.validation.seeds"
                )
            ]
        )
    if wanted == "auto" and (spec.objectives or section.score is not None or _trainings(spec) > 1):
        wanted = 0
    return SecondLooks(
        finalists=wanted, each=section.looks, workers=section.workers, latency_ms=spec.constraints.latency_ms
    )


def _trainings(spec: SearchSpec) -> int:
    section = spec.search.validation
    return section.seeds * section.repeats * (section.folds or 1)
